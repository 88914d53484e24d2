"""Which source a name means, and the sources that need no PyAV."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import cv2
import numpy as np

from bisenetv2.errors import UserError, require
from bisenetv2.images import Image, read_image
from bisenetv2.inference.video.frames import CLOCK, DEFAULT_RATE, Frame, Source
from bisenetv2.inference.video.live import LiveSource, print_notice

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".mpeg", ".wmv",
    ".flv", ".3gp", ".ogv", ".mjpeg", ".mjpg", ".h264", ".264", ".hevc", ".265", ".mts", ".qt",
    ".vob", ".asf",
)  # fmt: skip
"""File name endings taken for videos, in lower case."""

OVERLAY_SUFFIXES = (".mp4", ".mkv", ".mov")
"""Containers an overlay can be written to, by file name ending."""

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]
"""x264's presets: slower ones give smaller files of the same quality."""

# As many digits as any number or file name needs: Python cannot take or pad to any count of them.
CAMERA = re.compile(r"camera:(\d{1,18})")
NUMBERED = re.compile(r"%(0?\d{0,2})d")
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

LOWEST_RATE = 1e-5
"""Frames a second of an image sequence: about one a day."""

LAST_CAMERA = 2**31 - 1
"""Largest number that OpenCV takes."""


def is_video_file(path: Path) -> bool:
    """Tells by its ending whether a path is a video file's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_moving(name: str) -> bool:
    """Tells whether a name means moving pictures but no one file: camera, URL, numbered images."""
    numbered = NUMBERED.search(Path(name).name) is not None and not Path(name).exists()
    return numbered or bool(CAMERA.fullmatch(name) or URL.match(name))


def without_secrets(address: str) -> str:
    """Leaves out of a URL its user, password and query, and of others nothing.

    A password that should have been escaped may hold `/`, `?` or `#`: what then looks like the host
    has no port for one.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    elif not re.fullmatch(r"(\[.*\]|[^:]*)(:\d*)?", host):
        rest = rest.rpartition("@")[2]
    return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"


def without_file_scheme(name: str) -> str:
    """Makes a path of a `file://` address, and leaves any other name as it is."""
    if not name.lower().startswith("file://"):
        return name
    path = re.sub("^localhost(?=/)", "", name[len("file://") :])
    plain = unquote(path)  # as file managers write it; `%05d` stands for numbers
    return plain if Path(plain).exists() and not Path(path).exists() else path or name


def short_name(name: str) -> str:
    """Makes a file name of a camera, a URL (without password and query) or numbered images."""
    if URL.match(name):
        address = without_secrets(name).partition("://")[2]
        return re.sub(r"[^\w-]+", "_", address).strip("_") or "stream"
    if CAMERA.fullmatch(name):
        return name.replace(":", "_")
    before = re.sub(r"[\W_]+$", "", name[: name.rindex("%")])
    return Path(before).name or "frames"


def open_source(
    source: str | Path | Iterable[str | Path],
    *,
    fps: float | None = None,
    sound: bool = False,
    notice: Callable[[str], None] = print_notice,
) -> Source:
    """Opens what yields frames and reads its first frame.

    Args:
        source: Video file; URL (`rtsp://`, `http://`, …); `camera:N`; numbered images such as
            `frames/%05d.png`; or the paths of images in their order.
        fps: Frames a second of an image sequence (25 if left out), or to ask a camera for.
        sound: Also yield the packets of the source's audio.
        notice: Takes a line for each loss and return of a live source's connection.

    Raises:
        UserError: If it cannot be opened or holds no frame, or PyAV is needed and missing.
    """
    if fps is not None and not LOWEST_RATE <= fps <= 1000:
        raise UserError(f"fps {fps:g}: expected {LOWEST_RATE:g} to 1000")
    # A fraction of small numbers: 2997/100 of 29.97, 1/3600 of the float next to it.
    rate = None
    if fps is not None:
        small = Fraction(max(fps, 1 / fps)).limit_denominator(1001)
        rate = small if fps >= 1 else 1 / small
    if not isinstance(source, (str, Path)):
        return ImageSequence([Path(path) for path in source], rate or DEFAULT_RATE)
    name = without_file_scheme(str(source))
    camera = CAMERA.fullmatch(name)
    if camera:
        return LiveSource(partial(Camera, int(camera[1]), rate), notice)
    if is_moving(name) and not URL.match(name):
        return ImageSequence(numbered_images(name), rate or DEFAULT_RATE, name)
    try:
        from bisenetv2.inference.video.containers import ContainerSource
    except ModuleNotFoundError as error:
        raise require(error.name or "av", "video") from error
    opened = ContainerSource(name, sound)
    if not opened.live:
        return opened
    # The connection just made is the live source's first.
    made = [opened]
    return LiveSource(lambda: made.pop() if made else ContainerSource(name, sound), notice)


