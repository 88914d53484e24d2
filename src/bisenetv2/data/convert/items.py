"""What every format shares: labelled images, and checks of what files from outside claim."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from typing import Any, NamedTuple

import numpy as np

from bisenetv2.data.convert.regions import Polygon
from bisenetv2.data.folder.lists import split_named
from bisenetv2.data.folder.matching import composed, files_below
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES, read_header
from bisenetv2.labels import Labels, Mask

Size = tuple[int, int]
"""Height and width in pixels."""

MOST_PIXELS = 178_956_970
"""Pixels of the largest image that is read: where Pillow draws the line."""


Broken = Callable[[str], None]
"""Takes what is wrong with a shape that cannot be drawn, and is left out."""


@dataclass(frozen=True)
class Item:
    """One labelled image."""

    name: str
    """Names what is written: a path with `/` and without suffix."""

    image: Path | None
    """The image, where it is known."""

    draw: Callable[[Broken], Mask]
    """Reads the labels as a mask of class indices."""

    @property
    def split(self) -> str | None:
        """The split that the first folder of its name stands for, `None` if it stands for none."""
        return split_named(self.name.partition("/")[0]) if "/" in self.name else None


@dataclass(frozen=True)
class LabelledImages:
    """A source of any format."""

    labels: Labels
    items: Sequence[Item]
    notes: Sequence[str] = field(default=())
    """What to tell about how it was read, a line each."""

    ground: int | None = None
    """Index of pixels that no shape covers; `None` where labels are no shapes."""


class Drawn(NamedTuple):
    """What a writer gets for each image."""

    item: Item
    mask: Mask
    place: str
    """Path of the file to write, in the folder."""


Writer = Callable[[Iterable[Drawn], Labels, Path, Path, str], None]
"""Writes masks, with the names and colours of their classes, to a folder; then come the place where
that folder will lie, to which paths of images are relative, and the split or an empty string."""


class ImageFinder:
    """Finds images by their name without suffix, in a folder and those below it."""

    def __init__(self, folder: Path | None) -> None:
        self._files = files_below(folder, IMAGE_SUFFIXES) if folder else {}
        self._by_stem: dict[str, list[str]] = {}
        for key in self._files:
            self._by_stem.setdefault(PurePosixPath(key).name, []).append(key)

    def __call__(self, name: str) -> Path | None:
        """Returns the image at that path, else the only one at a part of it or in a folder below.

        A path may start above or below the folder; its last part alone may be another clip's.
        """
        name = composed(name)
        alike = [
            key
            for key in self._by_stem.get(PurePosixPath(name).name, [])
            if f"/{key}".endswith(f"/{name}") or f"/{name}".endswith(f"/{key}")
        ]
        return self._files.get(name) or (self._files[alike[0]] if len(alike) == 1 else None)


def left_out(items: Iterable[Item]) -> list[str]:
    """Notes how many images lie beside those of the items, but are none of them."""
    known = [item.image for item in items if item.image is not None]
    folders = dict.fromkeys(image.parent for image in known)
    named = {os.path.realpath(image) for image in known}
    others = [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and os.path.realpath(path) not in named
    ]
    if not others:
        return []
    return [f"images without labels, left out: {len(others)} (such as {others[0]})"]


def relative(image: Path, folder: Path) -> str:
    """Returns the way from a folder to an image; on another drive of Windows, the whole path."""
    try:
        way = os.path.relpath(image.resolve(), folder.resolve())
    except ValueError:
        way = str(image.resolve())
    return Path(way).as_posix()


def load_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: If the file is unreadable or something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a JSON {type(content).__name__}, not an object of labels")
    return content


def read_json(path: Path) -> object:
    """Reads a JSON value of any kind.

    Raises:
        UserError: If the file is unreadable or broken.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: broken JSON ({error}); export it anew") from error
    return content


def beginning(path: Path) -> str:
    """Returns the first 4 KB of a text; nothing of a file that cannot be read, as reading tells."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def records(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """Returns the list of objects that a JSON object holds under a key.

    Raises:
        UserError: If it holds something else.
    """
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UserError(f"{path}: `{key}` is no list of objects; export it anew")
    return found


def settled_size(stated: tuple[object, object], image: Path | None, where: str) -> Size:
    """Returns height and width of an image that exists or is stated, before a mask is allocated.

    Args:
        stated: Height and width as the file gives them; `None` where it does not.
        image: The image, where it is known.
        where: What to name in an error.

    Raises:
        UserError: If the two differ, neither is known, or the size cannot be.
    """
    actual = None if image is None else read_header(image).upright
    if stated == (None, None):
        if actual is None:
            raise UserError(f"{where}: gives no size, and its image is not there; give --images")
        return actual
    height, width = stated
    if not (type(height) is int and type(width) is int and height > 0 and width > 0):
        raise UserError(f"{where}: size {short(width)}×{short(height)} cannot be; correct it")
    if height * width > MOST_PIXELS:
        raise UserError(
            f"{where}: {short(width)}×{short(height)} pixels are more than the {MOST_PIXELS:,} "
            "that can be read; correct the size or cut the image"
        )
    if actual not in (None, (height, width)):
        raise UserError(
            f"{where}: stated size {width}×{height}, but {image} has {actual[1]}×{actual[0]}; "
            "label the image as it is, or export anew"
        )
    return height, width


_SLACK = 1.0
"""Pixels by which a point may lie outside, as some tools round."""

_FARTHEST = 1e6
"""Largest coordinate, in pixels, of a polygon that may be cut off."""


def as_points(points: object, where: str) -> Polygon:
    """Returns points (x, y) as N×2.

    Raises:
        UserError: If they are none.
    """
    try:
        found = np.array(points, np.float64)
    except (ValueError, TypeError, OverflowError):
        found = np.empty(1)
    if found.shape != (0,) and found.shape[1:] != (2,):
        raise UserError(f"{where}: its points are no pairs of numbers; draw it anew")
    return found


def polygon(points: object, size: Size, where: str, *, clip: bool) -> Polygon:
    """Checks the corners of a polygon.

    Args:
        points: Pairs (x, y) in pixels.
        size: Height and width of the image.
        where: What to name in an error.
        clip: Whether it may leave the image.

    Raises:
        UserError: If there are fewer than 3 points, or one is no point or outside the image.
    """
    corners = as_points(points, where)
    if len(corners) < 3:
        raise UserError(f"{where}: {len(corners)} points; a polygon has 3 or more: remove it")
    low, high = np.zeros(2) - _SLACK, np.array(size[::-1]) + _SLACK
    inside = ((corners >= low) & (corners <= high)).all(axis=1)  # no NaN is
    usable = (np.abs(corners) <= _FARTHEST).all()
    if not (inside.all() or (clip and usable)):
        x, y = corners[inside.argmin()]
        remedy = "correct it, or give --clip to cut it off there" if usable else "correct it"
        raise UserError(
            f"{where}: point ({x:g}, {y:g}) is outside the image of {size[1]}×{size[0]}; {remedy}"
        )
    return corners
