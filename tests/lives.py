"""Trains in forked processes that are killed at points of one's choosing. Run as a script.

One import of torch serves all lives of a run, which makes the test that uses this affordable.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch
import torch._dynamo  # the first optimiser does: once here, rather than in every fork

from bars import Bar
from bisenetv2.data.streets import RenderedStreets
from bisenetv2.evaluation.confusion import ConfusionMatrix
from bisenetv2.labels import CAMVID
from bisenetv2.network import checkpoint
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.training import loop, session, state
from bisenetv2.training.loader import InMemory
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.watch import Watch

NETWORK = BiSeNetV2Config(
    num_classes=len(CAMVID), width=0.125, head_width=8, booster_width=8, expansion=2
)
RECIPE = Recipe(
    NETWORK, iterations=6, batch=2, crop=(32, 64), progressive_share=0.4, progressive_batch=3,
    jitter=0.3, warmup=2, val_every=2, save_every=2, average=0.9, precision="float32",
)  # fmt: skip


def kill_me(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def on_call(owner: Any, name: str, number: int, what: Callable[..., Any]) -> None:
    """Lets the `number`-th call of a function do something else."""
    original, calls = getattr(owner, name), [0]

    def counted(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        return (what if calls[0] == number else original)(*args, **options)

    setattr(owner, name, counted)


def half_written(tensors: Any, path: Path, metadata: Any = None) -> None:
    Path(path).write_bytes(b"\0" * 1000)
    kill_me()


def write_half(*args: Any) -> None:
    checkpoint.save_file = half_written
    checkpoint.write_tensors(*args)


DEATHS: dict[str, Callable[[], None]] = {
    "in the first write of the best": lambda: on_call(session, "save_checkpoint", 1, kill_me),
    "in a step": lambda: on_call(torch.optim.SGD, "step", 3, kill_me),
    "in a checkpoint": lambda: on_call(state, "write_tensors", 1, write_half),
    "in a validation": lambda: on_call(ConfusionMatrix, "update", 3, kill_me),
    "between backward and update": lambda: on_call(torch.optim.SGD, "step", 2, kill_me),
}


def main(folder: Path) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    Watch._board = None  # type: ignore[assignment]
    streets = InMemory(RenderedStreets(4, (64, 96), seed=1))
    val = InMemory(RenderedStreets(2, (64, 96), seed=2))
    for dataset in (streets, val):
        for index in range(len(dataset)):
            dataset[index]

    def live(run: Path, death: Callable[[], None] | None = None, seconds: float = 0) -> int:
        """Trains in a process of its own; returns the signal that ended it, or 0."""
        process = os.fork()
        if not process:
            if death is not None:
                death()
            resume = any((run / "last").glob("state-*"))
            loop.train(RECIPE, streets, val, run, resume=resume, bar=Bar())
            os._exit(0)
        if seconds:
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)
        return os.waitpid(process, 0)[1] & 0x7F

    assert live(folder / "straight") == 0
    for name, death in DEATHS.items():
        assert live(folder / "killed", death) == signal.SIGKILL, name
    draw = random.Random(int(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        live(folder / "killed", seconds=draw.uniform(0, 1.0))
    assert live(folder / "killed") == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
