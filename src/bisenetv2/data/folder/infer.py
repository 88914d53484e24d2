"""Names the encoding and the classes of masks from what all of them hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bisenetv2.builtin_labels import voc_color
from bisenetv2.data.encodings import Encoding, Kind, pack_colors, unpack_colors
from bisenetv2.data.folder.class_files import VOID, NamedClass
from bisenetv2.data.folder.dataset_yaml import ClassEntry, Description
from bisenetv2.data.folder.matching import Source
from bisenetv2.data.folder.survey import Group, Survey
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX, Color

TOLERANCE = 16
"""Largest difference of a channel, 0-255, at which a near miss of a colour still counts as it.

A wider one keeps more of what JPEG blurred, but gives more of it to a wrong class: better ignored.
"""

_BINARY = ("background", "foreground")
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_WIDE_IGNORE = 65535


class Inferred(NamedTuple):
    """Encoding and classes of a data set, and what to tell about them."""

    kind: Kind
    classes: tuple[ClassEntry, ...]
    ignore: tuple[int | Color, ...]
    tolerance: int
    notes: tuple[str, ...]

    def description(
        self, data: Path, root: Path, splits: Mapping[str, Source], notes: Sequence[str]
    ) -> Description:
        """Describes the data set that was looked at.

        Args:
            data: The folder or list as the user names it.
            root: Where the paths of the splits start.
            splits: Where images and masks are.
            notes: What to tell the user.

        Raises:
            UserError: If classes or splits contradict each other.
        """
        return Description(
            root=root,
            splits=splits,
            classes=self.classes,
            kind=self.kind,
            tolerance=self.tolerance,
            ignore=self.ignore,
            name=data.resolve().stem if data.is_file() else data.resolve().name,
            notes=tuple(notes),
        )


def infer(found: Survey, named: Sequence[NamedClass], source: Path | None) -> Inferred:
    """Infers how masks are to be read.

    Args:
        found: What all of them hold.
        named: Classes listed beside the data, if any.
        source: The file that lists them.

    Raises:
        UserError: If the masks contradict each other or the list, or hold nothing like classes.
    """
    wide = max(found.grey.pixels, default=0) > 255
    if found.colored.pixels:
        listed = {item.color for item in named}
        foreign = [
            grey for grey in sorted(found.grey.pixels) if grey and (grey, grey, grey) not in listed
        ]
        if foreign and (wide or found.lossy is None):
            raise UserError(
                f"{found.colored.first} holds colours, {found.grey.first} ids (such as "
                f"{foreign[0]}): masks of two encodings; convert them with "
                "`bisenetv2 convert-labels`"
            )
        return _colors(found, named, source)
    if not wide and (found.lossy or _painted_as_listed(found, named) or _blended(found.ids)):
        return _colors(found, named, source)
    if found.renumbered:
        return _by_own_palettes(found, named, source)
    return _ids(found, named, source)


def _by_own_palettes(found: Survey, named: Sequence[NamedClass], source: Path | None) -> Inferred:
    """Reads by colour what tools wrote that give each file a palette of its own.

    Raises:
        UserError: If files without palettes are among them, or there are far more colours than ids,
            as where the palettes are arbitrary.
    """
    colors, ids = len(found.palette_colors.pixels), len(found.palette.pixels)
    if found.grey.pixels or found.grey_rgb.pixels or colors > 2 * ids:
        raise UserError(
            f"{found.palette.first}: palettes differ from file to file, and neither ids nor "
            "colours seem to mean the classes; say in a dataset.yaml whether `encoding` is ids or "
            "colors"
        )
    inferred = _colors(found, named, source)
    note = "palettes number the colours anew from file to file: read by colour, not by id"
    return inferred._replace(notes=(*inferred.notes, note))


def _painted_as_listed(found: Survey, named: Sequence[NamedClass]) -> bool:
    """Whether all masks are palette images in the colours of the list."""
    listed = {int(pack_colors(np.array(item.color))) for item in named if item.color is not None}
    grey = found.grey.pixels or found.grey_rgb.pixels
    return bool(listed) and not grey and found.palette_colors.pixels.keys() <= listed


def _blended(ids: Group) -> bool:
    """Whether masks are black and white with anti-aliased edges.

    Values between that fill no area could be thin classes instead, but those have few and low ids.
    """
    between = ids.pixels.keys() - {0, 255}
    return ids.solid.keys() == {0, 255} and (len(between) >= 16 or min(between, default=0) >= 16)


def _colors(found: Survey, named: Sequence[NamedClass], source: Path | None) -> Inferred:
    colors = found.colors
    table = [(i.name, i.color) for i in named if i.color is not None]
    ignore = tuple(color for name, color in table if VOID.fullmatch(name))
    table = [(name, color) for name, color in table if not VOID.fullmatch(name)]
    notes = []
    if not table:
        chosen = _class_colors(colors, noisy=found.lossy is not None)
        names = [f"class_{index}" for index in range(len(chosen))]
        if chosen == [_BLACK, _WHITE]:
            names = list(_BINARY)
        elif named:
            notes.append(f"{source} gives no colours: give its names to the classes by hand")
        table = list(zip(names, chosen, strict=True))
    if len(table) < 2:
        raise UserError(
            f"{found.lossy or colors.first}: a single colour in all masks; "
            "grey class ids do not survive JPEG: export the masks as PNG"
        )
    known = [*(color for _, color in table), *ignore]
    exact = {int(pack_colors(np.array(color))) for color in known}
    tolerance = 0 if colors.pixels.keys() <= exact else TOLERANCE
    encoding = Encoding("colors", tuple((color, 0) for color in known), tolerance)
    codes = np.array(list(colors.pixels), np.int32)
    lost = Counter({c: colors.pixels[c] for c in codes[encoding.classify(codes) < 0].tolist()})
    how = f"a channel may differ by {tolerance}" if tolerance else "to the value"
    notes.insert(0, f"masks in {len(table)} colours, {how}")
    if lost:
        strays, total = sum(lost.values()), sum(colors.pixels.values())
        share = _percent(strays, total)
        shown = ", ".join(str(list(color)) for color in _apart(lost, TOLERANCE)[:3])
        if 2 * strays > total:
            raise UserError(
                f"{source or colors.first}: {share} of the pixels of the masks are in other "
                f"colours, most of them near {shown}; list all colours"
            )
        notes.append(
            f"{share} of the pixels ({strays}) are in other colours and ignored, most of them near "
            f"{shown}: list under `classes` what is a class"
        )
    classes = tuple(ClassEntry(name, color=color) for name, color in table)
    return Inferred("colors", classes, ignore, tolerance, tuple(notes))


def _class_colors(colors: Group, *, noisy: bool) -> list[Color]:
    """Chooses the colours that fill areas; what only lines edges is a blend of two others.

    Where the masks went through JPEG, areas differ a little from file to file: the most frequent
    colour stands for all within the tolerance.
    """
    solid = colors.solid or colors.pixels
    chosen = _apart(solid, TOLERANCE if noisy or len(solid) > IGNORE_INDEX else 0)
    if len(chosen) > IGNORE_INDEX:
        raise UserError(
            f"{colors.first}: photographs rather than masks: more than 255 colours fill areas; "
            "give the folder of masks"
        )
    return sorted(chosen)


def _apart(counts: Counter[int], distance: int) -> list[Color]:
    """Returns the most frequent colours, up to 256, each further than `distance` from the rest."""
    codes = np.array(sorted(counts, key=lambda code: (-counts[code], code)), np.int32)
    colors = unpack_colors(codes)  # N, 3
    chosen: list[Color] = []
    while len(colors) and len(chosen) <= IGNORE_INDEX:
        red, green, blue = colors[0].tolist()
        chosen.append((red, green, blue))
        colors = colors[np.abs(colors - colors[0]).max(axis=1) > distance]
    return chosen


def _ids(found: Survey, named: Sequence[NamedClass], source: Path | None) -> Inferred:
    ids = found.ids
    values = sorted(ids.pixels)
    if len(values) > IGNORE_INDEX or values[-1] > _WIDE_IGNORE:
        wide = values[-1] > IGNORE_INDEX
        if not wide:
            raise UserError(
                f"{ids.first}: photographs rather than masks: all 256 grey values occur; "
                "give the folder of masks"
            )
        note = f"masks of instance ids up to {values[-1]}: 0 is background, all else foreground"
        return Inferred("instances", _binary((0,), ()), (), 0, (note,))
    if len(values) >= 64 and 2 * len(ids.solid) < len(values):
        raise UserError(
            f"{ids.first}: photographs or probabilities rather than masks: most of its "
            f"{len(values)} values fill no area; give the folder of masks"
        )
    names = _names_of_two(values, named)
    if names is not None:
        note = f"masks of two values: {values[0]} is background, {values[1]} foreground"
        classes = tuple(
            ClassEntry(name, entry.ids, entry.color)
            for name, entry in zip(names, _binary((0,), (values[1],)), strict=True)
        )
        return Inferred("ids", classes, (IGNORE_INDEX,) if values[1] == 1 else (), 0, (note,))
    ignore: list[int | Color] = [i for i in (IGNORE_INDEX, _WIDE_IGNORE) if i in ids.pixels]
    ignore = ignore if IGNORE_INDEX in ignore else [IGNORE_INDEX, *ignore]
    own = [item for item in named if not VOID.fullmatch(item.name)]
    spread = _spread(values) and len(own) in (0, len(values))
    if spread or any(item.id == IGNORE_INDEX for item in own):
        ignore.remove(IGNORE_INDEX)
    present = [value for value in values if value not in ignore]
    if not present or (len(present) == 1 and len(named) < 2):
        held = " and ".join(map(str, values))
        raise UserError(f"{ids.first}: a single class in all masks ({held}); give masks of two")
    entries, void = _named_ids(present, named, source, ids.first)
    paints = [color or found.colors_of_ids.get(raw) for _, raw, color in entries]
    if None in paints or len(set(paints)) < len(paints):
        paints = [voc_color(index) for index in range(len(entries))]
    classes = tuple(
        ClassEntry(name, (raw,), paint)
        for (name, raw, _), paint in zip(entries, paints, strict=True)
    )
    notes = [f"masks of ids: {_ranges(present)} as {len(classes)} classes"]
    if spread:
        notes.append("the ids are spread over 0-255 to be seen: 255 is a class, nothing is ignored")
    pixels = sum(ids.pixels[i] for i in (*ignore, *void) if isinstance(i, int))
    if pixels:
        what = ", ".join(str(i) for i in sorted(i for i in (*ignore, *void) if i in ids.pixels))
        share = _percent(pixels, sum(ids.pixels.values()))
        notes.append(f"ids ignored: {what} ({share} of the pixels)")
    return Inferred("ids", classes, (*ignore, *void), 0, tuple(notes))


def _names_of_two(values: Sequence[int], named: Sequence[NamedClass]) -> list[str] | None:
    """Names of background and foreground; `None` for other values, or if the list says otherwise.

    0 and 255 are background and foreground whatever ids a list gives them; 0 and 1 are ids of a
    list that gives ids, or has more names than two.
    """
    if values == [0, 255]:
        own = [item for item in named if not VOID.fullmatch(item.name)]
        own.sort(key=lambda item: item.id or 0)
    elif values == [0, 1] and all(item.id is None for item in named):
        own = list(named)
    else:
        return None
    names = [item.name for item in own]
    if len(names) > 2:
        return None
    return names if len(names) == 2 else [_BINARY[0], *(names or _BINARY[1:])]


def _spread(values: Sequence[int]) -> bool:
    """Whether ids are evenly spaced from 0 to 255: three or more classes, scaled to be seen."""
    last = len(values) - 1
    return 2 <= last < IGNORE_INDEX and all(
        abs(value - IGNORE_INDEX * place / last) < 1 for place, value in enumerate(values)
    )


def _named_ids(
    present: Sequence[int], named: Sequence[NamedClass], source: Path | None, example: Path | None
) -> tuple[list[tuple[str, int, Color | None]], list[int]]:
    """Gives ids their names: listed ids, else the places in the list, else as many as there are."""
    if not named:
        return [(f"class_{index}", raw, None) for index, raw in enumerate(present)], []
    if any(item.id is not None for item in named):
        listed = {item.id: item for item in named if item.id is not None}
    elif present[-1] < len(named):
        listed = dict(enumerate(named))
    elif len(present) == len(named):
        listed = dict(zip(present, named, strict=True))
    else:
        listed = dict(enumerate(named))
    lost = [raw for raw in present if raw not in listed]
    if lost:
        raise UserError(
            f"{source}: names {len(listed)} classes, but masks hold id {lost[0]} (such as those of "
            f"{example}); add a line for every id from 0 on, or remove the file"
        )
    void = [
        raw for raw, item in listed.items() if VOID.fullmatch(item.name) and raw != IGNORE_INDEX
    ]
    entries = [
        (item.name, raw, item.color)
        for raw, item in sorted(listed.items())
        if not VOID.fullmatch(item.name)
    ]
    return entries, void


def _binary(background: tuple[int, ...], foreground: tuple[int, ...]) -> tuple[ClassEntry, ...]:
    return (
        ClassEntry(_BINARY[0], background, _BLACK),
        ClassEntry(_BINARY[1], foreground, _WHITE),
    )


def _ranges(values: Sequence[int]) -> str:
    """Writes numbers as `0-3, 7`."""
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][-1] + 1:
            parts[-1][1:] = [value]
        else:
            parts.append([value])
    shown = ["-".join(map(str, part)) for part in parts]
    return ", ".join(shown[:12]) + (", …" if len(shown) > 12 else "")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %"
