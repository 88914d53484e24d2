"""Tells what labels a file or a folder holds, and names those that are not read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from bisenetv2.data.convert import masks, yolo
from bisenetv2.data.convert.items import read_json
from bisenetv2.data.convert.mask_files import mask_files, says_which
from bisenetv2.data.folder.matching import files_of
from bisenetv2.errors import UserError

Format = Literal["index", "colour", "labelme", "coco", "yolo"]

_RUN_LENGTHS = re.compile(r"encoded_?pixels|(^|[^a-z])rle([^a-z]|$)")
"""Headings of tables as Kaggle's."""


def recognise(source: Path) -> Format:
    """Tells what labels a file or a folder holds.

    Raises:
        UserError: If that is none of the formats.
    """
    files = files_of(source, (".json", ".xml", ".csv")) if source.is_dir() else [source]
    unread: UserError | None = None
    for path in files:
        try:
            found = _format(path)
        except UserError as error:
            unread = unread or error
            continue
        if found is not None:
            return found
    if source.is_dir() and yolo.holds_labels(source):
        return "yolo"
    # Beside labels that are not read lie photographs, unless something says otherwise.
    if source.is_dir() and (unread is None or says_which(source)):
        held = [file.path for file in mask_files(source).files]
        if held:
            return "colour" if masks.holds_colors(held) else "index"
    raise unread or UserError(
        f"{source}: no labelme or COCO JSON, no YOLO text files and no masks; name the folder that "
        "holds them, or insist with --from"
    )


def _format(path: Path) -> Format | None:
    """Returns the format of a label file, `None` for a file that is none.

    Raises:
        UserError: If it is broken or of a format that is not read.
    """
    kind = None
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if isinstance(content, dict) and "shapes" in content:
            return "labelme"
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return "coco"
        kind = _kind_of_json(content)
    elif path.suffix.lower() == ".xml":
        head = _head(path)
        if "<annotation" in head:
            kind = "CVAT's XML" if "<annotations" in head else "Pascal VOC's XML"
    elif path.suffix.lower() == ".csv" and _RUN_LENGTHS.search(_head(path).partition("\n")[0]):
        kind = "a table of run lengths"
    if kind is None:
        return None
    raise UserError(
        f"{path}: {kind} is not read, but labelme and COCO JSON, YOLO and masks are; export the "
        "labels as one of these, or name a folder that holds masks alone"
    )


def _kind_of_json(content: object) -> str:
    if isinstance(content, dict):
        keys = content.keys()
        if {"objects", "size"} <= keys or {"classes", "tags"} <= keys:
            return "Supervisely's JSON"
    if isinstance(content, list) and any(isinstance(c, dict) and "data" in c for c in content):
        return "Label Studio's JSON"
    return "JSON of this kind"


def _head(path: Path) -> str:
    """Returns the beginning of a text in lower case."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8-sig", "replace").lower()
    except OSError:
        return ""
