"""The training loop: one function, from a recipe and data to a run folder."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from bisenetv2 import __version__
from bisenetv2.card import ModelCard
from bisenetv2.data.dataset import Dataset, SpreadSamples
from bisenetv2.errors import UserError
from bisenetv2.network.checkpoint import save_checkpoint
from bisenetv2.network.device import choose_device
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.progress import ProgressBar
from bisenetv2.training.class_weights import weights_of
from bisenetv2.training.init import Start, starting_point
from bisenetv2.training.loader import Batch, Batches, InMemory
from bisenetv2.training.memory import enough_memory, keep_freed_memory
from bisenetv2.training.phases import Phase, batches_from, plan_phases
from bisenetv2.training.recalibration import plain_batches, recalibrated
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.resident import ResidentData, resident
from bisenetv2.training.resumed import changed, check_same_data, own_init, recorded, take_over
from bisenetv2.training.run_folder import RunConfig, RunFolder, fingerprint
from bisenetv2.training.state import RunState, newest_state, started_from
from bisenetv2.training.steps import Steps, new_state
from bisenetv2.training.validation import check_labelled, check_validation, validate
from bisenetv2.training.watch import Watch
from bisenetv2.training.world import World

B = TypeVar("B")

_STARTED_FROM = ", starting from weights of "

SIZED = 25
"""Samples, spread over the data, the median of whose sizes stands in the card."""

LOG_EVERY = 20
"""Steps between two lines of the metrics."""


def train(
    recipe: Recipe,
    dataset: Dataset,
    val_dataset: Dataset | None,
    run: Path,
    *,
    mixed: Dataset | None = None,
    resume: bool = False,
    init: Path | None = None,
    device: str = "auto",
    data: str | None = None,
    world: World | None = None,
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
        device: `auto` or a torch device; a `world` has one already.
        data: Folder or name of the data, for the record.
        world: The processes that train together, from `joined`; by default this one alone.
        bar: Told of each step.

    Returns:
        Path of the best checkpoint.

    Raises:
        UserError: If the run folder holds a run already or another process trains in it, a
            checkpoint does not fit, the data is not what the run began with, the run is further
            than it is to go, the loss is not finite, the data has no labelled pixel, or memory or
            disk is full.
    """
    folder = RunFolder(run)
    world = world or World(choose_device(device))
    if world.device.type == "cpu":
        keep_freed_memory()
    if not resume and (holds := world.share(folder.holds)):
        raise UserError(f"{run}: holds {holds}, or name another --run")
    if recipe.overfit:
        dataset = SpreadSamples(dataset, recipe.overfit)
        val_dataset = dataset
    samples = InMemory(dataset)
    phases = plan_phases(recipe, samples, mixed, shard=(world.rank, world.size))
    check_labelled(samples)
    if val_dataset is not None:
        check_validation(dataset, val_dataset)
    known = world.share(lambda: recorded(folder)) if resume else None
    stored = world.share(lambda: newest_state(folder.states)) if resume else None
    if stored is not None:
        init = own_init(stored, init)
    if recipe.from_checkpoint and init is None:
        raise UserError("this recipe starts from a checkpoint: name it with --init")
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    elif world.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # crops are of one size
    torch.manual_seed(recipe.seed)
    wanted = replace(recipe.network, num_classes=len(dataset.labels))
    # What a checkpoint once brought along, the states know: it may be lost.
    if stored is not None and init is not None:
        start = Start(stored.model(), stored.start_card())
    else:
        start = starting_point(wanted, init, dataset.labels.names)
    recipe = replace(recipe, network=start.model.network.config)
    state = new_state(recipe, start.model, world)
    state.start = started_from(init, start.card)
    config = RunConfig(recipe, data, init, fingerprint(samples))
    if stored is not None:
        check_same_data(known, config.fingerprint, dataset)
        take_over(state, stored, run, recipe.iterations)
        bar.start_at(state.step)
        if world.writes and (line := changed(known, recipe, run)):
            print(line, file=sys.stderr)
    elif world.writes and start.summary:
        print(start.summary, file=sys.stderr)
        if start.card is not None and start.card.input_scale != recipe.input_scale:
            print(
                f"frames are seen at {recipe.input_scale:g} times their sides, those of {init} "
                f"were at {start.card.input_scale:g} (--input-scale)",
                file=sys.stderr,
            )
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
    session = _Session(recipe, state, steps, folder, card, world, on_device)
    with folder.held() if world.writes else nullcontext():
        if world.writes:
            with _last_state_named(folder):
                if state.step < recipe.iterations:
                    config.write(folder, dataset, world.size)
                folder.tidy(state.step)
        session.run(phases, None if val_dataset is None else InMemory(val_dataset), bar)
    return folder.best


