"""Everything needed to go on with a run, in one `.safetensors` file under `last/`.

The order of samples, their augmentation and the rate follow from (seed, step), and no layer of the
network draws random numbers: there is no generator and no loader position to save.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.network.checkpoint import (
    CONFIG_KEY,
    STATE_KEY,
    build,
    describe,
    load_strictly,
    read_tensors,
    write_tensors,
)
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.average import WeightAverage
from bisenetv2.training.recipe import Recipe

KEPT = 2
"""States kept: should the newest be lost, the one before it still resumes."""


class StoredState(NamedTuple):
    """A state as it lies in its file."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def progress(self) -> dict[str, Any]:
        """How far the run is: `step`, `best_miou`, `worse`.

        Raises:
            UserError: If the state does not say.
        """
        try:
            found = json.loads(self.metadata[STATE_KEY])
            return {
                "step": int(found["step"]),
                "best_miou": float(found["best_miou"]),
                "worse": int(found.get("worse", 0)),
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.path}: damaged state ({error!r})") from error

    def model(self) -> FrameNetwork:
        """Builds the network of the run, its weights still new.

        Raises:
            UserError: If the state does not describe it.
        """
        try:
            return build(self.metadata[CONFIG_KEY])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.path}: damaged state ({error!r})") from error

    def start_card(self) -> ModelCard | None:
        """Card of the checkpoint that the run started from."""
        text = self.metadata.get("start")
        return None if text is None else ModelCard.from_json(text)

    def write(self) -> None:
        """Writes the file, whole or not at all.

        Raises:
            UserError: If it cannot be written, for instance on a full disk.
        """
        write_tensors(self.path, self.tensors, self.metadata)


@dataclass
class RunState:
    """The moving parts of a run."""

    model: FrameNetwork
    optimizer: torch.optim.SGD
    average: WeightAverage | None
    step: int = 0
    """Optimiser steps taken."""

    best_miou: float = -1.0
    """Best validation so far; below 0 before the first."""

    worse: int = 0
    """Validations in a row since then."""

    start: dict[str, str] = field(default_factory=dict)
    """What a state says of the checkpoint the run started from: see `started_from`."""

    @property
    def evaluated(self) -> FrameNetwork:
        """The network that is validated and kept: the average, where there is one."""
        return self.average.model if self.average is not None else self.model

    def finished(self, recipe: Recipe) -> bool:
        """Whether no step is left: all are taken, or validations have long ceased to improve."""
        out_of_patience = bool(recipe.patience) and self.worse >= recipe.patience
        return self.step >= recipe.iterations or out_of_patience

    def save(self, folder: Path) -> Path:
        """Writes `state-<step>.safetensors` whole or not at all, and drops older states.

        Raises:
            UserError: If it cannot be written, for instance on a full disk.
        """
        tensors = {f"model.{k}": v for k, v in self.model.network.state_dict().items()}
        if self.average is not None:
            average = self.average.model.network.state_dict()
            tensors |= {f"average.{k}": v for k, v in average.items()}
        tensors |= {f"momentum.{k}": v for k, v in self._momentum().items()}
        run = {"step": self.step, "best_miou": self.best_miou, "worse": self.worse}
        path = folder / f"state-{self.step:08d}.safetensors"
        metadata = {STATE_KEY: json.dumps(run), CONFIG_KEY: describe(self.model), **self.start}
        StoredState(path, tensors, metadata).write()
        for old in sorted(folder.glob("state-*.safetensors"))[:-KEPT]:
            old.unlink()
        return path

    def restore(self, stored: StoredState) -> None:
        """Takes over a stored state.

        Raises:
            UserError: If it belongs to another network.
        """
        path, tensors, _ = stored
        load_strictly(self.model.network, _group(tensors, "model."), path)
        if self.average is not None:
            # A run that only now begins to average begins with the weights as they are.
            average = _group(tensors, "average.") or _group(tensors, "model.")
            load_strictly(self.average.model.network, average, path)
        momentum = _group(tensors, "momentum.")
        for name, parameter in self.model.network.named_parameters():
            if momentum and parameter.requires_grad:
                # In the parameter's layout, which decides the order of sums. What was frozen until
                # now has none: it begins at 0, as at a first step.
                buffer = torch.zeros_like(parameter)
                if name in momentum:
                    buffer.copy_(momentum[name])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        progress = stored.progress
        self.step, self.worse = progress["step"], progress["worse"]
        self.best_miou = progress["best_miou"]

    def _momentum(self) -> dict[str, Tensor]:
        return {
            name: self.optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self.model.network.named_parameters()
            if "momentum_buffer" in self.optimizer.state[parameter]
        }


def started_from(init: Path | None, card: ModelCard | None) -> dict[str, str]:
    """Returns what a state is to know of the checkpoint a run started from, which may be lost."""
    start = {} if init is None else {"init": str(init.absolute())}
    return start if card is None else {**start, "start": card.to_json()}


def newest_state(folder: Path) -> StoredState:
    """Reads the newest readable state of a folder.

    Raises:
        UserError: If there is none.
    """
    problem = None
    for path in sorted(folder.glob("state-*.safetensors"), reverse=True):
        try:
            state = StoredState(path, *read_tensors(path))
            step = state.progress["step"]
        except UserError as error:
            problem = error
            continue
        if problem is not None:
            print(f"{problem}; going on from step {step}", file=sys.stderr)
        return state
    raise problem or UserError(
        f"{folder}: no saved state to resume from; to start the run, leave --resume out"
    )


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
