"""Finds images, masks and splits in a folder nobody has described."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bisenetv2.data.folder.lists import SPLIT_FOLDERS, heading, read_rows, split_named
from bisenetv2.data.folder.matching import (
    MASK_ENDINGS,
    Source,
    composed,
    files_below,
    files_of,
    find_endings,
    match,
    walk,
)
from bisenetv2.errors import UserError
from bisenetv2.images import IMAGE_SUFFIXES, MASK_SUFFIXES

IMAGE_FOLDERS = (
    *("images", "image", "imgs", "img", "jpegimages", "frames", "rgb", "inputs", "input"),
    *("img_dir", "image_2", "leftimg8bit"),
)
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass"),
    *("segmentation", "segmentations", "gt", "groundtruth", "ground_truth", "targets", "annots"),
    *("ann_dir", "semantic", "lab", "gtfine"),
)
"""Names of folders in lower case, the usual ones first."""

LIST_FOLDERS = ("", "splits", "lists", "ImageSets/Segmentation", "imagesets/segmentation")
LIST_NAMES = ("pairs", "list", "default", "split", "splits")
LIST_SUFFIXES = (".csv", ".txt", ".tsv")

_BESIDE = ("annot", "_annot", "_labels", "_label", "_masks", "_mask", "_gt", "_annotations")
"""What the folder of a split's masks adds to the folder of its images."""


def find_splits(root: Path) -> dict[str, Source]:
    """Finds the splits of a data set.

    Args:
        root: Its folder.

    Returns:
        Sources by `train`, `val`, `test`, as far as there are; all is `train` if nothing tells
        splits apart. A `test` whose truth is kept from us, as is usual, has no folder of masks.

    Raises:
        UserError: If nothing looks like images with masks, names do not pair, or a split is there
            twice.
    """
    found = _by_split_folders(root) or _by_lists(root)
    if not found:
        whole = _images_and_masks(root, root)
        if whole is None and _ending_of_neighbours(root):
            whole = Source(".", ".")
        found = {} if whole is None else {"train": whole}
    if not found:
        holds = ", ".join(sorted(_entries(root))[:8]) or "nothing"
        hint = "; if its JSON files hold polygons, draw masks by `bisenetv2 convert-labels` first"
        if not any(path.suffix.lower() == ".json" for path in walk(root)):
            hint = ""
        raise UserError(
            f"{root}: no images with masks in it (it holds {holds}); put images in images/train "
            f"and masks of the same names in masks/train, or list pairs in pairs.csv{hint}"
        )
    if "test" in found and len(found) > 1 and not _has_masks(root, found["test"]):
        found["test"] = Source(found["test"].images)
    return {
        split: _with_endings(root, found[split]) if found[split].masks else found[split]
        for split in SPLIT_FOLDERS
        if split in found
    }


def find_in_list(root: Path, path: Path) -> dict[str, Source]:
    """Finds the splits of one list of pairs: by its column `split`, else all is `train`.

    Args:
        root: Folder of the data set.
        path: The list.

    Raises:
        UserError: If the list is unreadable, or a row names a split that is none or none at all
            beside others that do.
    """
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    rows = read_rows(path)
    folders = _images_and_masks(root, root) or Source()
    source = Source(list=name) if any(row[1] for row in rows) else replace(folders, list=name)
    if source.images:
        source = _with_endings(root, source)
    if not any(row[2] for row in rows):
        return {"train": source}
    for _, _, split, line in rows:
        if split not in SPLIT_FOLDERS:
            raise UserError(
                f"{path}: line {line}: split {split!r} is none of train, val, test; correct the "
                "list"
            )
    return {split: replace(source, rows=split) for split in dict.fromkeys(row[2] for row in rows)}


def _entries(root: Path) -> dict[str, str]:
    """Names in a folder by their lower case; hidden ones are passed over."""
    return {p.name.lower(): p.name for p in sorted(root.iterdir()) if not p.name.startswith(".")}


def _folders(root: Path) -> dict[str, str]:
    return {low: name for low, name in _entries(root).items() if (root / name).is_dir()}