def numbered_images(pattern: str) -> list[Path]:
    """Finds the images of a pattern with one `%d` or `%05d` in its name, in order of number.

    Raises:
        UserError: If there is none.
    """
    folder, name = Path(pattern).parent, Path(pattern).name
    found = NUMBERED.search(name)
    assert found is not None
    before, after = re.escape(name[: found.start()]), re.escape(name[found.end() :])
    expression = re.compile(rf"{before}(\d{{{max(1, int(found[1] or 1))},}}){after}")
    files = folder.iterdir() if folder.is_dir() else ()
    matches = [(m, path) for path in files if (m := expression.fullmatch(path.name))]
    if not matches:
        example = NUMBERED.sub(lambda found: f"{1:{found[1]}d}", pattern)
        raise UserError(f"{pattern}: no such images; expected files such as {example}")
    return [path for _, path in sorted((int(m[1]), path) for m, path in matches)]


class ImageSequence(Source):
    """Images as the frames of a film; see `Source`. One that cannot be read is left out."""

    def __init__(self, paths: Sequence[Path], rate: Fraction, name: str | None = None) -> None:
        """Reads the first image.

        Args:
            paths: The images in order.
            rate: Frames a second.
            name: What to call the sequence; by its first and last image if left out.

        Raises:
            UserError: If there is no image or none can be read.
        """
        if not paths:
            raise UserError("an image sequence of no images: give at least one path")
        last = f" to {paths[-1].name}" if len(paths) > 1 else ""
        super().__init__(name or f"{paths[0]}{last}")
        self.rate, self.time_base, self.total = rate, 1 / rate, len(paths)
        self._frames = self._read(paths)
        first = next(self._frames, None)
        if first is None:
            raise UserError(f"{self.name}: no image can be read ({self.damage[0]})")
        self.first = first

    def __iter__(self) -> Iterator[Frame]:
        yield self.first
        yield from self._frames

    def _read(self, paths: Sequence[Path]) -> Iterator[Frame]:
        for number, path in enumerate(paths):
            if self._stopped.is_set():
                return
            try:
                yield Frame(read_image(path), number, 1, self.time_base)
            except UserError as error:
                self.damage.append(str(error))


class Camera(Source):
    """One connection to a camera of this machine; see `Source`.

    OpenCV reads it: the base install has it, and it numbers cameras alike on every system.
    """

    live = True
    time_base = CLOCK

    def __init__(self, number: int, rate: Fraction | None = None) -> None:
        """Opens a camera and takes its first frame.

        Args:
            number: Which camera, from 0.
            rate: Frames a second to ask for.

        Raises:
            UserError: If there is no such camera or it gives no picture.
        """
        super().__init__(f"camera:{number}")
        with _silent_opencv():
            self._capture = cv2.VideoCapture(min(number, LAST_CAMERA))
        if rate is not None:
            self._capture.set(cv2.CAP_PROP_FPS, float(rate))
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate or (
            Fraction(stated).limit_denominator(1001) if 0 < stated <= 1000 else DEFAULT_RATE
        )
        self._start: float | None = None
        first = self._take()
        if first is None:
            self.close()
            raise UserError(
                f"{self.name}: gives no picture; is it plugged in, free, and the number right?"
            )
        self.first = first

    def __iter__(self) -> Iterator[Frame]:
        frame: Frame | None = self.first
        while frame is not None and not self._stopped.is_set():
            yield frame
            frame = self._take()
        if frame is None:
            self.damage.append("the camera gives no more pictures")

    def close(self) -> None:
        """Frees the camera."""
        self._capture.release()

    def _take(self) -> Frame | None:
        taken, picture = self._capture.read()
        if not taken:
            return None
        now = time.perf_counter()
        self._start = now if self._start is None else self._start
        image: Image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        pts, duration = round((now - self._start) / CLOCK), round(1 / (self.rate * CLOCK))
        return Frame(image, pts, duration, CLOCK, now)


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Keeps OpenCV from printing its own account of a camera that is not there."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
