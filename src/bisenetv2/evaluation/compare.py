"""Two models on the same frames: what one gains or loses, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bisenetv2.data.dataset import Dataset
from bisenetv2.evaluation.bootstrap import Interval, interval
from bisenetv2.evaluation.confusion import Scores
from bisenetv2.evaluation.evaluate import Evaluation, for_json
from bisenetv2.evaluation.gallery import Gallery
from bisenetv2.evaluation.protocols import Answering
from bisenetv2.evaluation.walk import Answered, walk
from bisenetv2.labels import Labels

PICTURES = 6
"""Frames kept on which the two disagree most."""


@dataclass(frozen=True)
class Difference:
    """What the second model scores more than the first, in fractions of 0-1."""

    value: float

    bounds: Interval
    """Where it would lie on other such images, taken pairwise."""

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.bounds.low > 0 or self.bounds.high < 0

    def to_json_object(self) -> dict[str, Any]:
        """Returns value, interval and verdict, ready for `json.dumps(..., allow_nan=False)`."""
        content = {"value": self.value, "interval": self.bounds, "clear": self.clear}
        return {key: for_json(value) for key, value in content.items()}


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`."""

    evaluations: tuple[Evaluation, Evaluation]

    pairs: npt.NDArray[np.int64]
    """C×C labelled pixels by the first model's class and the second's."""

    right: npt.NDArray[np.int64]
    """4×C pixels of each true class: both right, only the first, only the second, none."""

    gallery: Gallery
    """Frames with the least agreement."""

    @property
    def labels(self) -> Labels:
        """Classes of the dataset."""
        return self.evaluations[0].labels

    @property
    def agreement(self) -> float:
        """Share of labelled pixels that both give the same class; `nan` without any."""
        total = int(self.pairs.sum())
        return int(np.trace(self.pairs)) / total if total else float("nan")

    @cached_property
    def miou(self) -> Difference:
        """Difference of mIoU."""
        first, second = self.evaluations
        value = second.matrix.mean_iou - first.matrix.mean_iou
        return Difference(value, interval(second.resampled.mean - first.resampled.mean))

    @cached_property
    def per_class(self) -> list[Difference]:
        """Difference of IoU, by class."""
        first, second = self.evaluations
        values = (second.matrix.iou - first.matrix.iou).tolist()
        spread = (second.resampled.iou - first.resampled.iou).T  # C, resamples
        return [Difference(v, interval(s)) for v, s in zip(values, spread, strict=True)]

    @property
    def only_right(self) -> Scores:
        """Share of a true class that only the first, and only the second, has right: 2×C."""
        truth = self.right.sum(axis=0)
        shares: Scores = np.full((2, len(self.labels)), np.nan)
        np.divide(self.right[1:3], truth, out=shares, where=truth > 0)
        return shares

    def to_json_object(self) -> dict[str, Any]:
        """Returns all figures, ready for `json.dumps(..., allow_nan=False)`.

        `confusion` has a row of pixel counts for each true class, a column for each predicted one.
        """
        first, second = self.evaluations
        only_first, only_second = self.only_right
        content = {
            "data": first.data,
            "images": first.images,
            "absent_classes": first.absent_classes,
            "protocols": [first.protocol, second.protocol],
            "seen": [[one._asdict() for one in sorted(each.seen)] for each in self.evaluations],
            "miou": [each.matrix.mean_iou for each in self.evaluations],
            "miou_difference": self.miou.to_json_object(),
            "agreement": self.agreement,
            "confusion": [each.matrix.counts for each in self.evaluations],
            "per_class": {
                name: {
                    "iou": [each.matrix.iou[index] for each in self.evaluations],
                    "difference": self.per_class[index].to_json_object(),
                    "only_first_right": only_first[index],
                    "only_second_right": only_second[index],
                }
                for index, name in enumerate(self.labels.names)
            },
        }
        return {key: for_json(value) for key, value in content.items()}


def compare(
    first: Answering,
    second: Answering,
    dataset: Dataset,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Scores two models on the same frames, each frame read once.

    Args:
        first: A model and how it looks at frames.
        second: Another; differences are this one less the first.
        dataset: Frames with their truth.
        progress: Called after each image with the number of images done so far.

    Raises:
        UserError: If a model's labels are not those of the dataset, or a sample does not fit.
    """
    evaluations = Evaluation.begin(first, dataset), Evaluation.begin(second, dataset)
    labels, gallery = dataset.labels, Gallery(worst=PICTURES, best=0)
    classes = len(labels)
    pairs = np.zeros((classes, classes), np.int64)
    right = np.zeros((4, classes), np.int64)

    def add(frame: Answered) -> None:
        for evaluation, answer in zip(evaluations, frame.answers, strict=True):
            evaluation.add(frame.name, frame.truth, answer)
        labelled = frame.truth != labels.ignore_index
        truth, a, b = (m[labelled] for m in (frame.truth, *(x.mask for x in frame.answers)))
        both = a.astype(np.intp) * classes + b
        pairs[...] += np.bincount(both, minlength=classes**2).reshape(classes, classes)
        # 0: both are right, 1: only the first, 2: only the second, 3: none.
        case = (a != truth) * np.intp(2) + (b != truth)
        right[...] += np.bincount(case * classes + truth, minlength=4 * classes).reshape(4, classes)
        gallery.add(frame, float(np.mean(a == b)) if a.size else float("nan"))

    walk((first, second), dataset, add, progress)
    return Comparison(evaluations, pairs, right, gallery)
