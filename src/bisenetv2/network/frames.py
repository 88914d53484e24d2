"""From camera frames to logits: normalisation is part of the model, so no one can forget it."""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor, nn

from bisenetv2.errors import UserError
from bisenetv2.network.bisenetv2 import BiSeNetV2

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""Channel mean and deviation of common photographs (ImageNet's), RGB on a scale of 0-255."""


class Normalization(nn.Module):
    """Turns `uint8` frames into the network's input: zero mean, unit deviation, channels first.

    Raises:
        UserError: If mean and deviation are not one finite value a channel, deviations above 0.
    """

    means: Tensor
    stds: Tensor

    def __init__(self, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__()
        finite = all(map(isfinite, (*mean, *std)))
        if len(mean) != len(std) or not finite or min(std, default=0) <= 0:
            raise UserError(f"normalisation by mean {mean} and deviation {std}: not possible")
        self.mean = mean
        self.std = std
        # Where the network is, so that a GPU need not wait for them; they are the description's to
        # keep, not the weights'.
        for name, values in (("means", mean), ("stds", std)):
            constant = torch.tensor(values, dtype=torch.float32, device="cpu").view(-1, 1, 1)
            self.register_buffer(name, constant, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Maps `uint8` B, H, W, 3 to `float32` B, 3, H, W, laid out channels_last."""
        x = frames.permute(0, 3, 1, 2).float()  # B, 3, H, W
        return (x - self.means) / self.stds


class FrameNetwork(nn.Module):
    """Normalisation and network as one module: what is exported and what engines run.

    Raises:
        UserError: If the normalisation is of another number of channels than the network.
    """

    def __init__(self, network: BiSeNetV2, normalization: Normalization | None = None) -> None:
        super().__init__()
        self.normalization = normalization or Normalization()
        self.network = network
        channels, wanted = len(self.normalization.mean), network.config.in_channels
        if channels != wanted:  # one channel would go unnoticed: it fits any number of them
            raise UserError(f"normalisation of {channels} channels for a network of {wanted}")

    def forward(self, frames: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Maps RGB frames `uint8` B, H, W, 3 to what `BiSeNetV2` returns."""
        out: Tensor | tuple[Tensor, ...] = self.network(self.normalization(frames))
        return out
