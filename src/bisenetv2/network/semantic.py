"""The Semantic Branch: narrow channels, deep layers, stride 32 (Table 1, right half)."""

from __future__ import annotations

from torch import Tensor, nn

from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.network.context import ContextEmbedding
from bisenetv2.network.gather import GatherExpansion
from bisenetv2.network.stem import StemBlock

REPEATS = (2, 2, 4)
"""Gather-and-Expansion layers in S3, S4 and S5 at d = 1; the first of each has stride 2."""


class SemanticBranch(nn.Module):
    """Stem, three stages of Gather-and-Expansion layers, Context Embedding."""

    def __init__(self, config: BiSeNetV2Config) -> None:
        super().__init__()
        self.S2 = StemBlock(config)
        stages = []
        channels = config.semantic_channels[0]
        for out_channels, repeats in zip(config.semantic_channels[1:], REPEATS, strict=True):
            stage = [GatherExpansion(config, channels, out_channels, stride=2)]
            for _ in range(repeats * config.depth - 1):
                stage.append(GatherExpansion(config, out_channels, out_channels))
            stages.append(nn.Sequential(*stage))
            channels = out_channels
        self.S3, self.S4, self.S5 = stages
        self.CE = ContextEmbedding(config) if config.context_embedding else nn.Identity()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps B, 3, H, W to the outputs of all stages, by name; `CE` is the branch's own."""
        s2 = self.S2(image)  # B, 64λ, H/4, W/4
        s3 = self.S3(s2)  # B, 128λ, H/8, W/8
        s4 = self.S4(s3)  # B, 64, H/16, W/16
        s5 = self.S5(s4)  # B, 128, H/32, W/32
        return {"S2": s2, "S3": s3, "S4": s4, "S5": s5, "CE": self.CE(s5)}
