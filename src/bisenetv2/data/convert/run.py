"""From a source to a folder that is whole or not there."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import numpy as np

from bisenetv2.data.convert import coco, labelme, masks, yolo
from bisenetv2.data.convert.classes import BACKGROUND, Options, read_class_list
from bisenetv2.data.convert.items import Drawn, LabelledImages, Writer
from bisenetv2.data.convert.masks import void_color
from bisenetv2.data.convert.recognise import Format, recognise
from bisenetv2.data.folder import dataset_yaml
from bisenetv2.data.folder.lists import SPLIT_FOLDERS, split_named
from bisenetv2.data.folder.matching import files_of
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX, Labels
from bisenetv2.progress import progress_bar


class _Road(NamedTuple):
    read: Callable[[Path, Options], LabelledImages]
    write: Writer
    place: str
    """Where an image's labels are written."""

    classes: str = ""
    """File that names the classes of all of them."""


_ROADS: dict[Format, _Road] = {
    "index": _Road(masks.read, masks.write_indices, "masks/{split}{name}.png", "classes.txt"),
    "colour": _Road(masks.read, masks.write_colors, "masks/{split}{name}.png", "labelmap.txt"),
    "labelme": _Road(labelme.read, labelme.write, "{split}{name}.json", "labels.txt"),
    "coco": _Road(coco.read, coco.write, "instances{end}.json"),
    "yolo": _Road(yolo.read, yolo.write, "labels/{split}{name}.txt", "data.yaml"),
}


class Converted(NamedTuple):
    """What was done."""

    source: Format
    target: Format
    labels: Labels
    images: int
    ignored: float
    """Share of all pixels that are ignored, 0 to 1."""


