"""Decode, segment and encode at the same time: three threads and two bounded queues.

One thread reads ahead, the caller's segments, one writes behind. Decoder, engine and encoder
release Python's lock, so that threads suffice. Frames stay in order.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from bisenetv2.images import Image
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.video.frames import Frame, Sound, Source
from bisenetv2.inference.video.sources import open_source
from bisenetv2.labels import Mask

if TYPE_CHECKING:
    from bisenetv2.inference.video.writers import Writer

FRAMES_AHEAD, LIVE_FRAMES_AHEAD = 4, 2
"""Frames that wait to be segmented: a file's reader waits for room, a live one's drops."""

FRAMES_BEHIND = 4
"""Frames that wait to be written."""

PATIENCE = 2.0
"""Seconds to wait for a reader to notice that it is to stop."""

POLL = 0.1
"""Seconds between two looks at whether to stop, while there is nothing to do."""


class ReadAhead:
    """Reads a source in a thread of its own; iterate over it inside its `with` block.

    A file's frames are all there; of a live source the oldest waiting frame gives way to a new
    one. The source is closed at the end.

    Attributes:
        dropped: Frames that gave way so far.
    """

    def __init__(
        self, source: Source, stop: threading.Event | None = None, end: float = math.inf
    ) -> None:
        """Prepares to read; the `with` block starts the thread.

        Args:
            source: What to read.
            stop: Once set, the iteration ends.
            end: When to wait no more for a frame, on the clock of `time.perf_counter`.
        """
        self.dropped = 0
        self._end = end
        self._source, self._stop = source, stop or threading.Event()
        self._limit = LIVE_FRAMES_AHEAD if source.live else FRAMES_AHEAD
        self._items: deque[Frame | Sound] = deque()
        self._frames = 0  # how many of the items are frames
        self._ended = self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._source.stop()
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        # A reader caught in a dead network connection is left behind: it closes what it holds.
        self._thread.join(PATIENCE)

    def __iter__(self) -> Iterator[Frame | Sound]:
        while not self._stop.is_set():
            with self._changed:
                if not self._changed.wait_for(lambda: self._items or self._ended, POLL):
                    if perf_counter() >= self._end:
                        return
                    continue
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._frames -= isinstance(item, Frame)
                self._changed.notify_all()
            yield item

    def _read(self) -> None:
        try:
            for item in self._source:
                if isinstance(item, Frame) and not self._source.live:
                    _ = item.image  # converted here, off the segmenting thread
                if not self._put(item):
                    break
        except BaseException as error:
            self._error = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: Frame | Sound) -> bool:
        """Queues an item; tells whether anyone still wants more."""
        with self._changed:
            if isinstance(item, Frame):
                if self._source.live and self._frames >= self._limit:
                    self._items.remove(next(x for x in self._items if isinstance(x, Frame)))
                    self._frames -= 1
                    self.dropped += 1
                self._changed.wait_for(lambda: self._frames < self._limit or self._abandoned)
                self._frames += 1
            self._items.append(item)
            self._changed.notify_all()
            return not self._abandoned


class WriteBehind:
    """Writes frames in a thread of its own, in the order they were put.

    The end of its `with` block waits until all is written; an error of a writer is raised there or
    by a later `put`. If the block ends in an error, what waits is thrown away.

    Attributes:
        latency: Seconds from the source to the file, of the frame written last.
    """

    def __init__(self, writers: Sequence[Writer]) -> None:
        self.latency = 0.0
        self._writers = writers
        self._thread = ThreadPoolExecutor(1, "write behind")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        finally:  # a second Ctrl-C too waits for the writer: files are closed after this
            self._thread.shutdown(cancel_futures=True)

    def put(self, item: tuple[Frame, Mask] | Sound) -> None:
        """Queues a frame with its mask, or sound; waits for room."""
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > FRAMES_BEHIND):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._write, item))

    def _write(self, item: tuple[Frame, Mask] | Sound) -> None:
        if isinstance(item, Sound):
            for writer in self._writers:
                writer.write_sound(item)
            return
        for writer in self._writers:
            writer.write(*item)
        self.latency = perf_counter() - item[0].arrived


@dataclass
class Tally:
    """How a conversion goes.

    Attributes:
        frames: Frames segmented.
        dropped: Frames of a live source that came too fast.
        latency: Seconds from a frame's arrival until it was written, of the latest one.
        seconds: Time since the start.
    """

    frames: int = 0
    dropped: int = 0
    latency: float = 0.0
    seconds: float = 0.0


def convert(
    source: Source,
    segmenter: Segmenter,
    writers: Sequence[Writer],
    *,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    report: Callable[[Tally], None] | None = None,
) -> Tally:
    """Segments a source and writes it, all three stages at the same time.

    Args:
        source: What to segment; closed at the end.
        segmenter: Finds the masks, in the calling thread.
        writers: What takes the frames.
        seconds: Stop after this much of the source; a live one is not waited for any longer.
        stop: Once set, the conversion ends after the frame in hand.
        report: Called after every frame.

    Raises:
        UserError: If a file cannot be written.
    """
    tally, start = Tally(), perf_counter()
    end = source.first.arrived + seconds if source.live and seconds is not None else math.inf
    with WriteBehind(writers) as behind, ReadAhead(source, stop, end) as ahead:
        for item in ahead:
            if isinstance(item, Sound):
                if perf_counter() >= end + POLL:  # it goes on where the picture has stopped
                    break
                behind.put(item)
                continue
            if seconds is not None and item.seconds - source.first.seconds >= seconds:
                break
            behind.put((item, segmenter(item.image)))
            tally.frames += 1
            tally.dropped, tally.latency = ahead.dropped, behind.latency
            tally.seconds = perf_counter() - start
            if report is not None:
                report(tally)
    tally.seconds = perf_counter() - start
    return tally


class SegmentedVideo(Iterator[tuple[Image, Mask]]):
    """What `segment_video` returns: iterate over it.

    Attributes:
        seconds: When the frame yielded last is shown, since the start of the source.
    """

    def __init__(self, source: Source, segmenter: Segmenter) -> None:
        """Takes an open source; nothing is read until the first frame is asked for.

        Args:
            source: What to segment; closed at the end.
            segmenter: Finds the masks.
        """
        self.seconds = 0.0
        self._source, self._pairs, self._begun = source, _segment(source, segmenter), False

    def __next__(self) -> tuple[Image, Mask]:
        self._begun = True
        frame, mask = next(self._pairs)
        self.seconds = frame.seconds
        return frame.image, mask

    def close(self) -> None:
        """Ends the iteration and closes the source."""
        self._pairs.close()
        if not self._begun:  # or else its reader closes it
            self._begun = True
            self._source.close()


def segment_video(
    source: str | Path | Iterable[str | Path] | Source,
    segmenter: Segmenter | str | Path | None = None,
    *,
    fps: float | None = None,
) -> SegmentedVideo:
    """Returns the frames of a source with their masks, to iterate over; decodes ahead meanwhile.

    A file yields every frame. A live source yields what the caller is fast enough for, and its
    losses and returns of connection are printed to stderr. Damage to a file is a warning at the
    end.

    Args:
        source: Video file, `camera:N`, `rtsp://…`, `http://…`, `frames/%05d.png`, the paths of
            images, or what `open_source` returned.
        segmenter: Finds the masks, or the model to do it with; `None`: the embedded one.
        fps: Frames a second of an image sequence, or to ask a camera for.

    Returns:
        An iterator over pairs of a frame, RGB `uint8` H×W×3, upright, and its mask, `uint8` H×W.
        Its `seconds` tell when that frame is shown.

    Raises:
        UserError: If the source or the model cannot be opened.
    """
    if segmenter is None or isinstance(segmenter, (str, Path)):
        segmenter = Segmenter(segmenter)
    opened = source if isinstance(source, Source) else open_source(source, fps=fps)
    return SegmentedVideo(opened, segmenter)


def _segment(source: Source, segmenter: Segmenter) -> Generator[tuple[Frame, Mask]]:
    with ReadAhead(source) as ahead:
        for item in ahead:
            if isinstance(item, Frame):
                yield item, segmenter(item.image)
    for line in source.damage:
        warnings.warn(f"{source.name}: {line}", stacklevel=3)
