"""Parameters and cost of a network, without running it: it is built on torch's meta device.

The paper does not say how it counts GFLOPs. One multiply-accumulate as one operation, two
operations per element out of a batch normalisation, one per element out of a ReLU and one per
element of the upsampled logits gives all 22 printed figures for the printed-cost reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.config import BiSeNetV2Config


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass of the network for inference, booster heads left out."""

    parameters: int
    """Trainable values."""

    macs: int
    """Multiply-accumulates of all convolutions."""

    operations: int
    """Operations by the paper's convention, as far as its printed figures tell."""


def network_cost(config: BiSeNetV2Config, size: tuple[int, int] = (512, 1024)) -> Cost:
    """Counts the parameters and operations of a network.

    Args:
        config: The network.
        size: Height and width of the input, multiples of 32; the paper's is 512×1024.
    """
    macs = elements = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs, elements
        if isinstance(module, nn.Conv2d):
            macs += out.numel() * module.weight[0].numel()
        elif isinstance(module, nn.BatchNorm2d):
            elements += 2 * out.numel()
        else:
            elements += out.numel()

    with torch.device("meta"):
        network = BiSeNetV2(config.without_boosters()).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU):
                module.register_forward_hook(count)
        network(torch.empty(1, config.in_channels, *size))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    upsampled = config.num_classes * size[0] * size[1]
    return Cost(parameters, macs, macs + elements + upsampled)
