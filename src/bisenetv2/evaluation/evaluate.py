"""Score a model on a dataset: every frame once, against truth at its own resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bisenetv2.builtin_labels import CITYSCAPES, CITYSCAPES_CATEGORIES
from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.evaluation.bootstrap import Interval, Resampled, images_with, interval, resample
from bisenetv2.evaluation.boundary import BoundaryScores
from bisenetv2.evaluation.calibration import Calibration
from bisenetv2.evaluation.confusion import ConfusionMatrix, Scores
from bisenetv2.evaluation.mapping import check_labels
from bisenetv2.evaluation.protocols import Answer, Answering, Seen, sizes_in_words
from bisenetv2.evaluation.walk import Answered, Clock, walk
from bisenetv2.labels import Labels, Mask


class Observer(Protocol):
    """Whatever wants to see each frame once it is scored."""

    def add(self, frame: Answered, score: float) -> None:
        """Takes a frame and its mIoU over the classes in it, `nan` without a labelled pixel."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of `evaluate`: the counts, and what they were counted on."""

    labels: Labels
    """Classes of the dataset."""

    matrix: ConfusionMatrix
    """Pixel counts over all images; every score is read off it."""

    images: int
    """Number of images scored."""

    data: str
    """Name of the dataset."""

    seconds: float
    """Wall-clock time of the whole evaluation: network, and reading and scoring where they held
    it up."""

    description: str
    """The protocol in words."""

    seen: frozenset[Seen]
    """Sizes of the frames, and those at which the network saw them."""

    names: tuple[str, ...] = field(repr=False)
    """Name of each image."""

    sums: npt.NDArray[np.int64]
    """Images×3×C: `ConfusionMatrix.sums` of each image."""

    clock: Clock
    """Where the time went."""

    boundary: BoundaryScores | None
    """How well outlines are met, where it was asked for."""

    calibration: Calibration | None
    """How well confidence and accuracy agree, where it was asked for."""

    @property
    def protocol(self) -> str:
        """How the figures came about: the protocol and the sizes that the network saw."""
        sizes = f", {sizes_in_words(self.seen)}" if self.seen else ""
        return f"{self.description}{sizes}"

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Names of the classes without a truth pixel, which no mean includes."""
        return tuple(self.labels.names[index] for index in self.matrix.absent)

    @property
    def absence(self) -> str:
        """What to know about classes without a truth pixel, in words; empty if there is none.

        Evaluators that count a class which is predicted, though absent, as 0 give a lower mean.
        """
        predicted = self.matrix.sums[2].tolist()
        names = [
            f"{name} (predicted on {predicted[index]:,} pixels)" if predicted[index] else name
            for index, name in zip(self.matrix.absent, self.absent_classes, strict=True)
        ]
        listed = ", ".join(names)
        return f"absent from this data and left out of the means: {listed}" if names else ""

    @property
    def rarity(self) -> str:
        """Why the mean has no interval, in words; empty if it has one."""
        counts = images_with(self.sums)
        rare = [name for name, count in zip(self.labels.names, counts, strict=True) if count == 1]
        if not rare or self.images < 2:
            return ""
        return f"in one image only, which leaves them and the mean no interval: {', '.join(rare)}"

    @property
    def merit(self) -> str:
        """One line for a model card: the mIoU, on what, by which protocol."""
        return f"{100 * self.matrix.mean_iou:.2f} % mIoU on {self.data}, {self.protocol}"

    @cached_property
    def resampled(self) -> Resampled:
        """IoU on resampled images."""
        return resample(self.sums)

    @property
    def miou_interval(self) -> Interval:
        """Where the mIoU would lie on other such images; `nan` if only one of them has a class."""
        return interval(self.resampled.mean)

    @property
    def iou_intervals(self) -> list[Interval]:
        """The same for the IoU of each class."""
        return list(map(interval, self.resampled.iou.T))

    @property
    def categories(self) -> ConfusionMatrix | None:
        """Counts by `CITYSCAPES_CATEGORIES` on data with the classes of Cityscapes, else `None`."""
        names = self.labels.names
        if names != CITYSCAPES.names:
            return None
        groups = [[names.index(name) for name in group] for group in CITYSCAPES_CATEGORIES.values()]
        return self.matrix.grouped(groups)

    def to_json_object(self) -> dict[str, Any]:
        """Returns all scores, ready for `json.dumps(..., allow_nan=False)`.

        Scores are fractions of 0-1, `None` where undefined: IoU and accuracy of an absent class,
        and every score if no pixel is labelled. `confusion` has a row of pixel counts for each true
        class, a column for each that was predicted.
        """
        matrix = self.matrix
        content: dict[str, Any] = {
            "data": self.data,
            "protocol": self.protocol,
            "seen": [one._asdict() for one in sorted(self.seen)],
            "images": self.images,
            "labelled_pixels": matrix.pixels,
            "miou": defined(matrix.mean_iou),
            "miou_interval": _bounds(self.miou_interval),
            "pixel_accuracy": defined(matrix.pixel_accuracy),
            "mean_accuracy": defined(matrix.mean_accuracy),
            "frequency_weighted_iou": defined(matrix.frequency_weighted_iou),
            "mean_dice": defined(matrix.mean_dice),
            "per_class": self._per_class(),
            "absent_classes": list(self.absent_classes),
            "confusion": matrix.counts.tolist(),
            "images_per_second": self.images / self.seconds if self.seconds > 0 else None,
            "time_shares": self.clock.shares(),
        }
        if self.categories is not None:
            ious = _all_defined(self.categories.iou)
            content["categories"] = dict(zip(CITYSCAPES_CATEGORIES, ious, strict=True))
            content["category_miou"] = defined(self.categories.mean_iou)
        if self.boundary is not None:
            content["boundary"] = {
                "distance": self.boundary.distance,
                "mean_boundary_iou": defined(self.boundary.mean_iou),
                "trimap_miou": defined(self.boundary.trimap.mean_iou),
            }
        if self.calibration is not None:
            content["expected_calibration_error"] = defined(self.calibration.error)
        return content

    def _per_class(self) -> dict[str, dict[str, Any]]:
        matrix = self.matrix
        columns: dict[str, list[Any]] = {
            "iou": _all_defined(matrix.iou),
            "iou_interval": [_bounds(each) for each in self.iou_intervals],
            "accuracy": _all_defined(matrix.accuracy),
            "dice": _all_defined(matrix.dice),
            "share": _all_defined(matrix.share),
        }
        if self.boundary is not None:
            columns["boundary_iou"] = _all_defined(self.boundary.iou)
            columns["trimap_iou"] = _all_defined(self.boundary.trimap.iou)
        return {
            name: {key: column[index] for key, column in columns.items()}
            for index, name in enumerate(self.labels.names)
        }


def evaluate(
    protocol: Answering,
    dataset: Dataset,
    progress: Callable[[int], None] | None = None,
    *,
    boundary: BoundaryScores | None = None,
    calibration: Calibration | None = None,
    observers: tuple[Observer, ...] = (),
) -> Evaluation:
    """Scores a model on every sample of a dataset.

    Args:
        protocol: The model and how it looks at frames; its labels must be those of the dataset.
        dataset: Frames with their truth, each of one size.
        progress: Called after each image with the number of images done so far.
        boundary: Sums up outlines too.
        calibration: Sums up confidences too; the protocol must give them.
        observers: See each frame after it is scored, in the order of the dataset.

    Returns:
        The confusion matrix over all images and its circumstances.

    Raises:
        UserError: If the dataset is empty, the labels differ, or a sample does not fit: frame and
            truth of different sizes, or a value in a mask that is no class.
    """
    check_labels(protocol.labels, dataset)
    tally = Tally(dataset.labels)

    def add(frame: Answered) -> None:
        answer = frame.answers[0]
        score = tally.add(frame.name, frame.truth, answer)
        if boundary is not None:
            boundary.add(frame.truth, answer.mask)
        if calibration is not None and answer.confidence is not None:
            calibration.add(frame.truth, answer.mask, answer.confidence)
        for observer in observers:
            observer.add(frame, score)

    clock = walk([protocol], dataset, add, progress, confidence=calibration is not None)
    return tally.evaluation(dataset, protocol, clock, boundary, calibration)


class Tally:
    """Sums up frames of a dataset, as a whole and image by image."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.matrix = ConfusionMatrix(len(labels), labels.ignore_index)
        self.names: list[str] = []
        self.sums: list[npt.NDArray[np.int64]] = []
        self.seen: set[Seen] = set()

    def add(self, name: str, truth: Mask, answer: Answer) -> float:
        """Adds a frame; returns its mIoU over the classes in it.

        Raises:
            UserError: If the two masks do not fit together; it names the frame.
        """
        matrix = ConfusionMatrix(len(self.labels), self.labels.ignore_index)
        try:
            matrix.update(truth, answer.mask)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        self.matrix.counts += matrix.counts
        self.names.append(name)
        self.sums.append(matrix.sums)
        if answer.seen is not None:
            self.seen.add(answer.seen)
        return matrix.mean_iou

    def evaluation(
        self,
        dataset: Dataset,
        protocol: Answering,
        clock: Clock,
        boundary: BoundaryScores | None = None,
        calibration: Calibration | None = None,
    ) -> Evaluation:
        """Returns what was summed up, with its circumstances."""
        return Evaluation(
            labels=self.labels,
            matrix=self.matrix,
            images=len(self.names),
            data=dataset.name,
            seconds=clock.total,
            description=protocol.description,
            seen=frozenset(self.seen),
            names=tuple(self.names),
            sums=np.stack(self.sums),
            clock=clock,
            boundary=boundary,
            calibration=calibration,
        )


