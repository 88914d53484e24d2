"""The segmentation head (Figure 7): of the network itself and, in training, of the booster."""

from __future__ import annotations

from torch import Tensor, nn

from bisenetv2.network.blocks import ConvBNReLU


class SegmentationHead(nn.Module):
    """3×3 convolution to C_t channels, BN, ReLU, 1×1 convolution to the classes.

    The figure's bilinear upsampling is left to whoever uses the logits: the loss, or the exact
    upsample-argmax.
    """

    def __init__(self, in_channels: int, width: int, num_classes: int, bias: bool = False) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, width, 3, bias=bias)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C, h, w to logits B, classes, h, w."""
        logits: Tensor = self.classifier(self.conv(x))
        return logits
