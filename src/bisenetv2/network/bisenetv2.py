"""BiSeNet V2 (Figure 3): two branches, an aggregation, a head, and a booster for training.

Yu, Gao, Wang, Yu, Shen, Sang, "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time
Semantic Segmentation", https://arxiv.org/abs/2004.02147, IJCV 129, 2021.

Deliberate departures from the text, all of them switches of `BiSeNetV2Config`: the figures, not
the prose, say where the channels expand; the head width is 128 where the paper gives none; the
logits stay at 1/8 of the input, since upsampling belongs to the loss or to the decoder. The
switches also span the networks of public code; see `PRESETS`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bisenetv2.errors import UserError
from bisenetv2.network.aggregation import BilateralGuidedAggregation, PlainAggregation
from bisenetv2.network.config import STAGES, BiSeNetV2Config
from bisenetv2.network.detail import DetailBranch
from bisenetv2.network.gather import GatherExpansion
from bisenetv2.network.head import SegmentationHead
from bisenetv2.network.semantic import SemanticBranch

STRIDE = 32
"""Sides of the input are multiples of this, the stride of the Semantic Branch."""


class BiSeNetV2(nn.Module):
    """The network of the paper in any of its rows, from a normalised image to logits."""

    def __init__(self, config: BiSeNetV2Config | None = None) -> None:
        super().__init__()
        self.config = config = config or BiSeNetV2Config()
        channels = config.detail_channels[-1]
        self.detail = DetailBranch(config) if config.branches != "semantic" else None
        self.semantic = SemanticBranch(config) if config.branches != "detail" else None
        guided = config.branches == "both" and config.aggregation == "bga"
        self.aggregation = (BilateralGuidedAggregation if guided else PlainAggregation)(config)
        self.refine = (
            GatherExpansion(config, channels, channels, expansion=2)
            if config.refine
            else nn.Identity()
        )
        self.head = SegmentationHead(
            config, channels, config.head_width, block=8 // config.logits_stride
        )
        stem, s3, s4, s5 = config.semantic_channels
        stage_channels = dict(zip(STAGES, (stem, s3, s4, s5, s5), strict=True))
        self.boosters = nn.ModuleDict(
            {
                stage: SegmentationHead(config, stage_channels[stage], width)
                for stage, width in zip(config.boosters, config.booster_widths, strict=True)
            }
        )
        self.apply(_kaiming)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Computes logits.

        Args:
            image: Normalised float image B, 3, H, W; H and W multiples of 32.

        Returns:
            In evaluation, logits B, classes, H/8, W/8 (H, W with `logits_stride` 1). In training, a
            tuple of these and of each booster head's logits, at 1/4 (S2), 1/8 (S3), 1/16 (S4) or
            1/32 (S5, CE) of the input.

        Raises:
            UserError: If a side is not a multiple of 32.
        """
        if not torch.compiler.is_compiling():  # a check on sizes would pin a traced graph to them
            _check_sides(image)
        detail = None if self.detail is None else self.detail(image)  # B, 128, H/8, W/8
        stages = {} if self.semantic is None else self.semantic(image)
        semantic = stages.get("CE")  # B, 128, H/32, W/32
        features = self.refine(self.aggregation(detail, semantic))  # B, 128, H/8, W/8
        logits: Tensor = self.head(features)  # B, classes, H/8, W/8 or H, W
        if not self.training:
            return logits
        return logits, *(head(stages[stage]) for stage, head in self.boosters.items())

    def without_boosters(self) -> BiSeNetV2:
        """Returns the network for inference: no booster heads, the same logits.

        It shares its weights with this one; nothing is copied.
        """
        with torch.device("meta"):
            network = BiSeNetV2(self.config.without_boosters())
        kept = {k: v for k, v in self.state_dict().items() if not k.startswith("boosters.")}
        network.load_state_dict(kept, assign=True)
        return network.train(self.training)


def _check_sides(image: Tensor) -> None:
    for name, side in zip(("height", "width"), image.shape[-2:], strict=True):
        if side % STRIDE or side == 0:
            nearest = max(STRIDE, (side + STRIDE // 2) // STRIDE * STRIDE)
            raise UserError(
                f"{name} {side} is not a multiple of {STRIDE}: the nearest usable is {nearest}"
            )


def _kaiming(module: nn.Module) -> None:
    """Initialises convolutions by He et al.'s normal rule, as the paper does; BN at 1 and 0."""
    if isinstance(module, nn.Conv2d):
        # Fan-in counts one group only, so depth-wise convolutions start at the right scale.
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
