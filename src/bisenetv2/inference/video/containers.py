"""Frames and sound out of video files and network streams, by PyAV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer

from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES
from bisenetv2.inference.video.frames import CLOCK, DEFAULT_RATE, Appearance, Frame, Sound, Source
from bisenetv2.inference.video.sources import without_secrets

OPEN_TIMEOUT, READ_TIMEOUT = 15.0, 10.0
"""Seconds without an answer or without data after which a network stream counts as broken."""

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")
"""Protocols whose streams are live whatever they say about their duration."""

HIGHEST_RATE = 1000
"""Frames a second above which a container's statement is taken for nonsense."""

NO_TIMESTAMPS = 0x80
"""Flag of libavformat: the format carries no times, those of its packets are invented."""

STEP_BACK = Fraction(1)
"""A step back of more seconds is a new beginning of the clock, of less a faulty timestamp."""

MATROSKA_SLACK = Fraction(1, 2)
"""Seconds that Matroska's rounded lengths may be off."""


class ContainerSource(Source):
    """Decodes one video file or one connection to a stream; see `Source`.

    A damaged packet is passed over and counted; a container that breaks off ends the iteration.
    """

    def __init__(self, address: str, sound: bool = False) -> None:
        """Opens a file or URL and decodes its first frame.

        Args:
            address: Path or URL; its user, password and query are kept out of `name`.
            sound: Also yield the packets of its audio streams.

        Raises:
            UserError: If it cannot be opened, holds no video or no frame that can be decoded.
        """
        super().__init__(without_secrets(address))
        self._container = _open(address, self.name)
        remote = "://" in address
        scheme = address.partition("://")[0].lower()
        # Of no known duration, and no file of known size. HLS is of none while it is live; the size
        # is its playlist's.
        form = self._container.format.name
        has_length = self._container.duration is not None
        endless = not has_length and (self._container.size <= 0 or "hls" in form)
        self.live = remote and (scheme in LIVE_SCHEMES or endless)
        try:
            # Streams of cameras may be called like an image.
            reads_images = form.endswith(("image2", "_pipe"))
            if remote and reads_images and Path(self.name).suffix.lower() in IMAGE_SUFFIXES:
                raise UserError(
                    f"{self.name}: is an image, no video; download it first (curl -O) and name the "
                    "file"
                )
            self._video = _video_stream(self._container, self.name)
            self._describe(sound)
            self._clock = _Clock(self._container, self._video, self.rate, self.live)
            self.time_base = self._clock.time_base
            self._items = self._decode()
            self._before: list[Frame | Sound] = []
            self.first = self._read_first()
        except BaseException:
            self._container.close()
            raise

    def _describe(self, sound: bool) -> None:
        container, stream, context = self._container, self._video, self._video.codec_context
        # Slices in place of whole frames: threads over frames would hold live ones back.
        stream.thread_type = "SLICE" if self.live else "AUTO"
        rate = stream.average_rate or stream.guessed_rate
        self.rate = Fraction(rate) if rate and 0 < rate <= HIGHEST_RATE else DEFAULT_RATE
        self.appearance = Appearance(
            context.sample_aspect_ratio or Fraction(1), context.color_primaries, context.color_trc
        )
        if sound:
            self.sound_tracks = [s for s in container.streams.audio if s.codec_context is not None]
        if not self.live and stream.frames:
            self.total = stream.frames
        elif not self.live and container.duration:
            self.total = max(1, round(container.duration * self.rate / av.time_base))

    def _read_first(self) -> Frame:
        for item in self._items:
            self._before.append(item)
            if isinstance(item, Frame):
                return item
        detail = f" ({'; '.join(self.damage)})" if self.damage else ""
        raise UserError(f"{self.name}: holds no frame that can be decoded{detail}; replace it")

    def __iter__(self) -> Iterator[Frame | Sound]:
        yield from self._before
        self._before.clear()
        yield from self._items

    def close(self) -> None:
        """Closes file or connection."""
        self._container.close()

    def _decode(self) -> Iterator[Frame | Sound]:
        packets = damaged = 0
        latest = Fraction(0)  # seconds: the end of all that was read
        try:
            for packet, is_cut_off in self._packets():
                if self._stopped.is_set():
                    return
                if packet.pts is not None:
                    latest = max(latest, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream in self.sound_tracks and packet.dts is not None:
                    track = self.sound_tracks.index(packet.stream)
                    yield Sound(packet, track, self._clock.shift * self.time_base)
                if packet.stream is not self._video:
                    continue
                packets += packet.size > 0
                try:
                    pictures = [] if is_cut_off else self._video.decode(packet)
                except av.error.FFmpegError:
                    damaged += 1
                    continue
                damaged += packet.is_corrupt or any(p.is_corrupt for p in pictures)
                yield from (self._clock.frame(picture) for picture in pictures)
        except (av.error.FFmpegError, OSError) as error:
            self.damage.append(f"breaks off: {reason(error)}")
            pictures = []
            with suppress(av.error.FFmpegError):
                pictures = self._video.decode(None)  # what the decoder still holds back
            yield from (self._clock.frame(picture) for picture in pictures)
        if damaged:
            self.damage.append(f"{damaged} of {packets} video packets damaged")
        if not self.live:
            self._check_length(latest)

    def _packets(self) -> Iterator[tuple[av.Packet[Any], bool]]:
        """Demultiplexes all streams; tells of a damaged packet whether it is the last of video.

        Such a one is not to be decoded. It would cost more than itself: PyAV throws away what a
        decoder of many threads still holds when that meets an error at the end.
        """
        held = None
        for packet in self._container.demux():
            if packet.stream is self._video and held is not None:
                yield held, packet.size == 0  # an empty packet marks the end
                held = None
            if packet.stream is self._video and packet.is_corrupt:
                held = packet
            else:
                yield packet, False

    def _check_length(self, latest: Fraction) -> None:
        """Holds the end of what was read against the length that the header promised.

        Args:
            latest: End of the last packet of any stream, in seconds.
        """
        container, stream = self._container, self._video
        name = container.format.name
        if name.startswith(("mov", "avi")) and stream.duration:
            promised = ((stream.start_time or 0) + stream.duration) * self.time_base
            got, slack = self._clock.end, 2 / self.rate
        elif name.startswith("matroska") and _is_cut_off(Path(self.name)):
            self.damage.append("truncated: the end of the file is missing")
            return
        elif name.startswith("matroska") and container.duration:
            promised = Fraction((container.start_time or 0) + container.duration, av.time_base)
            got, slack = latest, MATROSKA_SLACK
        else:  # what other formats say was measured on the file as it is
            return
        if got + slack < promised:
            self.damage.append(
                f"truncated: {float(got):.1f} of {float(promised):.1f} seconds are there"
            )


class _Clock:
    """Gives pictures their times: the container's where that can be, but never a step back.

    Attributes:
        time_base: Seconds a tick.
        shift: Ticks that are added to the container's times.
    """

    def __init__(
        self, container: InputContainer, stream: av.VideoStream, rate: Fraction, live: bool
    ) -> None:
        self._reads_wall_clock = live and bool(container.format.flags & NO_TIMESTAMPS)
        # The ticks of invented times are as coarse as the rate that was invented.
        self.time_base = CLOCK if self._reads_wall_clock else stream.time_base or 1 / rate
        self._step = max(1, round(1 / (rate * self.time_base)))
        # A start after zero is a muxer's habit (MPEG-TS) or a stream long under way; one before
        # zero is an audio codec's lead-in and stays.
        start = Fraction(max(container.start_time or 0, 0), av.time_base)
        self.shift = self._first_shift = -round(start / self.time_base)
        self._last: int | None = None
        self._due = 0  # where the picture after the last one is due
        # AVI knows only the order of decoding, at a constant rate: its times are off with B-frames.
        self._counts = container.format.name == "avi" and stream.codec_context.has_b_frames

    @property
    def end(self) -> Fraction:
        """End of the last picture on the container's own clock, in seconds."""
        return (self._due - self._first_shift) * self.time_base

    def frame(self, picture: av.VideoFrame) -> Frame:
        """Makes a frame of a decoded picture."""
        stamp = None if self._counts else picture.pts
        if self._reads_wall_clock:
            stamp = round(Fraction(time.perf_counter()) / self.time_base)
            self.shift = -stamp if self._last is None else self.shift
        pts = self._due if stamp is None else stamp + self.shift
        if self._last is not None and pts <= self._last:
            if (self._last - pts) * self.time_base > STEP_BACK:
                self.shift += self._due - pts
                pts = self._due
            else:
                pts = self._last + 1
        # Files hold the distance to the next frame; this is for the last one.
        duration = self._step if self._reads_wall_clock else picture.duration or self._step
        self._last, self._due = pts, pts + duration
        return Frame(picture, pts, duration, self.time_base)


def _open(address: str, name: str) -> InputContainer:
    remote = "://" in address
    if not remote:
        path = Path(address)
        if path.is_dir():
            raise UserError(f"{name}: is a folder; name its images, such as {name}/%05d.png")
        if not path.is_file():
            raise UserError(f"{name}: no such file; check the path")
        if not path.stat().st_size:
            raise UserError(f"{name}: an empty file; replace or remove it")
        address = str(path.absolute())  # libav takes `12:` in `12:30.mp4` for a protocol
    options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    timeout = (OPEN_TIMEOUT, READ_TIMEOUT) if remote else None
    try:
        # Old programs write titles in the encoding of their country.
        return av.open(address, "r", options=options, timeout=timeout, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        what = "no connection" if remote else "not a video, or damaged from the beginning"
        raise UserError(f"{name}: {what} ({reason(error)}); check it") from error


def _is_cut_off(path: Path) -> bool:
    """Tells whether a Matroska file is shorter than the element that holds all of its contents."""
    if not path.is_file():  # a stream
        return False
    with path.open("rb") as file:
        for element in (0x1A45DFA3, 0x18538067):  # EBML's header, then the segment
            name, first = int.from_bytes(file.read(4), "big"), file.read(1)
            if name != element or not first or not first[0]:
                return False
            more = 8 - first[0].bit_length()  # as many bytes as there are zero bits before a one
            size = int.from_bytes(bytes([first[0] ^ (0x80 >> more)]) + file.read(more), "big")
            if size == (1 << 7 * (more + 1)) - 1:  # unknown, as where it was written as a stream
                return False
            end = file.tell() + size
            file.seek(end)
        return end > path.stat().st_size


def _video_stream(container: InputContainer, name: str) -> av.VideoStream:
    """Chooses the stream of moving pictures; a cover picture is none."""
    for stream in container.streams.video:
        is_cover = stream.disposition & av.stream.Disposition.attached_pic
        if not is_cover and stream.codec_context is not None:
            return stream
    raise UserError(f"{name}: holds no video, or one of an unknown codec")


def reason(error: BaseException) -> str:
    """Puts an error of libav into a few words, without the path it repeats."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