def convert(
    source: Path,
    output: Path,
    options: Options,
    *,
    source_format: Format | None = None,
    target_format: Format | None = None,
    split: str = "",
    skip_broken: bool = False,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Converted:
    """Converts labels to index masks, or index masks to labels.

    Nothing is written before all is converted.

    Args:
        source: File or folder.
        output: Folder to write to.
        options: How to read the source.
        source_format: What it is; recognised if `None`.
        target_format: What to write; `None` for index masks.
        split: Names the part of a data set, in the paths of what is written, unless the source has
            other splits.
        skip_broken: Whether shapes that cannot be drawn are left out.
        overwrite: Whether files that exist may be replaced.
        tell: Takes notes on what was inferred, a line each.

    Raises:
        UserError: If the source is not understood or damaged, no shape of it can be drawn, or a
            file would be overwritten or read new masks otherwise.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; check the path")
    if split and split_named(split) is None:
        raise UserError(f"--split {split}: is no split; give {', '.join(SPLIT_FOLDERS)}")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; name a folder with --output")
    kind = source_format or recognise(source)
    wanted = target_format or "index"
    if kind == wanted == "index":
        raise UserError(
            f"{source}: holds index masks, which --data takes as they are; say what to convert "
            "them to with --to"
        )
    if "index" not in (kind, wanted):  # touching objects would become one
        raise UserError(f"{source}: {kind} to {wanted}: convert to index masks first")
    if source_format in ("index", "colour"):
        options = replace(options, colors=source_format == "colour")
    if source.is_file() and kind not in ("coco", "labelme"):
        raise UserError(f"{source}: give the folder it lies in")
    found = _ROADS[kind].read(source, options)
    if not found.items:
        raise UserError(f"{source}: holds no labelled image; name the folder that does")
    own = {item.split for item in found.items if item.split is not None}
    if split and own - {split_named(split)}:
        raise UserError(
            f"{source}: holds splits of its own ({', '.join(sorted(own))}); leave out --split"
        )
    road, folder = _ROADS[wanted], f"{split}/" if split else ""
    end = f"_{split}" if split else ""
    places = [road.place.format(split=folder, end=end, name=item.name) for item in found.items]
    twice = Counter(places).most_common(1)[0]
    if wanted != "coco" and twice[1] > 1:
        raise UserError(f"{source}: {twice[1]} images would become {twice[0]}; rename them")
    for place in places:
        if not overwrite and (output / place).exists():
            raise UserError(f"{output / place}: exists; give another --output or --overwrite")
    replace_list = overwrite and not _others(output, road.place, places)
    list_stays = bool(road.classes and not replace_list) and _list_stays(
        output / road.classes, found.labels, wanted
    )
    if wanted == "index":  # a description there is read before class lists, and stays
        _list_stays(output / dataset_yaml.NAME, found.labels, wanted)
    pixels = ignored = 0
    broken: list[str] = []
    painted = False
    with _staged(output, overwrite) as stage, progress_bar("convert", len(places)) as bar:

        def drawn() -> Iterator[Drawn]:
            nonlocal pixels, ignored, painted
            for item, place in zip(found.items, places, strict=True):
                mask = item.draw(broken.append)
                pixels += mask.size
                painted = painted or bool((mask != found.ground).any())
                ignored += int(np.count_nonzero(mask == IGNORE_INDEX))
                (stage / place).parent.mkdir(parents=True, exist_ok=True)
                yield Drawn(item, mask, place)
                bar.advance()

        road.write(drawn(), found.labels, stage, output, split)
        if list_stays:
            (stage / road.classes).unlink()
        if broken and not (skip_broken and painted):
            more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
            what, them = (f"{len(broken)} shapes", "them") if broken[1:] else ("1 shape", "it")
            end = f"leave {them} out with --skip-broken" if painted else "nothing else is drawn"
            raise UserError(
                f"{source}: {what} cannot be drawn: {'; '.join(broken[:3])}{more}; {end}"
            )
    for note in found.notes:
        tell(f"{source}: {note}")
    if broken:
        tell(f"{source}: broken shapes left out: {len(broken)} (such as {broken[0]})")
    ground = next(filter(BACKGROUND.fullmatch, found.labels.names), None)
    if wanted in ("labelme", "coco", "yolo") and ignored and ground is not None:
        tell(
            f"{output}: the {ignored} ignored pixels lie in no shape; to convert back, give "
            f"--background none, or they become {ground}"
        )
    alone = sum(item.image is None for item in found.items)
    if alone and wanted in ("index", "coco", "labelme"):
        what = "no list of pairs" if wanted == "index" else "names of images end in .png"
        tell(f"{output}: {what}, as {alone} images are not known; see --images")
    return Converted(kind, wanted, found.labels, len(places), ignored / pixels)


def _others(output: Path, form: str, places: Sequence[str]) -> set[Path]:
    """Lists the labels in the output that stay beside those to be written."""
    folder = output / form.partition("{")[0]
    found = files_of(folder, (Path(form).suffix,)) if folder.is_dir() else []
    return set(found) - {output / place for place in places}


def _list_stays(path: Path, labels: Labels, wanted: Format) -> bool:
    """Whether a class list exists that reads what is to be written as what it is.

    Raises:
        UserError: If it says something else, and labels that stay may depend on it.
    """
    if not path.is_file():
        return False
    old = read_class_list(str(path))
    if wanted == "index" and not old.in_order:
        raise UserError(
            f"{path}: exists and gives its classes other values than 0, 1, 2, …; give another "
            "--output"
        )
    recolored = old.encoding is None and any(
        given not in (None, color)
        for given, color in zip(old.given_colors, labels.palette, strict=False)
    )
    if old.labels.names != labels.names or recolored:
        raise UserError(
            f"{path}: exists and lists other classes or colours than "
            f"{', '.join(labels.names[:8])}; give --classes {path} to keep to it, or another "
            "--output"
        )
    if wanted == "colour":
        painted = [*zip(labels.names, labels.palette, strict=True), ("void", void_color(labels))]
        for name, color in painted:
            if color not in dict(old.colors):
                raise UserError(
                    f"{path}: exists and lacks the colour {list(color)} of {name}; add it there, "
                    "or give another --output"
                )
    return True


@contextmanager
def _staged(output: Path, overwrite: bool) -> Iterator[Path]:
    """Yields a folder whose files are moved to `output` when the block ends well."""
    parent = next(path for path in (output.absolute(), *output.absolute().parents) if path.is_dir())
    try:
        folder = Path(mkdtemp(prefix=".convert-", dir=parent))
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    try:
        yield folder
        moves = [(path, output / path.relative_to(folder)) for path in sorted(folder.rglob("*"))]
        moves = [(path, place) for path, place in moves if path.is_file()]
        for path, place in moves:
            if place.exists() and not overwrite and place.read_bytes() != path.read_bytes():
                raise UserError(
                    f"{place}: exists and differs; give another --output or --overwrite"
                )
        for path, place in moves:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error})") from error
    except UnicodeEncodeError as error:
        name = error.object[max(0, error.start - 20) : error.end + 20]
        raise UserError(f"{output}: {name!a} is not UTF-8; rename the file") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
