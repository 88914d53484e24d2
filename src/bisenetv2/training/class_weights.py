"""Weights of the classes in the loss, from how often they occur."""

from __future__ import annotations

import math

import numpy as np

from bisenetv2.data.dataset import Dataset, SpreadSamples

COUNTED = 500
"""Most samples that are counted, spread over the data."""


def class_weights(dataset: Dataset) -> tuple[float, ...]:
    """Weighs a pixel of a class of share p by 1 / ln(1.02 + p), scaled to 1 on average over pixels.

    Paszke, Chaurasia, Kim, Culurciello, "ENet", https://arxiv.org/abs/1606.02147, section 5.1. A
    class without a pixel has the largest weight, some 50 times the smallest one, and no effect.

    Args:
        dataset: Training data; 500 samples of it are counted at most.

    Returns:
        One factor a class.
    """
    counts = np.zeros(256, np.int64)
    spread = SpreadSamples(dataset, COUNTED)
    for index in range(len(spread)):
        counts += np.bincount(spread[index].mask.ravel(), minlength=256)
    shares = counts[: len(dataset.labels)] / max(1, counts[: len(dataset.labels)].sum())
    weights = [1 / math.log(1.02 + share) for share in shares]
    mean = sum(w * s for w, s in zip(weights, shares, strict=True)) or 1.0
    return tuple(float(weight / mean) for weight in weights)
