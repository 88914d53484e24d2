"""Which classes there are, in what order, and what the labels of a source become."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short

import yaml

from bisenetv2.builtin_labels import (
    BUILTIN,
    CAMVID_COLORS,
    CITYSCAPES_COLORS,
    voc_color,
)
from bisenetv2.data.encodings import Encoding
from bisenetv2.data.folder import dataset_yaml
from bisenetv2.data.folder.class_files import VOID, NamedClass, find_classes, read_classes_file
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX, Color, Labels

BACKGROUND = re.compile(r"(?i)_*background_*")
"""Names of classes that mean pixels without a label."""

NO_BACKGROUND = "none"
"""What asks for pixels without a label to be ignored."""

_MORE_COLORS = {"camvid": CAMVID_COLORS, "cityscapes": CITYSCAPES_COLORS}


@dataclass(frozen=True)
class ClassList:
    """Classes as a file or a built-in name gives them."""

    labels: Labels
    """Raw ids are those that masks of ids may hold."""

    colors: tuple[tuple[Color, int], ...]
    """Colours that masks may hold, with their class or ignore index; empty where none are given."""

    source: str
    """What to name in an error."""

    encoding: Encoding | None = None
    """How all masks are to be read, where that is settled."""

    @property
    def given_colors(self) -> tuple[Color | None, ...]:
        """The colour of each class; `None` for those that only `palette` filled in."""
        if self.encoding is not None:
            return self.labels.palette
        given = {index: color for color, index in reversed(self.colors)}
        return tuple(given.get(index) for index in range(len(self.labels)))

    @property
    def in_order(self) -> bool:
        """Whether it reads class indices in masks as what they are, and 255 as ignored."""
        if self.encoding is not None and self.encoding.kind != "ids":
            return False
        count = len(self.labels)
        ids = dict(self.labels.raw_ids or [(index, index) for index in range(count)])
        ignored = ids.get(IGNORE_INDEX, IGNORE_INDEX) == IGNORE_INDEX
        return ignored and all(ids.get(index) == index for index in range(count))


def read_class_list(given: str) -> ClassList:
    """Reads a class list.

    Args:
        given: Built-in name, class file, `dataset.yaml` or YAML file of YOLO's.

    Raises:
        UserError: If the list is unreadable or unknown.
    """
    if given in BUILTIN:
        labels = BUILTIN[given]
        colors = [(color, index) for index, color in enumerate(labels.palette)]
        colors += [
            c
            for c in _MORE_COLORS.get(given, (((0, 0, 0), IGNORE_INDEX),))
            if c[0] not in dict(colors)
        ]
        return ClassList(labels, tuple(colors), given)
    path = Path(given)
    if not path.is_file():
        raise UserError(f"{given}: no class list; name a file or one of {', '.join(BUILTIN)}")
    if path.suffix in (".yaml", ".yml"):
        return _from_yaml(path)
    return from_named(read_classes_file(path), given)


def find_class_list(*folders: Path) -> ClassList | None:
    """Reads the first `dataset.yaml` or class file in the folders.

    Raises:
        UserError: If it is unreadable.
    """
    for folder in folders:
        if (folder / dataset_yaml.NAME).is_file():
            return _from_yaml(folder / dataset_yaml.NAME)
        if found := find_classes(folder):
            return from_named(found[1], str(found[0]))
    return None


def _from_yaml(path: Path) -> ClassList:
    if names := yolo_names(path):
        return from_named([NamedClass(name) for name in names], str(path))
    described = dataset_yaml.read(path)
    return ClassList(described.labels, (), str(path), described.encoding)


def yolo_names(path: Path) -> list[str]:
    """Reads the `names` of a YAML file of YOLO's; none where it has no such key.

    Raises:
        UserError: If the file is broken, or the names are not numbered from 0 on.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        return [str(name) for name in names]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise UserError(f"{path}: `names` are numbered {list(names)[:8]}, not from 0 on")
        return [str(names[index]) for index in range(len(names))]
    return []


