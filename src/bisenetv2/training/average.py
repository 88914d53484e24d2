"""Weight averaging: what is validated and shipped is a running mean of the trained network."""

from __future__ import annotations

import copy

import torch

from bisenetv2.network.frames import FrameNetwork


class WeightAverage:
    """Exponential moving average of all weights and of the BN statistics."""

    def __init__(self, model: FrameNetwork, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: FrameNetwork, step: int) -> None:
        """Moves the average towards `model`; early steps move it more, so that it starts unbiased.

        Args:
            model: The network being trained.
            step: Number of optimiser steps taken, 1 or more.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, values = [], []
        for average, value in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)
