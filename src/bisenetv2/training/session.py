"""The steps of a run: batch by batch, validated, logged and saved to its end."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from bisenetv2.card import ModelCard
from bisenetv2.errors import StoppedError, UserError
from bisenetv2.network.checkpoint import save_checkpoint
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.progress import ProgressBar
from bisenetv2.training.loader import Batch, Batches
from bisenetv2.training.memory import enough_memory
from bisenetv2.training.phases import Phase, batches_from
from bisenetv2.training.recalibration import plain_batches, recalibrated
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.resident import ResidentData
from bisenetv2.training.run_folder import RunFolder
from bisenetv2.training.state import RunState
from bisenetv2.training.steps import Steps
from bisenetv2.training.validation import ValidationData, validate
from bisenetv2.training.watch import Watch
from bisenetv2.training.world import World

B = TypeVar("B")

LOG_EVERY = 20
"""Steps between two lines of the metrics."""


@dataclass
class Session:
    """The run from where its state stands to its end."""

    recipe: Recipe
    state: RunState
    steps: Steps
    folder: RunFolder
    card: ModelCard
    world: World
    resident: ResidentData | None
    """The training data on the GPU, where it is there."""

    validation: ValidationData | None
    """What is validated on; `None` for nothing."""

    stop: Callable[[], int]
    """Number of the signal that asks to stop, 0 without one."""

    def run(self, phases: tuple[Phase, ...], bar: ProgressBar) -> None:
        """Trains to the last step, or until validations have long ceased to improve.

        Raises:
            StoppedError: If a signal asks to stop before that.
        """
        recipe, state = self.recipe, self.state
        whole = phases[-1].batches
        watch = Watch(self.folder, state.step) if self.world.writes else None
        clock = _Clock()
        batches = batches_from(phases, state.step, self.world.loaders, self.resident)
        loss, shown = math.nan, ""
        for found in clock.waiting_for(batches):
            if state.finished(recipe):
                break
            phase = next(phase for phase in phases if state.step < phase.stop)
            with enough_memory(recipe, phase.size, self.world.size):
                batch = found if isinstance(found, Batch) else found()
                self.steps.take(batch)
            clock.trained += len(batch.names) * self.world.size
            done = state.step == recipe.iterations
            signal = 0 if done else self.stop()
            if done or signal or reads_loss(state.step, recipe, self.world.device):
                loss = self.steps.loss()
                shown = f"loss {loss:.3f}  "
            bar.advance(1, f"{shown}rate {self.steps.rate:.4f}  {clock}")
            if self.validation is not None and (state.step % recipe.val_every == 0 or done):
                self._validate(self._kept(whole), self.validation, watch)
                done = state.finished(recipe)
            if watch and (state.step % LOG_EVERY == 0 or done):
                self._log(watch, clock, loss)
            if self.world.writes and (state.step % recipe.save_every == 0 or done or signal):
                with last_state_named(self.folder):
                    state.save(self.folder.states)
            if signal:
                self._close(watch)
                run = self.folder.path
                raise StoppedError(
                    f"{run}: stopped at step {state.step:,} of {recipe.iterations:,}, which is "
                    f"saved; `bisenetv2 train {run} --resume` goes on",
                    signal,
                )
        if self.validation is None:
            network = self._kept(whole)  # by all processes: each has a share in it
            if self.world.writes:
                with last_state_named(self.folder):
                    save_checkpoint(self.folder.best, network, self.card)
        self._close(watch)

    def _close(self, watch: Watch | None) -> None:
        if watch:
            with last_state_named(self.folder):
                watch.close()

    def _log(self, watch: Watch, clock: _Clock, loss: float) -> None:
        with last_state_named(self.folder):
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

    def _validate(
        self, network: FrameNetwork, validation: ValidationData, watch: Watch | None
    ) -> None:
        """Scores the network that would ship, logs it, and keeps its checkpoint if the best."""
        state = self.state
        found = validate(network, validation.dataset, self.card, self.world)
        matrix = found.matrix
        better = matrix.mean_iou > state.best_miou
        state.worse = 0 if better else state.worse + 1
        state.best_miou = max(state.best_miou, matrix.mean_iou)
        if watch is None:
            return
        with last_state_named(self.folder):
            watch.log(
                state.step,
                validation.split,
                miou=matrix.mean_iou,
                pixel_accuracy=matrix.pixel_accuracy,
            )
            if better:
                card = replace(self.card, merit=found.merit)
                save_checkpoint(self.folder.best, network, card)
            watch.show(state.step, matrix, network, validation.dataset, self.card)
        if state.finished(self.recipe) and state.step < self.recipe.iterations:
            print(
                f"{self.folder.path}: stopped early, at step {state.step:,}: {state.worse} "
                "validations in a row without a better one (--patience)",
                file=sys.stderr,
            )


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
def last_state_named(folder: RunFolder) -> Iterator[None]:
    """Lets a failed write, as on a full disk, say what the run can go on from."""
    try:
        yield
    except (OSError, UserError) as error:
        states = sorted(folder.states.glob("state-*.safetensors"))
        last = f"the last good state is {states[-1]}" if states else "no state was saved yet"
        remedy = "then go on with --resume" if states else "then start again"
        raise UserError(f"{error}: {last}; {remedy}") from error
