"""What a segmented video becomes: H.264 with overlay and sound, masks as FFV1 or as PNG."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, get_args

import av
import av.error
from av.container import OutputContainer

from bisenetv2.errors import UserError
from bisenetv2.files import TEMPORARY, atomic_path, check_writable, held_folder, write_bytes
from bisenetv2.images import write_mask
from bisenetv2.inference.video.containers import reason
from bisenetv2.inference.video.frames import FULL_RANGE, LIMITED_RANGE, Frame, Sound, Source
from bisenetv2.inference.video.planes import PictureFormat, blend, scale_mask
from bisenetv2.inference.video.sources import OVERLAY_SUFFIXES, Preset
from bisenetv2.labels import Labels, Mask

DAMAGE = (av.error.InvalidDataError, av.error.PatchWelcomeError)
"""What libav raises about a packet that makes no sense to it."""

LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""What libav takes 1, 2, … channels for where a file does not say which they are."""

_MASK = re.compile(r"\d{6,}\.png").fullmatch


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
    target = PictureFormat.of(source.first)
    # Without frames that refer to later ones: with them MP4 states a wrong length where the rate
    # varies.
    options = {"preset": preset, "crf": str(crf), "bf": "0"}
    with _encoder(path, source, "libx264", target.pixels, options) as encoder:
        encoder.look_like(source, target)
        for track in source.sound_tracks:
            if not encoder.add_sound(track):
                codec = track.codec_context.codec.canonical_name
                notice(f"{path}: {path.suffix} cannot hold {codec} sound, which is left out")

        def write(frame: Frame, mask: Mask) -> None:
            encoder.encode(blend(frame, mask, labels, alpha, target), frame)

        yield Writer(write, encoder.pass_sound)
    if encoder.damaged:
        source.damage.append(f"{encoder.damaged} of {encoder.sounds} sound packets damaged")


@contextmanager
def mask_video_writer(path: Path, source: Source) -> Iterator[Writer]:
    """Writes masks as a lossless video: FFV1 in Matroska, grey values are class indices.

    Raises:
        UserError: If the file cannot be written.
    """
    size = source.first.size
    with _encoder(path, source, "ffv1", "gray", {"level": "3", "slices": "4"}) as encoder:

        def write(frame: Frame, mask: Mask) -> None:
            if mask.shape != size:
                mask = scale_mask(mask, size)
            encoder.encode(av.VideoFrame.from_ndarray(mask, format="gray"), frame)

        yield Writer(write)


@contextmanager
def mask_folder_writer(folder: Path) -> Iterator[Writer]:
    """Writes masks as `000000.png`, `000001.png`, …, and their times to `times.csv`.

    They are there when the block ends well, in place of those of an earlier run, which its
    `times.csv` lists.

    Raises:
        UserError: If a file cannot be written or is gone at the end, another run writes there, or
            masks are there that no run has listed.
    """
    made = not folder.exists()
    busy = "another run writes its masks there; wait for it, or choose another --output"
    times = ["file,seconds"]

    def write(frame: Frame, mask: Mask) -> None:
        name = f"{len(times) - 1:06d}.png"
        try:
            write_mask(temporary / name, mask)
        except UserError as error:
            raise UserError(str(error).replace(str(temporary), str(folder))) from error
        times.append(f"{name},{frame.seconds:.6f}")

    with held_folder(folder, busy) as held:
        try:
            with named(folder):
                old = _listed_masks(folder)
                foreign = sorted({p.name for p in folder.glob("*.png") if _MASK(p.name)} - old)
                if foreign:
                    raise UserError(
                        f"{folder}: holds {foreign[0]}, which is in no times.csv of an earlier "
                        "run; move it away or choose another --output"
                    )
                for killed in folder.glob(f"{TEMPORARY}*") if held else ():
                    rmtree(killed, ignore_errors=True)
                place = TemporaryDirectory(prefix=TEMPORARY, dir=folder, ignore_cleanup_errors=True)
            with place:
                temporary = Path(place.name)
                yield Writer(write)
                new = {path.name for path in temporary.glob("*.png")}
                if missing := len(times) - 1 - len(new):
                    raise UserError(
                        f"{folder}: {missing} of {len(times) - 1} masks were removed while the "
                        "others were made; leave the folder alone and run it again"
                    )
                # In this order, whenever it is killed, what is there is listed.
                with named(folder):
                    for name in old - new:
                        (folder / name).unlink(missing_ok=True)
                write_bytes(folder / "times.csv", "\n".join([*times, ""]).encode())
                with named(folder):
                    for name in new:
                        (temporary / name).replace(folder / name)
        finally:
            if made:
                with suppress(OSError):  # of a run that failed: it holds nothing
                    folder.rmdir()


