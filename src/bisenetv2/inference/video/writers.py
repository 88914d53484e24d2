"""What a segmented video becomes: H.264 with overlay, masks as FFV1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import av
import av.error

from bisenetv2.errors import UserError
from bisenetv2.files import atomic_path, check_writable
from bisenetv2.inference.video.containers import reason
from bisenetv2.inference.video.frames import FULL_RANGE, LIMITED_RANGE, Frame, Sound, Source
from bisenetv2.inference.video.planes import PictureFormat, blend, scale_mask
from bisenetv2.inference.video.sound import add_sound
from bisenetv2.inference.video.sources import Preset
from bisenetv2.labels import Labels, Mask

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

DAMAGE = (av.error.InvalidDataError, av.error.PatchWelcomeError)
"""What libav raises about a packet that makes no sense to it."""


class Writer(NamedTuple):
    """Takes frames with their masks in order of time, and sound in between."""

    write: Callable[[Frame, Mask], None]
    write_sound: Callable[[Sound], None] = lambda _: None
    """Passes a packet of sound on; left out, ignores it."""


@contextmanager
def overlay_writer(
    path: Path,
    source: Source,
    labels: Labels,
    alpha: float = 0.5,
    preset: Preset = "ultrafast",
    crf: int = 20,
    notice: Callable[[str], None] = print,
) -> Iterator[Writer]:
    """Writes H.264 with the colours of the classes over the frames.

    The file has the source's times, size (turned upright), shape of pixels and colour space, and
    its audio packet by packet. It appears under its name when the block ends well, and is whole
    then: also where the frames stop early.

    Args:
        path: Where to; the ending names the container.
        source: What the frames come from; sound that proves damaged is added to its `damage`.
        labels: Colours of the classes.
        alpha: Opacity of the colours, 0 to 1.
        preset: x264's trade of speed for size.
        crf: x264's quality: 0 to 51, less is better; 18 is all but invisible.
        notice: Takes a line about sound that the container cannot hold.

    Raises:
        UserError: If a value is out of range or the file cannot be written.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha {alpha}: expected 0 to 1")
    if not 0 <= crf <= 51:
        raise UserError(f"crf {crf}: expected 0 to 51")
    if preset not in get_args(Preset):
        raise UserError(f"preset {preset!r}: choose one of {', '.join(get_args(Preset))}")
    with _container(path) as container:
        target = PictureFormat.of(source.first)
        # Without frames that refer to later ones: with them MP4 states a wrong length where the
        # rate varies.
        options = {"preset": preset, "crf": str(crf), "bf": "0"}
        stream = _add_stream(container, "libx264", source, target.size, target.pixels, options)
        _copy_appearance(stream, source, target)
        tracks = [add_sound(container, track) for track in source.sound_tracks]
        for track, added in zip(source.sound_tracks, tracks, strict=True):
            if added is None:
                codec = track.codec_context.codec.canonical_name
                notice(f"{path}: {path.suffix} cannot hold {codec} sound, which is left out")
        encoder = _Encoder(path, container, stream, tracks)

        def write(frame: Frame, mask: Mask) -> None:
            encoder.encode(blend(frame, mask, labels, alpha, target), frame)

        yield Writer(write, encoder.pass_sound)
        encoder.finish()
        if encoder.damaged:
            source.damage.append(f"{encoder.damaged} of {encoder.sounds} sound packets damaged")


@contextmanager
def mask_video_writer(path: Path, source: Source) -> Iterator[Writer]:
    """Writes masks as a lossless video: FFV1 in Matroska, grey values are class indices.

    Raises:
        UserError: If the file cannot be written.
    """
    with _container(path) as container:
        size = source.first.size
        options = {"level": "3", "slices": "4"}
        stream = _add_stream(container, "ffv1", source, size, "gray", options)
        encoder = _Encoder(path, container, stream, [])

        def write(frame: Frame, mask: Mask) -> None:
            if mask.shape != size:
                mask = scale_mask(mask, size)
            encoder.encode(av.VideoFrame.from_ndarray(mask, format="gray"), frame)

        yield Writer(write)
        encoder.finish()


