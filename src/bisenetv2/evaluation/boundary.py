"""How well outlines are met: boundary IoU and trimap IoU.

Boundary IoU (Cheng et al., CVPR 2021, arXiv 2103.16562) compares, class by class, only the pixels
of truth and prediction that lie within a distance of their own outlines. Trimap IoU (Kohli et al.,
IJCV 2009) is the plain IoU on pixels within that distance of the truth's outlines. Distances count
steps to any of the 8 neighbours. Outlines against ignored pixels are none: nobody knows what lies
there. As in the authors' code, a frame's edge is an outline to boundary IoU; to a trimap it is not.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError
from bisenetv2.evaluation.confusion import ConfusionMatrix, Scores, iou_of, mean_of
from bisenetv2.labels import Labels, Mask

SHARE = 0.02
"""Customary distance over the frame's diagonal; for Cityscapes the authors take 0.005."""

Band = npt.NDArray[np.bool_]


class BoundaryScores:
    """Sums up outlines over images.

    Args:
        labels: Classes and ignore index of the masks.
        share: Distance over the diagonal of each frame, above 0 to 0.5; at least one pixel.

    Raises:
        UserError: If the distance is out of range.
    """

    def __init__(self, labels: Labels, share: float = SHARE) -> None:
        if not 0 < share <= 0.5:
            raise UserError(
                f"boundary {share:g}: give a share of the frame's diagonal above 0, at most 0.5"
            )
        self.share = share
        self.trimap = ConfusionMatrix(len(labels), labels.ignore_index)
        """Counts within the distance of the truth's outlines."""
        self.sums: npt.NDArray[np.int64] = np.zeros((3, len(labels)), np.int64)
        """Common, true and predicted boundary pixels by class."""
        self.distances: set[int] = set()
        """Distances in pixels that came up."""

    def add(self, truth: Mask, prediction: Mask) -> None:
        """Adds an image.

        Args:
            truth: `uint8` H×W of class indices and the ignore index.
            prediction: `uint8` H×W of class indices.
        """
        distance = boundary_distance(truth.shape, self.share)
        self.distances.add(distance)
        classes, ignore = self.trimap.num_classes, self.trimap.ignore_index
        labelled = truth != ignore
        predicted = np.where(labelled, prediction, np.uint8(ignore))
        near = outline_band(truth, ignore, distance)
        edge = np.ones(truth.shape, np.bool_)
        edge[distance:-distance, distance:-distance] = False
        true_band = (near | edge) & labelled
        predicted_band = (outline_band(predicted, ignore, distance) | edge) & labelled
        common = true_band & predicted_band & (truth == predicted)
        for row, (mask, band) in enumerate(
            ((truth, common), (truth, true_band), (predicted, predicted_band))
        ):
            self.sums[row] += np.bincount(mask[band], minlength=classes)[:classes]
        self.trimap.update(np.where(near, truth, np.uint8(ignore)), prediction)

    def merge(self, other: BoundaryScores) -> None:
        """Adds the images of another sum."""
        self.trimap.counts += other.trimap.counts
        self.sums += other.sums
        self.distances |= other.distances

    @property
    def iou(self) -> Scores:
        """Boundary IoU by class, `nan` for classes without a true boundary pixel."""
        return iou_of(self.sums)

    @property
    def mean_iou(self) -> float:
        """Mean boundary IoU of the classes that have one; `nan` if there are none."""
        return mean_of(self.iou)

    @property
    def distance(self) -> str:
        """The distance in words, in pixels and as a share of the diagonal."""
        if not self.distances:
            return f"{100 * self.share:g} % of the diagonal"
        least, most = min(self.distances), max(self.distances)
        pixels = f"{least}" if least == most else f"{least}-{most}"
        return f"{pixels} px, {100 * self.share:g} % of the diagonal"


def boundary_distance(size: tuple[int, ...], share: float) -> int:
    """Returns the distance in whole pixels for a frame of height and width, at least 1."""
    return max(1, round(share * math.hypot(*size)))


def outline_band(mask: Mask, ignore: int, distance: int) -> Band:
    """Finds the pixels that have another class within a distance.

    A window holds several classes exactly if its least and greatest differ: one erosion and one
    dilation serve all classes, whatever their number.

    Args:
        mask: `uint8` H×W of class indices and the ignore index, which counts as no class.
        ignore: Ignore index, above every class.
        distance: In pixels, counted over the 8 neighbours.

    Returns:
        H×W; at ignored pixels of no meaning.
    """
    window = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    # Ignored pixels and those beyond the edge are neutral: above every class to the least, which
    # they are as they stand, and the least class there can be to the greatest.
    least = cv2.erode(mask, window)
    greatest = cv2.dilate(np.where(mask == ignore, np.uint8(0), mask), window)
    band: Band = least < greatest
    return band
