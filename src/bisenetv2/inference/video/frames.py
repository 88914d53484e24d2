"""What a source of moving pictures yields, and what it says about itself."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.images import Image

if TYPE_CHECKING:
    import av

DEFAULT_RATE = Fraction(25)
"""Frames a second where nothing tells."""

CLOCK = Fraction(1, 90_000)
"""Time base of frames whose time is that of their arrival, in seconds."""

# libavutil's numbers of colour matrices and ranges.
BT709, UNSPECIFIED, BT601 = 1, 2, 5
LIMITED_RANGE, FULL_RANGE = 1, 2


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is turned to stand upright: first transposed, then mirrored."""

    transpose: bool = False
    mirror_rows: bool = False
    mirror_columns: bool = False

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """Reads the display matrix that came with a decoded picture.

        The matrix takes a stored point (x, y) to (ax + cy, bx + dy); angles that are no quarter
        turn are taken as the nearest one.
        """
        try:
            side_data: Mapping[Any, Any] = picture.side_data
        except ValueError:  # PyAV has no name for some of it, such as EXIF, and gives none of it
            turned = round(picture.rotation / 90) % 4  # quarters to the left
            return cls(turned % 2 == 1, turned in (1, 2), turned in (2, 3))
        matrix = side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return UPRIGHT
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, mirror_rows=b < 0, mirror_columns=c < 0)
        return cls(False, mirror_rows=d < 0, mirror_columns=a < 0)

    def apply(self, array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turns an array of H×W or H×W×C; returns it unchanged where nothing is to be turned."""
        turned: Any = array
        if self.transpose:
            turned = cv2.transpose(turned)
        if self.mirror_rows or self.mirror_columns:
            both = self.mirror_rows and self.mirror_columns
            turned = cv2.flip(turned, -1 if both else 0 if self.mirror_rows else 1)
        return np.asarray(turned, np.uint8)


UPRIGHT = Orientation()


@dataclass(eq=False)
class Frame:
    """One frame: the picture as decoded or as an array, and when it is shown.

    Attributes:
        picture: What the decoder returned, or an RGB array H×W×3.
        pts: When it is shown, in ticks of `time_base` since the start of the source.
        duration: How long, in ticks; 0 where unknown.
        time_base: Length of a tick in seconds.
        arrived: When it came out of the source, on the clock of `time.perf_counter`.
    """

    picture: av.VideoFrame | Image
    pts: int
    duration: int
    time_base: Fraction
    arrived: float = field(default_factory=time.perf_counter)

    @cached_property
    def orientation(self) -> Orientation:
        """How `picture` is turned to stand upright."""
        return UPRIGHT if isinstance(self.picture, np.ndarray) else Orientation.of(self.picture)

    @cached_property
    def image(self) -> Image:
        """RGB `uint8` H×W×3, upright; converted on first use."""
        if isinstance(self.picture, np.ndarray):
            return self.picture
        colours: dict[str, Any] = _colours(self.picture)
        array = np.asarray(self.picture.to_ndarray(format="rgb24", **colours), np.uint8)
        return np.ascontiguousarray(self.orientation.apply(array))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright picture."""
        if isinstance(self.picture, np.ndarray):
            return self.picture.shape[0], self.picture.shape[1]
        height, width = self.picture.height, self.picture.width
        return (width, height) if self.orientation.transpose else (height, width)

    @property
    def seconds(self) -> float:
        """When the frame is shown, since the start of the source."""
        return float(self.pts * self.time_base)


def is_full_range(picture: av.VideoFrame) -> bool:
    """Tells whether the luma of a picture runs from 0 to 255, not from 16 to 235."""
    return picture.format.name.startswith("yuvj") or picture.color_range == FULL_RANGE


def _colours(picture: av.VideoFrame) -> dict[str, int]:
    """Says how a YUV picture stores colours: PyAV before 17 does not look at its tags."""
    if picture.format.is_rgb or len(picture.format.components) < 3:
        return {}
    # The numbers of libswscale are those of libavutil, but for "unspecified".
    matrix = BT601 if picture.colorspace == UNSPECIFIED else int(picture.colorspace)
    return {
        "src_colorspace": matrix,
        "dst_colorspace": BT601,
        "src_color_range": FULL_RANGE if is_full_range(picture) else LIMITED_RANGE,
        "dst_color_range": FULL_RANGE,
    }


@dataclass(frozen=True)
class Sound:
    """A packet of sound on its way from source to file, never decoded.

    Attributes:
        packet: The packet as it was read.
        track: Which of the source's `sound_tracks` it belongs to.
        shift: Seconds to add to its timestamps, as was done with the frames'.
    """

    packet: av.Packet[Any]
    track: int
    shift: Fraction = Fraction(0)


@dataclass(frozen=True)
class Appearance:
    """What a player needs to know to show pictures as they are meant.

    Attributes:
        pixel_aspect: Width of a pixel over its height.
        primaries: libavutil's number of the colour primaries.
        transfer: libavutil's number of the transfer characteristic.
    """

    pixel_aspect: Fraction = Fraction(1)
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED


class Source(ABC):
    """Yields frames in order of time, one pass; sound packets come in between.

    Attributes:
        name: As the user gave it.
        live: Frames come when they come: who is late loses some.
        rate: Nominal frames a second.
        time_base: Seconds a tick of all frames' `pts`.
        total: Number of frames there will be, as far as can be told beforehand.
        first: The first frame, read already and also the first to be yielded.
        appearance: How its pictures are to be shown.
        sound_tracks: Audio streams whose packets are yielded.
        damage: One line for each kind of damage met so far; complete once iteration has ended.
    """

    live: bool = False
    rate: Fraction
    time_base: Fraction
    total: int | None = None
    first: Frame
    appearance: Appearance = Appearance()
    sound_tracks: Sequence[Any] = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.damage: list[str] = []
        self._stopped = threading.Event()

    @abstractmethod
    def __iter__(self) -> Iterator[Frame | Sound]:
        """Yields the frames, and sound packets where they were asked for."""

    def stop(self) -> None:
        """Asks the iteration, from any thread, to end soon; never waits."""
        self._stopped.set()

    def close(self) -> None:  # noqa: B027  # images hold nothing
        """Gives back what it holds; not while another thread still iterates."""
