"""Weights of the classes in the loss, from how often they occur."""

from __future__ import annotations

import numpy as np

from bisenetv2.data.check.run import class_weights
from bisenetv2.data.dataset import Dataset, SpreadSamples

COUNTED = 500
"""Most samples that are counted, spread over the data."""


def weights_of(dataset: Dataset) -> tuple[float, ...]:
    """Counts the classes' pixels and weighs the classes as `bisenetv2 check` recommends.

    Args:
        dataset: Training data; 500 samples of it are counted at most.

    Returns:
        One factor a class, 1 on average over the pixels.
    """
    counts = np.zeros(256, np.int64)
    spread = SpreadSamples(dataset, COUNTED)
    for index in range(len(spread)):
        counts += np.bincount(spread[index].mask.ravel(), minlength=256)
    return tuple(class_weights(counts[: len(dataset.labels)].tolist()))
