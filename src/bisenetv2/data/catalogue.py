"""Opens a dataset by name: the one place that knows which kinds there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from bisenetv2.builtin_labels import BUILTIN
from bisenetv2.data.camvid import holds_stills, open_camvid, open_stills
from bisenetv2.data.dataset import Dataset
from bisenetv2.data.folder.class_files import VOID, find_classes
from bisenetv2.data.folder.dataset_yaml import NAME
from bisenetv2.data.folder.split import open_folder
from bisenetv2.data.public import LAYOUTS, Layout, open_public
from bisenetv2.data.streets import RenderedStreets
from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID, Labels

STREETS = "streets"
"""Stands for rendered streets wherever a data folder is asked for."""

_STREET_SPLITS = {"train": (1000, 1), "val": (100, 2), "trainval": (1000, 1), "test": (100, 3)}
"""Number of rendered streets and seed of each split."""


def open_dataset(data: str | Path, split: str) -> Dataset:
    """Opens a split.

    Args:
        data: A public data set's folder, recognised by what it holds; any other folder of images
            and masks; a list of pairs; a `dataset.yaml`; or `streets` for rendered streets. A
            `dataset.yaml` in the folder is the last word on it.
        split: `train`, `val`, `trainval` or `test`; not every data set has all of them.

    Raises:
        UserError: If the folder or the split is missing or holds no dataset.
    """
    if str(data) == STREETS:
        if split not in _STREET_SPLITS:
            raise UserError(f"unknown split {split!r}: streets have {', '.join(_STREET_SPLITS)}")
        count, seed = _STREET_SPLITS[split]
        return RenderedStreets(count, seed=seed)
    kind, root, layout = recognise(data)
    if layout is not None:
        return open_public(layout, root, split)
    if kind == "stills":
        return open_stills(root, split)
    if kind == "camvid":
        return open_camvid(root, split)
    return open_folder(root, split)


class Recognised(NamedTuple):
    """What a place on the disk holds."""

    kind: Literal["public", "stills", "camvid", "folder"]
    """A public data set's archives, CamVid as published, SegNet's copy of it, or one's own: with a
    list of other classes it is that, whatever its folders are called."""

    root: Path
    """Where it starts, perhaps below the place that was named."""

    layout: Layout | None = None
    """Of a public data set."""


def recognise(data: str | Path) -> Recognised:
    """Tells which kind of data set a folder, a list or a `dataset.yaml` is.

    Raises:
        UserError: If there is no such place, or a list of classes in it is not understood.
    """
    root = Path(data)
    if root.is_file() or (root / NAME).is_file():
        return Recognised("folder", root)
    if not root.is_dir():
        raise UserError(
            f"{data}: no such folder; give one of images and masks, or `{STREETS}` to render them"
        )
    for layout in LAYOUTS:
        found = layout.find(root)
        if found is not None and _may_be(found, BUILTIN[layout.key]):
            return Recognised("public", found, layout)
    if holds_stills(root):
        return Recognised("stills", root)
    annotated = any((root / f"{name}annot").is_dir() for name in ("train", "val", "test"))
    if annotated and _names_camvid(root):
        return Recognised("camvid", root)
    return Recognised("folder", root)


def _may_be(root: Path, labels: Labels) -> bool:
    """Whether no list of classes contradicts a public data set's: most names are the same.

    Raises:
        UserError: If there is a list that is not understood.
    """
    found = find_classes(root)
    if found is None:
        return True
    # Official lists give synonyms, too: `building, edifice`.
    names = [re.split(r"[,;]", item.name)[0].strip().lower() for item in found[1]]
    own = {name for name in names if not VOID.fullmatch(name)}
    common = own & {name.lower() for name in labels.names}
    return 2 * len(common) >= max(len(own), len(labels))


def _names_camvid(root: Path) -> bool:
    """Whether no list of classes contradicts CamVid's: there is none, or it has the same names.

    Raises:
        UserError: If there is one that is not understood: it may be that of one's own data.
    """
    found = find_classes(root)
    if found is None:
        return True
    numbered = {n if item.id is None else item.id: item.name for n, item in enumerate(found[1])}
    own = {(index, name.lower()) for index, name in numbered.items() if not VOID.fullmatch(name)}
    return own == {(index, name.lower()) for index, name in enumerate(CAMVID.names)}