def from_named(named: Sequence[NamedClass], source: str) -> ClassList:
    """Makes a class list; names such as `void` and `__ignore__` stand for ignored pixels."""
    for item in named:
        if not item.name.isprintable():
            raise UserError(f"{source}: class name {short(item.name)} is not printable; rename it")
    raw = [place if item.id is None else item.id for place, item in enumerate(named)]
    kept = [item for item in named if not VOID.fullmatch(item.name)]
    index = {item: place for place, item in enumerate(kept)}
    ids = {i: index.get(item, IGNORE_INDEX) for i, item in zip(raw, named, strict=True)}
    colors = tuple((i.color, index.get(i, IGNORE_INDEX)) for i in named if i.color is not None)
    try:
        labels = Labels(
            names=tuple(item.name for item in kept),
            palette=palette([item.color for item in kept]),
            raw_ids=tuple({IGNORE_INDEX: IGNORE_INDEX, **ids}.items()),
        )
        return ClassList(labels, colors, source)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def palette(colors: Sequence[Color | None]) -> tuple[Color, ...]:
    """Fills in colours that are missing, none of them used yet."""
    used = {color for color in colors if color is not None}
    free = (color for color in map(voc_color, range(256)) if color not in used)
    return tuple(next(free) if color is None else color for color in colors)


@dataclass(frozen=True)
class Options:
    """How a source is to be read."""

    classes: ClassList | None = None
    """Classes the user gives, in place of those of the source."""

    background: str | None = None
    """Class of pixels that no shape covers; `none`: they are ignored; `None`: see `Lookup`."""

    images: Path | None = None
    """Folder of the images, where the source does not say."""

    clip: bool = False
    """Whether polygons that leave their image are cut off at its edge."""

    colors: bool | None = None
    """Whether masks are in colours; `None`: where they have more than one channel."""

    ignore_unknown: bool = False
    """Whether labels and colours that are not listed become ignored pixels."""


class Lookup:
    """Class indices for the labels of shapes."""

    def __init__(
        self,
        options: Options,
        names: Iterable[str],
        source: str,
        listed: ClassList | None = None,
    ) -> None:
        """Settles the classes of index masks to be drawn.

        A list that the user gives or that lies beside the labels names the background if it is to
        be a class; the labels of objects alone get a class `background` in front.

        Args:
            options: With the user's list and background.
            names: Labels of the source, in the order of their classes.
            source: Where they are from.
            listed: A list beside the source.

        Raises:
            UserError: If there is no class or more than 255.
        """
        whole = options.classes or listed
        found = whole or from_named([NamedClass(name) for name in names], source)
        labels = found.labels
        name = options.background or next(filter(BACKGROUND.fullmatch, labels.names), None)
        if name is None:
            name = NO_BACKGROUND if whole else "background"
        if name not in (NO_BACKGROUND, *labels.names):
            if len(labels) == 255:
                raise UserError(f"{source}: 255 classes and {name}: give --background none")
            colors = found.given_colors
            black = None if (0, 0, 0) in colors else (0, 0, 0)
            labels = Labels((name, *labels.names), palette([black, *colors]))
        self.labels = Labels(labels.names, labels.palette)
        self.ground = IGNORE_INDEX if name == NO_BACKGROUND else labels.index(name)
        """Index of pixels that no shape covers."""
        self._source, self._ignore_unknown = found.source, options.ignore_unknown
        self._index = {name: index for index, name in enumerate(labels.names)}

    @property
    def note(self) -> str:
        """Says what becomes of pixels that no shape covers."""
        if self.ground == IGNORE_INDEX:
            return "pixels that no shape covers are ignored (255); --background makes them a class"
        name = self.labels.names[self.ground]
        return f"pixels that no shape covers are class {self.ground}, {name}; see --background"

    def __call__(self, label: object, where: str) -> int:
        """Returns the class index of a label, or the ignore index.

        Raises:
            UserError: If the label is not listed.
        """
        index = self._index.get(label) if isinstance(label, str) else None
        if index is not None:
            return index
        if self._ignore_unknown or (isinstance(label, str) and VOID.fullmatch(label)):
            return IGNORE_INDEX
        raise UserError(
            f"{where}: label {short(label)} is not among the classes of {self._source}; "
            "correct it, add it there at the end, or give --ignore-unknown"
        )
