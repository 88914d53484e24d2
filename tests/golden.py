"""Checkpoints of other projects, rebuilt from the rule in `../shared/golden/README.md`."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

ROOT = Path(__file__).parents[1] / ".." / "shared" / "golden"

NAMES = ("coincheung-2020-05", "coincheung-2020-09", "coincheung-2021-07", "mmseg", "paddleseg")

Arrays = dict[str, npt.NDArray[Any]]


@cache
def description(name: str) -> dict[str, Any]:
    """What is known of the original network; skips where the folder is absent."""
    if not ROOT.is_dir():
        pytest.skip(f"{ROOT} is absent")
    content: dict[str, Any] = json.loads((ROOT / f"{name}.json").read_text())
    return content


def answers(name: str) -> Arrays:
    """What the original network answered at each point."""
    description(name)
    with np.load(ROOT / f"{name}.npz") as file:
        return dict(file)


def entries(name: str) -> list[dict[str, Any]]:
    """All entries of the state dict, booster heads included, in their order."""
    parts = description(name)["state_dict"]
    return sorted(parts["inference"] + parts["training_only"], key=lambda entry: entry["index"])


def fill(key: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Values of an entry, from its name and shape alone."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "weight" and len(shape) == 4:
        values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif leaf in ("weight", "running_var", "_variance"):
        values = 0.5 + rng.random(shape)
    else:
        values = 0.1 * rng.standard_normal(shape)
    return values.astype(np.float32)


@cache
def arrays(name: str) -> Arrays:
    """The whole checkpoint. Do not write into it: it is shared."""
    return {entry["key"]: fill(entry["key"], tuple(entry["shape"])) for entry in entries(name)}


def tensors(name: str) -> dict[str, torch.Tensor]:
    """The same for PyTorch."""
    return {key: torch.from_numpy(np.ascontiguousarray(a)) for key, a in arrays(name).items()}


def image() -> torch.Tensor:
    """The input of all answers: 1, 3, 64, 128."""
    rng = np.random.Generator(np.random.PCG64(2020))
    return torch.from_numpy(rng.standard_normal((1, 3, 64, 128)).astype(np.float32))
