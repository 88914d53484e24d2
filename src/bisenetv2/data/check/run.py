"""What is wrong with a data set, before hours are spent on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bisenetv2.data.check import rules
from bisenetv2.data.check.facts import ImageFacts, PairFacts, gather
from bisenetv2.data.check.files import Listing, listing_of
from bisenetv2.data.check.finding import Finding
from bisenetv2.data.check.similar import duplicates
from bisenetv2.data.dataset import Dataset

SAMPLES = 16
"""Pairs that the quick check decodes, spread over the data; of the others it reads headers."""

CROP_PIXELS = 1024 * 512
"""Largest suggested crop: that of the paper's Cityscapes recipe."""

CROP_MULTIPLE = 32

LEAST_SEEN = 0.2
"""Share of an image that a crop should show: below it, what is what is hard to tell."""

LEAST_FILLED = 0.5
"""Share of a crop that an image should fill."""


@dataclass(frozen=True)
class Statistics:
    """Facts in sum; of the pairs that were decoded."""

    pixels: dict[str, list[int]]
    """Pixels of each class by split."""

    shares: list[float]
    """Share of each class in the labelled pixels of all splits, 0-1."""

    images: list[int]
    """Images that show each class."""

    ignored: float
    """Share of all pixels, 0-1."""

    weights: list[float]
    """Suggested factor of each class in the loss, from the training pixels."""

    normalization: tuple[list[float], list[float]] | None
    """Mean and deviation of each channel of the training images, RGB, 0-255."""

    sizes: Counter[tuple[int, int]]
    """Images by height and width in pixels."""

    crop: tuple[int, int] | None
    """Suggested crop: height and width."""


