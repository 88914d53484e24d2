"""Frames and sound out of video files and network streams, by PyAV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from bisenetv2.errors import UserError
from bisenetv2.inference.video.frames import DEFAULT_RATE, Appearance, Frame, Sound, Source

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

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

    def __init__(self, name: str, sound: bool = False) -> None:
        """Opens a file or URL and decodes its first frame.

        Args:
            name: Path or URL.
            sound: Also yield the packets of its audio streams.

        Raises:
            UserError: If it cannot be opened, holds no video or no frame that can be decoded.
        """
        super().__init__(name)
        scheme = name.partition("://")[0] if "://" in name else ""
        if not scheme and not Path(name).is_file():
            raise UserError(f"{name}: no such file; check the path")
        if not scheme and not Path(name).stat().st_size:
            raise UserError(f"{name}: an empty file; replace or remove it")
        options = {"rtsp_transport": "tcp"} if scheme in ("rtsp", "rtsps") else {}
        timeout = (OPEN_TIMEOUT, READ_TIMEOUT) if scheme else None
        try:
            self._container = av.open(name, "r", options=options, timeout=timeout)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            what = "no connection" if scheme else "not a video, or damaged from the beginning"
            raise UserError(f"{name}: {what} ({reason(error)}); check it") from error
        self.live = scheme in LIVE_SCHEMES or bool(scheme and self._container.duration is None)
        try:
            self._video = _video_stream(self._container)
            self._describe(sound)
            self._items = self._decode()
            self._before: list[Frame | Sound] = []
            self.first = self._read_first()
        except BaseException:
            self._container.close()
            raise

    def _describe(self, sound: bool) -> None:
        stream, container = self._video, self._container
        # Slices in place of whole frames: threads over frames would hold live ones back.
        stream.thread_type = "SLICE" if self.live else "AUTO"
        self.time_base = stream.time_base or 1 / DEFAULT_RATE
        rate = stream.average_rate or stream.guessed_rate
        self.rate = Fraction(rate) if rate and 0 < rate <= HIGHEST_RATE else DEFAULT_RATE
        # A start after zero is the muxer's habit (MPEG-TS) or a stream long under way; one before
        # zero is an audio codec's lead-in and stays.
        start = Fraction(max(container.start_time or 0, 0), av.time_base)
        self._shift = self._shift_start = -round(start / self.time_base)  # ticks
        self._shift_sound = -start  # seconds
        self._next = 0  # ticks: where the frame after the last one is due
        self._last = -1
        self._cut_off: av.Packet[Any] | None = None
        self._end = Fraction(0)  # seconds on the container's own clock
        # AVI knows the order of decoding alone, at a constant rate: with B-frames its times are off.
        self._counted = container.format.name == "avi" and stream.codec_context.has_b_frames
        self._invented_times = self.live and bool(container.format.flags & NO_TIMESTAMPS)
        context = stream.codec_context
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
        broken_off = True
        try:
            for packet in self._packets():
                if self._stopped.is_set():
                    return
                self._note_end(packet)
                if packet.stream in self.sound_tracks and packet.dts is not None:
                    track = self.sound_tracks.index(packet.stream)
                    yield Sound(packet, track, self._shift_sound)
                if packet.stream is not self._video:
                    continue
                packets += packet.size > 0
                if packet is self._cut_off:
                    damaged += 1
                    continue
                try:
                    pictures = self._video.decode(packet)
                except av.error.FFmpegError:
                    damaged += 1
                    continue
                damaged += packet.is_corrupt or any(p.is_corrupt for p in pictures)
                yield from (self._frame(picture) for picture in pictures)
            broken_off = False
        except (av.error.FFmpegError, OSError) as error:
            self.damage.append(f"breaks off: {reason(error)}")
        if broken_off:
            yield from (self._frame(picture) for picture in self._flush())
        if damaged:
            self.damage.append(f"{damaged} of {packets} video packets damaged")
        if not self.live:
            self._check_length()

    def _packets(self) -> Iterator[av.Packet[Any]]:
        """Demultiplexes; sets `_cut_off` before it yields a damaged last packet of video.

        Decoded, that would cost more than itself: PyAV throws away what a decoder of many threads
        still holds when that meets an error at the end.
        """
        held = None
        # All streams are read: the end of the longest tells whether a file is whole.
        for packet in self._container.demux():
            if packet.stream is self._video and held is not None:
                self._cut_off = None if packet.size else held
                yield held
                held = None
            if packet.stream is self._video and packet.is_corrupt:
                held = packet
            else:
                yield packet

    def _flush(self) -> list[VideoFrame]:
        """Takes from the decoder what it still holds back."""
        try:
            return self._video.codec_context.decode(None)
        except av.error.FFmpegError:
            return []

    def _note_end(self, packet: av.Packet[Any]) -> None:
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self._end = max(self._end, end)

    def _check_length(self) -> None:
        """Holds the end of what was read against the length that the header promised."""
        container, stream = self._container, self._video
        name = container.format.name
        if name.startswith(("mov", "avi")) and stream.duration:
            promised = ((stream.start_time or 0) + stream.duration) * self.time_base
            got = (self._next - self._shift_start) * self.time_base
            slack = 2 / self.rate
        elif name.startswith("matroska") and container.duration:
            promised = Fraction((container.start_time or 0) + container.duration, av.time_base)
            got, slack = self._end, MATROSKA_SLACK
        else:  # what other formats say was measured on the file as it is
            return
        if got + slack < promised:
            self.damage.append(
                f"truncated: {float(got):.1f} of {float(promised):.1f} seconds are there"
            )

    def _frame(self, picture: VideoFrame) -> Frame:
        """Gives a picture its time: the container's where that can be, never a step back."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        duration = picture.duration or step
        stamp = picture.pts
        if self._invented_times:
            stamp = round(Fraction(time.perf_counter()) / self.time_base)
            if self._last < 0:
                self._shift = -stamp
        pts = self._next if stamp is None or self._counted else stamp + self._shift
        if pts <= self._last:
            if (self._last - pts) * self.time_base > STEP_BACK:
                jump = self._next - pts
                self._shift += jump
                self._shift_sound += jump * self.time_base
                pts = self._next
            else:
                pts = self._last + 1
        self._last, self._next = pts, pts + duration
        return Frame(picture, pts, duration, self.time_base)


def _video_stream(container: av.container.InputContainer) -> VideoStream:
    """Chooses the stream of moving pictures; a cover picture is none."""
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover and stream.codec_context is not None:
            return stream
    raise UserError(f"{container.name}: holds no video, or one of an unknown codec")


def reason(error: BaseException) -> str:
    """Puts an error of libav into a few words, without the path it repeats."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
