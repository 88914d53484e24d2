"""The checks: each turns facts into findings and touches no file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bisenetv2.data.check.facts import MaskFacts, PairFacts
from bisenetv2.data.check.files import Listing
from bisenetv2.data.check.finding import Finding, Severity, counted
from bisenetv2.data.folder.class_files import VOID
from bisenetv2.labels import IGNORE_INDEX, Labels

MANY_MASKS = 20
"""From so many masks on, a class in one of them alone may be a stray value."""

MOST_IGNORED = 0.5
"""Share of ignored pixels above which a wrong ignore value is likely."""

MOST_STRAYS = 0.05
"""Share of pixels in unknown colours that blends along edges explain, if a tolerance is set."""

_MARKS, _GAP = (*range(200, 256), 65535), 32
"""Ids that mark ignored pixels more often than a class, if they are this far from all others."""

_GREYS = 16
"""Least distance of ids that were chosen to be seen."""

_DARK = 10.0
"""Mean of all images, 0-255, below which hardly any bits are used."""

_BYTES = re.compile(r" \(\d+ bytes not processed\)")
"""What Pillow says of a cut-off file, another number each time."""

Facts = Sequence[PairFacts]
_Mask = tuple[Path, MaskFacts]


def unpaired(listing: Listing) -> Iterator[Finding]:
    """Images without masks, masks without images, and splits without pairs."""
    for split, part in listing.splits.items():
        for alone, own, other in (
            (part.images_alone, "image", "a mask"),
            (part.masks_alone, "mask", "an image"),
        ):
            if alone:
                what = f"{own}{{s}} of {split} {{is}} without {other}"
                remedy = f"add {other} of the same name or remove the {own}"
                yield Finding.of_files("error", "unpaired", what, alone, remedy)
        if not part.pairs:
            remedy = "give every image a mask of its name"
            yield Finding("error", "unpaired", f"{split} holds no pair of image and mask", remedy)
        elif split == "train" and len(part.pairs) == 1:
            remedy = "add images: every batch repeats it"
            yield Finding("warning", "unpaired", "train holds 1 pair of image and mask", remedy)


def unreadable(facts: Facts) -> Iterator[Finding]:
    """Files that cannot be read, a finding a reason."""
    groups: dict[str, list[Path]] = {}
    for fact in facts:
        for path, text in fact.troubles:
            groups.setdefault(_BYTES.sub("", text.removeprefix(f"{path}: ")), []).append(path)
    for text, paths in groups.items():
        reason, mark, remedy = text.rpartition("; ")
        if not mark:
            reason, remedy = text, "replace or remove them"
        what = f"file{{s}} cannot be read ({reason})"
        yield Finding.of_files("error", "unreadable", what, paths, remedy)


_BY_TAG = (
    "mask{s} {is} not turned as an EXIF tag turns the image",
    "if the masks fit the stored pixels remove the tag (`exiftool -Orientation= IMAGES`), "
    "else turn the masks",
)
_TURNED = "mask{s} {is} turned by 90° against the image", "turn one of the two"
_UNEQUAL = "mask{s} {is} of another size than the image", "export them at the image's size"
"""What is wrong with a mask's size, and the remedy."""


def sizes(facts: Facts) -> Iterator[Finding]:
    """Masks of another size than their image, EXIF rotation told apart."""
    hidden: list[Path] = []
    wrong: dict[tuple[str, str], list[tuple[Path, str]]] = {}
    for fact in facts:
        if fact.header is None or fact.mask_size is None:
            continue
        stored, upright = fact.header.size, fact.header.upright
        if fact.mask_size != upright:
            other = _TURNED if fact.mask_size == upright[::-1] else _UNEQUAL
            (height, width), (rows, columns) = fact.mask_size, upright
            told = f"({width}×{height}, the image {columns}×{rows})"
            group = wrong.setdefault(_BY_TAG if fact.mask_size == stored else other, [])
            group.append((fact.mask_path, told))
        elif fact.header.orientation > 1 and upright == stored:
            hidden.append(fact.image_path)
    for (what, remedy), found in wrong.items():
        paths = [path for path, _ in found]
        yield Finding.of_files("error", "size", f"{what} {found[0][1]}", paths, remedy)
    if hidden:
        what = "image{s} {is} turned or mirrored by an EXIF tag that leaves the size as it is"
        remedy = "see in the contact sheet whether the masks are turned too"
        yield Finding.of_files("warning", "size", what, hidden, remedy)


