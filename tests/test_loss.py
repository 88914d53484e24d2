"""The training loss against plain cross-entropy, and what hard example mining keeps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bisenetv2.errors import UserError
from bisenetv2.training.loss import (
    Mining,
    SegmentationLoss,
    _at_least,
    _hardest,
    lovasz_softmax,
    soft_dice,
)

CLASSES, IGNORE = 5, 255


def random_case(
    batch: int = 2, height: int = 32, width: int = 64, stride: int = 8
) -> tuple[Tensor, Tensor]:
    """Logits at a stride with gradients, and a mask of which a fifth is ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(
        batch, CLASSES, height // stride, width // stride, generator=generator
    )  # B, C, h, w
    masks = torch.randint(0, CLASSES, (batch, height, width), generator=generator)
    masks[torch.rand(masks.shape, generator=generator) < 0.2] = IGNORE
    return logits.requires_grad_(), masks.to(torch.uint8)


def loss_of(
    logits: Tensor,
    masks: Tensor,
    *boosters: Tensor,
    strides: tuple[int, int] = (1, 1),
    booster_weight: float = 1.0,
    ohem: bool = False,
    lovasz: float = 0.0,
    ignore_index: int = IGNORE,
    **options: Any,
) -> Tensor:
    loss = SegmentationLoss(
        ignore_index,
        strides=strides,
        booster_weights=(booster_weight,) * len(boosters),
        lovasz=lovasz,
        **{"mining": Mining() if ohem else None, **options},
    )
    return loss((logits, *boosters), masks)


def plain(logits: Tensor, masks: Tensor, ignore_index: int = IGNORE) -> Tensor:
    """Cross-entropy of logits interpolated to the mask's size, by the library."""
    full = F.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(full, masks.long(), ignore_index=ignore_index)


@pytest.mark.parametrize("stride", [1, 4, 8, 32])
def test_at_full_resolution_it_is_cross_entropy_of_upsampled_logits(stride: int) -> None:
    logits, masks = random_case(stride=stride)
    loss = loss_of(logits, masks)
    torch.testing.assert_close(loss, plain(logits, masks))
    assert loss.dtype == torch.float32
    (ours,) = torch.autograd.grad(loss, logits)
    (theirs,) = torch.autograd.grad(plain(logits, masks), logits)
    torch.testing.assert_close(ours, theirs)


def test_ignored_pixels_neither_count_nor_pull() -> None:
    logits, masks = random_case(stride=1)
    (gradient,) = torch.autograd.grad(loss_of(logits, masks), logits)
    ignored = (masks == IGNORE)[:, None].expand_as(gradient)
    assert (gradient[ignored] == 0).all()
    assert (gradient[~ignored] != 0).any()


def test_the_ignore_index_is_the_one_given() -> None:
    logits, masks = random_case()
    other = torch.where(masks == IGNORE, 11, masks)
    torch.testing.assert_close(loss_of(logits, other, ignore_index=11), plain(logits, masks))


@pytest.mark.parametrize("ohem", [False, True])
def test_a_batch_of_ignored_pixels_gives_zero_and_gradients_of_zero(ohem: bool) -> None:
    logits, masks = random_case()
    booster = logits.detach().clone().requires_grad_()
    loss = loss_of(logits, torch.full_like(masks, IGNORE), booster, ohem=ohem)
    assert loss.item() == 0
    loss.backward()  # type: ignore[no-untyped-call]
    for tensor in (logits, booster):
        assert tensor.grad is not None
        assert (tensor.grad == 0).all()


def test_half_precision_logits_are_summed_in_single_precision() -> None:
    logits, masks = random_case()
    loss = loss_of(logits.detach().bfloat16(), masks)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, plain(logits.detach().bfloat16().float(), masks))


