"""Tells whether masks mean their classes by colours or by ids."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path

from bisenetv2.data.encodings import pack_color
from bisenetv2.data.folder.class_files import NamedClass
from bisenetv2.data.folder.survey import Survey
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX, Color


def hold_colors(
    found: Survey, named: Sequence[NamedClass], source: Path | None
) -> tuple[bool, str]:
    """Tells whether masks hold colours, with a note where they hold ids as well.

    Raises:
        UserError: If files of ids are among those in colours, or neither seems to be meant.
    """
    listed = {
        (place if item.id is None else item.id, item.color)
        for place, item in enumerate(named)
        if item.color is not None
    }
    colored, wide = found.colored, max(found.grey.pixels, default=0) > IGNORE_INDEX
    painted = not colored.pixels and painted_as_listed(found, listed, source)
    if colored.pixels or painted:
        grey = found.grey + found.grey_rgb if painted else found.grey
        colors = {color for _, color in listed}
        foreign = [value for value in sorted(grey.pixels) if value and (value,) * 3 not in colors]
        if foreign and (wide or found.lossy is None):
            raise UserError(
                f"{colored.first or found.palette.first} holds colours, {grey.first} ids (such as "
                f"{foreign[0]}): masks of two encodings; convert those of each on their own with "
                "`bisenetv2 convert-labels`"
            )
        note = f"palettes number the colours unlike {source}: read by colour, not by id"
        return True, note if painted else ""
    if not wide and (found.lossy or found.ids.blended):
        return True, ""
    if not found.renumbered:
        return False, ""
    if (
        found.grey.pixels
        or found.grey_rgb.pixels
        or len(found.palette_colors.pixels) > 2 * len(found.palette.pixels)  # arbitrary palettes
    ):
        raise UserError(
            f"{found.palette.first}: palettes differ from file to file, and neither ids nor "
            "colours seem to mean the classes; say in a dataset.yaml whether `encoding` is ids or "
            "colors"
        )
    return True, "palettes number the colours anew from file to file: read by colour, not by id"


def painted_as_listed(found: Survey, listed: Set[tuple[int, Color]], source: object) -> bool:
    """Whether palette images have the colours of a list under other ids than it has them.

    Black, which is seldom listed, and id 255 may lack.

    Args:
        found: What all masks hold.
        listed: Pairs of an id, or a place in the list, and its colour.
        source: What lists them.

    Raises:
        UserError: If some ids have the colours of others, and some such as nobody lists.
    """
    codes = {(value, pack_color(color)) for value, color in listed}
    known = {code for _, code in codes}
    moved = sorted(pair for pair in found.painted - codes if pair[1] in known)
    other = sorted(value for value, code in found.painted if code and code not in known)
    if other and any(code for _, code in moved) and not found.renumbered:
        raise UserError(
            f"{source}: palettes, such as that of {found.palette.first}, have the colour of "
            f"another class for id {moved[-1][0]} and one that is not listed for {other[0]}; list "
            "all colours or, where ids count, none"
        )
    return bool(moved) and not other