def darkness(facts: Facts) -> Iterator[Finding]:
    """Images that are black to a network, such as those of 12 bits in files of 16."""
    means = [fact.image.mean.mean() for fact in facts if fact.image is not None]
    if means and np.mean(means) < _DARK:
        told = f"images are almost black: their mean is {np.mean(means):.1f} of 255"
        remedy = "if they have 10 or 12 bits in files of 16 stretch them to all 16"
        yield Finding("warning", "dark", told, remedy)


def values(facts: Facts, listing: Listing) -> Iterator[Finding]:
    """Ids and colours in masks that are neither a class nor ignored."""
    found = [(path, mask) for path, mask in masks_of(facts) if mask.strays]
    if not found or listing.labels is None:
        return
    strange = sum((Counter(mask.strange) for _, mask in found), Counter[int]())
    if listing.encoding.kind == "colors":
        yield from _colors(facts, found, strange, listing)
        return
    shown = ", ".join(f"{v} ({counted(n, 'pixel')})" for v, n in strange.most_common(5))
    what = (
        f"mask{{s}} with ids out of range, {shown}, for {len(listing.labels)} classes and "
        f"{listing.labels.ignore_index}"
    )
    remedy = "correct the masks, or list the ids as classes in dataset.yaml"
    if marks := [str(v) for v in strange if _looks_ignored(v, listing.labels)]:
        remedy = (
            f"{' and '.join(marks)} may mark ignored pixels: then list it under `ignore` in "
            "dataset.yaml, else correct the masks"
        )
    yield Finding.of_files("error", "value", what, [path for path, _ in found], remedy)


def _looks_ignored(value: int, labels: Labels) -> bool:
    ids = [raw for raw, _ in labels.raw_ids or ()] or [len(labels) - 1]
    last = max((raw for raw in ids if raw not in _MARKS), default=0)
    return value in (-1, last + 1, *_MARKS)


def _colors(
    facts: Facts, found: Sequence[_Mask], strange: Counter[int], listing: Listing
) -> Iterator[Finding]:
    shown = ", ".join(
        f"{[v >> 16, v >> 8 & 255, v & 255]} ({counted(n, 'pixel')})"
        for v, n in strange.most_common(3)
    )
    remedy = "list the colours in dataset.yaml, as classes or under `ignore`"
    refused = [path for path, mask in found if 2 * mask.strays > mask.pixels]  # by training too
    pixels = sum(mask.pixels for _, mask in masks_of(facts))
    share = sum(mask.strays for _, mask in found) / max(1, pixels)
    if refused:
        what = f"mask{{s}} mostly in unknown colours, such as {shown}"
        yield Finding.of_files("error", "value", what, refused, remedy)
    elif share > (MOST_STRAYS if listing.encoding.tolerance else 0):
        what = f"mask{{s}} with unknown colours, which are ignored, such as {shown}"
        what += f", {100 * share:.2g} % of all pixels"
        yield Finding.of_files("warning", "value", what, [path for path, _ in found], remedy)


