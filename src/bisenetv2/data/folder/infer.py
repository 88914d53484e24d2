"""Names the encoding and the classes of masks from what all of them hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bisenetv2.builtin_labels import voc_color
from bisenetv2.data.encodings import Encoding, Kind, pack_color
from bisenetv2.data.folder.class_files import VOID, NamedClass
from bisenetv2.data.folder.colors_or_ids import hold_colors
from bisenetv2.data.folder.dataset_yaml import ClassEntry, Description
from bisenetv2.data.folder.survey import Survey, apart, class_colors
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX, Color

TOLERANCE = 16
"""Largest difference of a channel, 0-255, at which a near miss of a colour still counts as it.

A wider one keeps more of what JPEG blurred, but gives more of it to a wrong class: better ignored.
"""

_BINARY = ("background", "foreground")
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_WIDE_IGNORE = 65535


def infer(
    found: Survey,
    named: Sequence[NamedClass],
    source: Path | None,
    *,
    by_color: bool | None = None,
) -> Description:
    """Infers how masks are to be read; root, splits and name are left to whoever knows them.

    Args:
        found: What all of them hold.
        named: Classes listed beside the data, if any.
        source: The file that lists them.
        by_color: Whether they hold colours, where somebody insists.

    Raises:
        UserError: If the masks contradict each other or the list, or hold nothing like classes.
    """
    note = ""
    if by_color is None:
        by_color, note = hold_colors(found, named, source)
    inferred = (_colors if by_color else _ids)(found, named, source)
    return replace(inferred, notes=(*inferred.notes, note)) if note else inferred


def _colors(found: Survey, named: Sequence[NamedClass], source: Path | None) -> Description:
    colors, widest = found.colors, max(found.grey.pixels, default=0)
    if widest > IGNORE_INDEX:
        raise UserError(f"{found.grey.first}: holds ids up to {widest} where colours are expected")
    table = [(i.name, i.color) for i in named if i.color is not None]
    ignore = tuple(color for name, color in table if VOID.fullmatch(name))
    table = [(name, color) for name, color in table if not VOID.fullmatch(name)]
    notes = []
    if not table:
        chosen = class_colors(colors, TOLERANCE if found.lossy else 0)
        names = [f"class_{index}" for index in range(len(chosen))]
        if chosen == [_BLACK, _WHITE]:
            names = list(_BINARY)
        elif named:
            notes.append(f"{source} gives no colours: give its names to the classes by hand")
        table = list(zip(names, chosen, strict=True))
    elif len(table) == 1 and _BLACK not in (table[0][1], *ignore) and colors.pixels[0]:
        table.insert(0, (_BINARY[0], _BLACK))  # which lists leave out
    if len(table) < 2:
        raise UserError(
            f"{found.lossy}: a single colour in all masks; grey class ids do not survive lossy "
            "compression: export the masks as PNG"
            if found.lossy
            else f"{colors.first}: a single class in all masks; give masks of two, or list both"
        )
    known = dict.fromkeys((*(color for _, color in table), *ignore), 0)
    # Lists seldom name what is no class: black, and the border that palettes have at 255.
    border = found.colors_of_ids.get(IGNORE_INDEX, _BLACK)
    unlisted = {
        c: -3 for c in (_BLACK, border) if c not in known and pack_color(c) in colors.pixels
    }
    exact = {pack_color(color) for color in (*known, *unlisted)}
    tolerance = 0 if colors.pixels.keys() <= exact else TOLERANCE
    encoding = Encoding("colors", tuple({**known, **unlisted}.items()), tolerance)
    codes = np.array(list(colors.pixels), np.int32)
    index = encoding.classify(codes)
    lost, strays = (
        Counter({code: colors.pixels[code] for code in codes[chosen].tolist()})
        for chosen in (index < 0, index == -1)
    )
    how = f"a channel may differ by {tolerance}" if tolerance else "to the value"
    notes.insert(0, f"masks in {len(table)} colours, {how}")
    total = colors.pixels.total()
    if 2 * lost.total() > total:
        raise UserError(
            f"{source or colors.first}: {_percent(lost.total(), total)} of the pixels of the masks "
            f"are in other colours, most of them near {_nearest(lost)}; list all colours"
        )
    if unlisted:
        share = _percent(lost.total() - strays.total(), total)
        notes.append(f"colours ignored: {_nearest(lost - strays)} ({share} of the pixels)")
    if strays:
        notes.append(
            f"{_percent(strays.total(), total)} of the pixels ({strays.total()}) are in other "
            f"colours and ignored, most of them near {_nearest(strays)}: list under `classes` what "
            "is a class"
        )
    classes = tuple(ClassEntry(name, color=color) for name, color in table)
    return _described(source, "colors", classes, (*ignore, *unlisted), notes, tolerance)


def _ids(found: Survey, named: Sequence[NamedClass], source: Path | None) -> Description:
    ids = found.ids
    values = sorted(ids.pixels)
    own = [item for item in named if not VOID.fullmatch(item.name)]
    if not values:
        raise UserError(f"{found.colored.first}: holds colours where ids are expected")
    if len(values) > IGNORE_INDEX or values[-1] > _WIDE_IGNORE:
        if values[-1] <= IGNORE_INDEX:
            raise UserError(
                f"{ids.first}: photographs rather than masks: all 256 grey values occur; "
                "give the folder of masks"
            )
        return _instances(values, own, source)
    if len(values) >= 64 and 2 * len(ids.solid) < len(values):
        raise UserError(
            f"{ids.first}: photographs or probabilities rather than masks: most of its "
            f"{len(values)} values fill no area; give the folder of masks"
        )
    held = " and ".join(map(str, values))
    listed = {item.id for item in own}
    white = tuple(values[1:]) if values[0] == 0 else ()
    mixed = white == (1, IGNORE_INDEX) and found.bits == ids.pixels[1]
    classes = None
    if mixed or white in ((IGNORE_INDEX,), (_WIDE_IGNORE,)):
        classes = _two(sorted(own, key=lambda item: item.id or 0), white)
        if classes is None and not listed.issuperset(white):
            raise UserError(
                f"{source}: names {len(own)} classes, but masks hold {held} alone, background and "
                "foreground; name those two"
            )
    elif white == (1,) and all(item.id is None for item in named):
        classes = _two(named, white)
    if classes is not None:
        note = f"masks of two values: 0 is background, {' and '.join(map(str, white))} foreground"
        ignored = (IGNORE_INDEX,) if white == (1,) else ()
        return _described(source, "ids", classes, ignored, [note])
    spread = _spread(values) and len(own) in (0, len(values))
    ignore: list[int | Color] = [
        value
        for value in (IGNORE_INDEX, _WIDE_IGNORE)
        if value not in listed and (value in ids.pixels or value == IGNORE_INDEX) and not spread
    ]
    present = [value for value in values if value not in ignore]
    if not present or (len(present) == 1 and len(named) < 2):
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
    return _described(source, "ids", classes, (*ignore, *void), notes)


def _instances(
    values: Sequence[int], own: Sequence[NamedClass], source: Path | None
) -> Description:
    """Reads what has more ids than there can be classes.

    Raises:
        UserError: If more classes are listed than background and foreground.
    """
    classes = _two(own, ())
    if classes is None:
        raise UserError(
            f"{source}: names {len(own)} classes, but masks hold {len(values)} ids up to "
            f"{values[-1]}: up to 255 can be classes, and of instances two, background and "
            "foreground"
        )
    ignore = (_WIDE_IGNORE,) if values[-1] == _WIDE_IGNORE else ()
    note = (
        f"masks of instance ids up to {values[-1 - len(ignore)]}: 0 is background, all else "
        "foreground" + (f", {_WIDE_IGNORE} ignored" if ignore else "")
    )
    return _described(source, "instances", classes, ignore, [note])


def _described(
    source: Path | None,
    kind: Kind,
    classes: tuple[ClassEntry, ...],
    ignore: tuple[int | Color, ...],
    notes: Sequence[str],
    tolerance: int = 0,
) -> Description:
    try:
        return Description(Path(), {}, classes, kind, tolerance, ignore, notes=tuple(notes))
    except UserError as error:  # of names that contradict each other
        raise UserError(f"{source}: {error}") from error


def _two(named: Sequence[NamedClass], white: tuple[int, ...]) -> tuple[ClassEntry, ...] | None:
    """Names background, which is 0, and foreground; `None` if more than two names are listed."""
    if len(named) > 2:
        return None
    default = [NamedClass(_BINARY[0]), *(named or [NamedClass(_BINARY[1])])]
    items = zip(named if len(named) == 2 else default, ((0,), white), (_BLACK, _WHITE), strict=True)
    return tuple(ClassEntry(item.name, ids, item.color or paint) for item, ids, paint in items)


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
    elif len(present) == len(named) <= present[-1]:
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


def _nearest(colors: Counter[int]) -> str:
    return ", ".join(str(list(color)) for color in apart(colors, TOLERANCE)[:3])


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %"