def _images_and_masks(root: Path, below: Path) -> Source | None:
    """Finds a folder of images and one of masks in a folder."""
    folders = _folders(below)
    images = next((folders[name] for name in IMAGE_FOLDERS if name in folders), None)
    choices = [folders[name] for name in MASK_FOLDERS if name in folders]
    if images is None or not choices:
        return None
    # Some hold polygons or boxes, beside one of masks.
    masks = next((name for name in choices if _holds_mask(below / name)), choices[0])
    return Source(
        (below / images).relative_to(root).as_posix(), (below / masks).relative_to(root).as_posix()
    )


def _holds_mask(folder: Path) -> bool:
    return any(path.suffix.lower() in MASK_SUFFIXES for path in walk(folder))


def _by_split_folders(root: Path) -> dict[str, Source]:
    folders = _folders(root)
    splits = _named_by_split(root, folders)
    whole = _images_and_masks(root, root)
    if whole is not None:  # images/train, masks/train
        masks = _folders(root / whole.masks)
        for low, name in _folders(root / whole.images).items():
            if split := split_named(low):
                alike = (masks[m] for m in masks if split_named(m) == split)
                other = masks.get(low) or next(alike, name)
                source = Source(f"{whole.images}/{name}", f"{whole.masks}/{other}")
                _add(root, splits, low, source)
        if splits and "train" not in splits:  # images, masks beside val_images, val_masks
            splits["train"] = whole
        return splits
    for low, name in folders.items():
        if split_named(low) is None:
            continue
        beside = next((folders[low + end] for end in _BESIDE if low + end in folders), None)
        if inside := _images_and_masks(root, root / name):  # train/images, train/masks
            _add(root, splits, low, inside)
        elif beside is not None:  # train, trainannot
            _add(root, splits, low, Source(name, beside))
        elif _ending_of_neighbours(root / name):  # train/a.jpg, train/a_mask.png
            _add(root, splits, low, Source(name, name))
    test = next((name for low, name in folders.items() if split_named(low) == "test"), None)
    if splits and test is not None:
        splits.setdefault("test", Source(test))
    return splits


def _named_by_split(root: Path, folders: dict[str, str]) -> dict[str, Source]:
    """Finds `train_images` with `train_masks`, `images_val` with `masks_val` and the like."""
    images: dict[str, list[str]] = {}
    masks: dict[str, dict[str, str]] = {}
    for low, name in folders.items():
        split, kind = _split_and_kind(low)
        if split and kind in IMAGE_FOLDERS:
            images.setdefault(split, []).append(name)
        elif split and kind in MASK_FOLDERS:
            masks.setdefault(split, {})[kind] = name
    splits: dict[str, Source] = {}
    for split, names in images.items():
        own = masks.get(split, {})
        choices = [own[kind] for kind in MASK_FOLDERS if kind in own]
        if holding := next((name for name in choices if _holds_mask(root / name)), None):
            for name in names:
                _add(root, splits, split, Source(name, holding))
    if splits and "test" in images:
        splits.setdefault("test", Source(images["test"][0]))
    return splits


def _split_and_kind(low: str) -> tuple[str, str]:
    """Parts `train_images` or `images-training` into split and kind; else both are empty."""
    for mark in "_-":
        for name, kind in (low.partition(mark)[::2], low.rpartition(mark)[::-2]):
            if split := split_named(name):
                return split, kind
    return "", ""


def _add(root: Path, splits: dict[str, Source], name: str, source: Source) -> None:
    """Adds what stands for a split by its name; of two that do, one would be lost."""
    split = split_named(name) or name
    place = source.list or source.images
    if (other := splits.setdefault(split, source)) is not source:
        raise UserError(
            f"{root / place}: is {split} as {other.list or other.images} is; put them in one, or "
            "list pairs in pairs.csv"
        )


def _by_lists(root: Path) -> dict[str, Source]:
    splits: dict[str, Source] = {}
    named: dict[str, Path] = {}
    for lists in _lists(root):
        here: dict[str, Source] = {}
        for stem, path in lists.items():
            if split_named(stem) and not _is_table(root, path):
                _add(root, here, stem, _source_of(root, path))
        splits = {**here, **splits}
        named = {**lists, **named}
        pairs = next((lists[stem] for stem in lists if stem in LIST_NAMES), None)
        if pairs is not None and "train" not in splits:
            return {**find_in_list(root, pairs), **splits}
    if splits and "train" not in splits:
        train = _rest(root, splits, named.get("trainval"))
        if train is not None:
            splits["train"] = train
    return splits


