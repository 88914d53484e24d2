"""Whether a network that is 80 % sure is right 80 % of the time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bisenetv2.inference.upsample import Floats
from bisenetv2.labels import Labels, Mask

BINS = 15
"""Bins of equal width, as in Guo et al., ICML 2017 (arXiv 1706.04599)."""


class Calibration:
    """Sums up, bin by bin, how sure and how right a network was; ignored pixels do not count."""

    def __init__(self, labels: Labels) -> None:
        self.ignore_index = labels.ignore_index
        self.pixels: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.correct: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.confidence: npt.NDArray[np.float64] = np.zeros(BINS)
        """Sum of the confidences of each bin."""

    def add(self, truth: Mask, prediction: Mask, confidence: Floats) -> None:
        """Adds an image.

        Args:
            truth: `uint8` H×W of class indices and the ignore index.
            prediction: `uint8` H×W of class indices.
            confidence: H×W, probability of the predicted class.
        """
        labelled = truth != self.ignore_index
        sure = confidence[labelled]
        right = (truth == prediction)[labelled]
        place = np.clip(np.ceil(sure * np.float32(BINS)).astype(np.intp) - 1, 0, BINS - 1)
        self.pixels += np.bincount(place, minlength=BINS)
        self.correct += np.bincount(place[right], minlength=BINS)
        self.confidence += np.bincount(place, weights=sure, minlength=BINS)

    def merge(self, other: Calibration) -> None:
        """Adds the images of another sum."""
        self.pixels += other.pixels
        self.correct += other.correct
        self.confidence += other.confidence

    @property
    def error(self) -> float:
        """Expected calibration error of 0-1; `nan` if nothing was labelled.

        The distance between share of correct pixels and mean confidence of each bin, weighted by
        the pixels in it.
        """
        total = int(self.pixels.sum())
        if not total:
            return float("nan")
        return float(np.abs(self.correct - self.confidence).sum() / total)

    @property
    def curve(self) -> list[tuple[float, float, float]]:
        """Mean confidence, share of correct pixels and share of all pixels of each bin in use."""
        used = self.pixels > 0
        pixels = self.pixels[used]
        shares = self.confidence[used] / pixels, self.correct[used] / pixels, pixels / pixels.sum()
        return list(zip(*(share.tolist() for share in shares), strict=True))