@dataclass
class _Session:
    """The run from where its state stands to its end."""

    recipe: Recipe
    state: RunState
    steps: Steps
    folder: RunFolder
    card: ModelCard
    world: World
    resident: ResidentData | None
    """The training data on the GPU, where it is there."""

    def run(self, phases: tuple[Phase, ...], val_dataset: Dataset | None, bar: ProgressBar) -> None:
        """Trains to the last step, or until validations have long ceased to improve."""
        recipe, state = self.recipe, self.state
        whole = phases[-1].batches
        watch = Watch(self.folder, state.step) if self.world.writes else None
        clock = _Clock()
        batches = batches_from(phases, state.step, self.world.loaders, self.resident)
        loss, shown = math.nan, ""
        for found in clock.waiting_for(batches):
            if recipe.patience and state.worse >= recipe.patience:
                break
            phase = next(phase for phase in phases if state.step < phase.stop)
            with enough_memory(recipe, phase.size, self.world.size):
                batch = found if isinstance(found, Batch) else found()
                self.steps.take(batch)
            clock.trained += len(batch.names) * self.world.size
            done = state.step == recipe.iterations
            if done or reads_loss(state.step, recipe, self.world.device):
                loss = self.steps.loss()
                shown = f"loss {loss:.3f}  "
            bar.advance(1, f"{shown}rate {self.steps.rate:.4f}  {clock}")
            if val_dataset is not None and (state.step % recipe.val_every == 0 or done):
                self._validate(self._kept(whole), val_dataset, watch)
                done = done or bool(recipe.patience and state.worse >= recipe.patience)
            if watch and (state.step % LOG_EVERY == 0 or done):
                self._log(watch, clock, loss)
            if self.world.writes and (state.step % recipe.save_every == 0 or done):
                with _last_state_named(self.folder):
                    state.save(self.folder.states)
        if val_dataset is None:
            network = self._kept(whole)  # by all processes: each has a share in it
            if self.world.writes:
                with _last_state_named(self.folder):
                    save_checkpoint(self.folder.best, network, self.card)
        if watch:
            with _last_state_named(self.folder):
                watch.close()

    def _log(self, watch: Watch, clock: _Clock, loss: float) -> None:
        with _last_state_named(self.folder):
            watch.log(
                self.state.step,
                loss=loss,
                rate=self.steps.rate,
                images_per_second=clock.pace,
                loader_share=clock.share,
            )

    def _kept(self, batches: Batches) -> FrameNetwork:
        """The network that would ship."""
        recipe, network = self.recipe, self.state.evaluated
        if not recipe.recalibrate:
            return network
        with enough_memory(recipe, "batch", self.world.size):
            return recalibrated(
                network,
                plain_batches(recipe, batches),
                world=self.world,
                freeze=recipe.freeze,
                bfloat16=self.steps.bfloat16,
            )

    def _validate(self, network: FrameNetwork, dataset: Dataset, watch: Watch | None) -> None:
        """Scores the network that would ship, logs it, and keeps its checkpoint if the best."""
        state = self.state
        found = validate(network, dataset, self.card, self.world)
        matrix = found.matrix
        better = matrix.mean_iou > state.best_miou
        state.worse = 0 if better else state.worse + 1
        state.best_miou = max(state.best_miou, matrix.mean_iou)
        if watch is None:
            return
        with _last_state_named(self.folder):
            watch.log(state.step, miou=matrix.mean_iou, pixel_accuracy=matrix.pixel_accuracy)
            if better:
                card = replace(self.card, merit=found.merit)
                save_checkpoint(self.folder.best, network, card)
            watch.show(state.step, matrix, network, dataset, self.card)


def reads_loss(step: int, recipe: Recipe, device: torch.device) -> bool:
    """Tells whether to ask for the loss of a step.

    A GPU has to be waited for. What is not finite is found at a reading, so that one precedes
    every validation and every saved state.
    """
    every = (LOG_EVERY, recipe.val_every, recipe.save_every)
    return device.type == "cpu" or any(step % period == 0 for period in every)


class _Clock:
    """Pace of the training, and how much of the time it waits for batches."""

    def __init__(self) -> None:
        self.started, self.waited, self.trained = time.monotonic(), 0.0, 0

    def waiting_for(self, batches: Iterator[B]) -> Iterator[B]:
        """Yields the batches and counts the time until each is there."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    @property
    def pace(self) -> float:
        """Images a second, over all processes."""
        return self.trained / max(time.monotonic() - self.started, 1e-9)

    @property
    def share(self) -> float:
        """Share of the time spent waiting for the loader, 0 to 1."""
        return self.waited / max(time.monotonic() - self.started, 1e-9)

    def __str__(self) -> str:
        return f"{self.pace:.1f} images/s  loader {100 * self.share:.0f} %"


@contextmanager
def _last_state_named(folder: RunFolder) -> Iterator[None]:
    """Lets a failed write, as on a full disk, say what the run can go on from."""
    try:
        yield
    except (OSError, UserError) as error:
        states = sorted(folder.states.glob("state-*.safetensors"))
        last = f"the last good state is {states[-1]}" if states else "no state was saved yet"
        remedy = "then go on with --resume" if states else "then start again"
        raise UserError(f"{error}: {last}; {remedy}") from error


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
