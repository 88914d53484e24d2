"""The soft-max of bilinearly enlarged logits: how sure the network is at every pixel.

Logits are enlarged first and made probabilities then, so that the most probable class is that of
the mask. This costs several times what the mask does: it is for evaluation, not for the road of a
frame.
"""

from __future__ import annotations

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
    planes = _exponentials(logits, size)  # C, H, W
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
    # The greatest exponential is 1.
    confidence: Floats = np.reciprocal(_exponentials(logits, size).sum(axis=0))
    return confidence


def _exponentials(logits: Floats, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Enlarges logits and takes exponentials, scaled to 1 for the greatest: C×H×W."""
    planes = np.empty((len(logits), *size), np.float32)
    for plane, enlarged in zip(logits, planes, strict=True):
        # Half-pixel centres, edges clamped: the interpolation of `upsample_argmax`.
        cv2.resize(plane, size[::-1], dst=enlarged, interpolation=cv2.INTER_LINEAR)
    planes -= planes.max(axis=0)
    np.exp(planes, out=planes)
    return planes
