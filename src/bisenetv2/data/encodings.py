"""The pixels of a mask file, whatever a labelling tool wrote, to class indices.

How the files of a data set are to be read is decided once, for all of them (`Encoding`); a file is
never guessed at on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError
from bisenetv2.images import read_mask
from bisenetv2.labels import Color, Labels, Mask

Kind = Literal["ids", "instances", "colors"]

_UNSEEN, _STRAY = -2, -1


@dataclass(frozen=True)
class Encoding:
    """What the pixels of a data set's mask files are: the same for all its files."""

    kind: Kind = "ids"
    """`ids`: palette indices, grey values, 16-bit or array values that the labels' raw ids give a
    meaning; `instances`: 0 is the first class, any other number the second, unless the raw ids list
    it; `colors`: RGB."""

    colors: tuple[tuple[Color, int], ...] = ()
    """For `colors`: pairs of a colour and its class index or ignore index."""

    tolerance: int = 0
    """For `colors`: by how much each channel of a pixel may differ from its colour, 0-255."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= 255:
            raise UserError(f"tolerance {self.tolerance}: channels differ by 0 to 255")
        seen: dict[Color, int] = {}
        for color, index in self.colors:
            if seen.setdefault(color, index) != index:
                raise UserError(f"colour {list(color)} is listed for two classes: keep one of them")

    @cached_property
    def _table(self) -> npt.NDArray[np.int16]:
        """Class of each of the 2^24 colours, found out when a colour is first met."""
        table = np.full(1 << 24, _UNSEEN, np.int16)
        for color, index in self.colors:
            table[pack_color(color)] = index
        return table

    def classify(self, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
        """Gives packed colours their class: that of the nearest colour, -1 beyond the tolerance."""
        found = self._table.take(codes)
        unseen = found == _UNSEEN
        if unseen.any():
            new = np.unique(codes[unseen])
            self._table[new] = self._nearest(new)  # threads may do it twice, to the same effect
            found = self._table.take(codes)
        return found

    def _nearest(self, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
        values = unpack_colors(codes)  # N, 3
        best = np.full(codes.size, self.tolerance + 1, np.int16)
        classes = np.full(codes.size, _STRAY, np.int16)
        for color, index in self.colors:
            apart = np.abs(values - np.array(color, np.int16)).max(axis=1)
            classes[apart < best] = index
            best = np.minimum(best, apart)
        return classes


class ClassMask(NamedTuple):
    """A mask in class indices."""

    mask: Mask  # H, W
    strays: int
    """Pixels whose colour stands for no class; they are ignored."""


def read_classes(path: str | Path, encoding: Encoding, labels: Labels) -> ClassMask:
    """Reads a mask file.

    Args:
        path: An image of any depth and kind, or a NumPy array.
        encoding: What its pixels are.
        labels: What the ids in it mean.

    Raises:
        UserError: If the file is unreadable or of another encoding, an id in it is neither a class
            nor ignored, or most of its colours are none of the encoding's.
    """
    pixels = read_mask(path, as_colors=encoding.kind == "colors")
    if encoding.kind == "colors":
        return _match(path, pixels, encoding, labels)
    ids = single_channel(pixels)
    if ids is None:
        raise UserError(
            f"{path}: holds RGB colours, not class ids; convert it to a single-channel mask, or "
            "list the colours in dataset.yaml with `encoding: colors`"
        )
    if encoding.kind == "instances":
        mask = (ids != 0).astype(np.uint8)
        for raw, index in labels.raw_ids or ():
            mask[ids == raw] = index
        return ClassMask(mask, 0)
    return ClassMask(labels.from_raw(ids, path), 0)


def _match(
    path: str | Path, pixels: npt.NDArray[np.integer], encoding: Encoding, labels: Labels
) -> ClassMask:
    codes = pack_colors(pixels)
    classes = encoding.classify(codes)
    stray = classes == _STRAY
    strays = int(np.count_nonzero(stray))
    if 2 * strays > stray.size:
        values, counts = np.unique(codes[stray], return_counts=True)
        color = unpack_colors(values[counts.argmax()])
        raise UserError(
            f"{path}: {100 * strays / stray.size:.0f} % of its pixels are within "
            f"{encoding.tolerance} of no known colour, most of them {color.tolist()}; list it in "
            "dataset.yaml as a class or under `ignore`"
        )
    return ClassMask(np.where(stray, labels.ignore_index, classes).astype(np.uint8), strays)


def single_channel(pixels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer] | None:
    """Returns H×W ids, also of RGB whose channels are equal; `None` where there is colour."""
    if pixels.ndim == 2:
        return pixels
    red = pixels[..., 0]
    grey = np.array_equal(red, pixels[..., 1]) and np.array_equal(red, pixels[..., 2])
    return red if grey else None


def pack_colors(pixels: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Packs RGB (…×3) to 0xRRGGBB (…)."""
    codes = pixels[..., 0].astype(np.int32)
    for channel in (1, 2):  # in place: three times as fast
        codes <<= 8
        codes |= pixels[..., channel]
    return codes


def pack_color(color: Color) -> int:
    """Packs one colour to 0xRRGGBB."""
    return int(pack_colors(np.array(color)))


def unpack_colors(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
    """Unpacks 0xRRGGBB (…) to RGB (…×3)."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.int16)
