"""Optimiser steps: forward, loss, backward, update, average."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bisenetv2.errors import UserError
from bisenetv2.network.device import computes_bfloat16
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.average import WeightAverage
from bisenetv2.training.batch_norm import synchronised
from bisenetv2.training.loader import Batch
from bisenetv2.training.loss import Mining, SegmentationLoss
from bisenetv2.training.recipe import PARTS, Recipe
from bisenetv2.training.recorded import RecordedPass
from bisenetv2.training.resident import DeviceBatch
from bisenetv2.training.schedule import rate_factor
from bisenetv2.training.state import RunState
from bisenetv2.training.weight_gradient import (
    gains_by_contiguous_gradients,
    take_contiguous_gradients,
)
from bisenetv2.training.world import World


def new_state(
    recipe: Recipe, model: FrameNetwork, world: World, *, fast_gradients: bool | None = None
) -> RunState:
    """Makes a network ready for its first step: on its device, with optimiser and average.

    Args:
        recipe: Rates, decay, what is frozen.
        model: The network with its normalisation; it is moved and changed in place.
        world: Where this process computes.
        fast_gradients: Whether to take the way round of `weight_gradient`; `None`: where a CPU
            that computes in FP32 gains by it.
    """
    place = world.device
    model.to(place).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.sync_bn and world.size > 1:
        synchronised(model, place)
    if fast_gradients is None:
        fast_gradients = place.type == "cpu" and gains_by_contiguous_gradients()
        fast_gradients &= not computes_bfloat16(place, recipe.precision)
    if fast_gradients:
        take_contiguous_gradients(model)
    average = WeightAverage(model, recipe.average) if recipe.average else None
    for name, parameter in model.network.named_parameters():
        parameter.requires_grad_(name.partition(".")[0] not in recipe.freeze)
    optimizer = torch.optim.SGD(
        _groups(recipe, model),
        lr=recipe.rate,
        momentum=recipe.momentum,
        fused=place.type == "cuda",  # one launch for all weights
    )
    return RunState(model, optimizer, average)


def _groups(recipe: Recipe, model: FrameNetwork) -> list[dict[str, Any]]:
    """Groups of parameters by decay and rate; `factor` is that of the rate."""
    groups: list[dict[str, Any]] = []
    for factor, below in ((1.0, False), (recipe.backbone_rate, True)):
        members = [
            parameter
            for name, parameter in model.network.named_parameters()
            if parameter.requires_grad and (name.partition(".")[0] in PARTS) is below
        ]
        # BN and biases are not decayed.
        weights = [parameter for parameter in members if parameter.ndim == 4]
        others = [parameter for parameter in members if parameter.ndim != 4]
        groups.append({"params": weights, "weight_decay": recipe.weight_decay, "factor": factor})
        groups.append({"params": others, "weight_decay": 0.0, "factor": factor})
    return [group for group in groups if group["params"]]


class _Taken(NamedTuple):
    """A step whose loss was not read yet."""

    step: int
    rate: float
    names: tuple[str, ...]
    loss: Tensor


class Steps:
    """Takes the optimiser steps of a run."""

    def __init__(
        self,
        recipe: Recipe,
        ignore_index: int,
        state: RunState,
        world: World,
        class_weights: tuple[float, ...] = (),
        *,
        record: bool = True,
    ) -> None:
        """Prepares the steps.

        Args:
            recipe: Schedule, losses, precision.
            ignore_index: Mask value of pixels that do not count.
            state: What the steps move.
            world: The processes that take them together.
            class_weights: Weight of a pixel of each class; empty for one weight.
            record: Whether to record passes as CUDA graphs, where that can be done.
        """
        self.recipe, self.state, self.world = recipe, state, world
        self.rate = 0.0
        self._first = state.step + 1
        self.bfloat16 = computes_bfloat16(world.device, recipe.precision)
        self.criterion = SegmentationLoss(
            ignore_index,
            strides=(recipe.loss_stride, recipe.booster_stride),
            booster_weights=recipe.booster_weights,
            mining=Mining(recipe.ohem_threshold, recipe.ohem_share) if recipe.ohem else None,
            class_weights=class_weights,
            dice=recipe.dice,
            lovasz=recipe.lovasz,
            mean=world.mean,
        )
        set_training(state.model, recipe.freeze)
        self._model = world.parallel(state.model)
        self._unread: list[_Taken] = []
        alone = world.size == 1 and recipe.accumulate == 1
        record = record and alone and world.device.type == "cuda"
        self._recorded = RecordedPass(state.model) if record else None

    def take(self, batch: Batch | DeviceBatch) -> None:
        """Trains on one batch, of which this process holds its share.

        A GPU may still be at it afterwards: `loss` waits for it.
        """
        recipe, state = self.recipe, self.state
        self.rate = recipe.rate * rate_factor(
            state.step,
            recipe.iterations,
            warmup=recipe.warmup,
            hold=1.0 if recipe.schedule == "trunk" else recipe.hold,
            power=recipe.power,
        )
        for group in state.optimizer.param_groups:
            group["lr"] = self.rate * group["factor"]
        state.optimizer.zero_grad(set_to_none=True)
        loss = self._accumulate_gradients(batch)
        if recipe.clip:
            nn.utils.clip_grad_norm_(self._model.parameters(), recipe.clip)
        state.optimizer.step()
        state.step += 1
        if state.average is not None:
            state.average.update(state.step)
        self._unread.append(_Taken(state.step, self.rate, batch.names, loss))

    def loss(self) -> float:
        """Returns the loss of the step last taken, of which there is one.

        Raises:
            UserError: If it, or that of a step before that was not asked for, is not finite.
        """
        values = torch.stack([taken.loss for taken in self._unread]).tolist()
        for taken, value in zip(self._unread, values, strict=True):
            if not math.isfinite(value):
                remedy = f"usually the rate is too high (try --rate {taken.rate / 4:.2g})"
                if taken.step == self._first:  # before any of these steps changed a weight
                    remedy = "the weights that it started from are of no use; take others"
                raise UserError(
                    f"loss is {value} at step {taken.step}, rate {taken.rate:.4g}: {remedy}; "
                    f"the batch was {', '.join(taken.names)}"
                )
        del self._unread[:-1]
        return float(values[-1])

    def _accumulate_gradients(self, batch: Batch | DeviceBatch) -> Tensor:
        """Runs the parts of a batch forward and backward; the gradient is their mean's."""
        place, parts = self.world.device, self.recipe.accumulate
        images = torch.as_tensor(batch.images).to(place).chunk(parts)  # each B / parts, H, W, 3
        masks = torch.as_tensor(batch.masks).to(place).chunk(parts)  # each B / parts, H, W
        total = torch.zeros((), device=place)
        first = batch.first
        for index in range(parts):
            last = index == parts - 1
            with nullcontext() if last else self.world.no_gradient_exchange(self._model):
                total += self._pass(images[index], masks[index], first)
            first += len(masks[index])
        return self.world.mean(total)

    def _pass(self, images: Tensor, masks: Tensor, first: int) -> Tensor:
        if self._recorded is None:
            return self._backward(images, masks, first)
        return self._recorded(self._backward, images, masks, first)

    def _backward(self, images: Tensor, masks: Tensor, first: int) -> Tensor:
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self._model(images)
        loss = self.criterion(logits, masks, first) / self.recipe.accumulate
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def set_training(model: FrameNetwork, freeze: tuple[str, ...]) -> None:
    """Sets the training mode: BN of frozen parts keeps its statistics."""
    model.train()
    for name in freeze:
        part = getattr(model.network, name)
        if part is not None:
            part.eval()
