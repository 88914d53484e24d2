"""YOLO: a text file an image, with a polygon a line in shares of the image's width and height."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from reprlib import repr as short

import numpy as np
import numpy.typing as npt

from bisenetv2.data.convert.classes import ClassList, Lookup, Options, yolo_names
from bisenetv2.data.convert.items import Broken, Drawn, Item, LabelledImages, beginning, polygon
from bisenetv2.data.convert.regions import fill, outlines
from bisenetv2.data.folder.class_files import CLASS_FILES, find_classes
from bisenetv2.data.folder.matching import composed, files_below, walk
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES, read_header
from bisenetv2.labels import Labels, Mask

LABELS, IMAGES = "labels", "images"
"""Folders that only tell labels from images: they are no part of an image's name."""


def read(source: Path, options: Options) -> LabelledImages:
    """Reads a data set or its folder `labels`; later polygons lie on top of earlier ones.

    Names come from a `data.yaml` or `classes.txt` in the folder or above it, with the background in
    front, or are those given. An image without a text file holds background alone.

    Raises:
        UserError: If a line is no polygon, a file has no image, or nothing names the classes.
    """
    root = source.parent if source.name == LABELS else source
    texts = {_name(path, root): path for path in label_files(source)}
    names, listed = _names(root, options.classes)
    lookup = Lookup(options, names.values(), listed)
    folder = options.images or root
    found = files_below(folder, IMAGE_SUFFIXES).values()
    within = [path for path in found if IMAGES in path.relative_to(folder).parts]
    images = {_name(path, folder): path for path in within or found}
    for name, path in texts.items():
        if name not in images:
            raise UserError(
                f"{path}: its image {name}.* is not below {folder}; give --images, or remove it"
            )
    items = [
        Item(name, image, partial(_draw, texts.get(name), image, names, lookup, options))
        for name, image in sorted(images.items())
    ]
    notes = [lookup.note]
    if len(texts) < len(images):
        count = len(images) - len(texts)
        notes.append(f"{count} of {len(images)} images have no text file: no shape is in them")
    return LabelledImages(lookup.labels, items, notes, lookup.ground)


def label_files(source: Path) -> list[Path]:
    """Lists the text files of a folder that may hold labels: no class lists, no lists of images."""
    return [
        path
        for path in files_below(source, (".txt",)).values()
        if path.name not in CLASS_FILES
        and not path.name.lower().startswith("readme")
        and not _first_line(path).lower().endswith(IMAGE_SUFFIXES)
    ]


def holds_labels(source: Path) -> bool:
    """Whether a text begins with numbers, as labels do, or lies below `labels` beside no image."""
    images = {path.parent for path in walk(source) if path.suffix.lower() in IMAGE_SUFFIXES}
    return any(
        re.match(r"\d+\s+-?[\d.]+(e[+-]?\d+)?\s", _first_line(path))
        or (LABELS in path.relative_to(source.parent).parts and path.parent not in images)
        for path in label_files(source)
    )


def _first_line(path: Path) -> str:
    """Returns the first line that is not blank, as far as it matters."""
    return beginning(path).strip().partition("\n")[0].strip()


def _name(path: Path, root: Path) -> str:
    parts = Path(composed(str(path.relative_to(root).with_suffix("")))).parts
    return "/".join([*(p for p in parts[:-1] if p not in (LABELS, IMAGES)), parts[-1]])


def _names(root: Path, given: ClassList | None) -> tuple[dict[int, str], str]:
    """Returns what the numbers stand for, in their order, and where that is from."""
    broken: UserError | None = None
    for folder in (root, root.parent):
        for path in sorted(folder.glob("*.yaml")):
            try:
                names = yolo_names(path)
            except UserError as error:
                if folder == root:
                    raise
                broken = broken or error  # or is it another project's?
                continue
            if names:
                return dict(enumerate(names)), str(path)
        if found := find_classes(folder):
            listed = enumerate(found[1])
            numbers = {n if item.id is None else item.id: item.name for n, item in listed}
            return dict(sorted(numbers.items())), str(found[0])
    if given is not None:
        return dict(enumerate(given.labels.names)), given.source
    raise broken or UserError(
        f"{root}: no data.yaml or classes.txt names the classes; add one there"
    )


def _draw(
    path: Path | None,
    image: Path,
    names: dict[int, str],
    lookup: Lookup,
    options: Options,
    broken: Broken,
) -> Mask:
    height, width = size = read_header(image).upright
    mask = np.full(size, lookup.ground, np.uint8)
    if path is None:
        return mask
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error
    numbers = {str(index): name for index, name in names.items()}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        where = f"{path}: line {number}"
        if not fields:
            continue
        if fields[0] not in numbers:
            raise UserError(
                f"{where}: class {short(fields[0])} is none of the {len(names)} that are named, "
                f"{min(names)}-{max(names)}; correct it or add a name"
            )
        index = lookup(numbers[fields[0]], where)
        try:
            points = _shares(fields[1:], where) * (width, height)
            fill(mask, polygon(points, size, where, clip=options.clip), index)
        except UserError as error:
            broken(str(error))
    return mask


def _shares(fields: list[str], where: str) -> npt.NDArray[np.float64]:
    """Returns the points of a line, in shares of the image's size."""
    if len(fields) == 4:
        raise UserError(
            f"{where}: a box, not a polygon (or one of 2 points); export the labels for "
            "segmentation"
        )
    if len(fields) % 2:
        raise UserError(f"{where}: {len(fields)} numbers are no pairs x y; export it anew")
    try:
        return np.array(fields, np.float64).reshape(-1, 2)
    except ValueError as error:
        raise UserError(f"{where}: its points are no numbers ({error})") from error


def write(drawn: Iterable[Drawn], labels: Labels, folder: Path, final: Path, split: str) -> None:
    """Writes a text file an image and `data.yaml`; pixels that are ignored have no polygon."""
    for _, mask, place in drawn:
        lines = []
        for index in range(len(labels)):
            for corners in outlines(mask, index):
                shares = (corners / mask.shape[::-1]).ravel()
                lines.append(" ".join([str(index), *(f"{share:.7g}" for share in shares)]))
        (folder / place).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    quoted = (json.dumps(name, ensure_ascii=False) for name in labels.names)
    names = [f"  {index}: {name}" for index, name in enumerate(quoted)]
    text = "\n".join(["path: .", "train: images", "val: images", "names:", *names])
    (folder / "data.yaml").write_text(text + "\n", encoding="utf-8")
