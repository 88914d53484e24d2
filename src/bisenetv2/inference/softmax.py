"""The soft-max of bilinearly enlarged logits: how sure the network is at every pixel.

Logits are enlarged first and made probabilities then, so that the most probable class is that of
the mask. This costs several times what the mask does: it is for evaluation, not for the road of a
frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.inference.upsample import Floats


def upsample_softmax(logits: Floats, size: tuple[int, int]) -> Floats:
    """Computes the probability of every class at every pixel.

    Args:
        logits: `float32` C×h×w.
        size: Height and width in pixels.

    Returns:
        `float32` C×H×W; sums to 1 over the classes.
    """
    planes = np.stack(list(_exponentials(logits, size)))  # C, H, W
    planes /= planes.sum(axis=0)
    return planes


def upsample_confidence(logits: Floats, size: tuple[int, int]) -> Floats:
    """Computes the probability of the most probable class at every pixel.

    Args:
        logits: `float32` C×h×w.
        size: Height and width in pixels.

    Returns:
        `float32` H×W.
    """
    best, total = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for plane in _exponentials(logits, size):
        np.maximum(best, plane, out=best)
        total += plane
    best /= total
    return best


def _exponentials(logits: Floats, size: tuple[int, int]) -> Iterator[npt.NDArray[np.float32]]:
    """Yields the exponentials of each class's enlarged logits, but for a factor a pixel: H×W.

    What is subtracted, lest they overflow, is the greatest logit: not of each pixel, but of each
    corner, enlarged. As enlarging is linear, that can be done before, where it costs nothing.
    """
    for plane in logits - logits.max(axis=0):
        # Half-pixel centres, edges clamped: the interpolation of `upsample_argmax`.
        enlarged = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
        yield cv2.exp(enlarged, enlarged)  # six times as fast as NumPy's
