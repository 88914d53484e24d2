"""labelme: a JSON file an image, with shapes as the labeller drew them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import numpy.typing as npt

from bisenetv2.data.convert.classes import Lookup, Options, find_class_list
from bisenetv2.data.convert.items import (
    Broken,
    Drawn,
    ImageFinder,
    Item,
    LabelledImages,
    Size,
    as_points,
    left_out,
    load_json,
    polygon,
    records,
    relative,
    settled_size,
)
from bisenetv2.data.convert.regions import fill, outlines
from bisenetv2.data.folder.matching import existing, files_below
from bisenetv2.errors import UserError
from bisenetv2.images import decode_mask
from bisenetv2.labels import Labels, Mask


def read(source: Path, options: Options) -> LabelledImages:
    """Reads a file or a folder of them; later shapes lie on top of earlier ones.

    Classes are those given, else those of a `labels.txt` beside the files, else all labels that
    occur, by name, with the background in front. `__ignore__` becomes ignored pixels.

    Raises:
        UserError: If a file is damaged, of another format, or its labels do not fit.
    """
    files = files_below(source, (".json",)) if source.is_dir() else {source.stem: source}
    root = source if source.is_dir() else source.parent
    scanned = [_scan(path) for path in files.values()]
    names = sorted({label for labels, _ in scanned for label in labels})
    lookup = Lookup(options, names, str(source), find_class_list(root))
    finder = ImageFinder(options.images)
    items = []
    for (name, path), (_, beside) in zip(files.items(), scanned, strict=True):
        image = finder(name) or beside
        items.append(Item(name, image, partial(_draw, path, image, lookup, options)))
    alone = left_out(items) if source.is_dir() else []
    return LabelledImages(lookup.labels, items, [lookup.note, *alone], lookup.ground)


def _scan(path: Path) -> tuple[set[str], Path | None]:
    """Returns the labels in a file, and its image if that is there."""
    content, shapes = _shapes(path)
    labels = {str(shape.get("label")) for shape in shapes}
    named = content.get("imagePath")
    beside = path.parent / named.replace("\\", "/") if isinstance(named, str) else None
    return labels, beside and existing(beside)


def _shapes(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    content = load_json(path)
    if "shapes" not in content:
        raise UserError(f"{path}: no `shapes`, hence not labelme's; move it elsewhere")
    return content, records(content, "shapes", path)


def _draw(path: Path, image: Path | None, lookup: Lookup, options: Options, broken: Broken) -> Mask:
    content, shapes = _shapes(path)
    size = settled_size((content.get("imageHeight"), content.get("imageWidth")), image, str(path))
    mask = np.full(size, lookup.ground, np.uint8)
    for number, shape in enumerate(shapes, 1):
        where = f"{path}: shape {number} ({short(shape.get('label'))})"
        index = lookup(shape.get("label"), where)
        try:
            if shape.get("shape_type") == "mask":
                box, bitmap = _bitmap(shape, size, where)
                mask[box][bitmap] = index
            else:
                corners = _corners(shape.get("shape_type") or "polygon", shape.get("points"), where)
                fill(mask, polygon(corners, size, where, clip=options.clip), index)
        except UserError as error:
            broken(str(error))
    return mask


def _bitmap(
    shape: dict[str, Any], size: Size, where: str
) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    """Returns where in the image the bitmap of an AI's shape lies, and which pixels it sets.

    Raises:
        UserError: If its points are no box of its size in the image.
    """
    (x0, y0), (x1, y1) = _pair(shape.get("points"), "mask", where).round()
    height, width = size
    if not (0 <= x0 <= x1 < width and 0 <= y0 <= y1 < height):
        raise UserError(f"{where}: its points are no box in {width}×{height}; draw it anew")
    box = slice(int(y0), int(y1) + 1), slice(int(x0), int(x1) + 1)  # the last pixel belongs to it
    try:
        data = b64decode(shape.get("mask") or "")
    except (ValueError, TypeError) as error:
        raise UserError(f"{where}: its mask is damaged ({error}); draw it anew") from error
    bitmap = decode_mask(data, where)
    if bitmap.shape[:2] != (y1 - y0 + 1, x1 - x0 + 1):
        raise UserError(
            f"{where}: its mask of {bitmap.shape[1]}×{bitmap.shape[0]} pixels does not fill its "
            "box; draw it anew"
        )
    return box, np.asarray(np.atleast_3d(bitmap).any(axis=2))


def _pair(points: object, kind: object, where: str) -> npt.NDArray[np.float64]:
    """Returns the two points of a shape that has no more."""
    pair = as_points(points, where)
    if len(pair) != 2:
        raise UserError(f"{where}: a {kind} has 2 points; draw it anew")
    return pair


def _corners(kind: object, points: object, where: str) -> object:
    four = isinstance(points, list) and len(points) == 4
    if kind == "polygon" or (kind == "rectangle" and four):  # X-AnyLabeling gives all corners
        return points
    if kind not in ("rectangle", "circle"):
        raise UserError(f"{where}: shape_type {short(kind)}: draw a polygon in its place")
    (x0, y0), (x1, y1) = _pair(points, kind, where)
    if kind == "rectangle":
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    radius, angles = np.hypot(x1 - x0, y1 - y0), np.linspace(0, 2 * np.pi, 90, endpoint=False)
    return np.stack([x0 + radius * np.cos(angles), y0 + radius * np.sin(angles)], axis=1)


def write(drawn: Iterable[Drawn], labels: Labels, folder: Path, final: Path, split: str) -> None:
    """Writes a JSON file an image and `labels.txt`; pixels that are ignored have no shape."""
    for item, mask, place in drawn:
        content = {
            "version": "5.0.0",
            "flags": {},
            "shapes": [
                {
                    "label": name,
                    "points": corners.astype(int).tolist(),
                    "group_id": None,
                    "shape_type": "polygon",
                    "flags": {},
                }
                for index, name in enumerate(labels.names)
                for corners in outlines(mask, index)
            ],
            "imagePath": f"{Path(place).stem}.png",
            "imageData": None,
            "imageHeight": mask.shape[0],
            "imageWidth": mask.shape[1],
        }
        if item.image is not None:
            content["imagePath"] = relative(item.image, (final / place).parent)
        (folder / place).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    names = ["__ignore__", *labels.names]
    (folder / "labels.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
