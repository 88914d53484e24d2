"""The training loop: one function, from a recipe and data to a run folder."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch

from bisenetv2 import __version__
from bisenetv2.card import ModelCard
from bisenetv2.data.dataset import Dataset, SpreadSamples
from bisenetv2.errors import UserError
from bisenetv2.network.device import choose_device, computes_bfloat16
from bisenetv2.progress import ProgressBar
from bisenetv2.training.class_weights import weights_of
from bisenetv2.training.init import Start, starting_point
from bisenetv2.training.loader import InMemory
from bisenetv2.training.memory import keep_freed_memory
from bisenetv2.training.phases import plan_phases
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.resident import resident
from bisenetv2.training.resumed import (
    check_same_data,
    differences,
    own_init,
    recorded,
    take_over,
    unlike,
)
from bisenetv2.training.run_folder import RunConfig, RunFolder, fingerprint, sha256_of
from bisenetv2.training.session import Session, last_state_named
from bisenetv2.training.state import StoredState, newest_state, started_from
from bisenetv2.training.steps import Steps, new_state
from bisenetv2.training.validation import check_labelled, validation_data
from bisenetv2.training.world import World

_STARTED_FROM = ", starting from weights of "

SIZED = 25
"""Samples, spread over the data, the median of whose sizes stands in the card."""


def train(
    recipe: Recipe,
    dataset: Dataset,
    val_dataset: Dataset | None,
    run: Path,
    *,
    mixed: Dataset | None = None,
    resume: bool = False,
    init: Path | None = None,
    like: RunConfig | None = None,
    device: str = "auto",
    data: str | None = None,
    world: World | None = None,
    stop: Callable[[], int] = lambda: 0,
    bar: ProgressBar,
) -> Path:
    """Trains a network and leaves a run folder.

    Args:
        recipe: All settings; its network gets the number of classes of the data.
        dataset: What to train on.
        val_dataset: What to validate on and to choose the best checkpoint by; `None` for nothing.
        run: Run folder to write.
        mixed: Dataset mixed in at the recipe's `streets_share`.
        resume: Whether to go on from the run folder's newest state.
        init: Checkpoint to start from; see `starting_point`. A resumed run does without: its
            states hold what they need of it.
        like: Configuration of the run that a new run is to repeat: what differs in data and
            checkpoint is told.
        device: `auto` or a torch device; a `world` has one already.
        data: Folder or name of the data, for the record.
        world: The processes that train together, from `joined`; by default this one alone.
        stop: Asked after each step, in a world of one process: the number of a signal that asks to
            stop, or 0.
        bar: Told of each step.

    Returns:
        Path of the best checkpoint.

    Raises:
        UserError: If the run folder holds a run already or another process trains in it, a
            checkpoint does not fit, the data is not what the run began with, the run is further
            than it is to go, the loss is not finite, the data has no labelled pixel, or memory or
            disk is full.
        StoppedError: If `stop` gave a signal before the last step; a state of that step is saved.
    """
    folder, world = RunFolder(run), world or World(choose_device(device))
    if not resume and (holds := world.share(folder.holds)):
        raise UserError(f"{run}: holds {holds}, or name another --run")
    _set_up(recipe, world.device)
    if recipe.overfit:
        dataset = val_dataset = SpreadSamples(dataset, recipe.overfit)
    samples = InMemory(dataset)
    phases = plan_phases(recipe, samples, mixed, shard=(world.rank, world.size))
    check_labelled(samples)
    validation = None if val_dataset is None else validation_data(recipe, dataset, val_dataset)
    known = world.share(lambda: recorded(folder)) if resume else None
    stored = world.share(lambda: newest_state(folder.states)) if resume else None
    if stored is not None:
        init = own_init(stored, init)
    start = _start(recipe, dataset, init, stored)
    recipe = replace(recipe, network=start.model.network.config)
    state = new_state(recipe, start.model, world)
    state.start = started_from(init, start.card)
    config = RunConfig(
        recipe,
        data,
        init,
        fingerprint(samples),
        world.device_name,
        "bfloat16" if computes_bfloat16(world.device, recipe.precision) else "float32",
        # That of a run that goes on may be lost, or another file by now.
        (known.init_sha256 if known else "") if stored or init is None else sha256_of(init),
    )
    if stored is not None:
        check_same_data(known, config.fingerprint, dataset)
        take_over(state, stored, run, recipe.iterations)
        bar.start_at(state.step)
        lines = differences(known, config, state, run)
    else:
        lines = [start.summary, *_seen_otherwise(config, start.card)]
        if like is not None:
            lines += unlike(like, config)
    if not state.finished(recipe):
        lines += _never_at_peak(recipe)
    if validation is not None:
        lines.insert(0, validation.warning)
    for line in filter(None, lines if world.writes else ()):
        print(line, file=sys.stderr)
    steps = Steps(
        recipe,
        dataset.labels.ignore_index,
        state,
        world,
        weights_of(samples) if recipe.class_weights == "log" else (),
    )
    crop = phases[-1].batches.augmentation.crop
    on_device = resident(samples, world.device, recipe.batch, crop, world.loaders)
    card = _card(recipe, samples, start.card)
    session = Session(recipe, state, steps, folder, card, world, on_device, validation, stop)
    with folder.held() if world.writes else nullcontext():
        if world.writes:
            with last_state_named(folder):
                if not state.finished(recipe):
                    config.write(folder, dataset, world.size)
                folder.tidy(state.step)
        session.run(phases, bar)
    return folder.best


def _set_up(recipe: Recipe, device: torch.device) -> None:
    """Sets what holds for the whole process: memory, kernels, the seed."""
    if device.type == "cpu":
        keep_freed_memory()
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    elif device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # crops are of one size
    torch.manual_seed(recipe.seed)


def _start(
    recipe: Recipe, dataset: Dataset, init: Path | None, stored: StoredState | None
) -> Start:
    """The network as the run begins, or begins again, its weights in the latter case still new."""
    if init is None and recipe.from_checkpoint:
        raise UserError("this recipe starts from a checkpoint: name it with --init")
    if init is not None and stored is not None:
        # What the checkpoint once brought along, the states know: it may be lost.
        return Start(stored.model(), stored.start_card())
    wanted = replace(recipe.network, num_classes=len(dataset.labels))
    return starting_point(wanted, init, dataset.labels.names)


def _seen_otherwise(config: RunConfig, start: ModelCard | None) -> list[str]:
    scale = config.recipe.input_scale
    if start is None or start.input_scale == scale:
        return []
    return [
        f"frames are seen at {scale:g} times their sides, those of {config.init} were at "
        f"{start.input_scale:g} (--input-scale)"
    ]


def _never_at_peak(recipe: Recipe) -> list[str]:
    if recipe.warmup < recipe.iterations:
        return []
    return [
        f"warmup {recipe.warmup}: all of the {recipe.iterations} iterations, whose rate never "
        f"reaches {recipe.rate:g}; give a smaller --warmup or more --iterations"
    ]


def _card(recipe: Recipe, dataset: Dataset, start: ModelCard | None) -> ModelCard:
    # Frames of several sizes are all to be seen at the scale of a usual one.
    few = SpreadSamples(dataset, SIZED)
    sizes = sorted((few[i].image.shape[:2] for i in range(len(few))), key=math.prod)
    height, width = sizes[len(sizes) // 2]
    share = 0.0 if recipe.overfit else recipe.streets_share
    data = dataset.name + (f" and {100 * share:.0f} % rendered streets" if share else "")
    licence, origin = dataset.licence, ""
    if start is not None:
        # What the weights started from is in them still, and so are its terms.
        # Several runs on one data set, each from the one before, are one stage of the story.
        stages = dict.fromkeys((data, *start.data.split(_STARTED_FROM)))
        data = _STARTED_FROM.join(stages)
        licence = "; ".join(dict.fromkeys((licence, *start.data_licence.split("; "))))
        origin = start.origin
    return ModelCard(
        labels=dataset.labels,
        frame_size=(height, width),
        input_scale=recipe.input_scale,
        logits_stride=recipe.network.logits_stride,
        data=data,
        data_licence=licence,
        recipe=f"{recipe.iterations} iterations of {recipe.batch} frames at rate {recipe.rate:g}, "
        f"seed {recipe.seed}",
        origin=origin,
        version=__version__,
        network=tuple(asdict(recipe.network).items()),
    )
