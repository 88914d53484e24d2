"""The stem block that opens the Semantic Branch (Figure 4a)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bisenetv2.network.blocks import ConvBNReLU
from bisenetv2.network.config import BiSeNetV2Config


class StemBlock(nn.Module):
    """Shrinks the image by 4 in two ways at once, by convolution and by pooling, and fuses them."""

    def __init__(self, config: BiSeNetV2Config) -> None:
        super().__init__()
        channels = config.semantic_channels[0]
        self.first = ConvBNReLU(config, config.in_channels, channels, 3, stride=2)
        self.left = nn.Sequential(
            ConvBNReLU(config, channels, channels // 2, 1),
            ConvBNReLU(config, channels // 2, channels, 3, stride=2),
        )
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = ConvBNReLU(config, 2 * channels, channels, config.stem_fuse_kernel)

    def forward(self, image: Tensor) -> Tensor:
        """Maps B, 3, H, W to B, C, H/4, W/4 with C = 64λα."""
        x = self.first(image)  # B, C, H/2, W/2
        x = torch.cat((self.left(x), self.right(x)), dim=1)  # B, 2C, H/4, W/4
        out: Tensor = self.fuse(x)  # B, C, H/4, W/4
        return out
