"""The training loss: cross-entropy on the head and on every booster head, OHEM as an option."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

OHEM_THRESHOLD = -math.log(0.7)
"""Pixels whose true class has a probability below 0.7 are hard (common code; not in the paper)."""

OHEM_SHARE = 1 / 16
"""At least this share of the labelled pixels is kept (common code)."""


def segmentation_loss(
    logits: Sequence[Tensor],
    masks: Tensor,
    *,
    ignore_index: int,
    strides: tuple[int, int],
    booster_weight: float = 1.0,
    ohem: bool = False,
) -> Tensor:
    """Sums the losses of the main head and of the booster heads (Fig. 3).

    Args:
        logits: Main logits B, C, h, w first, then each booster's, at their own strides.
        masks: Class indices `uint8` B, H, W.
        ignore_index: Mask value of pixels that do not count.
        strides: Strides at which the main loss and the boosters' losses are taken; 1 is the full
            resolution, more is faster. H and W are multiples of both.
        booster_weight: Factor of each booster's loss; the paper's is not known, 1 is common.
        ohem: Whether the main loss is the mean over hard pixels only.

    Returns:
        Scalar `float32`. Zero, with gradients of zero, where every pixel is ignored.
    """
    main, *boosters = logits
    loss = _cross_entropy(main, masks, strides[0], ignore_index, ohem)
    for booster in boosters:
        loss = loss + booster_weight * _cross_entropy(
            booster, masks, strides[1], ignore_index, False
        )
    return loss


def _cross_entropy(
    logits: Tensor, masks: Tensor, stride: int, ignore_index: int, ohem: bool
) -> Tensor:
    targets = _thinned(masks, stride).long()  # B, H/stride, W/stride
    logits = logits.float()
    if logits.shape[-2:] != targets.shape[-2:]:
        logits = F.interpolate(logits, targets.shape[-2:], mode="bilinear")
    losses = F.cross_entropy(logits, targets, ignore_index=ignore_index, reduction="none")
    if ohem:
        hard = _hard(losses[targets != ignore_index])
        return hard.sum() / max(1, hard.numel())
    return losses.sum() / (targets != ignore_index).sum().clamp(min=1)


def _thinned(masks: Tensor, stride: int) -> Tensor:
    """Lets one pixel stand for each stride×stride block: B, H, W to B, H/stride, W/stride.

    An even block has no pixel in its middle. The one before and the one after it take turns from
    sample to sample: always the same one would teach masks that lie half a pixel off.
    """
    before, after = (stride - 1) // 2, stride // 2
    thinned = masks[:, before::stride, before::stride].clone()
    thinned[1::2] = masks[1::2, after::stride, after::stride]
    return thinned


def _hard(losses: Tensor) -> Tensor:
    """Selects the losses above the threshold, or the largest ones if these are too few."""
    least = int(losses.numel() * OHEM_SHARE)
    hard = losses[losses > OHEM_THRESHOLD]
    return hard if hard.numel() >= least else torch.topk(losses, least, sorted=False).values
