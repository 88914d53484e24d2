"""The confusion matrix and every score that is read off it.

One convention settles every mean: a class without a single truth pixel in the data is *absent*.
Its IoU and accuracy are undefined (`nan`), it takes no part in any mean, and reports name it. What
is wrongly predicted as an absent class still costs: each such pixel is a false negative of the
class that is really there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX, Mask

Scores: TypeAlias = npt.NDArray[np.float64]
"""One fraction of 0-1 a class, `nan` where the class is absent."""


class ConfusionMatrix:
    """Counts of labelled pixels by true and predicted class.

    The counts are exact integers, so those of disjoint shards add up to those of the whole.

    Args:
        num_classes: Number of classes C, 1 to 255.
        ignore_index: Truth value of pixels that do not count; not a class index, as in `Labels`.
    """

    def __init__(self, num_classes: int, ignore_index: int = IGNORE_INDEX) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts: npt.NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)
        """C×C pixel counts: rows are the truth, columns the prediction."""

    def update(self, truth: Mask, prediction: Mask) -> None:
        """Counts one mask against its truth; a refused pair leaves the counts as they were.

        Args:
            truth: `uint8` H×W of class indices, the ignore index where nothing is known.
            prediction: `uint8` H×W of class indices. The ignore index may stand only where the
                truth is ignored too.

        Raises:
            UserError: If type or size of the two differ, or a value is no class index.
        """
        for role, mask in (("truth", truth), ("prediction", prediction)):
            if mask.dtype != np.uint8 or mask.ndim != 2:
                raise UserError(
                    f"{role} is {mask.dtype} of shape {mask.shape}: "
                    "a mask is uint8 of height and width"
                )
        if truth.shape != prediction.shape:
            raise UserError(
                f"prediction of {prediction.shape[1]}×{prediction.shape[0]} against truth of "
                f"{truth.shape[1]}×{truth.shape[0]} pixels: give both the same size"
            )
        # All 256×256 pairs are counted in one pass. The checks then read 65,536 counts instead of
        # every pixel, and ignored pixels are a row left out rather than a selection copied.
        pairs = truth.astype(np.uint16) << 8 | prediction  # H, W
        histogram = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        self._refuse_unknown("truth", histogram.sum(axis=1))
        self._refuse_unknown("prediction", histogram.sum(axis=0))
        labelled = histogram[: self.num_classes]  # C, 256
        abstained = int(labelled[:, self.ignore_index].sum())
        if abstained:
            raise UserError(
                f"prediction holds the ignore index {self.ignore_index} on {abstained} labelled "
                "pixels: predict a class for every pixel"
            )
        self.counts += labelled[:, : self.num_classes]

    def grouped(self, groups: Sequence[Sequence[int]]) -> ConfusionMatrix:
        """Merges classes into coarser ones: confusion within a group is none.

        Args:
            groups: Class indices of each group; each class in exactly one.

        Raises:
            UserError: If a class is in no group or in several.
        """
        if sorted(index for group in groups for index in group) != list(range(self.num_classes)):
            raise UserError(f"groups of classes: each of {self.num_classes} belongs to one of them")
        merged = ConfusionMatrix(len(groups), self.ignore_index)
        membership = np.zeros((len(groups), self.num_classes), np.int64)
        for place, group in enumerate(groups):
            membership[place, list(group)] = 1
        merged.counts = membership @ self.counts @ membership.T
        return merged

    @property
    def sums(self) -> npt.NDArray[np.int64]:
        """Correct, true and predicted pixels by class, 3×C: all that scores by class need."""
        counts = self.counts
        return np.stack([np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)])

    def _refuse_unknown(self, role: str, occurrences: npt.NDArray[np.int64]) -> None:
        """Raises if one of the mask values that occur is neither a class nor the ignore index."""
        values = np.flatnonzero(occurrences)
        unknown = values[(values >= self.num_classes) & (values != self.ignore_index)]
        if unknown.size:
            raise UserError(
                f"{role} holds label {', '.join(map(str, unknown[:8]))}, which is out of range: "
                f"{self.num_classes} classes (0-{self.num_classes - 1}) and {self.ignore_index} "
                "for ignored pixels are expected"
            )

    @property
    def pixels(self) -> int:
        """Number of labelled pixels counted."""
        return int(self.counts.sum())

    @property
    def present(self) -> tuple[int, ...]:
        """Indices of the classes that have a truth pixel."""
        return tuple(np.flatnonzero(self.sums[1] > 0).tolist())

    @property
    def absent(self) -> tuple[int, ...]:
        """Indices of the classes without a truth pixel; they take no part in any mean."""
        return tuple(np.flatnonzero(self.sums[1] == 0).tolist())

    @property
    def share(self) -> Scores:
        """Truth pixels of each class over all labelled pixels; `nan` if there are none at all."""
        _, truth, _ = self.sums
        return _ratio(truth, truth.sum(keepdims=True))

    @property
    def iou(self) -> Scores:
        """Intersection of truth and prediction over their union, by class."""
        return iou_of(self.sums)

    @property
    def dice(self) -> Scores:
        """Twice the intersection over the sum of true and predicted pixels (F1), by class."""
        hits, truth, predicted = self.sums
        return _ratio(2 * hits, np.where(truth > 0, truth + predicted, 0))

    @property
    def accuracy(self) -> Scores:
        """Correct pixels over truth pixels (recall), by class."""
        hits, truth, _ = self.sums
        return _ratio(hits, truth)

    @property
    def pixel_accuracy(self) -> float:
        """Correct pixels over all labelled pixels; `nan` if there are none."""
        return int(np.trace(self.counts)) / self.pixels if self.pixels else float("nan")

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the present classes; `nan` if there are none."""
        return mean_of(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy of the present classes; `nan` if there are none."""
        return mean_of(self.accuracy)

    @property
    def mean_dice(self) -> float:
        """Mean Dice score of the present classes; `nan` if there are none."""
        return mean_of(self.dice)

    @property
    def frequency_weighted_iou(self) -> float:
        """IoU of the present classes weighted by their share; `nan` if there are none."""
        if not self.present:
            return float("nan")
        return float(np.nansum(self.share * self.iou))


def iou_of(sums: npt.NDArray[np.int64]) -> Scores:
    """Computes the IoU by class, `nan` where a class is absent.

    Args:
        sums: Counts …×3×C of correct, true and predicted pixels, as in `ConfusionMatrix.sums`.

    Returns:
        …×C.
    """
    hits, truth, predicted = np.moveaxis(sums, -2, 0)
    return _ratio(hits, np.where(truth > 0, truth + predicted - hits, 0))


def mean_of(scores: Scores) -> float:
    """Mean of the scores that are not `nan`; `nan` if there are none, as of absent classes."""
    known = scores[~np.isnan(scores)]
    # NumPy would answer `nan` for none too, but with a warning.
    return float(known.mean()) if known.size else float("nan")


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Scores:
    """Divides counts by class, `nan` where the whole is 0."""
    scores: Scores = np.full(part.shape, np.nan)
    np.divide(part, whole, out=scores, where=whole > 0)
    return scores


def largest_off_diagonal(counts: npt.NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Finds the pairs of different classes that occur most.

    Args:
        counts: C×C pixels.
        most: Number of pairs; those that do not occur are left out.

    Returns:
        Row and column of each, the largest count first.
    """
    pairs = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-pairs, axis=None, kind="stable")[:most]
    places = (divmod(int(place), len(counts)) for place in order)
    return [(row, column) for row, column in places if pairs[row, column]]
