"""The Context Embedding block that closes the Semantic Branch (Figure 4b)."""

from __future__ import annotations

from torch import Tensor, nn

from bisenetv2.network.blocks import ConvBNReLU
from bisenetv2.network.config import BiSeNetV2Config


class ContextEmbedding(nn.Module):
    """Adds one global vector to every position, then mixes with a 3×3 convolution.

    In the figure nothing follows that convolution; `context_tail="bn-relu"` adds the BN and ReLU
    of common code.
    """

    def __init__(self, config: BiSeNetV2Config) -> None:
        super().__init__()
        channels = config.semantic_channels[-1]
        self.bn = nn.BatchNorm2d(channels)
        self.embed = ConvBNReLU(config, channels, channels, 1)
        self.mix: nn.Module = nn.Conv2d(channels, channels, 3, padding=1, bias=config.conv_bias)
        if config.context_tail == "bn-relu":
            self.mix = ConvBNReLU(config, channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, 128α, H/32, W/32 to the same shape."""
        context = x.mean(dim=(2, 3), keepdim=True)  # B, C, 1, 1
        context = self.embed(self.bn(context))
        out: Tensor = self.mix(x + context)  # B, C, H/32, W/32
        return out
