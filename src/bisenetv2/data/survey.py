"""What the masks of a data set hold: one look at all of them, before their encoding is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bisenetv2.data.encodings import pack_colors, single_channel
from bisenetv2.errors import UserError
from bisenetv2.images import read_mask_pixels, read_palette
from bisenetv2.labels import Color

LOSSY_SUFFIXES = (".jpg", ".jpeg")

_MOST_VALUES = 1 << 20


@dataclass
class Survey:
    """Counts over all masks."""

    ids: Counter[int] = field(default_factory=Counter)
    """Pixels of each id in files of one channel, palette files and RGB files without colour."""

    solid_ids: Counter[int] = field(default_factory=Counter)
    """Of these, pixels whose eight neighbours hold the same. Blends along edges have none: this
    tells a class from what anti-aliasing and JPEG make of the border between two."""

    colors: Counter[int] = field(default_factory=Counter)
    """Pixels of each 0xRRGGBB in files with colour."""

    solid_colors: Counter[int] = field(default_factory=Counter)
    """Of these, pixels whose eight neighbours hold the same."""

    colored: Path | None = None
    """First file with colour."""

    single: Path | None = None
    """First file without."""

    lossy: Path | None = None
    """First file of a format that changes values."""

    palette: tuple[Color, ...] | None = None
    """Colours of the first palette file, by id."""


class _File(NamedTuple):
    colored: bool
    counts: Counter[int]
    solid: Counter[int]


def survey(masks: Sequence[Path], progress: Callable[[], None] | None = None) -> Survey:
    """Looks at every mask.

    Args:
        masks: The files.
        progress: Called after each.

    Raises:
        UserError: If a file is unreadable or holds ids below 0, or if they hold so many values that
            they are photographs rather than masks.
    """
    total = Survey()
    with ThreadPoolExecutor() as pool:
        for path, file in zip(masks, pool.map(_look, masks), strict=True):
            if file.colored:
                total.colors += file.counts
                total.solid_colors += file.solid
                total.colored = total.colored or path
            else:
                total.ids += file.counts
                total.solid_ids += file.solid
                total.single = total.single or path
                if total.palette is None and (palette := read_palette(path)) is not None:
                    total.palette = tuple((int(r), int(g), int(b)) for r, g, b in palette)
            if path.suffix.lower() in LOSSY_SUFFIXES:
                total.lossy = total.lossy or path
            if len(total.ids) + len(total.colors) > _MOST_VALUES:
                raise UserError(
                    f"{path}: photographs rather than masks: more than a million values; "
                    "give the folder of masks"
                )
            if progress is not None:
                progress()
    return total


def _look(path: Path) -> _File:
    pixels = read_mask_pixels(path)
    ids = single_channel(pixels)
    if ids is not None and ids.size and ids.min() < 0:
        raise UserError(f"{path}: holds id {ids.min()}; ids start at 0: write 255 for ignored")
    values = pack_colors(pixels) if ids is None else ids
    core = values[1:-1, 1:-1]
    solid = np.ones(core.shape, np.bool_)
    height, width = core.shape
    if height > 0 and width > 0:
        for top, left in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
            solid &= values[top : top + height, left : left + width] == core
    return _File(ids is None, _count(values.ravel()), _count(core[solid]))


def _count(values: npt.NDArray[np.integer]) -> Counter[int]:
    """Counts values that mostly repeat: runs are short to sort, pixels are not."""
    if not values.size:
        return Counter()
    starts = np.flatnonzero(np.diff(values, prepend=values[:1]) != 0)
    starts = np.concatenate([[0], starts])
    lengths = np.diff(starts, append=values.size)
    unique, place = np.unique(values[starts], return_inverse=True)
    counts = np.bincount(place, weights=lengths).astype(np.int64)
    return Counter(dict(zip(unique.tolist(), counts.tolist(), strict=True)))
