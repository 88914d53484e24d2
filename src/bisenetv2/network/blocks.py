"""The convolution units everything else is made of."""

from __future__ import annotations

from torch import Tensor, nn

from bisenetv2.network.config import BiSeNetV2Config


class ConvBN(nn.Module):
    """Convolution with 'same' padding, then batch normalisation."""

    def __init__(
        self,
        config: BiSeNetV2Config,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.pad: nn.Module = nn.Identity()
        padding = kernel // 2
        if stride == 2 and config.stride2_padding == "end":
            # On even sides the first window starts inside where the other way it starts outside.
            self.pad = nn.ZeroPad2d((padding - 1, padding, padding - 1, padding))
            padding = 0
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, groups=groups, bias=config.conv_bias
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
        config: BiSeNetV2Config,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
    ) -> None:
        super().__init__(config, in_channels, out_channels, kernel, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C_in, H, W to B, C_out, ⌈H/stride⌉, ⌈W/stride⌉; values at least 0."""
        out: Tensor = self.relu(super().forward(x))
        return out
