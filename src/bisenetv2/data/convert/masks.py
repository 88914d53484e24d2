"""Masks, of class indices or in colours."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bisenetv2.builtin_labels import voc_color
from bisenetv2.data.convert.classes import ClassList, Options, find_class_list
from bisenetv2.data.convert.items import Broken, Drawn, ImageFinder, Item, LabelledImages, relative
from bisenetv2.data.convert.mask_files import mask_files
from bisenetv2.data.encodings import (
    Encoding,
    pack_colors,
    read_classes,
    single_channel,
    unpack_colors,
)
from bisenetv2.data.folder.class_files import read_classes_file
from bisenetv2.data.folder.colors_or_ids import painted_as_listed
from bisenetv2.data.folder.infer import TOLERANCE, infer
from bisenetv2.data.folder.survey import survey
from bisenetv2.errors import UserError
from bisenetv2.images import (
    is_lossy,
    read_header,
    read_mask,
    read_palette,
    write_image,
    write_mask,
)
from bisenetv2.labels import Color, Labels, Mask

_MANY_CLASSES = 64
"""More than a single mask is likely to hold."""


def holds_colors(files: Iterable[Path]) -> bool:
    """Whether one of the masks is in colours."""
    return any(single_channel(read_mask(path)) is None for path in files)


def look_like_masks(files: Iterable[Path]) -> bool:
    """Whether no file is a photograph; one in grey has more values than a mask has classes."""
    found = (survey([path]) for path in files)
    return not any(one.photograph or len(one.ids.pixels) > _MANY_CLASSES for one in found)


def read(source: Path, options: Options) -> LabelledImages:
    """Reads a folder of masks.

    Classes and colours are those given, else those of a `dataset.yaml` or class file in the folder
    or above it, else those that occur. With a class file, a folder may hold ids and colours side by
    side: a single channel is ids, unless `colors` insists, or palettes alone have the colours of
    the file under other ids. Colours of lossy files may be off a little.

    Raises:
        UserError: If there is no mask, a file is a photograph or, once it is drawn, an id or a
            colour in it is not listed or its size is not its image's.
    """
    held = mask_files(source)
    files = [file.path for file in held.files]
    found = options.classes or find_class_list(source, source.parent)
    notes: list[str] = []
    if found is None:
        if not files:
            raise UserError(f"{source}: holds no labelled image; name the folder that does")
        looked_at = survey(files)
        if looked_at.photograph is not None and options.colors is None:
            raise UserError(
                f"{looked_at.photograph}: a photograph rather than a mask: more than 255 colours, "
                "few of which fill areas; give the folder of masks, list colours with --classes, "
                "or insist with --from colour"
            )
        described = infer(looked_at, [], None, by_color=options.colors)
        found = ClassList(described.labels, (), str(source), described.encoding)
        notes += described.notes
    elif found.encoding is None:
        if options.colors is None and _painted(files, found):
            options = replace(options, colors=True)
    elif options.colors not in (None, found.encoding.kind == "colors"):  # the user knows better
        paint = tuple((color, index) for index, color in enumerate(found.labels.palette))
        found = replace(found, colors=paint, encoding=None)
    pixels = _Pixels(found, options)
    roots = (source,) if (source / "masks").is_dir() else (source, source.parent)
    beside = (root / "images" for root in roots if (root / "images").is_dir())
    finder = ImageFinder(options.images or next(beside, None))
    items = []
    for name, path, beside_it in held.files:
        image = finder(name) if options.images else beside_it or finder(name)
        items.append(Item(name, image, partial(_draw, path, image, pixels)))
    if alone := held.images_alone:
        notes.append(f"images without a mask, left out: {len(alone)} (such as {alone[0]})")
    return LabelledImages(Labels(found.labels.names, found.labels.palette), items, notes)


def _painted(files: Sequence[Path], found: ClassList) -> bool:
    """Whether palette images among masks without ids are to be read by colour, as `--data` does."""
    if not found.colors or all(read_palette(path) is None for path in files):
        return False
    held = survey(files)
    ids = found.labels.raw_ids or [(index, index) for index in range(len(found.labels))]
    listed = {(i, color) for i, index in ids for color, other in found.colors if index == other}
    return held.grey.pixels.keys() <= {0} and painted_as_listed(held, listed, found.source)


class _Pixels:
    """Reads the pixels of masks as classes."""

    def __init__(self, found: ClassList, options: Options) -> None:
        self._found, self._options = found, options
        self._encodings: dict[int, Encoding] = {}

    def __call__(self, path: Path) -> Mask:
        found = self._found
        if found.encoding is not None:
            return read_classes(path, found.encoding, found.labels).mask
        in_colors = self._options.colors
        if in_colors is None:
            pixels = read_mask(path)  # greys in three channels are ids, if no list paints
            in_colors = pixels.ndim == 3 and bool(found.colors or single_channel(pixels) is None)
        if not in_colors:
            return read_classes(path, Encoding(), found.labels).mask
        if not found.colors:
            raise UserError(f"{path}: in colours, but {found.source} lists none; add them there")
        lossy = is_lossy(path)
        encoding = self._colors(TOLERANCE if lossy else 0)
        mask, strays = read_classes(path, encoding, found.labels)
        if strays and not lossy and not self._options.ignore_unknown:
            codes = pack_colors(read_mask(path, as_colors=True))
            color = unpack_colors(codes[encoding.classify(codes) < 0][:1])[0].tolist()
            raise UserError(
                f"{path}: colour {color} and perhaps others ({strays} pixels) are not among the "
                f"classes of {found.source}; add them there, or give --ignore-unknown"
            )
        return mask

    def _colors(self, tolerance: int) -> Encoding:
        """Makes an encoding but once: it remembers all colours it has met."""
        if tolerance not in self._encodings:
            try:
                encoding = Encoding("colors", self._found.colors, tolerance)
            except UserError as error:
                raise UserError(f"{self._found.source}: {error}") from error
            self._encodings[tolerance] = encoding
        return self._encodings[tolerance]


def _draw(path: Path, image: Path | None, pixels: _Pixels, _: Broken) -> Mask:
    mask = pixels(path)
    size = mask.shape if image is None else read_header(image).upright
    if size != mask.shape:
        raise UserError(
            f"{path}: {mask.shape[1]}×{mask.shape[0]} pixels, but {image} has {size[1]}×{size[0]}; "
            "sizes must be equal"
        )
    return mask


def write_indices(
    drawn: Iterable[Drawn], labels: Labels, folder: Path, final: Path, split: str
) -> None:
    """Writes index masks, `classes.txt` and, where all images are known, a list of pairs."""
    rows = []
    for item, mask, place in drawn:
        write_mask(folder / place, mask)
        known = not split and item.split is not None
        image = relative(item.image, final) if item.image else ""
        rows.append((image, place, item.name.partition("/")[0] if known else ""))
    named = list(zip(labels.names, labels.palette, strict=True))
    _write_classes(folder / "classes.txt", named, "{0},{1},{2},{3}")
    if not all(row[0] for row in rows):
        return
    columns = 3 if all(row[2] for row in rows) else 2
    with (folder / (f"{split}.csv" if split else "pairs.csv")).open("w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "mask", "split")[:columns])
        writer.writerows(row[:columns] for row in rows)


def write_colors(
    drawn: Iterable[Drawn], labels: Labels, folder: Path, final: Path, split: str
) -> None:
    """Writes masks in colours and `labelmap.txt`, as CVAT does; `void` is what is ignored.

    Raises:
        UserError: If two classes have one colour.
    """
    for index, color in enumerate(labels.palette):
        if color in labels.palette[:index]:
            twin = labels.names[labels.palette.index(color)]
            raise UserError(
                f"classes {twin} and {labels.names[index]} are both {list(color)}: give each its "
                "colour in a class file, --classes"
            )
    void = void_color(labels)
    table = np.full((256, 3), void, np.uint8)
    table[: len(labels)] = labels.palette
    for _, mask, place in drawn:
        write_image(folder / place, table[mask])
    named = [*zip(labels.names, labels.palette, strict=True), ("void", void)]
    _write_classes(folder / "labelmap.txt", named, "{0}:{1},{2},{3}::")


def void_color(labels: Labels) -> Color:
    """Returns the colour in which ignored pixels are painted: black unless a class is."""
    return next(color for color in map(voc_color, range(256)) if color not in labels.palette)


def _write_classes(path: Path, named: Sequence[tuple[str, Color]], form: str) -> None:
    path.write_text("".join(form.format(n, *c) + "\n" for n, c in named), encoding="utf-8")
    back = [item.name for item in read_classes_file(path)]
    for name, _ in named:
        if name not in back:
            raise UserError(f"class name {name!r} cannot stand in a class list; rename it")
