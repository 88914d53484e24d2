"""Tells what labels a file or a folder holds, and names those that are not read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bisenetv2.data.convert import masks, yolo
from bisenetv2.data.convert.items import beginning, read_json
from bisenetv2.data.convert.mask_files import mask_files
from bisenetv2.data.folder.matching import files_of
from bisenetv2.errors import UserError

Format = Literal["index", "colour", "labelme", "coco", "yolo"]

_UNREAD = (
    (".xml", "<annotations", "CVAT's XML", True),
    (".xml", "<annotation", "Pascal VOC's XML", False),
    # Headings of tables as Kaggle's.
    (".csv", r"\A.*(encoded_?pixels|(?<![a-z])rle(?![a-z]))", "a table of run lengths", True),
)
"""Ending of a file, what its beginning in lower case matches, what it holds then, and whether that
is certain to be labels."""

_FEW = 16
"""Files of one kind in one folder that are looked at: what these are, the others are."""


class _OtherLabelsError(UserError):
    """Names a file that certainly holds labels, in a format that is not read."""


def recognise(source: Path) -> Format:
    """Tells what labels a file or a folder holds.

    Raises:
        UserError: If that is none of the formats.
    """
    unread: list[UserError] = []
    for path in _label_files(source) if source.is_dir() else [source]:
        try:
            found = _format(path)
        except UserError as error:
            unread.append(error)
            continue
        if found is not None:
            return found
    # What certainly holds labels comes first: it is named, and settles what lies beside it.
    unread.sort(key=lambda error: not isinstance(error, _OtherLabelsError))
    if source.is_dir():
        if yolo.holds_labels(source):
            return "yolo"
        try:
            held = mask_files(source)
        except UserError as error:
            if not unread:
                raise
            raise unread[0] from error
        files = [file.path for file in held.files]
        if files and (not unread or held.told_apart or _may_be_masks(files, unread[0])):
            return "colour" if masks.holds_colors(files) else "index"
    if unread:
        raise unread[0]
    raise UserError(
        f"{source}: no labelme or COCO JSON, no YOLO text files and no masks; name the folder that "
        "holds them, or insist with --from"
    )


def _label_files(folder: Path) -> Iterator[Path]:
    """Yields the first few files of each kind and folder that may hold labels."""
    count: Counter[tuple[Path, str]] = Counter()
    for path in files_of(folder, (".json", ".xml", ".csv")):
        count[path.parent, path.suffix] += 1
        if count[path.parent, path.suffix] <= _FEW:
            yield path


def _may_be_masks(files: Sequence[Path], unread: UserError) -> bool:
    """Whether images that nothing tells apart may be masks, with a file beside that is not read.

    Beside labels lie photographs. Other JSON may tell anything, and boxes lie beside masks as well:
    then the images themselves must look like masks.
    """
    return not isinstance(unread, _OtherLabelsError) and masks.look_like_masks(files)


def _format(path: Path) -> Format | None:
    """Returns the format of a label file, `None` for a file that is none.

    Raises:
        UserError: If it is broken or of a format that is not read.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = read_json(path)
        if isinstance(content, dict) and "shapes" in content:
            return "labelme"
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return "coco"
        tool = _tool_of_json(content)
        kind, certain = tool or "JSON of this kind", tool is not None
    else:
        head = beginning(path).lower() if suffix in (".xml", ".csv") else ""
        fitting = (row[2:] for row in _UNREAD if row[0] == suffix and re.search(row[1], head))
        kind, certain = next(fitting, ("", False))
        if not kind:
            return None
    raise (_OtherLabelsError if certain else UserError)(
        f"{path}: {kind} is not read, but labelme and COCO JSON, YOLO and masks are; export the "
        "labels as one of these, name a folder that holds masks alone, or insist with --from"
    )


def _tool_of_json(content: object) -> str | None:
    if isinstance(content, dict):
        keys = content.keys()
        if {"objects", "size"} <= keys or {"classes", "tags"} <= keys:
            return "Supervisely's JSON"
    if isinstance(content, list) and any(isinstance(c, dict) and "data" in c for c in content):
        return "Label Studio's JSON"
    return None
