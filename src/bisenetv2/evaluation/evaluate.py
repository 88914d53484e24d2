"""Score a model on a dataset: every frame once, against truth at its own resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bisenetv2.builtin_labels import CITYSCAPES, CITYSCAPES_CATEGORIES
from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.evaluation.bootstrap import Interval, Resampled, images_with, interval, resample
from bisenetv2.evaluation.boundary import BoundaryScores
from bisenetv2.evaluation.calibration import Calibration
from bisenetv2.evaluation.confusion import ConfusionMatrix
from bisenetv2.evaluation.mapping import check_labels
from bisenetv2.evaluation.protocols import Answer, Answering, Seen, sizes_in_words
from bisenetv2.evaluation.walk import Answered, Clock, walk
from bisenetv2.labels import Labels, Mask


class Scored(NamedTuple):
    """What is kept of an image."""

    name: str
    sums: npt.NDArray[np.int64]  # 3×C: its `ConfusionMatrix.sums`


@dataclass
class Evaluation:
    """What a model scores on a dataset: the counts, and what they are counted on."""

    labels: Labels
    """Classes of the dataset."""

    matrix: ConfusionMatrix
    """Pixel counts over all images; every score is read off it."""

    data: str
    """Name of the dataset."""

    description: str
    """The protocol in words."""

    boundary: BoundaryScores | None = None
    """How well outlines are met, where it is asked for."""

    calibration: Calibration | None = None
    """How well confidence and accuracy agree, where it is asked for."""

    scored: list[Scored] = field(default_factory=list, repr=False)
    """The images, one by one."""

    seen: set[Seen] = field(default_factory=set)
    """Sizes of the frames, and those at which the network saw them."""

    clock: Clock = field(default_factory=Clock)
    """Where the time went."""

    seconds: float = 0.0
    """Wall-clock time of the whole evaluation: network, and reading and scoring where they held
    it up."""

    @classmethod
    def begin(
        cls,
        protocol: Answering,
        dataset: Dataset,
        boundary: BoundaryScores | None = None,
        calibration: Calibration | None = None,
    ) -> Evaluation:
        """Returns one without an image yet.

        Raises:
            UserError: If the labels of the model are not those of the dataset.
        """
        check_labels(protocol.labels, dataset)
        labels = dataset.labels
        matrix = ConfusionMatrix(len(labels), labels.ignore_index)
        return cls(labels, matrix, dataset.name, protocol.description, boundary, calibration)

    def add(self, name: str, truth: Mask, answer: Answer) -> float:
        """Adds a frame; returns its mIoU over the classes in it, `nan` without a labelled pixel.

        Raises:
            UserError: If the two masks do not fit together; it names the frame.
        """
        matrix = ConfusionMatrix(len(self.labels), self.labels.ignore_index)
        try:
            matrix.update(truth, answer.mask)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        self.matrix.counts += matrix.counts
        self.scored.append(Scored(name, matrix.sums))
        if answer.seen is not None:
            self.seen.add(answer.seen)
        if self.boundary is not None:
            self.boundary.add(truth, answer.mask)
        if self.calibration is not None and answer.confidence is not None:
            self.calibration.add(truth, answer.mask, answer.confidence)
        return matrix.mean_iou

    @property
    def images(self) -> int:
        """Number of images scored."""
        return len(self.scored)

    @property
    def extent(self) -> str:
        """How much was scored, in words."""
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return f"{images}, {self.matrix.pixels:,} labelled pixels"

    @property
    def sums(self) -> npt.NDArray[np.int64]:
        """Images×3×C: `ConfusionMatrix.sums` of each image."""
        return np.stack([image.sums for image in self.scored])

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
        if not self.matrix.present:
            return "no pixel of this data is labelled: there is nothing to score"
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
    def intervals(self) -> list[Interval]:
        """Where IoU by class and, last, mIoU would lie on other such images.

        `nan` where a single image tells of a class, and then of the mean too.
        """
        return [*map(interval, self.resampled.iou.T), interval(self.resampled.mean)]

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
        matrix, intervals = self.matrix, self.intervals
        columns: dict[str, Any] = {
            "iou": matrix.iou,
            "iou_interval": intervals,
            "accuracy": matrix.accuracy,
            "dice": matrix.dice,
            "share": matrix.share,
        }
        if self.boundary is not None:
            columns["boundary_iou"] = self.boundary.iou
            columns["trimap_iou"] = self.boundary.trimap.iou
        content: dict[str, Any] = {
            "data": self.data,
            "protocol": self.protocol,
            "seen": [one._asdict() for one in sorted(self.seen)],
            "images": self.images,
            "labelled_pixels": matrix.pixels,
            "miou": matrix.mean_iou,
            "miou_interval": intervals[-1],
            "pixel_accuracy": matrix.pixel_accuracy,
            "mean_accuracy": matrix.mean_accuracy,
            "frequency_weighted_iou": matrix.frequency_weighted_iou,
            "mean_dice": matrix.mean_dice,
            "per_class": {
                name: {key: column[index] for key, column in columns.items()}
                for index, name in enumerate(self.labels.names)
            },
            "absent_classes": self.absent_classes,
            "confusion": matrix.counts,
            "images_per_second": self.images / self.seconds if self.seconds > 0 else None,
            "time_shares": self.clock.shares(),
        }
        if self.categories is not None:
            content["categories"] = dict(
                zip(CITYSCAPES_CATEGORIES, self.categories.iou, strict=True)
            )
            content["category_miou"] = self.categories.mean_iou
        if self.boundary is not None:
            content["boundary"] = {
                "distance": self.boundary.distance,
                "mean_boundary_iou": self.boundary.mean_iou,
                "trimap_miou": self.boundary.trimap.mean_iou,
            }
        if self.calibration is not None:
            content["expected_calibration_error"] = self.calibration.error
        return {key: for_json(value) for key, value in content.items()}


def evaluate(
    protocol: Answering,
    dataset: Dataset,
    progress: Callable[[int], None] | None = None,
    *,
    boundary: BoundaryScores | None = None,
    calibration: Calibration | None = None,
    observers: Sequence[Callable[[Answered, float], None]] = (),
) -> Evaluation:
    """Scores a model on every sample of a dataset.

    Args:
        protocol: The model and how it looks at frames; its labels must be those of the dataset.
        dataset: Frames with their truth, each of one size.
        progress: Called after each image with the number of images done so far.
        boundary: Sums up outlines too.
        calibration: Sums up confidences too; the protocol must give them.
        observers: Called with each frame and its mIoU over the classes in it (`nan` without a
            labelled pixel) after it is scored, in the order of the dataset.

    Raises:
        UserError: If the dataset is empty, the labels differ, or a sample does not fit: frame and
            truth of different sizes, or a value in a mask that is no class.
    """
    result = Evaluation.begin(protocol, dataset, boundary, calibration)

    def add(frame: Answered) -> None:
        score = result.add(frame.name, frame.truth, frame.answers[0])
        for observer in observers:
            observer(frame, score)

    result.clock = walk([protocol], dataset, add, progress, confidence=calibration is not None)
    result.seconds = result.clock.total
    return result


def merge_shares(shares: Sequence[Evaluation]) -> Evaluation:
    """Makes one evaluation of those of several processes that shared a dataset.

    The counts are integers, so that IoU and accuracy are to the bit what one process would find.

    Args:
        shares: What each found on its `SharedSamples`, by rank. The first is changed and returned.
    """
    first, *others = shares
    for other in others:
        first.matrix.counts += other.matrix.counts
        first.seen |= other.seen
        first.clock.merge(other.clock)
        first.seconds = max(first.seconds, other.seconds)
        if first.boundary is not None and other.boundary is not None:
            first.boundary.merge(other.boundary)
        if first.calibration is not None and other.calibration is not None:
            first.calibration.merge(other.calibration)
    # Process r had images r, r + size, r + 2 size ...
    turns = list(zip_longest(*(share.scored for share in shares)))
    first.scored = [image for turn in turns for image in turn if image is not None]
    return first


def for_json(value: Any) -> Any:
    """Makes arrays and tuples lists, and `None` of `nan`, which JSON does not know."""
    if isinstance(value, Interval):
        return None if math.isnan(value.low) else list(value)
    if isinstance(value, dict):
        return {key: for_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [for_json(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
