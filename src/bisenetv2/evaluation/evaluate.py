"""Score a segmenter on a dataset: every frame once, against truth at its own resolution."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from bisenetv2.data.dataset import Dataset, Sample
from bisenetv2.errors import UserError
from bisenetv2.evaluation.confusion import ConfusionMatrix
from bisenetv2.images import Image
from bisenetv2.labels import Labels, Mask

PROTOCOL = "single scale, at label resolution"
"""How `evaluate` arrives at its figures: no flips, no scales, no resized truth."""


class FrameSegmenter(Protocol):
    """Whatever turns a frame into a mask of the same height and width."""

    @property
    def labels(self) -> Labels:
        """Meaning of the class indices in its masks."""

    def __call__(self, frame: Image, /) -> Mask:
        """Returns the class index of every pixel: `uint8` H×W for a frame of H×W×3."""


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
    """Wall-clock time of the whole evaluation: network, scoring, and reading where it held up."""

    protocol: str = PROTOCOL
    """How the figures came about."""

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Names of the classes without a truth pixel, which no mean includes."""
        return tuple(self.labels.names[index] for index in self.matrix.absent)

    @property
    def merit(self) -> str:
        """One line for a model card: the mIoU, on what, by which protocol."""
        return f"{100 * self.matrix.mean_iou:.2f} % mIoU on {self.data}, {self.protocol}"

    def to_json_object(self) -> dict[str, Any]:
        """Returns all scores, ready for `json.dumps(..., allow_nan=False)`.

        Scores are fractions of 0-1, `None` where undefined: IoU and accuracy of an absent class,
        and every score if no pixel is labelled.
        """
        matrix = self.matrix
        columns = zip(self.labels.names, matrix.iou, matrix.accuracy, matrix.share, strict=True)
        return {
            "data": self.data,
            "protocol": self.protocol,
            "images": self.images,
            "miou": _defined(matrix.mean_iou),
            "pixel_accuracy": _defined(matrix.pixel_accuracy),
            "mean_accuracy": _defined(matrix.mean_accuracy),
            "frequency_weighted_iou": _defined(matrix.frequency_weighted_iou),
            "per_class": {
                name: {
                    "iou": _defined(iou),
                    "accuracy": _defined(accuracy),
                    "share": _defined(share),
                }
                for name, iou, accuracy, share in columns
            },
            "absent_classes": list(self.absent_classes),
            "images_per_second": self.images / self.seconds if self.seconds > 0 else None,
        }


def evaluate(
    segmenter: FrameSegmenter,
    dataset: Dataset,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Scores a segmenter on every sample of a dataset.

    Args:
        segmenter: The model to score; its labels must be those of the dataset.
        dataset: Frames with their truth, each of one size.
        progress: Called after each image with the number of images done so far.

    Returns:
        The confusion matrix over all images and its circumstances.

    Raises:
        UserError: If the dataset is empty, the labels differ, or a sample does not fit: frame and
            truth of different sizes, or a value in a mask that is no class.
    """
    _check_labels(segmenter.labels, dataset)
    count = len(dataset)
    if not count:
        raise UserError(f"{dataset.name}: holds no images to evaluate on")
    matrix = ConfusionMatrix(len(dataset.labels), dataset.labels.ignore_index)
    start = time.perf_counter()
    # One sample ahead hides the disk behind the network and bounds memory to two samples.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
        upcoming = reader.submit(dataset.__getitem__, 0)
        for index in range(count):
            sample = upcoming.result()
            if index + 1 < count:
                upcoming = reader.submit(dataset.__getitem__, index + 1)
            _score(segmenter, sample, dataset.sample_name(index), matrix)
            if progress is not None:
                progress(index + 1)
    seconds = time.perf_counter() - start
    return Evaluation(dataset.labels, matrix, count, dataset.name, seconds)


def _score(segmenter: FrameSegmenter, sample: Sample, name: str, matrix: ConfusionMatrix) -> None:
    """Adds one sample to the matrix; errors name the sample."""
    height, width = sample.image.shape[:2]
    if sample.mask.shape != (height, width):
        mask_height, mask_width = sample.mask.shape
        raise UserError(
            f"{name}: frame of {width}×{height} and mask of {mask_width}×{mask_height} pixels; "
            "give both the same size"
        )
    prediction = segmenter(sample.image)  # H, W
    try:
        matrix.update(sample.mask, prediction)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _check_labels(labels: Labels, dataset: Dataset) -> None:
    """Raises unless model and dataset name the same classes in the same order."""
    if labels.names != dataset.labels.names:
        raise UserError(
            f"the model's classes ({', '.join(labels.names)}) are not those of {dataset.name} "
            f"({', '.join(dataset.labels.names)}): evaluate on data with the model's classes, "
            "in the same order"
        )


def _defined(score: float) -> float | None:
    """Turns `nan`, which JSON does not know, into `None`."""
    return None if math.isnan(score) else float(score)
