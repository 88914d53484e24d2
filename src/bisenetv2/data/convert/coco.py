"""COCO: one JSON file, with polygons and run lengths of all its images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bisenetv2.data.convert import rle
from bisenetv2.data.convert.classes import Lookup, Options
from bisenetv2.data.convert.items import (
    Broken,
    Drawn,
    ImageFinder,
    Item,
    LabelledImages,
    Size,
    left_out,
    load_json,
    polygon,
    records,
    settled_size,
)
from bisenetv2.data.convert.regions import Polygon, area, fill, outlines
from bisenetv2.data.folder.lists import split_named
from bisenetv2.data.folder.matching import existing, files_below
from bisenetv2.errors import UserError
from bisenetv2.labels import Labels, Mask


class _File(NamedTuple):
    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    names: dict[int, str]
    """Names of the categories by their ids, in the order of these."""

    group: str | None
    """Category without an annotation that only stands above the others, if there is one."""


class _Image(NamedTuple):
    where: str
    """What to name in an error."""

    record: dict[str, Any]
    path: Path | None
    annotations: list[tuple[str, dict[str, Any]]]
    """Each with what to name in an error."""


class _Region(NamedTuple):
    area: float
    value: int
    shape: list[Polygon] | npt.NDArray[np.int64]
    """Polygons, or run lengths."""


def read(source: Path, options: Options) -> LabelledImages:
    """Reads a file, or those of a folder; smaller regions lie on top of larger ones.

    Classes are those given, else the file's categories by their ids with the background in front.
    Of regions of one size the later lies on top. Crowds count as their class. A folder holds one
    file, or one in the folder of each split, as Roboflow writes them.

    Raises:
        UserError: If a file is damaged or its labels do not fit.
    """
    files = [_load(path) for path in _paths(source)]
    names = dict.fromkeys(name for file in files for name in file.names.values())
    group = files[0].group
    notes = []
    if group is not None and all(file.group == group for file in files):
        del names[group]
        notes.append(f"category {group} stands above all others and is no class")
    lookup = Lookup(options, names, str(source if len(files) > 1 else files[0].path))
    finder = ImageFinder(options.images)
    items: list[Item] = []
    for file in files:
        folder = f"{file.path.parent.name}/" if len(files) > 1 else ""
        items += _items(file, folder, finder, lookup, options)
    notes += [lookup.note, *left_out(items)]
    return LabelledImages(lookup.labels, items, notes, lookup.ground)


def _paths(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    files = list(files_below(source, (".json",)).values())
    splits = [split_named(path.parent.name) for path in files]
    each_its_own = None not in splits and len(set(splits)) == len(files)
    if files and (len(files) == 1 or each_its_own):
        return files
    names = ", ".join(str(path) for path in files[:4])
    raise UserError(f"{source}: holds {len(files)} JSON files ({names}); name the one to read")


def _load(path: Path) -> _File:
    content = load_json(path)
    categories = records(content, "categories", path)
    names: dict[int, str] = {}
    for category in categories:
        if type(category.get("id")) is not int or not isinstance(category.get("name"), str):
            raise UserError(
                f"{path}: category {short(category)} needs a whole number `id` and a `name`"
            )
        if names.setdefault(category["id"], category["name"]) != category["name"]:
            raise UserError(f"{path}: category id {category['id']} has two names; keep one of them")
    annotations = records(content, "annotations", path)
    if any("segments_info" in annotation for annotation in annotations):
        raise UserError(
            f"{path}: COCO panoptic is not read; give COCO instances, whose annotations have a "
            "`segmentation`, or a folder of masks of classes"
        )
    used = {_key(annotation, "category_id") for annotation in annotations}
    unused = [category for category in categories if category["id"] not in used]
    group = next((category["name"] for category in unused if _is_group(category, categories)), None)
    return _File(
        path, records(content, "images", path), annotations, dict(sorted(names.items())), group
    )


def _is_group(category: dict[str, Any], categories: Sequence[dict[str, Any]]) -> bool:
    """Whether all others name it as the one above them, but not itself.

    Roboflow adds the project's name so. A class like COCO's `person` is its own supercategory.
    """
    above = [str(c.get("supercategory")) for c in categories if c["id"] != category["id"]]
    heads_itself = category.get("supercategory") == category["name"]
    return not heads_itself and set(above) == {category["name"]}


def _items(
    file: _File, folder: str, finder: ImageFinder, lookup: Lookup, options: Options
) -> Iterator[Item]:
    path = file.path
    regions: dict[object, list[tuple[str, dict[str, Any]]]] = {}
    for record in file.images:
        if _key(record) in regions:
            raise UserError(f"{path}: two images have id {_key(record)!r}; number them anew")
        regions[_key(record)] = []
    for number, annotation in enumerate(file.annotations, 1):
        where = f"{path}: annotation {short(annotation.get('id', number))}"
        image_id = _key(annotation, "image_id")
        if image_id not in regions:
            raise UserError(f"{where}: image_id {short(image_id)} is no image's; remove it")
        regions[image_id].append((where, annotation))
    for record in file.images:
        named = _name(record.get("file_name"), path)
        name = folder + named.with_suffix("").as_posix()
        found = finder(name) or _image_at(path.parent, named)
        image = _Image(f"{path}: image {named}", record, found, regions[_key(record)])
        yield Item(name, found, partial(_draw, image, file.names, lookup, options))


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
    image: _Image, names: dict[int, str], lookup: Lookup, options: Options, broken: Broken
) -> Mask:
    record = image.record
    size = settled_size((record.get("height"), record.get("width")), image.path, image.where)
    mask = np.full(size, lookup.ground, np.uint8)
    regions = []
    for source, annotation in image.annotations:
        category = annotation.get("category_id")
        if type(category) is not int or category not in names:
            raise UserError(
                f"{source}: category_id {short(category)} is none of the categories; add it there"
            )
        index = lookup(names[category], source)
        segmentation = annotation.get("segmentation")
        try:
            regions.append(_region(segmentation, index, size, source, options.clip, broken))
        except UserError as error:
            broken(str(error))
    for region in sorted(regions, key=lambda region: -region.area):
        if isinstance(region.shape, list):
            for corners in region.shape:
                fill(mask, corners, region.value)
        else:
            mask[rle.decode(region.shape, size)] = region.value
    return mask


def _region(
    segmentation: object, index: int, size: Size, where: str, clip: bool, broken: Broken
) -> _Region:
    """Checks an outline; of several polygons, one that is broken leaves the others."""
    if isinstance(segmentation, list) and segmentation:
        polygons = []
        for flat in segmentation:
            try:
                polygons.append(_polygon(flat, size, where, clip))
            except UserError as error:
                broken(str(error))
        return _Region(sum(map(area, polygons)), index, polygons)
    if isinstance(segmentation, dict):
        if segmentation.get("size") != list(size):
            raise UserError(
                f"{where}: RLE of size {short(segmentation.get('size'))}, but its image has height "
                f"and width {list(size)}; export it anew"
            )
        runs = rle.run_lengths(segmentation.get("counts"), size, where)
        return _Region(float(runs[1::2].sum()), index, runs)
    raise UserError(f"{where}: has no outline, only a box perhaps; draw one or remove it")


def _polygon(flat: object, size: Size, where: str, clip: bool) -> Polygon:
    if not isinstance(flat, list) or len(flat) % 2:
        raise UserError(f"{where}: a polygon is a list x, y, x, y, …; export it anew")
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return polygon(pairs, size, where, clip=clip)


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
