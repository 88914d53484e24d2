"""Confidence intervals by resampling the images a figure was taken on.

An interval says how far the figure would move on other images of the same kind. Frames of one video
are much alike, so on them the truth may lie further off than the interval tells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bisenetv2.evaluation.confusion import Scores, iou_of

RESAMPLES, LEVEL, SEED = 1000, 0.95, 0
"""Resamples drawn, share of them inside an interval, and the seed: figures repeat exactly."""

_BLOCK = 100
"""Resamples computed at once; bounds the memory."""


class Interval(NamedTuple):
    """Bounds of a figure; both `nan` where it cannot be told."""

    low: float
    high: float


class Resampled(NamedTuple):
    """IoU on resampled images."""

    iou: Scores  # resamples, C: `nan` where a resample lacks the class
    mean: Scores  # resamples: over the classes that the images have


def resample(sums: npt.NDArray[np.int64]) -> Resampled:
    """Scores resamples of images, as many images each, drawn with replacement.

    The draws depend on the number of images alone: two models on the same images get the same ones,
    so that the difference of their results is a paired one. A class in a single image is `nan`, and
    with it the mean: nothing tells how it would fare in another.

    Args:
        sums: Images×3×C counts, of each image its `ConfusionMatrix.sums`.
    """
    images, _, classes = sums.shape
    rng = np.random.default_rng(SEED)
    flat = sums.reshape(images, -1).astype(np.float64)  # exact: counts are far below 2**53
    blocks = []
    for _ in range(RESAMPLES // _BLOCK):
        times = rng.multinomial(images, np.full(images, 1 / images), size=_BLOCK)
        blocks.append(iou_of(np.rint(times @ flat).astype(np.int64).reshape(_BLOCK, 3, classes)))
    iou = np.concatenate(blocks)  # resamples, C
    holders = images_with(sums)
    iou[:, holders == 1] = np.nan
    if not holders.any() or (holders == 1).any():
        return Resampled(iou, np.full(len(iou), np.nan))
    # Over one set of classes, else it were no interval of the figure: without a rare and hard class
    # a mean is higher.
    held = np.where(np.isnan(iou), iou_of(sums.sum(axis=0)), iou)[:, holders > 0]
    return Resampled(iou, held.mean(axis=1))


def images_with(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Counts by class the images that have it, of what `resample` takes."""
    counts: npt.NDArray[np.int64] = (sums[:, 1] > 0).sum(axis=0)  # C
    return counts


def interval(values: Scores) -> Interval:
    """Returns the bounds that hold the middle `LEVEL` of resampled values, `nan` left out."""
    known = values[~np.isnan(values)]
    if not known.size:
        return Interval(float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))
