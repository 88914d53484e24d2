"""Which batches a run sees: the stages of progressive resolution, then the full crop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

from bisenetv2.data.augment import Augmentation
from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.network.bisenetv2 import STRIDE
from bisenetv2.training.loader import Batch, Batches, InMemory
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.resident import DeviceBatch, ResidentData


class Phase(NamedTuple):
    """Steps that share a crop and a batch size."""

    start: int
    stop: int
    batches: Batches
    size: Literal["batch", "progressive_batch"]
    """Field of the recipe that gives the batch's size."""


def plan_phases(
    recipe: Recipe,
    dataset: Dataset,
    mixed: Dataset | None = None,
    *,
    shard: tuple[int, int] = (0, 1),
) -> tuple[Phase, ...]:
    """Plans the batches of a run: a phase for each stage of progressive resolution, then the rest.

    Args:
        recipe: Crops, scales, batch sizes and shares.
        dataset: What to train on.
        mixed: Dataset mixed in at the recipe's `streets_share`.
        shard: Which process of how many; each prepares its share of every batch.

    Raises:
        UserError: If a value is out of range, a batch cannot be shared out, or there is nothing to
            mix in.
    """
    share = 0.0 if recipe.overfit else recipe.streets_share
    if share and mixed is None:
        raise UserError(f"streets_share {share}: there is no dataset to mix in")
    batches = Batches(
        dataset if isinstance(dataset, InMemory) else InMemory(dataset),
        _augmentation(recipe, dataset),
        recipe.batch,
        recipe.seed,
        None if mixed is None or not share else InMemory(mixed),
        share,
        cutmix=0.0 if recipe.overfit else recipe.cutmix,
        shard=shard,
    )
    has_stages = recipe.schedule == "poly" and not recipe.overfit
    progressive = recipe.progressive_share if has_stages else 0.0
    early, count = round(progressive * recipe.iterations), len(recipe.progressive)
    height, width = batches.augmentation.crop
    phases, taken = [], 0
    for stage, factor in enumerate(recipe.progressive):
        start, stop = early * stage // count, early * (stage + 1) // count
        if start == stop:
            continue
        smaller = replace(
            batches.augmentation,
            crop=_nearest((height * factor, width * factor)),
            scales=tuple(scale * factor for scale in batches.augmentation.scales),
        )
        small = replace(
            batches,
            augmentation=smaller,
            batch_size=recipe.progressive_batch,
            start=(start, taken),
        )
        phases.append(Phase(start, stop, small, "progressive_batch"))
        taken += (stop - start) * recipe.progressive_batch
    if early < recipe.iterations:
        whole = replace(batches, start=(early, taken))
        phases.append(Phase(early, recipe.iterations, whole, "batch"))
    for phase in phases:
        _check_shares(phase.size, phase.batches.batch_size, shard[1], recipe)
    return tuple(phases)


def batches_from(
    phases: Iterable[Phase], start: int, workers: int = 2, resident: ResidentData | None = None
) -> Iterator[Batch | Callable[[], DeviceBatch]]:
    """Yields the batches from step `start` on.

    Args:
        phases: What `plan_phases` planned.
        start: First step.
        workers: Threads that prepare batches.
        resident: The phases' dataset on a GPU, where it is. Calling what is yielded then makes the
            batch there.
    """
    for phase in phases:
        steps = max(phase.start, start), phase.stop
        if resident is None or not resident.goes_with(phase.batches.mixed):
            yield from phase.batches.prefetch(*steps, workers)
        else:
            for plan in phase.batches.plans(*steps, workers):
                yield partial(resident.make, plan, phase.batches.augmentation)


def _augmentation(recipe: Recipe, dataset: Dataset) -> Augmentation:
    rare = tuple(dataset.labels.index(name) for name in recipe.rare_classes)
    augmentation = Augmentation(
        crop=_rounded_up(
            (recipe.crop[0] * recipe.input_scale, recipe.crop[1] * recipe.input_scale)
        ),
        scales=tuple(scale * recipe.input_scale for scale in recipe.scales),
        continuous=recipe.continuous_scales,
        brightness=recipe.jitter,
        contrast=recipe.jitter,
        saturation=recipe.jitter,
        cast=recipe.cast,
        gamma=recipe.gamma,
        blur=recipe.blur,
        rotation=recipe.rotation,
        stretch=recipe.stretch,
        rare_classes=rare,
        rare_share=recipe.rare_share,
        ignore_index=dataset.labels.ignore_index,
    )
    if recipe.overfit:
        return Augmentation(
            crop=augmentation.crop,
            scales=(recipe.input_scale,),
            flip=0.0,
            ignore_index=augmentation.ignore_index,
        )
    return augmentation


def _rounded_up(sides: tuple[float, float]) -> tuple[int, int]:
    """Sides of the network's input for a crop."""
    # Not up by what a product in floating point has too much.
    height, width = (STRIDE * math.ceil(round(side / STRIDE, 6)) for side in sides)
    return height, width


def _nearest(sides: tuple[float, float]) -> tuple[int, int]:
    """Sides of the network's input nearest to a crop's, where its size is nothing exact."""
    height, width = (STRIDE * max(1, round(side / STRIDE)) for side in sides)
    return height, width


def _check_shares(name: str, batch: int, processes: int, recipe: Recipe) -> None:
    """Raises unless every process gets a share of the batch that BN can take statistics of."""
    parts = processes * recipe.accumulate
    least = 1 if recipe.sync_bn and processes > 1 else 2
    if batch % parts or batch // parts < least:
        raise UserError(
            f"{name} {batch} over {processes} process(es) with accumulate {recipe.accumulate}: "
            f"give a multiple of {parts}, {least * parts} or more"
        )