class _Encoder:
    """Encodes pictures of one stream and muxes them with packets of sound.

    Attributes:
        sounds: Packets of sound that were passed on.
        damaged: How many of them the muxer refused.
    """

    def __init__(
        self, path: Path, container: OutputContainer, stream: VideoStream, sound_tracks: list[Any]
    ) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._sound_tracks = sound_tracks
        self._durations: dict[int, int] = {}
        self._last_sound = [Fraction(-(10**9))] * len(sound_tracks)
        self.sounds = self.damaged = 0

    def encode(self, picture: av.VideoFrame, frame: Frame) -> None:
        """Encodes a picture with the time of a frame."""
        picture.pts, picture.time_base = frame.pts, frame.time_base
        self._durations[frame.pts] = frame.duration
        self._encode(picture)

    def finish(self) -> None:
        """Writes out what is held back, and the end of the file."""
        self._encode(None)
        with self._without_damaged_sound():
            self._container.close()

    def _encode(self, picture: av.VideoFrame | None) -> None:
        with named(self._path):
            for packet in self._stream.encode(picture):
                # The muxer can tell every frame's duration from the next one's time, but for the
                # last.
                if packet.pts is not None:
                    packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
                with self._without_damaged_sound():
                    self._container.mux(packet)

    def pass_sound(self, sound: Sound) -> None:
        """Muxes a packet of sound; one that is not later than the one before is left out."""
        stream, packet = self._sound_tracks[sound.track], sound.packet
        if stream is None or packet.dts is None:
            return
        shift = round(sound.shift / packet.time_base)
        when = (packet.dts + shift) * packet.time_base
        if when <= self._last_sound[sound.track]:
            return
        self._last_sound[sound.track] = when
        packet.dts += shift
        packet.pts = packet.dts if packet.pts is None else packet.pts + shift
        packet.stream = stream
        self.sounds += 1
        with self._without_damaged_sound():
            self._container.mux(packet)

    @contextmanager
    def _without_damaged_sound(self) -> Iterator[None]:
        """Counts sound that the muxer refuses, and goes on without.

        The muxer keeps packets until their turn, so that it may refuse one when it is handed
        another or at the end. Pictures come from an encoder and are whole.
        """
        with named(self._path):
            try:
                yield
            except DAMAGE:
                if not self.sounds:
                    raise
                self.damaged += 1


@contextmanager
def _container(path: Path) -> Iterator[OutputContainer]:
    """Opens a container under a temporary name, closes and renames it."""
    check_writable(path)  # a folder of that name would be noticed only when it is renamed
    with atomic_path(path) as temporary:
        with named(path):
            container = av.open(str(temporary), "w")
        try:
            yield container
        except BaseException:
            with suppress(av.error.FFmpegError, OSError):
                container.close()
            raise
        with named(path):
            container.close()


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turns what libav raises about a file into the user's error."""
    try:
        yield
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written ({reason(error)})") from error


def _add_stream(
    container: OutputContainer,
    codec: str,
    source: Source,
    size: tuple[int, int],
    pixels: str,
    options: dict[str, str],
) -> VideoStream:
    stream: VideoStream = container.add_stream(codec, rate=source.rate, options=options)  # type: ignore[assignment]
    stream.height, stream.width = size
    stream.pix_fmt = pixels
    stream.codec_context.time_base = stream.time_base = source.time_base
    return stream


def _copy_appearance(stream: VideoStream, source: Source, target: PictureFormat) -> None:
    """Tells players to show colours and the pixels' shape as they would show the source's."""
    context, appearance = stream.codec_context, source.appearance
    context.colorspace = target.matrix
    context.color_range = FULL_RANGE if target.full_range else LIMITED_RANGE
    context.color_primaries, context.color_trc = appearance.primaries, appearance.transfer
    aspect = appearance.pixel_aspect
    context.sample_aspect_ratio = 1 / aspect if source.first.orientation.transpose else aspect
