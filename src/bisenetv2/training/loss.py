"""The training loss: cross-entropy on the head and on every booster head.

Options on the main head: online hard example mining, soft Dice, and the Lovász-softmax loss, which
lowers what mIoU measures (Berman, Triki, Blaschko, CVPR 2018, https://arxiv.org/abs/1705.08790).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bisenetv2.errors import UserError


class Mining(NamedTuple):
    """Online hard example mining: which pixels count (not given in the paper)."""

    threshold: float = 0.7
    """Pixels whose true class has a lower probability are hard."""

    share: float = 1 / 16
    """At least this share of the labelled pixels is kept, the hardest ones."""


def _alone(value: Tensor) -> Tensor:
    return value.detach()


@dataclass(frozen=True)
class SegmentationLoss:
    """The sum of the losses of the main head and of the booster heads (Fig. 3)."""

    ignore_index: int
    """Mask value of pixels that do not count."""

    strides: tuple[int, int] = (1, 1)
    """Strides at which the main loss and the boosters' losses are taken; 1 is the full resolution,
    more is faster. Height and width of the masks are multiples of both."""

    booster_weights: tuple[float, ...] | None = None
    """Factor of each booster's loss; `None`: 1 each, as is common. The paper's are not known."""

    mining: Mining | None = None
    """Takes the main cross-entropy over hard pixels only."""

    class_weights: tuple[float, ...] = ()
    """Weight of a pixel of each class, in means over pixels; empty for one weight."""

    dice: float = 0.0
    """Factor of the soft Dice loss that is added on the main head, at the boosters' stride; 0
    leaves it out."""

    lovasz: float = 0.0
    """Factor of the Lovász-softmax loss that is added on the main head, at the boosters' stride; 0
    leaves it out."""

    mean: Callable[[Tensor], Tensor] = _alone
    """Mean of a number over the processes that share a batch: pixels then weigh alike on all."""

    def __call__(self, logits: Tensor | Sequence[Tensor], masks: Tensor, first: int = 0) -> Tensor:
        """Computes the loss of a batch.

        Dice, Lovász and the least share of mining are taken over the batch of this process.

        Args:
            logits: Main logits B, C, h, w, alone or followed by each booster's, at their own
                strides: what a network returns.
            masks: Class indices `uint8` B, H, W.
            first: Number of the first sample, which decides with those after it on which pixel
                stands for a block.

        Returns:
            Scalar `float32`. Zero, with gradients of zero, where every pixel is ignored.

        Raises:
            UserError: If there are not as many weights as boosters.
        """
        main, *boosters = (logits,) if isinstance(logits, Tensor) else logits
        weights = self.booster_weights
        if weights is None:
            weights = (1.0,) * len(boosters)
        if len(weights) != len(boosters):
            raise UserError(
                f"booster_weights: {len(weights)} for {len(boosters)} boosters; give one for each"
            )
        fine, coarse = (_thinned(masks, stride, first).long() for stride in self.strides)
        loss = self._cross_entropy(main, fine, self.mining)
        if self.dice or self.lovasz:
            # At the boosters' stride: Lovász sorts all pixels once for each class.
            aligned = _enlarged(main, coarse), coarse
            if self.dice:
                loss = loss + self.dice * soft_dice(*aligned, self.ignore_index)
            if self.lovasz:
                loss = loss + self.lovasz * lovasz_softmax(*aligned, self.ignore_index)
        for booster, weight in zip(boosters, weights, strict=True):
            loss = loss + weight * self._cross_entropy(booster, coarse, None)
        return loss

    def _cross_entropy(self, logits: Tensor, targets: Tensor, mining: Mining | None) -> Tensor:
        logits = _enlarged(logits, targets)
        losses = F.cross_entropy(logits, targets, ignore_index=self.ignore_index, reduction="none")
        counted = targets != self.ignore_index  # B, h, w
        if mining is not None:
            counted = counted & _hard(losses.detach(), counted, mining)
        weights = counted.float()
        if self.class_weights:
            # Filled where it is: what a CPU sends cannot be recorded (see `recorded.py`).
            table = torch.stack([weights.new_full((), weight) for weight in self.class_weights])
            weights = weights * table[targets.masked_fill(~counted, 0)]
        total = self.mean(weights.sum()).clamp(min=1e-6)
        return (losses * weights).sum() / total


def soft_dice(logits: Tensor, targets: Tensor, ignore_index: int) -> Tensor:
    """Computes 1 - Dice with probabilities in place of the prediction, over a batch.

    Args:
        logits: `float32` B, C, h, w.
        targets: Class indices `int64` B, h, w.
        ignore_index: Target of pixels that do not count.

    Returns:
        Mean over the classes that occur, 0 to 1; zero where every pixel is ignored.
    """
    counted = (targets != ignore_index).flatten()  # pixels
    probabilities = logits.softmax(1).transpose(0, 1).flatten(1) * counted  # C, pixels
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None]  # C, 1
    truth = ((targets.flatten() == classes) & counted).float()  # C, pixels
    sizes = truth.sum(1)  # C
    overlap, both = (truth * probabilities).sum(1), sizes + probabilities.sum(1)  # C
    missing = 1 - 2 * overlap / both.clamp(min=1e-6)  # C
    return _mean_of(missing, sizes > 0)


def lovasz_softmax(
    logits: Tensor, targets: Tensor, ignore_index: int, *, sparse: bool | None = None
) -> Tensor:
    """Computes the convex extension of the Jaccard loss, 1 - IoU, over the pixels of a batch.

    Each class's errors |truth - probability| are sorted and weighted by how much the Jaccard loss
    grows as each is added to the set of mistakes (equations 8 and 9 of the Lovász paper).

    Args:
        logits: `float32` B, C, h, w.
        targets: Class indices `int64` B, h, w.
        ignore_index: Target of pixels that do not count.
        sparse: Whether to sort only for the classes that occur: less work, but how much is known
            only when it is done, for which a GPU would be waited for. `None`: everywhere but on
            one.

    Returns:
        Mean over the classes that occur, 0 to 1; zero where every pixel is ignored.
    """
    counted = (targets != ignore_index).flatten()  # pixels
    probabilities = logits.softmax(1).transpose(0, 1).flatten(1)  # C, pixels
    truth, classes = targets.flatten(), torch.arange(logits.shape[1], device=logits.device)
    if not logits.is_cuda if sparse is None else sparse:
        classes = truth[counted].bincount().nonzero().flatten()  # K of C
        if not len(classes):
            return logits.sum() * 0
        probabilities = probabilities.index_select(0, classes)
    foreground = ((truth == classes[:, None]) & counted).float()  # K, pixels
    distances = (foreground - probabilities).abs().masked_fill(~counted, 0)
    order = _descending(distances.detach())  # what does not count comes last
    errors = distances.gather(1, order)
    found = foreground.gather(1, order).cumsum(1)  # true pixels among the largest errors
    total, count = found[:, -1:], torch.arange(1, len(truth) + 1, device=found.device)
    jaccard = 1 - (total - found) / (total + count - found)
    growth = torch.diff(jaccard, prepend=jaccard.new_zeros(len(classes), 1))
    return _mean_of((errors * growth).sum(1), total[:, 0] > 0)


def _descending(values: Tensor) -> Tensor:
    """Returns the order of each row's values, none of them negative, from the largest on."""
    if values.device.type != "cpu":
        return values.argsort(dim=1, descending=True)
    # NumPy sorts bare integers several times as fast as PyTorch sorts values and keeps their
    # places. The bits of values that are not negative order as they do; the place goes below them.
    bits = (~values.view(torch.int32)).long()
    keys = (bits << 32) | torch.arange(values.shape[1])
    keys.numpy().sort(axis=1)
    return keys & 0xFFFFFFFF


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of some of the values; zero, with gradients of zero, where none is chosen."""
    mean: Tensor = (values * chosen).sum() / chosen.sum().clamp(min=1)
    return mean


def _enlarged(logits: Tensor, targets: Tensor) -> Tensor:
    """Brings logits B, C, h, w to the size of their targets."""
    logits = logits.float()
    if logits.shape[-2:] == targets.shape[-2:]:
        return logits
    return F.interpolate(logits, targets.shape[-2:], mode="bilinear")


def _thinned(masks: Tensor, stride: int, first: int) -> Tensor:
    """Lets one pixel stand for each stride×stride block: B, H, W to B, H/stride, W/stride.

    An even block has no pixel in its middle. The one before and the one after it take turns from
    sample to sample, even numbers and odd ones: always the same one would teach masks that lie
    half a pixel off.
    """
    before, after, odd = (stride - 1) // 2, stride // 2, 1 - first % 2
    thinned = masks[:, before::stride, before::stride].clone()
    thinned[odd::2] = masks[odd::2, after::stride, after::stride]
    return thinned


def _hard(losses: Tensor, counted: Tensor, mining: Mining) -> Tensor:
    """Marks the pixels above the threshold, or the hardest ones if these are too few: B, h, w."""
    hard = losses > -math.log(max(mining.threshold, 1e-12))
    if not losses.is_cuda:
        return _hardest(losses, counted, hard, mining.share)
    return hard | _at_least(losses, counted, mining.share)


def _hardest(losses: Tensor, counted: Tensor, hard: Tensor, share: float) -> Tensor:
    """Marks the share of the pixels with the largest losses, unless so many are hard anyway."""
    least = int(int(counted.sum()) * share)
    if int((hard & counted).sum()) >= least:
        return hard
    hardest = torch.topk(losses.masked_fill(~counted, -1).flatten(), least, sorted=False).indices
    return torch.zeros_like(hard).flatten().index_fill_(0, hardest, True).view_as(hard)


def _at_least(losses: Tensor, counted: Tensor, share: float) -> Tensor:
    """The same without a question to the device; pixels that tie with the last one count too."""
    least = (counted.sum() * share).long()
    order = losses.masked_fill(~counted, -1).flatten().sort(descending=True).values
    bound = order.gather(0, (least - 1).clamp(min=0).view(1))
    return (losses >= bound) & (least > 0)
