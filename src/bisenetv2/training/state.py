"""Everything needed to go on with a run, in one `.safetensors` file under `last/`.

The order of samples and their augmentation follow from (seed, step), so there is no generator and
no loader position to save.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bisenetv2.errors import UserError
from bisenetv2.images import atomic_path
from bisenetv2.network.checkpoint import load_strictly, read_tensors
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.average import WeightAverage

KEPT = 2
"""States kept: should the newest be lost, the one before it still resumes."""


@dataclass
class RunState:
    """The moving parts of a run."""

    model: FrameNetwork
    optimizer: torch.optim.SGD
    average: WeightAverage | None
    step: int = 0
    best_miou: float = field(default=-1.0)

    @property
    def evaluated(self) -> FrameNetwork:
        """The network that is validated and kept: the average, where there is one."""
        return self.average.model if self.average is not None else self.model

    def save(self, folder: Path) -> Path:
        """Writes `state-<step>.safetensors` whole or not at all, and drops older states."""
        tensors = {f"model.{k}": v for k, v in self.model.network.state_dict().items()}
        if self.average is not None:
            average = self.average.model.network.state_dict()
            tensors |= {f"average.{k}": v for k, v in average.items()}
        tensors |= {f"momentum.{k}": v for k, v in self._momentum().items()}
        metadata = {"run": json.dumps({"step": self.step, "best_miou": self.best_miou})}
        path = folder / f"state-{self.step:08d}.safetensors"
        with atomic_path(path) as temporary:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata)
        for old in sorted(folder.glob("state-*.safetensors"))[:-KEPT]:
            old.unlink()
        return path

    def load(self, folder: Path) -> Path:
        """Takes over the newest readable state of a folder.

        Raises:
            UserError: If there is none, or it belongs to another network.
        """
        path, tensors, metadata = _newest(folder)
        content = json.loads(metadata["run"])
        load_strictly(self.model.network, _group(tensors, "model."), path)
        if self.average is not None:
            load_strictly(self.average.model.network, _group(tensors, "average."), path)
        momentum = _group(tensors, "momentum.")
        for name, parameter in self.model.network.named_parameters():
            if name in momentum:
                # A copy: the tensors as read are views of the file, which is about to be dropped.
                buffer = momentum[name].to(parameter.device, copy=True)
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        self.step, self.best_miou = int(content["step"]), float(content["best_miou"])
        return path

    def _momentum(self) -> dict[str, Tensor]:
        return {
            name: self.optimizer.state[parameter]["momentum_buffer"]
            for name, parameter in self.model.network.named_parameters()
            if "momentum_buffer" in self.optimizer.state[parameter]
        }


def _newest(folder: Path) -> tuple[Path, dict[str, Tensor], dict[str, str]]:
    problem = UserError(f"{folder}: no saved state to resume from")
    for path in sorted(folder.glob("state-*.safetensors"), reverse=True):
        try:
            tensors, metadata = read_tensors(path)
        except UserError as error:
            problem = error
            continue
        if "run" in metadata:
            return path, tensors, metadata
    raise problem


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
