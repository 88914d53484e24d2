"""Lists of pairs or of names: what their lines say."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES, MASK_SUFFIXES

SPLIT_FOLDERS = {
    "train": ("train", "training", "train_set"),
    "val": ("val", "valid", "validation", "val_set"),
    "test": ("test", "testing", "test_set"),
}
"""Names that folders, lists and rows of a split go by, in lower case."""


def split_named(name: str) -> str | None:
    """Returns the split that a name stands for, `None` if it stands for none."""
    return next((s for s, names in SPLIT_FOLDERS.items() if name.lower() in names), None)


def read_rows(path: Path) -> list[tuple[str, str, str, int]]:
    """Reads a list of pairs: image, mask, split (each empty where not given) and line number.

    Fields are parted by comma, semicolon or tab, else by blanks (but `my image.jpg` is one name);
    paths may be written as on Windows. A first row that says `image` and `mask` (or `label`) names
    the columns; one may be called `split`, whose values become `train`, `val` and `test`.

    Raises:
        UserError: If the file is unreadable, or a row gives no mask where others do.
    """
    columns: dict[str, int] = {"image": 0, "mask": 1, "split": 2}
    rows: list[tuple[str, str, str, int]] = []
    first = True
    for number, fields in _lines(path):
        named, first = _header(fields) if first else None, False
        if named:
            columns = named
            continue
        image, mask, split = (
            fields[columns[name]] if columns.get(name, len(fields)) < len(fields) else ""
            for name in ("image", "mask", "split")
        )
        if rows and bool(mask) != bool(rows[0][1]):
            raise UserError(
                f"{path}: line {number}: {len(fields)} names, unlike the lines before; "
                "list an image and its mask a line (parted by comma or tab if names hold blanks)"
            )
        rows.append((image, mask, split_named(split) or split, number))
    return rows


def heading(path: Path) -> str | None:
    """Returns the first word of a CSV file that seems to tell of images something else.

    That is `image_id,width` above rows of at most one path; `None` for a list, also for one of
    names alone.

    Raises:
        UserError: If it is unreadable.
    """
    rows = [fields for _, fields in islice(_lines(path), 2)]
    heads = rows[0] if rows else []
    files = [Path(field).suffix.lower() in MASK_SUFFIXES for row in rows for field in row]
    words = all(re.fullmatch(r"[A-Za-z][A-Za-z _]*", field) for field in heads)
    is_csv = path.suffix.lower() != ".txt" and len(heads) > 1
    return heads[0] if is_csv and words and not _header(heads) and sum(files) < 2 else None


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields number and fields of the lines of a list, but for comments."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        mark = next((mark for mark in "\t,;" if mark in line), None)
        try:
            fields = next(csv.reader([line], delimiter=mark)) if mark else line.split()
        except csv.Error as error:
            raise UserError(f"{path}: line {number}: {error}; list pairs of paths") from error
        if not mark and _is_one_name(fields):
            fields = [line]
        yield number, [field.strip().replace("\\", "/") for field in fields]


def _is_one_name(fields: Sequence[str]) -> bool:
    """Whether what blanks part is one name: only its last part ends as files do."""
    *before, last = fields
    ends = [re.fullmatch(r"\.[a-z]\w{1,4}", Path(name).suffix.lower()) for name in before]
    is_image = Path(last).suffix.lower() in IMAGE_SUFFIXES
    return not any(ends) and not re.search(r"[/\\]", last) and is_image


def _header(fields: Sequence[str]) -> dict[str, int] | None:
    columns: dict[str, int] = {}
    for place, field in enumerate(fields):
        for name, words in (
            ("split", r"split|subset|set|phase"),
            ("mask", r"masks?|labels?|annotations?|segmentations?|targets?|gt"),
            ("image", r"images?|img|frame|file(name)?|input"),
        ):
            if re.fullmatch(rf"({words})([ _-]?(file|path|name|file[ _-]?name))?", field.lower()):
                columns.setdefault(name, place)
                break
    return columns if "image" in columns else None
