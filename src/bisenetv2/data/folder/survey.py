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

from bisenetv2.data.encodings import pack_colors, single_channel, unpack_colors
from bisenetv2.errors import UserError
from bisenetv2.images import is_lossy, read_mask, read_palette
from bisenetv2.labels import IGNORE_INDEX, Color

_MOST_VALUES = 1 << 20

_MANY_BLENDS = 16
"""Values that fill no area from which on they are blends along edges: thin classes are fewer."""

_SLIPS = 10_000
"""Of so many pixels, one in a colour that fills no area is a slip of the brush."""


@dataclass
class Group:
    """Counts over the files of one kind."""

    pixels: Counter[int] = field(default_factory=Counter)
    """Pixels of each value: an id, or 0xRRGGBB."""

    solid: Counter[int] = field(default_factory=Counter)
    """Of these, pixels whose eight neighbours hold the same. Blends along edges have none: this
    tells a class from what anti-aliasing and JPEG make of the border between two."""

    first: Path | None = None
    """First file of the kind."""

    def __add__(self, other: Group) -> Group:
        return Group(
            self.pixels + other.pixels, self.solid + other.solid, self.first or other.first
        )

    @property
    def blended(self) -> bool:
        """Whether ids are black and white with anti-aliased edges.

        Values between that fill no area could be thin classes instead, but those have few and low
        ids.
        """
        between = self.pixels.keys() - {0, 255}
        many = len(between) >= _MANY_BLENDS
        return self.solid.keys() == {0, 255} and (many or min(between, default=0) >= 16)

    @property
    def is_photograph(self) -> bool:
        """Whether colours are too many for classes and fill little of the area.

        In CamVid's photographs they fill up to 21 %; in its masks, 160 pixels wide and saved as
        JPEG, 24 % and more.
        """
        many = len(self.pixels) > IGNORE_INDEX
        return many and 4 * self.solid.total() < self.pixels.total()

    def mapped(self, change: Callable[[int], int]) -> Group:
        """Returns the counts of other values for these."""
        new = Group(first=self.first)
        for source, target in ((self.pixels, new.pixels), (self.solid, new.solid)):
            for value, count in source.items():
                target[change(value)] += count
        return new


class Held(NamedTuple):
    """Values of one file, as ids and as colours; of colours, those that fill areas."""

    ids: frozenset[int]
    colors: frozenset[int]


@dataclass
class Survey:
    """What the files of each kind hold."""

    grey: Group = field(default_factory=Group)
    """Ids of images and arrays of one channel."""

    palette: Group = field(default_factory=Group)
    """Ids of palette images."""

    palette_colors: Group = field(default_factory=Group)
    """The same pixels in their colours."""

    grey_rgb: Group = field(default_factory=Group)
    """Greys of RGB files without colour: ids of a library that writes no others, or colours."""

    colored: Group = field(default_factory=Group)
    """Colours of RGB files."""

    lossy: Path | None = None
    """First file of a format that changes values."""

    photograph: Path | None = None
    """First file of more colours than there can be classes, three quarters of whose pixels or more
    border on other colours."""

    colors_of_ids: dict[int, Color] = field(default_factory=dict)
    """Colours of ids, by the first palette image that has them."""

    holds: dict[Path, Held] = field(default_factory=dict)
    """Values of each file."""

    bits: int = 0
    """Pixels of 1 in images of 1 bit, where it is white; counted if others hold 0 and 255."""

    painted: set[tuple[int, int]] = field(default_factory=set)
    """Ids that occur in palette images, 255 apart, each with the colours 0xRRGGBB it has there."""

    @property
    def renumbered(self) -> bool:
        """Whether palette images give one id several colours, and one colour several ids."""
        ids, colors = zip(*self.painted, strict=True) if self.painted else ((), ())
        return len(set(ids)) < len(ids) and len(set(colors)) < len(colors)

    @property
    def ids(self) -> Group:
        """All files as ids, but for those with colour."""
        return self.grey + self.palette + self.grey_rgb

    @property
    def colors(self) -> Group:
        """All files as colours."""
        greys = (self.grey + self.grey_rgb).mapped(lambda grey: grey * 0x010101)
        return self.colored + self.palette_colors + greys


class _File(NamedTuple):
    channels: int
    """1, or 3 where there is colour, or 2 for RGB without."""

    group: Group
    palette: npt.NDArray[np.uint8] | None

    @property
    def held(self) -> Held:
        if self.channels == 3:
            return Held(frozenset(), frozenset(self.group.solid))
        ids = frozenset(self.group.pixels)
        if self.palette is None:
            return Held(ids, frozenset(value * 0x010101 for value in ids if value <= 255))
        colors = pack_colors(self.palette)
        return Held(ids, frozenset(int(colors[value]) for value in ids))