def _lists(root: Path) -> Iterator[dict[str, Path]]:
    """Yields the lists of each folder that may hold some, by their names in lower case."""
    for folder in LIST_FOLDERS:
        if (root / folder).is_dir():
            yield {
                Path(low).stem: root / folder / name
                for low, name in _entries(root / folder).items()
                if Path(name).suffix.lower() in LIST_SUFFIXES
            }


def _is_table(root: Path, path: Path) -> bool:
    """Whether a CSV file is no list: its first line is a heading, not the name of an image."""
    first = heading(path)
    source = None if first is None else _images_and_masks(root, root)
    if first is None or source is None:
        return first is not None
    images = files_of(root / source.images, IMAGE_SUFFIXES)
    return composed(first) not in {composed(image.stem) for image in images}


def passed_over(root: Path) -> list[str]:
    """Tells of the files in a folder that are called as lists of a split are, but are none.

    Raises:
        UserError: If one is unreadable.
    """
    if _by_split_folders(root):  # no list matters
        return []
    return [
        f"{path.relative_to(root)}: passed over, as it lists no files"
        for lists in _lists(root)
        for stem, path in lists.items()
        if split_named(stem) and _is_table(root, path)
    ]


def _rest(root: Path, splits: dict[str, Source], whole: Path | None) -> Source | None:
    """What there is to train on beside listed splits; `None` if nothing.

    Args:
        root: Folder of the data set.
        splits: `val`, `test` or both.
        whole: List of train and val together, if there is one.
    """
    if whole is not None:
        rest, held = _source_of(root, whole), splits.get("val")
        if held is not None and bool(held.images) == bool(rest.images):
            rest = replace(rest, without=held.list)
    else:
        held, *others = splits.values()
        if others or not held.images:
            return None
        rest = replace(held, list="", without=held.list)  # of the folders, one split is listed
    return rest if match(root, rest).pairs else None


def _source_of(root: Path, path: Path) -> Source:
    return next(iter(find_in_list(root, path).values()))


def _has_masks(root: Path, source: Source) -> bool:
    masks = root / source.masks
    holds = bool(source.masks) and masks.is_dir() and bool(files_below(masks, MASK_SUFFIXES))
    return bool(source.list) or holds


def _ending_of_neighbours(folder: Path) -> tuple[str, str] | None:
    """Finds how masks that lie among their images are called."""
    files = [p for p in folder.iterdir() if not p.name.startswith(".")]
    images, masks = (
        {composed(path.stem) for path in files if path.suffix.lower() in suffixes}
        for suffixes in (IMAGE_SUFFIXES, MASK_SUFFIXES)
    )
    return find_endings(images, masks, together=True)


def _with_endings(root: Path, source: Source) -> Source:
    """Completes a source by what the names of its images and masks end in."""
    if source.images == source.masks:
        endings: tuple[str, str] | None
        endings = _ending_of_neighbours(root / source.images) or ("", MASK_ENDINGS[1])
    else:
        masks = files_below(root / source.masks, MASK_SUFFIXES)
        images = files_below(root / source.images, IMAGE_SUFFIXES)
        for kind, suffixes, files, folder in (
            ("image", IMAGE_SUFFIXES, images, source.images),
            ("mask", MASK_SUFFIXES, masks, source.masks),
        ):
            if not files:
                raise UserError(
                    f"{root / folder}: holds no {kind} ({', '.join(suffixes)}); put them there"
                    + ("" if kind == "image" else ", polygons drawn by `bisenetv2 convert-labels`")
                )
        endings = find_endings(images, masks)
        if endings is None:
            raise UserError(
                f"{root / source.masks}: no mask is named like an image ({next(iter(masks))} for "
                f"{next(iter(images))}?); give both one name, or list pairs in pairs.csv"
            )
    return replace(source, image_ending=endings[0], mask_ending=endings[1])
