"""Weight averaging: what is validated and shipped is a running mean of the trained network."""

from __future__ import annotations

import copy

import torch

from bisenetv2.network.frames import FrameNetwork


class WeightAverage:
    """Exponential moving average of all weights and of the BN statistics."""

    def __init__(self, model: FrameNetwork, decay: float) -> None:
        """Begins with the weights as they are.

        Args:
            model: The network being trained, whose tensors stay the same ones from here on.
            decay: Share that the average keeps of itself at an update.
        """
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        ours, theirs = self.model.state_dict().values(), model.state_dict().values()
        pairs = list(zip(ours, theirs, strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._averages, self._values = ([pair[side] for pair in averaged] for side in (0, 1))
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average towards the network.

        Early steps move it more, so that it starts unbiased.

        Args:
            step: Number of optimiser steps taken, 1 or more.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._values, 1 - decay)
        for average, value in self._counters:
            average.copy_(value)
