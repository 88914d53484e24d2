"""Bilateral Guided Aggregation (Figure 6) and the simpler ways Table 2 compares it with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bisenetv2.network.blocks import ConvBN, ConvBNReLU
from bisenetv2.network.config import BiSeNetV2Config


def _depthwise_separable(channels: int, config: BiSeNetV2Config) -> nn.Sequential:
    return nn.Sequential(
        ConvBN(config, channels, channels, 3, groups=channels),
        nn.Conv2d(channels, channels, 1, bias=config.conv_bias or config.pointwise_bias),
    )


def _upsampling(config: BiSeNetV2Config) -> nn.Upsample:
    if config.upsample == "nearest":
        return nn.Upsample(scale_factor=4, mode="nearest")
    align_corners = config.upsample == "bilinear-corners"
    return nn.Upsample(scale_factor=4, mode="bilinear", align_corners=align_corners)


class BilateralGuidedAggregation(nn.Module):
    """Each branch gates the other, at the scale of both.

    The semantic gate of the fine road is upsampled before its sigmoid, as drawn. The second ×4
    upsampling, which brings the coarse road back to 1/8, is not drawn but cannot be left out.
    """

    def __init__(self, config: BiSeNetV2Config) -> None:
        super().__init__()
        channels = config.detail_channels[-1]
        self.detail_keep = _depthwise_separable(channels, config)
        self.detail_down = nn.Sequential(
            ConvBN(config, channels, channels, 3, stride=2),
            nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=config.pool_counts_padding),
        )
        self.semantic_up = ConvBN(config, channels, channels, 3)
        self.semantic_keep = _depthwise_separable(channels, config)
        self.upsample = _upsampling(config)
        last = ConvBNReLU if config.aggregation_relu else ConvBN
        self.fuse = last(config, channels, channels, 3)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Maps B, C, H/8, W/8 and B, C, H/32, W/32 to B, C, H/8, W/8 with C = 128α."""
        gate_fine = torch.sigmoid(self.upsample(self.semantic_up(semantic)))  # B, C, H/8, W/8
        fine = self.detail_keep(detail) * gate_fine  # B, C, H/8, W/8
        gate_coarse = torch.sigmoid(self.semantic_keep(semantic))  # B, C, H/32, W/32
        coarse = self.detail_down(detail) * gate_coarse  # B, C, H/32, W/32
        out: Tensor = self.fuse(fine + self.upsample(coarse))  # B, C, H/8, W/8
        return out


class PlainAggregation(nn.Module):
    """The baselines of Table 2: one branch alone, the sum of both, or their concatenation.

    A 1×1 convolution with BN stands on each branch and a 3×3 one after two of them, which is what
    the printed GFLOPs of these rows amount to.
    """

    def __init__(self, config: BiSeNetV2Config) -> None:
        super().__init__()
        channels = config.detail_channels[-1]
        self.concat = config.aggregation == "concat"
        if config.branches != "semantic":
            self.detail = ConvBN(config, channels, channels, 1)
        if config.branches != "detail":
            self.semantic = ConvBN(config, channels, channels, 1)
            self.upsample = _upsampling(config)
        if config.branches == "both":
            self.fuse = ConvBN(config, channels * (2 if self.concat else 1), channels, 3)

    def forward(self, detail: Tensor | None, semantic: Tensor | None) -> Tensor:
        """Maps B, C, H/8, W/8 and (or) B, C, H/32, W/32 to B, C, H/8, W/8 with C = 128α."""
        roads: list[Tensor] = []
        if detail is not None:
            roads.append(self.detail(detail))  # B, C, H/8, W/8
        if semantic is not None:
            roads.append(self.upsample(self.semantic(semantic)))  # B, C, H/8, W/8
        if len(roads) == 1:
            return roads[0]
        both = torch.cat(roads, dim=1) if self.concat else roads[0] + roads[1]
        out: Tensor = self.fuse(both)  # B, C, H/8, W/8
        return out
