"""COCO: one JSON file, with polygons and run lengths of all its images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bisenetv2.data.convert import rle
from bisenetv2.data.convert.classes import Lookup, Options
from bisenetv2.data.convert.items import (
    Drawn,
    ImageFinder,
    Item,
    LabelledImages,
    Size,
    load_json,
    polygon,
    records,
    settled_size,
)
from bisenetv2.data.convert.regions import Polygon, area, fill, outlines
from bisenetv2.data.folder.matching import existing, files_below
from bisenetv2.errors import UserError
from bisenetv2.labels import Labels, Mask


class _Region(NamedTuple):
    area: float
    value: int
    shape: list[Polygon] | npt.NDArray[np.int64]
    """Polygons, or run lengths."""


def read(source: Path, options: Options) -> LabelledImages:
    """Reads a file, or the only one in a folder; smaller regions lie on top of larger ones.

    Classes are those given, else the file's categories by their ids with the background in front.
    Of regions of one size the later lies on top. Crowds count as their class.

    Raises:
        UserError: If the file is damaged or its labels do not fit.
    """
    path = _only_file(source)
    content = load_json(path)
    names: dict[int, str] = {}
    for category in records(content, "categories", path):
        if type(category.get("id")) is not int or not isinstance(category.get("name"), str):
            raise UserError(
                f"{path}: category {short(category)} needs a whole number `id` and a `name`"
            )
        if names.setdefault(category["id"], category["name"]) != category["name"]:
            raise UserError(f"{path}: category id {category['id']} has two names; keep one of them")
    ordered = dict.fromkeys(name for _, name in sorted(names.items()))
    lookup = Lookup(options, ordered, str(path))
    images = records(content, "images", path)
    regions: dict[object, list[tuple[str, dict[str, Any]]]] = {}
    for record in images:
        if _key(record) in regions:
            raise UserError(f"{path}: two images have id {_key(record)!r}; number them anew")
        regions[_key(record)] = []
    for number, annotation in enumerate(records(content, "annotations", path), 1):
        where = f"{path}: annotation {short(annotation.get('id', number))}"
        image_id = _key(annotation, "image_id")
        if image_id not in regions:
            raise UserError(f"{where}: image_id {short(image_id)} is no image's; remove it")
        regions[image_id].append((where, annotation))
    finder = ImageFinder(options.images)
    items = []
    for record in images:
        name = _name(record.get("file_name"), path)
        image = finder(name.with_suffix("").as_posix()) or _image_at(path.parent, name)
        draw = partial(
            _draw, record, image, regions[_key(record)], f"{path}: image {name}",
            names, lookup, options,
        )  # fmt: skip
        items.append(Item(name.with_suffix("").as_posix(), image, draw))
    return LabelledImages(lookup.labels, items, [lookup.note])


def _only_file(source: Path) -> Path:
    if source.is_file():
        return source
    files = list(files_below(source, (".json",)).values())
    if len(files) != 1:
        names = ", ".join(str(path) for path in files[:4])
        raise UserError(f"{source}: holds {len(files)} JSON files ({names}); name the one to read")
    return files[0]


def _key(record: dict[str, Any], field: str = "id") -> int | str | None:
    value = record.get(field)
    return value if isinstance(value, int | str) else None


def _name(named: object, path: Path) -> PurePosixPath:
    """Checks the name of an image, which outputs are named by too: it must not lead elsewhere."""
    name = PurePosixPath(named.replace("\\", "/") if isinstance(named, str) else "")
    leads_away = name.is_absolute() or ".." in name.parts
    if leads_away or not name.name or not str(name).isprintable():
        raise UserError(
            f"{path}: file_name {short(named)}: write a path relative to the images' folder"
        )
    return name


def _image_at(folder: Path, name: PurePosixPath) -> Path | None:
    places = (folder / name, folder / "images" / name, folder.parent / "images" / name)
    return next((place for place in places if existing(place)), None)


def _draw(
    record: dict[str, Any],
    image: Path | None,
    annotations: Sequence[tuple[str, dict[str, Any]]],
    where: str,
    names: dict[int, str],
    lookup: Lookup,
    options: Options,
) -> Mask:
    size = settled_size((record.get("height"), record.get("width")), image, where)
    mask = np.full(size, lookup.ground, np.uint8)
    regions = []
    for source, annotation in annotations:
        category = annotation.get("category_id")
        if type(category) is not int or category not in names:
            raise UserError(
                f"{source}: category_id {short(category)} is none of the categories; add it there"
            )
        index = lookup(names[category], source)
        regions.append(_region(annotation.get("segmentation"), index, size, source, options.clip))
    for region in sorted(regions, key=lambda region: -region.area):
        if isinstance(region.shape, list):
            for corners in region.shape:
                fill(mask, corners, region.value)
        else:
            mask[rle.decode(region.shape, size)] = region.value
    return mask


def _region(segmentation: object, index: int, size: Size, where: str, clip: bool) -> _Region:
    if isinstance(segmentation, list) and segmentation:
        shape = []
        for flat in segmentation:
            if not isinstance(flat, list) or len(flat) % 2:
                raise UserError(f"{where}: a polygon is a list x, y, x, y, …; export it anew")
            pairs = list(zip(flat[::2], flat[1::2], strict=True))
            shape.append(polygon(pairs, size, where, clip=clip))
        return _Region(sum(map(area, shape)), index, shape)
    if isinstance(segmentation, dict):
        if segmentation.get("size") != list(size):
            raise UserError(
                f"{where}: RLE of size {short(segmentation.get('size'))}, but its image has height "
                f"and width {list(size)}; export it anew"
            )
        runs = rle.run_lengths(segmentation.get("counts"), size, where)
        return _Region(float(runs[1::2].sum()), index, runs)
    raise UserError(f"{where}: has no outline, only a box perhaps; draw one or remove it")


def write(drawn: Iterable[Drawn], labels: Labels, folder: Path, final: Path, split: str) -> None:
    """Writes one JSON file: a polygon a region, category ids from 1, nothing where ignored."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (item, mask, place) in enumerate(drawn, 1):
        target = folder / place
        height, width = mask.shape
        suffix = item.image.suffix if item.image else ".png"
        file_name = f"{item.name}{suffix}"
        images.append({"id": number, "file_name": file_name, "height": height, "width": width})
        for index in range(len(labels)):
            for corners in outlines(mask, index):
                (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": index + 1,
                        "segmentation": [corners.astype(int).ravel().tolist()],
                        "area": int(area(corners)),
                        "bbox": [int(left), int(top), int(right - left), int(bottom - top)],
                        "iscrowd": 0,
                    }
                )
    categories = [
        {"id": index + 1, "name": name, "color": list(color)}
        for index, (name, color) in enumerate(zip(labels.names, labels.palette, strict=True))
    ]
    content = {"images": images, "categories": categories, "annotations": annotations}
    with target.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
