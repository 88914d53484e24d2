"""The Gather-and-Expansion layer (Figure 5b and 5c).

A 3×3 convolution gathers local context, a depth-wise convolution works in a space of ε times the
channels, a 1×1 convolution projects back. Nothing is drawn between the depth-wise convolution and
the projection but BN; `gather_relu` adds the ReLU of common code there. `expand_in` moves the
expansion from the depth-wise convolution (the figure) to the first one (prose and GFLOPs).
"""

from __future__ import annotations

from torch import Tensor, nn

from bisenetv2.network.blocks import ConvBN, ConvBNReLU
from bisenetv2.network.config import BiSeNetV2Config


class GatherExpansion(nn.Module):
    """Stride 1 (Figure 5b) with an identity shortcut, or stride 2 (Figure 5c) with a learnt one."""

    def __init__(
        self,
        config: BiSeNetV2Config,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        expansion: int | None = None,
    ) -> None:
        super().__init__()
        inner = in_channels * (config.expansion if expansion is None else expansion)
        gathered = inner if config.expand_in == "gather" else in_channels
        self.gather = ConvBNReLU(config, in_channels, gathered, config.gather_kernel)
        double = stride == 1 or config.double_depthwise
        depthwise = [ConvBN(config, gathered, inner, 3 if double else 5, stride, groups=gathered)]
        if stride != 1 and config.double_depthwise:
            depthwise.append(ConvBN(config, inner, inner, 3, groups=inner))
        self.depthwise = nn.Sequential(*depthwise)
        self.depthwise_relu = nn.ReLU(inplace=True) if config.gather_relu else nn.Identity()
        self.project = ConvBN(config, inner, out_channels, 1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                ConvBN(config, in_channels, in_channels, 3, stride, groups=in_channels),
                ConvBN(config, in_channels, out_channels, 1),
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C_in, H, W to B, C_out, H/stride, W/stride."""
        y = self.gather(x)  # B, C_in (εC_in if expand_in is "gather"), H, W
        y = self.depthwise_relu(self.depthwise(y))  # B, εC_in, H/s, W/s
        y = self.project(y)  # B, C_out, H/s, W/s
        out: Tensor = self.relu(y + self.shortcut(x))
        return out
