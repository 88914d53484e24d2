"""Lists of classes as labelling tools write them beside the data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from bisenetv2.errors import UserError
from bisenetv2.labels import Color

CLASS_FILES = (
    *("labelmap.txt", "label_colors.txt", "class_dict.csv", "_classes.csv", "classes.csv"),
    *("classes.txt", "labels.txt", "names.txt", "class_names.txt", "label_names.txt"),
)
"""Names looked for, those that may hold colours first."""

VOID = re.compile(r"(?i)_*(void|unlabell?ed|ignored?|don'?t[ _-]?care)_*")
"""Names of classes that mean ignored pixels."""


class NamedClass(NamedTuple):
    """A line of a list of classes."""

    name: str
    id: int | None = None
    color: Color | None = None


def find_classes(root: Path) -> tuple[Path, list[NamedClass]] | None:
    """Finds and reads a list of classes in a folder or, for exports in splits, one below it.

    Raises:
        UserError: If the list is not understood.
    """
    for folder in (root, *(root / split for split in ("train", "valid", "val"))):
        for name in CLASS_FILES:
            if (folder / name).is_file():
                return folder / name, read_classes_file(folder / name)
    return None


def read_classes_file(path: Path) -> list[NamedClass]:
    """Reads a list of classes: a name a line, with an id or a colour before or after it.

    Understood are `name`, `id name`, `name:r,g,b:…` (CVAT), `name,r,g,b` and `r g b name`, parted
    by blanks, commas, colons or tabs.

    Raises:
        UserError: If the file is no such text, is empty, or a colour is out of range.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error
    found: list[NamedClass] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not found and re.match(r"(?i)(name|class(es)?|label|pixel value|id|r)\s*[,;\t:]", text):
            continue  # a header
        if text != "__ignore__":  # labelme's first line, which takes no id
            found.append(_parse(text, f"{path}: line {number}"))
    if not found:
        raise UserError(f"{path}: names no class; write one a line or remove the file")
    return found


_NUMBER = r"\s*(\d{1,5})\s*"
_RGB = r"\s*(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})"


def _parse(text: str, where: str) -> NamedClass:
    if found := re.fullmatch(rf"(.+?)\s*[:,;\t ]{_RGB}\s*(:.*)?", text):
        return NamedClass(found[1].strip(), color=_color(found.groups()[1:4], where))
    if found := re.fullmatch(rf"{_RGB}[\s,;:]+(\D.*)", text):
        return NamedClass(found[4].strip(), color=_color(found.groups()[:3], where))
    if found := re.fullmatch(rf"{_NUMBER}[\s,;:]\s*(\D.*)", text):
        return NamedClass(found[2].strip(), int(found[1]))
    return NamedClass(text.partition("::")[0].strip())


def _color(channels: tuple[str, ...], where: str) -> Color:
    red, green, blue = map(int, channels)
    if max(red, green, blue) > 255:
        raise UserError(
            f"{where}: colour {red}, {green}, {blue} is out of range: channels are 0-255"
        )
    return red, green, blue