@dataclass(frozen=True)
class Report:
    """All that a check found."""

    listing: Listing
    facts: list[PairFacts]
    findings: list[Finding]
    """Errors first."""

    statistics: Statistics

    @property
    def errors(self) -> int:
        """How many findings forbid training."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def pairs(self) -> dict[str, int]:
        """Pairs of each split."""
        return {split: len(part.pairs) for split, part in self.listing.splits.items()}

    @property
    def decoded(self) -> int:
        """Pairs that were decoded."""
        return sum(fact.image is not None and fact.mask_size is not None for fact in self.facts)

    def to_json_object(self) -> dict[str, Any]:
        """Returns findings and statistics for `--json`."""
        s, labels = self.statistics, self.listing.labels
        mean, std = s.normalization or (None, None)
        return {
            "data": self.listing.name,
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "findings": [finding.to_json_object() for finding in self.findings],
            "notes": list(self.listing.notes),
            "pairs": self.pairs,
            "decoded": self.decoded,
            "classes": [
                {
                    "name": name,
                    "share": s.shares[index],
                    "images": s.images[index],
                    "pixels": {split: counts[index] for split, counts in s.pixels.items()},
                    "weight": s.weights[index],
                }
                for index, name in enumerate(labels.names if labels is not None else ())
            ],
            "ignored_share": s.ignored,
            "normalization": {"mean": mean, "std": std},
            "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in s.sizes.items()],
            "crop": s.crop,
        }


def check(
    listing: Listing, *, quick: bool = False, progress: Callable[[], None] | None = None
) -> Report:
    """Checks all splits of a data set.

    Args:
        listing: What `list_files` found.
        quick: Decode a few pairs only and read the headers of the others.
        progress: Called after each of `listing.count` pairs.
    """
    facts = gather(listing, spread(listing.count) if quick else None, progress)
    return Report(listing, facts, judge(listing, facts, quick), statistics(listing, facts))


def quick_check(dataset: Dataset, crop: tuple[int, int] | None = None) -> list[Finding]:
    """Checks an opened split within seconds: headers of all files, a few pairs in full.

    Args:
        dataset: The split.
        crop: Height and width in pixels of the frames' parts that it is to be trained on.

    Returns:
        Findings, errors first; none for rendered streets.
    """
    listing = listing_of(dataset)
    if listing is None:
        return []
    facts = gather(listing, spread(listing.count))
    sizes = [fact.header.upright for fact in facts if fact.header is not None]
    return [*judge(listing, facts, quick=True), *(unfit(crop, sizes) if crop and sizes else ())]


def unfit(crop: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """A crop that shows little of the images, or is mostly beside them.

    Args:
        crop: Height and width in pixels.
        sizes: Those of the images, at least one.
    """
    height, width = (int(side) for side in np.median(sizes, axis=0))
    seen = min(crop[0], height) * min(crop[1], width)
    images = f"images of {width}×{height} (median)"
    whole = [CROP_MULTIPLE * math.ceil(side / CROP_MULTIPLE) for side in (height, width)]
    if seen < LEAST_SEEN * height * width:
        scale = min(1.0, math.sqrt(CROP_PIXELS / (height * width)))
        told = (
            f"a crop of {crop[1]}×{crop[0]} shows {100 * seen / height / width:.0f} % of {images}"
        )
        remedy = f"--crop {whole[0]} {whole[1]} --input-scale {scale:.2g} shows them whole"
        yield Finding("warning", "crop", told, remedy)
    elif seen < LEAST_FILLED * crop[0] * crop[1]:
        told = f"a crop of {crop[1]}×{crop[0]} is mostly beside {images}, where it is black"
        yield Finding("warning", "crop", told, f"--crop {whole[0]} {whole[1]} fits them")


def judge(listing: Listing, facts: Sequence[PairFacts], quick: bool = False) -> list[Finding]:
    """Runs all checks on the facts; the quick ones do not ask for every pixel."""
    findings = [
        *listing.findings,
        *rules.unpaired(listing),
        *rules.unreadable(facts),
        *rules.sizes(facts),
        *rules.darkness(facts),
        *rules.values(facts, listing),
    ]
    if not quick:
        findings += rules.ignoring(facts, listing)
        findings += rules.classes(facts, listing)
        findings += duplicates(facts, listing.held_out)
    return sorted(findings, key=lambda finding: finding.severity != "error")


def spread(count: int) -> set[int]:
    """Chooses up to `SAMPLES` of so many places, evenly."""
    taken = min(SAMPLES, count)
    return {place * count // taken for place in range(taken)}


def statistics(listing: Listing, facts: Sequence[PairFacts]) -> Statistics:
    """Sums up the facts and derives what to train with."""
    splits, count = list(listing.splits), len(listing.labels or ())
    table = rules.pixels_by_split(facts, splits, count)
    training = "train" if "train" in splits else next(iter(splits), "")
    masks = [fact.mask for fact in facts if fact.mask is not None]
    ignored = sum(mask.ignored + mask.strays for mask in masks)
    sizes = Counter(fact.header.upright for fact in facts if fact.header is not None)
    return Statistics(
        pixels={split: row.tolist() for split, row in zip(splits, table, strict=True)},
        shares=(table.sum(axis=0) / max(1, table.sum())).tolist(),
        images=sum((m.classes > 0 for m in masks), np.zeros(count, np.int64)).tolist(),
        ignored=float(ignored / max(1, ignored + table.sum())),
        weights=class_weights(table[[s == training for s in splits]].sum(axis=0).tolist()),
        normalization=_normalization(
            [f.image for f in facts if f.image is not None and f.split == training]
        ),
        sizes=Counter(dict(sizes.most_common())),
        crop=suggest_crop(sizes),
    )


def _normalization(images: Sequence[ImageFacts]) -> tuple[list[float], list[float]] | None:
    """Mean and deviation over all pixels, every image counting the same."""
    if not images:
        return None
    mean = np.mean([image.mean for image in images], axis=0)
    std = np.sqrt(np.mean([image.square for image in images], axis=0) - mean**2)
    return mean.round(2).tolist(), std.round(2).tolist()


def class_weights(pixels: Sequence[int]) -> list[float]:
    """Weighs a class of share p by 1 / ln(1.02 + p), scaled to 1 on average over pixels.

    ENet, https://arxiv.org/abs/1606.02147, section 5.1. A class without pixels has the largest.
    """
    shares = [count / max(1, sum(pixels)) for count in pixels]
    weights = [1 / math.log(1.02 + share) for share in shares]
    mean = sum(w * s for w, s in zip(weights, shares, strict=True)) or 1.0
    return [round(weight / mean, 4) for weight in weights]


def suggest_crop(sizes: Counter[tuple[int, int]]) -> tuple[int, int] | None:
    """Suggests a crop: the median image, scaled down to the paper's crop where it is larger.

    Args:
        sizes: Images by height and width.

    Returns:
        Height and width, multiples of 32 nearest to it; `None` without images.
    """
    if not sizes:
        return None
    height, width = np.median(np.array(list(sizes.elements())), axis=0)
    scale = min(1.0, math.sqrt(CROP_PIXELS / (height * width)))
    near = [max(1, round(side * scale / CROP_MULTIPLE)) for side in (height, width)]
    return CROP_MULTIPLE * near[0], CROP_MULTIPLE * near[1]
