"""The segmentation head (Figure 7): of the network itself and, in training, of the booster."""

from __future__ import annotations

from torch import Tensor, nn

from bisenetv2.network.blocks import ConvBNReLU
from bisenetv2.network.config import BiSeNetV2Config


class SegmentationHead(nn.Module):
    """3×3 convolution to C_t channels, BN, ReLU, 1×1 convolution to the classes.

    The figure's bilinear upsampling is left to whoever uses the logits: the loss, or the exact
    upsample-argmax. With `block` above 1 the classifier gives each position a square of logits of
    that side, which a pixel shuffle lays out in its place.
    """

    def __init__(
        self,
        config: BiSeNetV2Config,
        in_channels: int,
        width: int,
        block: int = 1,
    ) -> None:
        super().__init__()
        self.conv = ConvBNReLU(config, in_channels, width, 3)
        self.classifier = nn.Conv2d(width, config.num_classes * block**2, 1)
        self.shuffle = nn.PixelShuffle(block) if block > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C, h, w to logits B, classes, h·block, w·block."""
        logits: Tensor = self.shuffle(self.classifier(self.conv(x)))
        return logits
