"""The training loss: cross-entropy on the head and on every booster head.

Options on the main head: online hard example mining, and the Lovász-softmax loss, which lowers what
mIoU measures (Berman, Triki, Blaschko, CVPR 2018, https://arxiv.org/abs/1705.08790).
"""

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
    lovasz: float = 0.0,
) -> Tensor:
    """Sums the losses of the main head and of the booster heads (Fig. 3).

    Args:
        logits: Main logits B, C, h, w first, then each booster's, at their own strides.
        masks: Class indices `uint8` B, H, W.
        ignore_index: Mask value of pixels that do not count.
        strides: Strides at which the main loss and the boosters' losses are taken; 1 is the full
            resolution, more is faster. H and W are multiples of both.
        booster_weight: Factor of each booster's loss; the paper's is not known, 1 is common.
        ohem: Whether the main cross-entropy is the mean over hard pixels only.
        lovasz: Factor of the Lovász-softmax loss that is added on the main head; 0 leaves it out.

    Returns:
        Scalar `float32`. Zero, with gradients of zero, where every pixel is ignored.
    """
    main, *boosters = logits
    loss = _cross_entropy(main, masks, strides[0], ignore_index, ohem)
    if lovasz:
        # At the boosters' stride: it sorts all pixels once for each class.
        loss = loss + lovasz * lovasz_softmax(*_aligned(main, masks, strides[1]), ignore_index)
    for booster in boosters:
        loss = loss + booster_weight * _cross_entropy(
            booster, masks, strides[1], ignore_index, False
        )
    return loss


def _cross_entropy(
    logits: Tensor, masks: Tensor, stride: int, ignore_index: int, ohem: bool
) -> Tensor:
    logits, targets = _aligned(logits, masks, stride)
    losses = F.cross_entropy(logits, targets, ignore_index=ignore_index, reduction="none")
    if ohem:
        hard = _hard(losses[targets != ignore_index])
        return hard.sum() / max(1, hard.numel())
    return losses.sum() / (targets != ignore_index).sum().clamp(min=1)


def lovasz_softmax(logits: Tensor, targets: Tensor, ignore_index: int) -> Tensor:
    """Computes the convex extension of the Jaccard loss, 1 - IoU, over the pixels of a batch.

    Each class's errors |truth - probability| are sorted and weighted by how much the Jaccard loss
    grows as each is added to the set of mistakes (equations 8 and 9 of the Lovász paper).

    Args:
        logits: `float32` B, C, h, w.
        targets: Class indices `int64` B, h, w.
        ignore_index: Target of pixels that do not count.

    Returns:
        Mean over the classes that occur, 0 to 1; zero where every pixel is ignored.
    """
    counted = targets != ignore_index  # B, h, w
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)[counted]  # pixels, C
    truth = targets[counted]  # pixels
    losses = []
    for index in truth.bincount().nonzero().flatten().tolist():
        foreground = (truth == index).float()
        errors, order = (foreground - probabilities[:, index]).abs().sort(descending=True)
        found = foreground[order].cumsum(0)  # true pixels among the largest errors
        total, count = found[-1], torch.arange(1, len(order) + 1, device=found.device)
        jaccard = 1 - (total - found) / (total + count - found)
        growth = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
        losses.append(errors @ growth)
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def _aligned(logits: Tensor, masks: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Brings logits to the size of the masks thinned by a stride, both at B, H/stride, W/stride."""
    targets = _thinned(masks, stride).long()
    logits = logits.float()
    if logits.shape[-2:] != targets.shape[-2:]:
        logits = F.interpolate(logits, targets.shape[-2:], mode="bilinear")
    return logits, targets


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
