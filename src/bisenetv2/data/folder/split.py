"""Any folder of images and masks: looked at once, described in `dataset.yaml`, then read."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bisenetv2.data.encodings import pack_color
from bisenetv2.data.folder import dataset_yaml
from bisenetv2.data.folder.class_files import find_classes
from bisenetv2.data.folder.dataset_yaml import Description
from bisenetv2.data.folder.holding_out import fair_seed, held_out
from bisenetv2.data.folder.infer import infer
from bisenetv2.data.folder.layout import LIST_SUFFIXES, find_in_list, find_splits, passed_over
from bisenetv2.data.folder.matching import Match, Pair, Source, match
from bisenetv2.data.folder.survey import Held, survey
from bisenetv2.data.pairs import PairedFiles
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX
from bisenetv2.progress import progress_bar


def open_folder(data: str | Path, split: str) -> PairedFiles:
    """Opens a split of one's own data; on first sight, looks at all masks, writes `dataset.yaml`.

    Args:
        data: The folder, a list of pairs or a `dataset.yaml`.
        split: `train`, `val`, `trainval` or `test`, as far as there are, or one of the file's.

    Raises:
        UserError: If nothing pairs, masks cannot be understood, or the split is unknown.
    """
    described = description_of(Path(data))
    files = tuple(split_pairs(described, split))
    name = f"{described.name} {split}"
    return PairedFiles(name, described.licence, described.labels, files, described.encoding)


def description_of(data: Path) -> Description:
    """Reads the description of a data set, or infers it, writes it and says so on stderr.

    Args:
        data: Its folder, a list of pairs or a `dataset.yaml`.

    Raises:
        UserError: If it cannot be read or inferred.
    """
    if data.suffix.lower() in (".yaml", ".yml"):
        return dataset_yaml.read(data)
    if data.is_file() and data.suffix.lower() not in LIST_SUFFIXES:
        raise UserError(
            f"{data}: no data set; give a folder, a list of pairs ({', '.join(LIST_SUFFIXES)}) "
            "or a dataset.yaml"
        )
    beside, elsewhere = yaml_places(data)
    for place in (beside, elsewhere):
        if place.is_file():
            return dataset_yaml.read(place)
    described = infer_description(data)
    place = beside if os.access(beside.parent, os.W_OK) else elsewhere
    try:
        dataset_yaml.write(described, place)
        told = f"written to {place}; edit names and colours there"
    except UserError as error:
        told = f"kept nowhere, and looked at anew each time: {error}"
    for line in (*described.notes, told):
        print(f"{data}: {line}", file=sys.stderr)
    return described


def yaml_places(data: Path) -> tuple[Path, Path]:
    """Returns where a description may lie: beside the data and, if that is read-only, the user's.

    A list `own.csv` has its description in `own.yaml`.
    """
    beside = data.with_suffix(".yaml") if data.is_file() else data / dataset_yaml.NAME
    told = os.environ.get("XDG_CONFIG_HOME")
    config = Path(told) if told else Path.home() / ".config"
    resolved = str(data.resolve())
    mark = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:8]
    name = f"{data.resolve().stem}-{mark}.yaml"
    return beside, config / "bisenetv2" / "datasets" / name


def infer_description(data: Path) -> Description:
    """Looks at a folder, or a list of pairs, and all its masks; writes nothing.

    Raises:
        UserError: If nothing pairs or the masks cannot be understood.
    """
    root = data.parent if data.is_file() else data
    splits = find_in_list(root, data) if data.is_file() else find_splits(root)
    matches = {split: match(root, source) for split, source in splits.items()}
    left = passed_over(root) if data.is_dir() else []
    left += leave_out_withheld(splits, matches)
    pairs = {split: found.pairs for split, found in matches.items()}
    masks = sorted({mask for found in pairs.values() for _, mask in found})
    if not masks:
        raise UserError(f"{data}: no image has a mask; give both the same name")
    with progress_bar("look at masks", len(masks)) as bar:
        found = survey(masks, bar.advance)
    source, named = find_classes(root) or (None, [])
    inferred = infer(found, named, source)
    counts = ", ".join(f"{len(found)} {split}" for split, found in pairs.items())
    notes = [*map(_layout, splits.items()), f"pairs of image and mask: {counts}", *left]
    seed = 0
    if "val" not in splits and len(pairs.get("train", ())) > 1:
        holds = _classes_in(found.holds, inferred)
        seed = fair_seed(pairs["train"], root, dataset_yaml.VAL_SHARE, holds)
        kept, out = held_out(pairs["train"], root, dataset_yaml.VAL_SHARE, seed)
        notes.append(
            f"no val: {len(out)} of train are held out as val, {len(kept)} stay; "
            "frames of one video are alike: split those by clip, in folders or a list"
        )
    if source is not None:
        notes.append(f"class names from {source}")
    names = inferred.labels.names
    notes += [*inferred.notes, f"classes: {', '.join(names[:20])}{', …' * (len(names) > 20)}"]
    name = data.resolve().stem if data.is_file() else data.resolve().name
    return replace(inferred, root=root, splits=splits, name=name, notes=tuple(notes), val_seed=seed)


def _classes_in(holds: Mapping[Path, Held], described: Description) -> dict[Path, frozenset[int]]:
    """Leaves of the values of each mask those that mean a class; of instances, none."""
    if described.kind == "colors":
        colors = {pack_color(color) for color in described.labels.palette}
        return {mask: held.colors & colors for mask, held in holds.items()}
    raw_ids = described.labels.raw_ids or ()
    ids = {raw for raw, index in raw_ids if index != IGNORE_INDEX}
    return {mask: held.ids & ids for mask, held in holds.items()}


def leave_out_withheld(splits: dict[str, Source], matches: dict[str, Match]) -> list[str]:
    """Takes `test` off both if no image of it has a mask; returns what is to be told, if any."""
    if "test" not in matches or matches["test"].pairs:
        return []
    del splits["test"]
    count = len(matches.pop("test").images_alone)
    return [f"test: left out, as none of its images ({count}) has a mask"] if count else []


def _layout(item: tuple[str, Source]) -> str:
    split, source = item
    if not source.images:
        return f"{split}: {source.list}"
    ends = f", mask names end in {source.mask_ending}" if source.mask_ending else ""
    by = f", those of {source.list}" if source.list else ""
    by += f", but those of {source.without}" if source.without else ""
    return f"{split}: {source.images} with {source.masks}{by}{ends}"


def split_pairs(described: Description, split: str) -> list[Pair]:
    """Lists the pairs of a split.

    Raises:
        UserError: If the split is unknown or empty, or an image lacks its mask.
    """
    splits = described.splits
    known = [*splits, *(["val"] if "val" not in splits and "train" in splits else [])]
    if "train" in splits and "trainval" not in splits:
        known.append("trainval")
    if split not in known:
        raise UserError(f"unknown split {split!r}: {described.name} has {', '.join(known)}")
    if split in splits and (split != "train" or "val" in splits):
        pairs = list(match(described.root, splits[split]).checked())
    elif split == "trainval":
        parts = ("train", "val") if "val" in splits else ("train",)
        pairs = [p for part in parts for p in match(described.root, splits[part]).checked()]
    else:
        whole = match(described.root, splits["train"]).checked()
        if len(whole) < 2:
            raise UserError(
                f"{described.name}: {len(whole)} pair; a split into train and val needs 2"
            )
        kept, out = described.part(whole)
        pairs = kept if split == "train" else out
    if not pairs:
        raise UserError(f"{described.name}: split {split!r} holds no pair of image and mask")
    return pairs
