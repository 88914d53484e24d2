"""How far two segmenters give the same masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.labels import Mask


@dataclass(frozen=True)
class Agreement:
    """Result of a comparison."""

    equal: int
    """Pixels with the same class."""

    pixels: int
    """Pixels compared."""

    frames: int
    """Frames compared."""

    @property
    def share(self) -> float:
        """Share of equal pixels, 0 to 1."""
        return self.equal / self.pixels


def compare(
    first: Callable[[Image], Mask], second: Callable[[Image], Mask], frames: Dataset
) -> Agreement:
    """Runs both segmenters on every frame of a dataset and counts the pixels they agree on.

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
    return Agreement(equal, pixels, len(frames))
