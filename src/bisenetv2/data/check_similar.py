"""Finds images that are the same, to the byte or to the eye, in two splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.data.check_facts import PairFacts
from bisenetv2.data.check_finding import Finding, counted, examples

MOST_BITS = 8
"""Of the 64 bits of a perceptual hash, so many may differ between candidates."""

LEAST_CORRELATION = 0.98
"""Candidates are alike if their thumbnails correlate by this much: a copy in another size or JPEG
quality, brightened or a little cropped does; the next frame of a drive a second later does not."""

FLAT = 2.0
"""Standard deviation in grey levels below which a thumbnail shows nothing to go by."""

_BLOCK = 1024


def perceptual_hash(thumbnail: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Hashes what is to be seen in coarse: signs of low frequencies against their median.

    Args:
        thumbnail: Grey, 32×32.

    Returns:
        64 bits as ±1, so that a product of two counts equal bits.
    """
    waves = cv2.dct(thumbnail.astype(np.float32))[:8, 1:9].ravel()  # without the mean's column
    return np.where(waves > np.median(waves), 1, -1).astype(np.float32)


def duplicates(facts: Sequence[PairFacts], held_out: bool = False) -> Iterator[Finding]:
    """Images that two splits share, to the byte or to the eye, and repeats within a split.

    Args:
        facts: What is known of the images.
        held_out: Whether `val` was drawn from train, image by image.
    """
    shared, repeated = [], []
    for group in _same_files(facts):
        first: dict[str, int] = {}
        for place in group:
            if place != first.setdefault(facts[place].split, place):
                repeated.append(place)
        shared += [(b, a) for a, b in combinations(first.values(), 2)]
    yield from _leaks(shared, facts, "error", "the same file as", held_out)
    alike = {second: first for first, second in _alike_across_splits(facts)}
    yield from _leaks(list(alike.items()), facts, "warning", "to the eye the same as", held_out)
    if repeated:
        paths = [str(facts[place].image_path) for place in repeated]
        told = f"{counted(len(paths), 'image')} repeated within a split: {examples(paths)}"
        remedy = "keep one of each: repeats weigh more"
        yield Finding("warning", "duplicate", told, remedy, tuple(paths))


def _leaks(
    pairs: Sequence[tuple[int, int]],
    facts: Sequence[PairFacts],
    severity: Literal["error", "warning"],
    how: str,
    held_out: bool,
) -> Iterator[Finding]:
    """A finding for each two splits, of images of the later one and their like in the earlier."""
    remedy = "remove them from one of the two: scores are of what was learnt"
    if held_out:
        remedy = (
            "val is drawn from train: split by clip or place instead, in folders images/train and "
            "images/val or a list with a column `split`"
        )
    leaks: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for later, earlier in pairs:
        leaks.setdefault((facts[later].split, facts[earlier].split), []).append((later, earlier))
    for (split, other), found in leaks.items():
        new, old = (facts[place].image_path for place in found[0])
        paths = tuple(str(facts[place].image_path) for place, _ in found)
        told = f"{counted(len(found), f'image{{s}} of {split}')} {how} one of {other}"
        yield Finding(severity, "duplicate", f"{told}, such as {new} and {old}", remedy, paths)


def _same_files(facts: Sequence[PairFacts]) -> list[list[int]]:
    """Groups the places of images whose files are equal to the byte."""
    groups: dict[bytes, list[int]] = {}
    for place, fact in enumerate(facts):
        if fact.image is not None:
            groups.setdefault(fact.image.digest, []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _alike_across_splits(facts: Sequence[PairFacts]) -> Iterator[tuple[int, int]]:
    """Yields places of images in two splits that look the same but are not the same file."""
    by_split: dict[str, list[int]] = {}
    for place, fact in enumerate(facts):
        if fact.image is not None and fact.image.thumbnail.std() >= FLAT:
            by_split.setdefault(fact.split, []).append(place)
    thumbnails = {p: f.image.thumbnail for p, f in enumerate(facts) if f.image is not None}
    hashes = {s: np.stack([perceptual_hash(thumbnails[p]) for p in by_split[s]]) for s in by_split}
    for one, other in combinations(by_split, 2):
        for start in range(0, len(by_split[one]), _BLOCK):
            equal = hashes[one][start : start + _BLOCK] @ hashes[other].T  # 64 - 2 × bits apart
            for row, column in np.argwhere(equal >= 64 - 2 * MOST_BITS).tolist():
                first, second = by_split[one][start + row], by_split[other][column]
                if not _same_file(facts, first, second) and (
                    _correlation(thumbnails[first], thumbnails[second]) >= LEAST_CORRELATION
                ):
                    yield first, second


def _same_file(facts: Sequence[PairFacts], first: int, second: int) -> bool:
    one, other = facts[first].image, facts[second].image
    return one is not None and other is not None and one.digest == other.digest


def _correlation(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    a, b = (picture.astype(np.float32).ravel() for picture in (one, other))
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