def _listed_masks(folder: Path) -> set[str]:
    """Names of the masks that an earlier run listed."""
    try:
        lines = (folder / "times.csv").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return set()
    return {name for line in lines if _MASK(name := line.partition(",")[0])}


def suffix_for_sound(source: Source, preferred: str) -> str:
    """Chooses the container, named by its file name ending, that holds all of a source's sound.

    Args:
        source: Where the sound comes from.
        preferred: Taken where it can be, and where none can.
    """
    for suffix in (preferred, *OVERLAY_SUFFIXES):
        form = {".mkv": "matroska"}.get(suffix, suffix[1:])
        if all(_can_hold(form, track) for track in source.sound_tracks):
            return suffix
    return preferred


def _can_hold(form: str, track: Any) -> bool:
    """Tells by a file without packets whether a format takes a track: headers refuse some."""
    try:
        with av.open(BytesIO(), "w", format=form) as trial:
            _add_track(trial, track)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _add_track(container: OutputContainer, track: Any) -> Any:
    added = container.add_stream_from_template(track)
    layout = track.codec_context.layout
    if layout.name.endswith("channels") and layout.nb_channels <= len(LAYOUTS):
        # AVI and Matroska only count them; MP4 finds at its very end that it wants them named.
        added.codec_context.layout = LAYOUTS[layout.nb_channels - 1]
    return added


@contextmanager
def _encoder(
    path: Path, source: Source, codec: str, pixels: str, options: dict[str, str]
) -> Iterator[_Encoder]:
    """Opens a container under a temporary name; ends it well, or throws it away."""
    check_writable(path)  # a folder of that name would be noticed only when it is renamed
    with atomic_path(path) as temporary:
        with named(path):
            container = av.open(str(temporary), "w")
        try:
            stream: av.VideoStream = container.add_stream(codec, rate=source.rate, options=options)  # type: ignore[assignment]
            stream.height, stream.width = source.first.size
            stream.pix_fmt = pixels
            stream.codec_context.time_base = stream.time_base = source.time_base
            encoder = _Encoder(path, container, stream)
            yield encoder
            encoder.finish()
        finally:
            with suppress(av.error.FFmpegError, OSError):  # after an error; else it is closed
                container.close()


class _Encoder:
    """Encodes pictures of one stream and muxes them with packets of sound.

    Attributes:
        sounds: Packets of sound that were passed on.
        damaged: How many of them the muxer refused.
    """

    def __init__(self, path: Path, container: OutputContainer, stream: av.VideoStream) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._durations: dict[int, int] = {}
        self._sound_tracks: list[Any] = []  # of each of the source's: ours, or None
        self._last_sound: dict[int, Fraction] = {}  # seconds, by track
        self.sounds = self.damaged = 0

    def look_like(self, source: Source, target: PictureFormat) -> None:
        """Tells players to show colours and the pixels' shape as they would show the source's."""
        context, appearance = self._stream.codec_context, source.appearance
        context.colorspace = target.matrix
        context.color_range = FULL_RANGE if target.full_range else LIMITED_RANGE
        context.color_primaries, context.color_trc = appearance.primaries, appearance.transfer
        aspect = appearance.pixel_aspect
        turned = source.first.orientation.transpose
        context.sample_aspect_ratio = 1 / aspect if turned else aspect

    def add_sound(self, track: Any) -> bool:
        """Adds a track that takes the packets of another, if the container can hold it."""
        added = None
        if _can_hold(self._container.format.name, track):
            added = _add_track(self._container, track)
            added.metadata.update(track.metadata)  # its language
        self._sound_tracks.append(added)
        return added is not None

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
        with named(self._path):
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
        if when <= self._last_sound.get(sound.track, -math.inf):
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
def named(path: Path) -> Iterator[None]:
    """Turns what libav raises about a file into the user's error."""
    try:
        yield
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written ({reason(error)})") from error
