"""Which files of a folder are masks, and of which images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bisenetv2.data.folder import dataset_yaml
from bisenetv2.data.folder.layout import IMAGE_FOLDERS, MASK_FOLDERS, find_splits
from bisenetv2.data.folder.lists import split_named
from bisenetv2.data.folder.matching import Source, composed, files_below, match
from bisenetv2.errors import UserError
from bisenetv2.images import MASK_SUFFIXES


class MaskFile(NamedTuple):
    """A mask."""

    name: str
    """Names what is written: a path with `/` and without suffix."""

    path: Path
    image: Path | None
    """Its image, where the layout of the folder tells."""


class MaskFiles(NamedTuple):
    """The masks of a folder."""

    files: list[MaskFile]
    images_alone: list[Path]
    """Images that have none."""

    told_apart: bool
    """Whether names and folders tell masks from images."""


def mask_files(source: Path) -> MaskFiles:
    """Lists the masks of a folder.

    A data set as `--data` takes it tells masks from images; else all images in the folder `masks`
    or, without one, in the source are masks.

    Raises:
        UserError: If the source has a folder of images, but no masks that go with them.
    """
    inner = source / "masks"
    try:
        return _laid_out(source)
    except UserError:
        names = {path.name.lower() for path in source.iterdir() if path.is_dir()}
        if not inner.is_dir() and names.intersection(IMAGE_FOLDERS):
            raise
    found = files_below(inner if inner.is_dir() else source, MASK_SUFFIXES)
    return MaskFiles(
        [MaskFile(name, path, None) for name, path in found.items()], [], inner.is_dir()
    )


def _laid_out(root: Path) -> MaskFiles:
    """Lists the masks of a data set, split by split.

    Raises:
        UserError: If it is none, or holds no mask.
    """
    if (root / dataset_yaml.NAME).is_file():
        described = dataset_yaml.read(root / dataset_yaml.NAME)
        root, splits = described.root, described.splits
    else:
        splits = find_splits(root)
    found: dict[Path, MaskFile] = {}
    alone: list[Path] = []
    for split, source in splits.items():
        folder = "" if splits.keys() == {"train"} else f"{_folder(split, source)}/"
        whole = match(root, source)
        alone += whole.images_alone
        for image, mask in whole.pairs:
            name = folder + _name(root, source, mask, image)
            found.setdefault(mask, MaskFile(name, mask, image))
        for mask in whole.masks_alone:
            found.setdefault(mask, MaskFile(folder + _name(root, source, mask), mask, None))
    if not found:
        raise UserError(f"{root}: no image has a mask; give both the same name")
    return MaskFiles(list(found.values()), alone, True)


def _folder(split: str, source: Source) -> str:
    """Returns the name of a split as the folder of its images spells it."""
    return next((p for p in Path(source.images).parts if split_named(p) == split), split)


def _name(root: Path, source: Source, mask: Path, image: Path | None = None) -> str:
    """Names a mask as its image, or else by its path, without what only masks' names end in."""
    if image is not None and source.images and image.is_relative_to(root / source.images):
        return _stem(image.relative_to(root / source.images))
    if source.masks and mask.is_relative_to(root / source.masks):
        path = mask.relative_to(root / source.masks)
    else:
        path = _without_kind(mask.relative_to(root) if mask.is_relative_to(root) else mask)
    return _stem(path).removesuffix(source.mask_ending)


def _stem(path: Path) -> str:
    return composed(path.with_suffix("").as_posix())


def _without_kind(path: Path) -> Path:
    """Takes off the folders in front that only tell masks from images, or splits apart."""
    if path.is_absolute() or ".." in path.parts:
        return Path(path.name)
    parts = list(path.parts)
    while len(parts) > 1 and (parts[0].lower() in MASK_FOLDERS or split_named(parts[0])):
        del parts[0]
    return Path(*parts)