def survey(masks: Sequence[Path], progress: Callable[[], None] | None = None) -> Survey:
    """Looks at every mask.

    Args:
        masks: The files.
        progress: Called after each.

    Raises:
        UserError: If a file is unreadable or holds ids below 0, or if they hold so many values that
            they are photographs rather than masks.
    """
    total, ones = Survey(), dict[Path, int]()
    with ThreadPoolExecutor() as pool:
        for path, file in zip(masks, pool.map(_look, masks), strict=True):
            if file.palette is not None:
                colors = pack_colors(file.palette).tolist()
                total.palette += file.group
                total.palette_colors += file.group.mapped(dict(enumerate(colors)).__getitem__)
                given = np.flatnonzero(file.palette.any(axis=1)).tolist()
                # A short palette ends in black, which is nobody's colour unless it is used.
                for value in {*range(max(given, default=0)), *given, *file.group.pixels}:
                    red, green, blue = file.palette[value].tolist()
                    total.colors_of_ids.setdefault(value, (red, green, blue))
                used = file.group.pixels.keys() - {IGNORE_INDEX}
                total.painted |= {(value, colors[value]) for value in used}
            elif file.channels == 1:
                total.grey += file.group
                if max(file.group.pixels, default=0) == 1:
                    ones[path] = file.group.pixels[1]
            elif file.channels == 2:
                total.grey_rgb += file.group
            else:
                total.colored += file.group
                if total.photograph is None and file.group.is_photograph:
                    total.photograph = path
            total.holds[path] = file.held
            if total.lossy is None and is_lossy(path):
                total.lossy = path
            if len(total.grey.pixels) + len(total.colored.pixels) > _MOST_VALUES:
                raise UserError(
                    f"{path}: photographs rather than masks: more than a million values; "
                    "give the folder of masks"
                )
            if progress is not None:
                progress()
    if total.ids.pixels.keys() == {0, 1, IGNORE_INDEX}:
        white = [path for path in ones if read_mask(path, as_colors=True).max() > 1]
        total.bits = sum(ones[path] for path in white)
    return total


def _look(path: Path) -> _File:
    pixels = read_mask(path)
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
    group = Group(count_values(values.ravel()), count_values(core[solid]), path)
    channels = 1 if pixels.ndim == 2 else (3 if ids is None else 2)
    return _File(channels, group, read_palette(path))


def count_values(values: npt.NDArray[np.integer]) -> Counter[int]:
    """Counts values (N) that mostly repeat: runs are short to sort, pixels are not."""
    if not values.size:
        return Counter()
    starts = np.concatenate([[0], 1 + np.flatnonzero(values[1:] != values[:-1])])
    lengths = np.diff(starts, append=values.size)
    unique, place = np.unique(values[starts], return_inverse=True)
    counts = np.bincount(place, weights=lengths).astype(np.int64)
    return Counter(dict(zip(unique.tolist(), counts.tolist(), strict=True)))


def class_colors(colors: Group, distance: int) -> list[Color]:
    """Chooses the colours that fill areas, and those of thin classes.

    Colours that fill none are blends along edges if they are many, or lie between two that do.
    Those of three classes are rarer than these, and slips of the brush hold few pixels.

    Args:
        colors: Counts of all colours.
        distance: How far those of areas differ from file to file, as after JPEG; there the most
            frequent colour stands for all, and thin ones are not told from blends.

    Raises:
        UserError: If they are more than there can be classes.
    """
    solid = colors.solid or colors.pixels
    thin = colors.pixels.keys() - solid.keys()
    if not distance and len(thin) < _MANY_BLENDS and len(solid) <= IGNORE_INDEX:
        blends = {code for code in thin if _between(code, [*solid])}
        slips = sum(colors.pixels.values()) // _SLIPS
        least = max([slips, *(colors.pixels[code] for code in blends)])
        thin = {code for code in thin - blends if colors.pixels[code] > least}
        solid = solid + Counter({code: colors.pixels[code] for code in thin})
    chosen = apart(solid, distance or 16 * (len(solid) > IGNORE_INDEX))
    if len(chosen) > IGNORE_INDEX:
        raise UserError(
            f"{colors.first}: photographs rather than masks: more than 255 colours fill areas; "
            "give the folder of masks"
        )
    return sorted(chosen)


def _between(code: int, solid: Sequence[int]) -> bool:
    """Whether a colour lies on the straight way from one to another, to three steps a channel."""
    ends = unpack_colors(np.array(solid, np.int32)).astype(np.float64)  # N, 3
    way = ends - ends[:, None]  # N, N, 3
    off = unpack_colors(np.array([code], np.int32)) - ends[:, None]  # N, 1, 3
    share = (off * way).sum(-1) / np.maximum((way**2).sum(-1), 1)  # N, N
    missed = np.abs(share.clip(0, 1)[..., None] * way - off).max(axis=-1)
    return bool((missed <= 3).any())


def apart(counts: Counter[int], distance: int) -> list[Color]:
    """Returns the most frequent colours, up to 256, each further than `distance` from the rest."""
    codes = np.array(sorted(counts, key=lambda code: (-counts[code], code)), np.int32)
    colors = unpack_colors(codes)  # N, 3
    chosen: list[Color] = []
    while len(colors) and len(chosen) <= IGNORE_INDEX:
        red, green, blue = colors[0].tolist()
        chosen.append((red, green, blue))
        colors = colors[np.abs(colors - colors[0]).max(axis=1) > distance]
    return chosen
