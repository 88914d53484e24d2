"""The Detail Branch: wide channels, shallow layers, stride 8 (Table 1, left half)."""

from __future__ import annotations

from torch import Tensor, nn

from bisenetv2.network.blocks import ConvBNReLU
from bisenetv2.network.config import BiSeNetV2Config

REPEATS = (2, 3, 3)
"""Convolutions in S1, S2 and S3; the first of each has stride 2."""


class DetailBranch(nn.Module):
    """Eight plain 3×3 convolutions, no residuals: spatial detail needs width, not depth."""

    def __init__(self, config: BiSeNetV2Config) -> None:
        super().__init__()
        stages = []
        channels = config.in_channels
        for out_channels, repeats in zip(config.detail_channels, REPEATS, strict=True):
            stage = []
            for i in range(repeats):
                stride = 2 if i == 0 else 1
                stage.append(ConvBNReLU(config, channels, out_channels, 3, stride))
                channels = out_channels
            stages.append(nn.Sequential(*stage))
        self.S1, self.S2, self.S3 = stages

    def forward(self, image: Tensor) -> Tensor:
        """Maps B, 3, H, W to B, 128α, H/8, W/8."""
        s1 = self.S1(image)  # B, 64, H/2, W/2
        s2 = self.S2(s1)  # B, 64, H/4, W/4
        s3: Tensor = self.S3(s2)  # B, 128, H/8, W/8
        return s3