def ignoring(facts: Facts, listing: Listing) -> Iterator[Finding]:
    """Ignore values that are suspect: too much is ignored, or a class looks like a mark."""
    masks, labels = masks_of(facts), listing.labels
    if labels is None or not masks:
        return
    if empty := [path for path, mask in masks if mask.ignored == mask.pixels]:
        remedy = "nothing is learnt there: correct or remove them"
        what = "mask{s} without a pixel of any class"
        yield Finding.of_files("warning", "ignore", what, empty, remedy)
    share = sum(m.ignored for _, m in masks) / max(1, sum(m.pixels for _, m in masks))
    if len(empty) == len(masks):
        told = "no pixel of any class in all masks"
        yield Finding("error", "ignore", told, "list the ids of the masks as classes")
    elif share > MOST_IGNORED:
        told = f"{100 * share:.0f} % of all pixels are ignored"
        yield Finding("warning", "ignore", told, "see that the ignored ids are no classes")
    ids = [pair for pair in labels.raw_ids or () if pair[1] != IGNORE_INDEX]
    values = sorted(raw for raw, _ in ids)
    steps = [after - value for value, after in pairwise(values)]
    marks = {raw for raw, index in labels.raw_ids or () if index == IGNORE_INDEX}
    if share and marks == {IGNORE_INDEX} and values[:1] == [0] and min(steps, default=0) >= _GREYS:
        told = f"ids lie far apart, as greys do ({', '.join(map(str, values[:8]))})"
        remedy = f"if {IGNORE_INDEX} is one of them list it under `classes` in dataset.yaml"
        told += f", and {100 * share:.2g} % of the pixels are ignored"
        yield Finding("warning", "ignore", told, remedy)
    for index, name in enumerate(labels.names):
        own = [raw for raw, meant in ids if meant == index]
        others = [raw for raw, meant in ids if meant != index]
        if len(labels) > 2 and own and own[0] in _MARKS and own[0] >= max(others, default=0) + _GAP:
            told = f"class {name} has id {own[0]}, which usually marks ignored pixels"
        elif VOID.fullmatch(name):
            told = f"class {name} is named like ignored pixels, but is learnt and scored"
        else:
            continue
        yield Finding("warning", "ignore", told, "if so, list it under `ignore` in dataset.yaml")


def classes(facts: Facts, listing: Listing) -> Iterator[Finding]:
    """Classes absent everywhere or from a split, and those that look like stray values."""
    masks, labels = masks_of(facts), listing.labels
    if labels is None or not masks:
        return
    splits = [s for s in listing.splits if any(f.split == s and f.mask is not None for f in facts)]
    table = pixels_by_split(facts, splits, len(labels))  # splits, C
    total = table.sum(axis=0)
    if absent := _classes(labels, total == 0):
        remedy = "add images of what is missing or take it off the classes"
        yield Finding("warning", "class", f"{absent} in no mask at all", remedy)
    images = np.sum([mask.classes > 0 for _, mask in masks], axis=0)
    single = (images == 1) & (len(masks) >= MANY_MASKS)
    for index in np.flatnonzero(single):
        path = next(path for path, mask in masks if mask.classes[index])
        pixels = counted(int(total[index]), "pixel")
        what = f"mask of {len(masks):,} shows class {labels.names[index]}, {pixels}"
        remedy = "correct it if the value is a mistake, else add images of the class"
        yield Finding.of_files("warning", "class", what, [path], remedy)
    for split, counts in zip(splits, table, strict=True):
        if absent := _classes(labels, (counts == 0) & (total > 0) & ~single):
            severity: Severity = "error" if split == "train" else "warning"
            what = "learnt" if split == "train" else "scored"
            remedy = f"what is absent is not {what}: split the data anew"
            if listing.held_out:  # so that it lies in both parts where enough images show it
                remedy = f"to be {what} it needs more images"
            told = f"{absent} absent from {split}, present elsewhere"
            yield Finding(severity, "class", told, remedy)


def _classes(labels: Labels, chosen: npt.NDArray[np.bool_]) -> str:
    names = [labels.names[index] for index in np.flatnonzero(chosen)]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"class{'es' * (len(names) > 1)} {', '.join(names[:8])}{more}" if names else ""


def masks_of(facts: Facts) -> list[_Mask]:
    """Masks that were decoded, with their paths."""
    return [(fact.mask_path, fact.mask) for fact in facts if fact.mask is not None]


def pixels_by_split(facts: Facts, splits: Sequence[str], count: int) -> npt.NDArray[np.int64]:
    """Counts pixels: `int64` of splits × classes."""
    table = np.zeros((len(splits), count), np.int64)
    for fact in facts:
        if fact.mask is not None and fact.split in splits:
            table[splits.index(fact.split)] += fact.mask.classes
    return table