@pytest.mark.parametrize("stride", [2, 4, 8, 16])
def test_at_a_stride_one_pixel_stands_for_each_block(stride: int) -> None:
    height, width = 32, 64
    logits, _ = random_case(height=height, width=width)
    coarse = torch.randint(0, CLASSES, (2, height // stride, width // stride))
    coarse[:, 0, 0] = IGNORE
    masks = coarse.repeat_interleave(stride, 1).repeat_interleave(stride, 2).to(torch.uint8)
    loss = loss_of(logits, masks, strides=(stride, 1))
    torch.testing.assert_close(loss, plain(logits, coarse))


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_a_stride_shifts_no_edge_on_the_mean_of_a_batch(stride: int) -> None:
    # A step edge at each place within a block; where blocks are of the right-hand class, counted
    # over the batch and over all places, the edge must lie where it was: in their middle.
    side = 64
    logits = torch.zeros(2, 2, side // stride, side // stride)
    logits[:, 1] = -1e4  # each pixel of class 1 costs 1e4, each of class 0 nothing
    for axis in (0, 1):
        measured = 0.0
        for edge in range(32, 32 + stride):
            line = (torch.arange(side) >= edge).to(torch.uint8)
            mask = line[:, None] if axis == 0 else line[None, :]
            masks = mask.expand(side, side).expand(2, side, side).contiguous()
            share = loss_of(logits, masks, strides=(stride, 1)).item() / 1e4
            measured += (side * share - (side - edge)) / stride
        assert measured == pytest.approx(0.0, abs=1e-3)


def test_a_sample_has_the_same_targets_whichever_share_of_a_batch_it_is_in() -> None:
    logits, masks = random_case()
    logits, masks = logits.detach(), masks.clamp(max=CLASSES - 1)  # every pixel is labelled
    loss = SegmentationLoss(IGNORE, (2, 1))
    alone = [loss([logits[k : k + 1]], masks[k : k + 1], first=5 + k) for k in range(2)]
    torch.testing.assert_close(loss([logits], masks, first=5), sum(alone) / 2)
    assert not torch.isclose(loss([logits], masks, first=4), sum(alone) / 2)


def test_the_boosters_have_a_stride_of_their_own() -> None:
    logits, _ = random_case()
    booster, _ = random_case(stride=16)
    coarse = torch.randint(0, CLASSES, (2, 8, 16))
    masks = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2).to(torch.uint8)
    loss = loss_of(logits, masks, booster, strides=(1, 4))
    torch.testing.assert_close(loss, plain(logits, masks) + plain(booster, coarse))


def test_by_default_it_takes_whatever_a_network_returns() -> None:
    logits, masks = random_case()
    boosters = [random_case(stride=stride)[0] for stride in (4, 8)]
    loss = SegmentationLoss(IGNORE)
    torch.testing.assert_close(loss(logits, masks), plain(logits, masks))
    whole = sum(plain(each, masks) for each in (logits, *boosters))
    torch.testing.assert_close(loss((logits, *boosters), masks), whole)


def test_as_many_weights_as_boosters_are_wanted() -> None:
    logits, masks = random_case()
    with pytest.raises(UserError, match="booster_weights: 1 for 2 boosters; give one for each"):
        SegmentationLoss(IGNORE, booster_weights=(1.0,))((logits,) * 3, masks)


def test_lovasz_and_dice_are_taken_at_the_boosters_stride() -> None:
    logits, masks = random_case()
    coarse = masks[:, 1::4, 1::4].clone()
    coarse[1::2] = masks[1::2, 2::4, 2::4]  # see `_thinned`
    enlarged = F.interpolate(logits, coarse.shape[-2:], mode="bilinear")
    for name, term in (("lovasz", lovasz_softmax), ("dice", soft_dice)):
        options: dict[str, Any] = {name: 1.0}
        added = loss_of(logits, masks, strides=(1, 4), **options) - plain(logits, masks)
        torch.testing.assert_close(added, term(enlarged, coarse.long(), IGNORE))


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_boosters_are_added_with_their_weight_and_without_mining(weight: float) -> None:
    logits, masks = random_case()
    boosters = [random_case(stride=stride)[0] for stride in (4, 8, 16, 32)]
    main = loss_of(logits, masks, ohem=True)
    loss = loss_of(logits, masks, *boosters, booster_weight=weight, ohem=True)
    expected = main + weight * sum(plain(booster, masks) for booster in boosters)
    torch.testing.assert_close(loss, expected)


def test_a_network_without_boosters_has_the_main_loss_alone() -> None:
    logits, masks = random_case()
    assert torch.equal(loss_of(logits, masks, booster_weight=7), loss_of(logits, masks))


def case_with_losses(losses: Tensor) -> tuple[Tensor, Tensor]:
    """Two-class logits whose cross-entropy against class 0 is exactly the one asked for."""
    side = math.isqrt(losses.numel())
    margin = -torch.log(torch.expm1(losses))  # loss = log(1 + exp(-margin))
    logits = torch.stack([margin, torch.zeros_like(margin)]).reshape(1, 2, side, side)
    return logits.requires_grad_(), torch.zeros(1, side, side, dtype=torch.uint8)


def test_mining_keeps_every_pixel_harder_than_the_threshold() -> None:
    losses = torch.full((64,), 0.1)
    losses[:16] = torch.linspace(0.4, 2.0, 16)
    losses[16] = -math.log(Mining().threshold) - 0.01
    logits, masks = case_with_losses(losses)
    loss = loss_of(logits, masks, ohem=True)
    torch.testing.assert_close(loss, losses[:16].mean(), rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[0, 0].flatten() != 0).nonzero().flatten().tolist() == list(range(16))


def test_mining_keeps_the_hardest_sixteenth_where_little_is_hard() -> None:
    losses = torch.linspace(0.01, 0.3, 256)
    logits, masks = case_with_losses(losses)
    kept = int(256 * Mining().share)
    assert kept == 16
    torch.testing.assert_close(
        loss_of(logits, masks, ohem=True), losses[-kept:].mean(), rtol=1e-4, atol=1e-5
    )


def test_mining_counts_its_share_over_labelled_pixels_only() -> None:
    losses = torch.linspace(0.01, 0.3, 256)
    logits, masks = case_with_losses(losses)
    masks.view(-1)[128:] = IGNORE  # the harder half
    torch.testing.assert_close(
        loss_of(logits, masks, ohem=True), losses[120:128].mean(), rtol=1e-4, atol=1e-5
    )


def test_where_all_is_hard_mining_changes_nothing() -> None:
    logits, masks = case_with_losses(torch.linspace(0.5, 3, 64))
    torch.testing.assert_close(loss_of(logits, masks, ohem=True), loss_of(logits, masks))


# Lovász-softmax


def jaccard_loss(mistakes: Tensor, foreground: Tensor) -> float:
    """1 - IoU of a class whose mistaken pixels are given; the set function that is extended."""
    missed, added = (mistakes & foreground).sum(), (mistakes & ~foreground).sum()
    return 1 - float((foreground.sum() - missed) / (foreground.sum() + added))


def lovasz_by_its_definition(logits: Tensor, targets: Tensor) -> float:
    """Equation 8: errors, largest first, each weighted by the growth of the set function."""
    losses = []
    probabilities = logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    probabilities, truth = probabilities[targets.flatten() != IGNORE], targets[targets != IGNORE]
    for index in sorted(set(truth.tolist())):
        foreground = truth == index
        errors = (foreground.float() - probabilities[:, index]).abs()
        mistakes, before, loss = torch.zeros_like(foreground), 0.0, 0.0
        for pixel in errors.argsort(descending=True).tolist():
            mistakes[pixel] = True
            after = jaccard_loss(mistakes, foreground)
            loss += float(errors[pixel]) * (after - before)
            before = after
        losses.append(loss)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_lovasz_is_what_its_definition_says(seed: int, sparse: bool) -> None:
    torch.manual_seed(seed)
    logits, targets = torch.randn(2, 4, 5, 6) * 2, torch.randint(0, 3, (2, 5, 6))
    targets[0, :2] = IGNORE
    expected = lovasz_by_its_definition(logits, targets)
    found = lovasz_softmax(logits, targets, IGNORE, sparse=sparse)
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_lovasz_pulls_alike_on_a_gpu_and_elsewhere() -> None:
    torch.manual_seed(0)
    targets = torch.randint(0, 3, (2, 9, 8))  # of 5 classes
    targets[1, 3:] = IGNORE
    gradients = []
    for sparse in (True, False):
        logits = (torch.randn(2, 5, 9, 8, generator=torch.manual_seed(1)) * 2).requires_grad_()
        loss = lovasz_softmax(logits, targets, IGNORE, sparse=sparse)
        gradients.append(torch.autograd.grad(loss, logits)[0])
    torch.testing.assert_close(*gradients)
    nothing = torch.full_like(targets, IGNORE)
    for sparse in (True, False):
        logits.grad = None
        loss = lovasz_softmax(logits, nothing, IGNORE, sparse=sparse)
        loss.backward()
        assert float(loss.detach()) == 0
        assert float(logits.grad.abs().max()) == 0


def test_lovasz_of_certain_predictions_is_one_minus_their_miou() -> None:
    targets = torch.tensor([[[0, 0, 1, 1]]])
    chosen = torch.tensor([[[0, 1, 1, 1]]])
    logits = torch.nn.functional.one_hot(chosen, 2).permute(0, 3, 1, 2) * 100.0
    loss = float(lovasz_softmax(logits, targets, IGNORE))
    assert loss == pytest.approx(1 - (1 / 2 + 2 / 3) / 2, abs=1e-5)


def test_lovasz_is_added_on_the_main_head_alone_and_can_be_descended() -> None:
    logits, masks = random_case()
    booster, _ = random_case(stride=4)
    added = loss_of(logits, masks, booster, lovasz=0.5) - loss_of(logits, masks, booster)
    logits = logits.detach().requires_grad_()
    before = loss_of(logits, masks, lovasz=1)
    (gradient,) = torch.autograd.grad(before, logits)
    assert 0 < float(added.detach()) < 0.5
    after = loss_of(logits - gradient, masks, lovasz=1)
    assert float(after.detach()) < float(before.detach())


def test_the_settings_of_mining_are_the_ones_given() -> None:
    losses = torch.linspace(0.01, 3, 64)
    logits, masks = case_with_losses(losses)
    harder = loss_of(logits, masks, mining=Mining(threshold=0.1, share=0))
    torch.testing.assert_close(harder, losses[losses > -math.log(0.1)].mean(), rtol=1e-4, atol=1e-4)
    half = loss_of(logits, masks, mining=Mining(threshold=0.01, share=0.5))
    torch.testing.assert_close(half, losses[32:].mean(), rtol=1e-4, atol=1e-4)


def test_class_weights_weigh_pixels_as_the_library_s_do() -> None:
    logits, masks = random_case()
    weights = tuple(0.5 + index for index in range(CLASSES))
    full = F.interpolate(logits, masks.shape[-2:], mode="bilinear", align_corners=False)
    expected = F.cross_entropy(
        full, masks.long(), weight=torch.tensor(weights), ignore_index=IGNORE
    )
    torch.testing.assert_close(loss_of(logits, masks, class_weights=weights), expected)
    even = loss_of(logits, masks, ohem=True, class_weights=(2.0,) * CLASSES)
    torch.testing.assert_close(even, loss_of(logits, masks, ohem=True))


def test_dice_is_nothing_for_the_truth_and_all_for_its_opposite() -> None:
    targets = torch.randint(0, 2, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    right = 100.0 * F.one_hot(targets, CLASSES).permute(0, 3, 1, 2)
    wrong = 100.0 * F.one_hot(1 - targets, CLASSES).permute(0, 3, 1, 2)
    assert soft_dice(right, targets, IGNORE).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice(wrong, targets, IGNORE).item() == pytest.approx(1, abs=1e-6)
    half = targets.clone()
    half[:, :4] = IGNORE
    torch.testing.assert_close(
        soft_dice(right + wrong * 0.99, half, IGNORE),
        soft_dice((right + wrong * 0.99)[:, :, 4:], targets[:, 4:], IGNORE),
    )


def test_dice_is_added_with_its_factor_and_ignored_pixels_give_zero() -> None:
    logits, masks = random_case()
    part = soft_dice(F.interpolate(logits, masks.shape[-2:], mode="bilinear"), masks.long(), IGNORE)
    whole = loss_of(logits, masks, dice=0.5)
    torch.testing.assert_close(whole, loss_of(logits, masks) + 0.5 * part)
    assert loss_of(logits, torch.full_like(masks, IGNORE), dice=1.0).item() == 0


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("threshold", [0.1, 0.7])
def test_hard_pixels_are_found_alike_on_a_gpu_and_elsewhere(share: float, threshold: float) -> None:
    losses = torch.rand(2, 9, 8, generator=torch.manual_seed(0)) * 3
    counted = torch.rand(2, 9, 8) > 0.3
    hard = losses > -math.log(threshold)
    there = (hard | _at_least(losses, counted, share)) & counted
    here = (hard | _hardest(losses, counted, hard, share)) & counted
    assert torch.equal(there, here)
