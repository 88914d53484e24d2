"""The convolution units everything else is made of."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Padding = Literal["both", "end"]
"""Where a convolution of stride 2 pads; see `BiSeNetV2Config.stride2_padding`."""


class ConvBN(nn.Module):
    """Convolution with 'same' padding, then batch normalisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        stride2_padding: Padding = "both",
    ) -> None:
        super().__init__()
        self.pad: nn.Module = nn.Identity()
        padding = kernel // 2
        if stride == 2 and stride2_padding == "end":
            # On even sides the first window starts inside where the other way it starts outside.
            self.pad = nn.ZeroPad2d((padding - 1, padding, padding - 1, padding))
            padding = 0
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, groups=groups, bias=bias
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C_in, H, W to B, C_out, ⌈H/stride⌉, ⌈W/stride⌉."""
        out: Tensor = self.bn(self.conv(self.pad(x)))
        return out


class ConvBNReLU(ConvBN):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        stride2_padding: Padding = "both",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups, bias, stride2_padding)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C_in, H, W to B, C_out, ⌈H/stride⌉, ⌈W/stride⌉; values at least 0."""
        out: Tensor = self.relu(super().forward(x))
        return out
