"""Finds images that are the same, to the byte or to the eye, in two splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.data.check.facts import ImageFacts, PairFacts
from bisenetv2.data.check.finding import Finding, Severity, counted

MOST_BITS = 8
"""Of the 64 bits of a perceptual hash, so many may differ between candidates."""

LEAST_CORRELATION = 0.98
"""Candidates are alike if their thumbnails correlate by this much.

Copies in another size, in coarse JPEG or blurred stay above it; of cropped or brightened ones some
fall below, and so do frames of a video a second apart unless the camera stands still.
"""

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
    # The first column holds the mean and what changes from top to bottom alone: sky over ground.
    waves = cv2.dct(thumbnail.astype(np.float32))[:8, 1:9].ravel()
    return np.where(waves > np.median(waves), 1, -1).astype(np.float32)


def duplicates(facts: Sequence[PairFacts], held_out: bool = False) -> Iterator[Finding]:
    """Images that two splits share, to the byte or to the eye, and repeats within a split.

    Args:
        facts: What is known of the images.
        held_out: Whether `val` was drawn from train, image by image.
    """
    firsts: dict[bytes, dict[str, int]] = {}  # of files equal to the byte, the first of each split
    repeated = []
    for place, fact in enumerate(facts):
        if fact.image is not None:
            first = firsts.setdefault(fact.image.digest, {})
            if place != first.setdefault(fact.split, place):
                repeated.append(fact.image_path)
    shared = [(b, a) for first in firsts.values() for a, b in combinations(first.values(), 2)]
    yield from _leaks(shared, facts, "error", "the same file as", held_out)
    alike = [(second, first) for first, second in _alike_across_splits(facts)]
    yield from _leaks(alike, facts, "warning", "to the eye the same as", held_out)
    if repeated:
        remedy = "keep one of each: repeats weigh more"
        what = "image{s} {is} repeated within a split"
        yield Finding.of_files("warning", "duplicate", what, repeated, remedy)


def _leaks(
    pairs: Sequence[tuple[int, int]],
    facts: Sequence[PairFacts],
    severity: Severity,
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
        told = f"{counted(len(found), f'image{{s}} of {split} {{is}}')} {how} one of {other}"
        yield Finding(severity, "duplicate", f"{told}, such as {new} and {old}", remedy, paths)


def _alike_across_splits(facts: Sequence[PairFacts]) -> Iterator[tuple[int, int]]:
    """Yields places of images in two splits that look the same but are not the same file.

    An image of the later split is yielded once, with the first that it looks like: of frames of a
    camera that does not move, every pair would do.
    """
    by_split: dict[str, list[tuple[int, ImageFacts]]] = {}
    for place, fact in enumerate(facts):
        if fact.image is not None and fact.image.thumbnail.std() >= FLAT:
            by_split.setdefault(fact.split, []).append((place, fact.image))
    hashes = {
        split: np.stack([perceptual_hash(image.thumbnail) for _, image in images])
        for split, images in by_split.items()
    }
    for one, other in combinations(by_split, 2):
        found = np.zeros(len(by_split[other]), np.bool_)
        for start in range(0, len(by_split[one]), _BLOCK):
            block = by_split[one][start : start + _BLOCK]
            equal = hashes[one][start : start + _BLOCK] @ hashes[other].T  # 64 - 2 × bits apart
            near = equal >= 64 - 2 * MOST_BITS
            columns = np.flatnonzero(near.any(axis=0) & ~found)
            chosen = [by_split[other][column] for column in columns]
            if not chosen:
                continue
            alike = near[:, columns] & (_unit(block) @ _unit(chosen).T >= LEAST_CORRELATION)
            for place, row in zip(*np.nonzero(alike.T), strict=True):
                if not found[columns[place]] and block[row][1].digest != chosen[place][1].digest:
                    found[columns[place]] = True
                    yield block[row][0], chosen[place][0]


def _unit(images: Sequence[tuple[int, ImageFacts]]) -> npt.NDArray[np.float32]:
    """Thumbnails as rows of zero mean and unit length: a product of two is their correlation."""
    rows = np.stack([image.thumbnail.ravel() for _, image in images]).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
