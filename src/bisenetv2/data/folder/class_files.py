"""Lists of classes as labelling tools write them beside the data."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import islice
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

    Understood are `name`, `id name`, `name,id`, `name:r,g,b:…` (CVAT), `name,r,g,b`, `r g b name`
    and `id name r g b`, parted by blanks, commas, semicolons, colons or tabs, and columns in any
    order below a header that names them. An alpha is left out; a colour may be written `#rrggbb`.

    Raises:
        UserError: If the file is no such text, is empty, or a colour is out of range.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error
    found: list[NamedClass] = []
    header: _Header | None = None
    first = ""
    for number, line in enumerate(lines, 1):
        text = _in_decimals(line.strip())
        if not text or text.startswith("#"):
            continue
        if not found and header is None and (header := _header(text)):
            first = text
            continue
        if text != "__ignore__":  # labelme's first line, which takes no id
            found.append(_parse(text, header, f"{path}: line {number}"))
    if not found and header is not None and header.columns == ["name"]:
        found.append(NamedClass(first))  # above nothing, it is no header
    if not found:
        raise UserError(f"{path}: names no class; write one a line or remove the file")
    return found


class _Header(NamedTuple):
    mark: str
    """What parts the columns."""

    columns: list[str]
    """What each holds: `name`, `id`, `r`, `g`, `b`, `color` or something else."""

    doubtful: bool
    """Whether name and id may be the other way round, which the lines tell."""


_COLUMNS = {
    "r": re.compile(r"(.*[(\[])?r(ed)?([ _-]value)?"),
    "g": re.compile(r"g(reen)?([ _-]value)?"),
    "b": re.compile(r"b(lue)?([ _-]value)?"),
    "color": re.compile(r".*colou?r.*|r\W*g\W*b.*|(.*[ _-])?hex.*"),
    "name": re.compile(r"((class|category|label|object)[ _-]?)?names?"),
    "id": re.compile(
        r"(.*[ _-]|class|category|label|pixel)?(id|idx|index|value|number|nr|no|code)"
    ),
    "either": re.compile(r"class(es)?|label|category"),
}

_ORDERS = [
    order.split()
    for order in (
        *("id name", "name id", "name r g b", "name r g b alpha", "id name r g b"),
        *("id name r g b alpha", "r g b name", "id r g b name"),
    )
]
"""Columns without a header, of which all but the name hold numbers."""

_OWN_ID = re.compile(r"(class|category|label|pixel)?[ _-]?(id|index|value)|number")
"""Headings of the id that counts where several columns look like ids."""

_NUMBER = re.compile(r"\s*\d{1,5}\s*")
_HEX = re.compile(r"[\"']?#" + r"([0-9A-Fa-f]{2})" * 3 + r"([0-9A-Fa-f]{2})?\b[\"']?")
_CHANNELS = re.compile(r"\W*(\d{1,3})\W+(\d{1,3})\W+(\d{1,3})(\W+\d{1,3})?\W*")


def _in_decimals(text: str) -> str:
    """Writes `#804080` as `128,64,128`, parted by whatever parts the line, and leaves out alpha.

    At the start of a line it may be the first word of a comment, as in `#facade of a house`.
    """
    if text.startswith("#") and not re.match(r"#([0-9A-F]{6}|[0-9a-f]*\d[0-9a-f]*)\b", text):
        return text
    mark = next((mark for mark in "\t;," if mark in text), "," if ":" in text else " ")
    return _HEX.sub(lambda m: mark.join(str(int(m[place], 16)) for place in (1, 2, 3)), text)


def _header(text: str) -> _Header | None:
    mark = next((mark for mark in ":,;\t " if mark in text), " ")
    cells = [cell.strip(' "()[]').lower() for cell in text.split(mark)]
    kinds = [next((k for k, form in _COLUMNS.items() if form.fullmatch(c)), "") for c in cells]
    whole = mark != " " or all(kinds)  # or else a name with blanks
    if not {"name", "either"} & {*kinds} or not whole or any(map(_NUMBER.fullmatch, cells)):
        return None
    doubtful = kinds.count("either") > 1 and not {"name", "id"} & {*kinds}
    for free in (kind for kind in ("name", "id") if kind not in kinds):
        if "either" in kinds:
            kinds[kinds.index("either")] = free
    ids = [place for place, kind in enumerate(kinds) if kind == "id"]
    own = min(ids, key=lambda i: (cells[i] != "id", not _OWN_ID.fullmatch(cells[i])), default=0)
    kinds = ["" if kind == "id" and place != own else kind for place, kind in enumerate(kinds)]
    columns = [kind if kind not in kinds[:place] else "" for place, kind in enumerate(kinds)]
    return _Header(mark, columns, doubtful)


_RGB = r"(?P<r>\d{1,3})[\s,;]+(?P<g>\d{1,3})[\s,;]+(?P<b>\d{1,3})"
_FORMS = [
    re.compile(form)
    for form in (
        rf"(?P<id>\d{{1,5}})\s+(?P<name>\D.*?)\s+{_RGB}",
        rf"(?P<name>.+?)\s*[:,;\t ]\s*{_RGB}\s*(:.*)?",
        rf"((?P<id>\d{{1,5}})\s+)?{_RGB}[\s,;:]+(?P<name>\D.*)",
        r"(?P<id>\d{1,5})\s*[\s,;:]\s*(?P<name>\D.*)",
        r"(?P<name>.*\D)\s*:\s*(?P<id>\d{1,5})",
    )
]
"""Lines of which not all parts are parted by the same mark."""


def _parse(text: str, header: _Header | None, where: str) -> NamedClass:
    fields = _fields(text, header) or next(
        (found.groupdict() for form in _FORMS if (found := form.fullmatch(text))), {}
    )
    numbers = {key: int(value) for key, value in fields.items() if _NUMBER.fullmatch(value or "")}
    color = [numbers[channel] for channel in "rgb" if channel in numbers]
    return NamedClass(
        fields.get("name", text.partition("::")[0]).strip(),
        numbers.get("id"),
        _color(color, where) if len(color) == 3 else None,
    )


def _fields(text: str, header: _Header | None) -> dict[str, str]:
    """Parts a line at the marks of the header, or else at tabs, semicolons or commas."""
    mark = header.mark if header else next((mark for mark in "\t;," if mark in text), ":")
    if mark == ":":  # parts a name from a colour, whose channels commas part
        return {}
    try:
        cells = text.split() if mark == " " else next(csv.reader([text], delimiter=mark))
    except csv.Error:  # longer than any name
        return {}
    columns = header.columns if header else _order(cells)
    fields: dict[str, str] = {}
    for width in (4, 3, 1) if "color" in columns else (1,):  # a colour may hold the mark
        more = len(cells) - len(columns) - (width - 1)  # and a name, too
        if columns and more >= 0:
            rest, widths = iter(cells), {"color": width, "name": 1 + more}
            fields = {kind: mark.join(islice(rest, widths.get(kind, 1))) for kind in columns}
        if color := _CHANNELS.fullmatch(fields.get("color", "")):
            fields.update(zip("rgb", color.groups(), strict=False))  # without alpha
            break
    if header and header.doubtful and _NUMBER.fullmatch(fields.get("name", "")):
        fields["name"], fields["id"] = fields["id"], fields["name"]
    return fields if fields.get("name", "").strip() else {}


def _order(cells: Sequence[str]) -> list[str]:
    """Returns the columns of a line without a header, by the numbers before and after the name."""
    shape = "".join("1" if _NUMBER.fullmatch(cell) else " " for cell in cells)
    before, after = len(shape) - len(shape.lstrip("1")), len(shape) - len(shape.rstrip("1"))
    for order in _ORDERS:
        if (before, after) == (order.index("name"), len(order) - order.index("name") - 1):
            return order
    return []


def _color(channels: Sequence[int], where: str) -> Color:
    red, green, blue = channels
    if max(red, green, blue) > 255:
        raise UserError(
            f"{where}: colour {red}, {green}, {blue} is out of range: channels are 0-255"
        )
    return red, green, blue
