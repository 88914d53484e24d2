"""How far two segmenters give the same masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.labels import Mask


def agreement(
    first: Callable[[Image], Mask], second: Callable[[Image], Mask], frames: Dataset
) -> float:
    """Runs both segmenters on every frame of a dataset.

    Returns:
        Share of all pixels to which both give the same class, 0 to 1.

    Raises:
        UserError: If there is no frame.
    """
    if len(frames) == 0:
        raise UserError(f"{frames.name}: no frames to compare on; name a split that has some")
    equal = pixels = 0
    for index in range(len(frames)):
        frame = frames[index].image
        mask = first(frame)
        equal += int(np.count_nonzero(mask == second(frame)))
        pixels += mask.size
    return equal / pixels