def merge_shares(shares: Sequence[Evaluation]) -> Evaluation:
    """Makes one evaluation of those of several processes that shared a dataset.

    The counts are integers, so that IoU and accuracy are to the bit what one process would find.

    Args:
        shares: What each found on its `SharedSamples`, by rank. The first is changed.
    """
    first, *others = shares
    for other in others:
        first.matrix.counts += other.matrix.counts
        first.clock.merge(other.clock)
        if first.boundary is not None and other.boundary is not None:
            first.boundary.merge(other.boundary)
        if first.calibration is not None and other.calibration is not None:
            first.calibration.merge(other.calibration)
    count = sum(each.images for each in shares)
    # Process r had images r, r + size, r + 2 size ...
    places = [divmod(index, len(shares)) for index in range(count)]
    return replace(
        first,
        images=count,
        seconds=max(each.seconds for each in shares),
        seen=first.seen.union(*(each.seen for each in others)),
        names=tuple(shares[rank].names[turn] for turn, rank in places),
        sums=np.stack([shares[rank].sums[turn] for turn, rank in places]),
    )


def defined(score: float) -> float | None:
    """Turns `nan`, which JSON does not know, into `None`."""
    return None if math.isnan(score) else float(score)


def _all_defined(scores: Scores) -> list[float | None]:
    return [defined(score) for score in scores.tolist()]


def _bounds(bounds: Interval) -> list[float] | None:
    return None if math.isnan(bounds.low) else list(bounds)
