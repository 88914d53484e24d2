"""The checks: each turns facts into findings and touches no file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bisenetv2.data.check_facts import PairFacts
from bisenetv2.data.check_files import Listing
from bisenetv2.data.check_finding import Finding, counted, examples
from bisenetv2.data.class_files import VOID
from bisenetv2.labels import Labels

MANY_MASKS = 20
"""From so many masks on, a class in one of them alone may be a stray value."""

MOST_IGNORED = 0.5
"""Share of ignored pixels above which a wrong ignore value is likely."""

MOST_STRAYS = 0.05
"""Share of pixels in unknown colours that blends along edges explain, if a tolerance is set."""

_HIGH_ID, _GAP = 200, 32
"""An id this high, and this far from all others, looks like a mark of ignored pixels."""

_BYTES = re.compile(r" \(\d+ bytes not processed\)")
"""What Pillow says of a cut-off file, another number each time."""

Facts = Sequence[PairFacts]


def unpaired(listing: Listing) -> Iterator[Finding]:
    """Images without masks, masks without images, and splits without pairs."""
    for split, part in listing.splits.items():
        for lonely, own, other in (
            (part.images_alone, "image", "a mask"),
            (part.masks_alone, "mask", "an image"),
        ):
            if lonely:
                told = f"{counted(len(lonely), f'{own}{{s}} of {split} {{is}}')} without {other}"
                yield Finding(
                    "error",
                    "unpaired",
                    f"{told}: {examples(lonely)}",
                    f"add {other} of the same name or remove the {own}",
                    tuple(map(str, lonely)),
                )
        if not part.pairs:
            told = f"{split} holds no pair of image and mask"
            yield Finding("error", "unpaired", told, "give image and mask the same name")


def unreadable(facts: Facts) -> Iterator[Finding]:
    """Files that cannot be read, each with its reason: a line a reason."""
    groups: dict[str, list[Path]] = {}
    for fact in facts:
        for path, reason in fact.troubles:
            reason = _BYTES.sub("", reason.removeprefix(f"{path}: "))
            groups.setdefault(reason, []).append(path)
    for text, paths in groups.items():
        reason, _, remedy = text.rpartition("; ")
        told = f"{counted(len(paths), 'file')} cannot be read: {examples(paths)}: {reason}"
        yield Finding("error", "unreadable", told, remedy, tuple(map(str, paths)))


def sizes(facts: Facts) -> Iterator[Finding]:
    """Masks of another size than their image, EXIF rotation told apart."""
    by_tag, turned, unequal, hidden = [], [], [], []
    for fact in facts:
        if fact.header is None or fact.mask_size is None:
            continue
        upright = fact.header.upright
        if fact.mask_size == upright:
            if fact.header.orientation > 1 and upright == fact.header.size:
                hidden.append(fact)
        elif fact.mask_size == fact.header.size:
            by_tag.append(fact)
        elif fact.mask_size == upright[::-1]:
            turned.append(fact)
        else:
            unequal.append(fact)
    for group, what, remedy in (
        (
            by_tag,
            "image{s} {is} turned upright by an EXIF tag, masks not",
            "remove the tag if the masks fit the stored pixels (`exiftool -Orientation= FILES`), "
            "else turn the masks",
        ),
        (turned, "mask{s} {is} turned by 90° against the image", "turn one of the two"),
        (unequal, "mask{s} {is} of another size than the image", "export them at the image's size"),
    ):
        if group:
            first = group[0]
            example = f"{first.mask_path} is {_size(first.mask_size)}, {first.image_path}"
            shown = f"{example} {_size(first.header and first.header.upright)}"
            told = f"{counted(len(group), what)}: {shown}"
            yield Finding("error", "size", told, remedy, tuple(str(f.mask_path) for f in group))
    if hidden:
        paths = [fact.image_path for fact in hidden]
        yield Finding(
            "warning",
            "size",
            f"{counted(len(paths), 'image{s} {is}')} turned or mirrored by an EXIF tag, "
            f"their size unchanged: {examples(paths)}",
            "see in the contact sheet whether the masks are turned too",
            tuple(map(str, paths)),
        )


def _size(size: tuple[int, int] | None) -> str:
    return "?" if size is None else f"{size[1]}×{size[0]}"


def values(facts: Facts, listing: Listing) -> Iterator[Finding]:
    """Ids and colours in masks that are neither a class nor ignored."""
    if listing.labels is None:
        return
    strange, holders = Counter[int](), []
    for fact in facts:
        if fact.mask is not None and fact.mask.strays:
            strange.update(fact.mask.strange)
            holders.append(fact)
    if not holders:
        return
    paths = tuple(str(fact.mask_path) for fact in holders)
    masks = counted(len(holders), "mask")
    if listing.encoding.kind == "colors":
        yield from _colors(facts, holders, listing, strange)
        return
    marks = [v for v in strange if _looks_ignored(v, listing.labels)]
    shown = ", ".join(f"{v} ({counted(n, 'pixel')})" for v, n in strange.most_common(5))
    told = f"{masks} with ids out of range: {shown}: {examples(paths)}"
    classes = f"{len(listing.labels)} classes and {listing.labels.ignore_index} are expected"
    remedy = "correct the masks, or list the ids as classes in dataset.yaml"
    if marks:
        remedy = (
            f"{' and '.join(map(str, marks))} may mark ignored pixels: then list it under `ignore` "
            "in dataset.yaml, else correct the masks"
        )
    yield Finding("error", "value", f"{told}; {classes}", remedy, paths)


def _looks_ignored(value: int, labels: Labels) -> bool:
    ids = [raw for raw, _ in labels.raw_ids or ()] or [len(labels) - 1]
    last = max((i for i in ids if i < _HIGH_ID), default=0)
    return value in (-1, last + 1, 65535) or value >= _HIGH_ID


def _colors(
    facts: Facts, holders: Facts, listing: Listing, strange: Counter[int]
) -> Iterator[Finding]:
    strays = {id(f): f.mask.strays / max(1, _pixels(f)) for f in holders if f.mask is not None}
    shown = ", ".join(
        f"{[v >> 16, v >> 8 & 255, v & 255]} ({counted(n, 'pixel')})"
        for v, n in strange.most_common(3)
    )
    refused = [f for f in holders if strays[id(f)] > 0.5]  # what reading them would refuse
    share = sum(f.mask.strays for f in holders if f.mask) / max(1, sum(map(_pixels, facts)))
    remedy = "list the colours in dataset.yaml, as classes or under `ignore`"
    if refused:
        told = f"{counted(len(refused), 'mask')} mostly in unknown colours, such as {shown}"
        paths = tuple(str(f.mask_path) for f in refused)
        yield Finding("error", "value", f"{told}: {examples(paths)}", remedy, paths)
    elif share > (MOST_STRAYS if listing.encoding.tolerance else 0):
        paths = tuple(str(f.mask_path) for f in holders)
        told = f"{counted(len(paths), 'mask')} with pixels in unknown colours, ignored in training"
        percent = f"{100 * share:.2g} % of all pixels"
        sentence = f"{told} ({percent}), such as {shown}: {examples(paths)}"
        yield Finding("warning", "value", sentence, remedy, paths)


def _pixels(fact: PairFacts) -> int:
    mask = fact.mask
    return 0 if mask is None else int(mask.classes.sum()) + mask.ignored + mask.strays


def ignoring(facts: Facts, listing: Listing) -> Iterator[Finding]:
    """Ignore values that are suspect: too much is ignored, or a class looks like a mark."""
    labels = listing.labels
    masks = [fact for fact in facts if fact.mask is not None]
    if labels is None or not masks:
        return
    empty = [f for f in masks if f.mask and not f.mask.classes.any() and not f.mask.strays]
    if empty:
        paths = tuple(str(fact.mask_path) for fact in empty)
        told = f"{counted(len(paths), 'mask')} without a pixel of any class: {examples(paths)}"
        yield Finding("warning", "ignore", told, "nothing is learnt there: remove them", paths)
    ignored = sum(fact.mask.ignored for fact in masks if fact.mask is not None)
    share = ignored / max(1, sum(map(_pixels, masks)))
    if share > MOST_IGNORED:
        told = f"{100 * share:.0f} % of all pixels are ignored"
        yield Finding("warning", "ignore", told, "see that the ignored ids are no classes")
    for index, name in enumerate(labels.names):
        ids = [raw for raw, meant in labels.raw_ids or () if meant == index]
        others = [raw for raw, meant in labels.raw_ids or () if meant not in (index, 255)]
        apart = bool(ids and others) and min(ids) >= _HIGH_ID
        if len(labels) > 2 and apart and min(ids) - max(others) >= _GAP:
            told = f"class {name} has id {ids[0]}, which usually marks ignored pixels"
        elif VOID.fullmatch(name):
            told = f"class {name} is named like ignored pixels, but is learnt and scored"
        else:
            continue
        yield Finding("warning", "ignore", told, "if so, list it under `ignore` in dataset.yaml")


def classes(facts: Facts, listing: Listing) -> Iterator[Finding]:
    """Classes absent everywhere or from a split, and those that look like stray values."""
    labels = listing.labels
    splits = [s for s in listing.splits if any(f.split == s and f.mask is not None for f in facts)]
    if labels is None or not splits:
        return
    table = pixels_by_split(facts, splits, len(labels))  # splits, C
    total = table.sum(axis=0)
    if nowhere := [labels.names[i] for i in np.flatnonzero(total == 0)]:
        told = f"{_classes(nowhere)} in no mask at all"
        yield Finding("warning", "class", told, "add images of them or take them off the classes")
    masks = [fact for fact in facts if fact.mask is not None]
    images = np.sum([f.mask.classes > 0 for f in masks if f.mask is not None], axis=0)
    lonely = (images == 1) & (len(masks) >= MANY_MASKS)
    for index in np.flatnonzero(lonely):
        path = next(str(f.mask_path) for f in masks if f.mask and f.mask.classes[index])
        pixels = counted(int(total[index]), "pixel")
        told = f"class {labels.names[index]} is in one mask of {len(masks):,}, {pixels}: {path}"
        remedy = "correct it if the value is a mistake, else add images of the class"
        yield Finding("warning", "class", told, remedy, (path,))
    for split, counts in zip(splits, table, strict=True):
        lost = [labels.names[i] for i in np.flatnonzero((counts == 0) & (total > 0) & ~lonely)]
        if lost and split == "train":
            told = f"{_classes(lost)} absent from train, though others have it"
            yield Finding("error", "class", told, "it is not learnt: split the data anew")
        elif lost:
            told = f"{_classes(lost)} absent from {split}"
            yield Finding(
                "warning", "class", told, "what is absent is not scored: move images that show it"
            )


def pixels_by_split(facts: Facts, splits: Sequence[str], count: int) -> npt.NDArray[np.int64]:
    """Counts pixels: `int64` of splits × classes."""
    table = np.zeros((len(splits), count), np.int64)
    for fact in facts:
        if fact.mask is not None and fact.split in splits:
            table[splits.index(fact.split)] += fact.mask.classes
    return table


def _classes(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"class{'es' if len(names) > 1 else ''} {', '.join(names[:8])}{more}"
