"""Trains in several forked processes that gloo connects. Run as a script; see test_distributed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch._dynamo  # the first optimiser does: once here, rather than in every fork

import bars
from bisenetv2.card import ModelCard
from bisenetv2.data.streets import RenderedStreets
from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training import loop
from bisenetv2.training.loader import InMemory
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.validation import validate
from bisenetv2.training.watch import Watch
from bisenetv2.training.world import World, joined

NETWORK = BiSeNetV2Config(
    num_classes=len(CAMVID), width=0.25, head_width=16, booster_width=8, expansion=2
)
RECIPE = Recipe(
    NETWORK, iterations=2, batch=4, crop=(64, 64), jitter=0.3, warmup=2, val_every=2, save_every=1,
    average=0.9, precision="float32", sync_bn=True, ohem=True, ohem_threshold=0.9, ohem_share=0.0,
    rate=0.001, recalibrate=8,
)  # fmt: skip
STREETS = InMemory(RenderedStreets(5, (64, 96), seed=1))
VAL_STREETS = InMemory(RenderedStreets(2, (64, 96), seed=2))


class Bar(bars.Bar):
    """Notes the losses and may call something at a step."""

    def __init__(self, step: int = -1, action: Callable[[], Any] = lambda: None) -> None:
        self.steps, self.losses, self.step, self.action = 0, list[float](), step, action

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        self.steps += steps
        if text:
            self.losses.append(float(text.split()[1]))
        if self.steps == self.step:
            self.action()


def together(count: int, work: Callable[[World], None]) -> list[int]:
    """Runs `work` in processes of one world; returns how each ended: exit code or minus signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(count):
        process = os.fork()
        if process:
            processes.append(process)
            continue
        os.environ |= {
            "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
        try:
            with joined("cpu") as world:
                work(world)
        except UserError as error:
            print(f"{rank}: {error}", file=sys.stderr)
            os._exit(2)
        os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def training(recipe: Recipe, run: Path, **options: Any) -> Callable[[World], None]:
    """Work that trains and leaves the losses that each process saw."""

    def work(world: World) -> None:
        bar = Bar()
        loop.train(recipe, STREETS, VAL_STREETS, run, world=world, bar=bar, **options)
        (run / f"losses-{world.rank}.json").write_text(json.dumps(bar.losses))

    return work


def dying(run: Path) -> Callable[[World], None]:
    """Work in which process 1 dies in its second step."""

    def work(world: World) -> None:
        def die() -> None:
            if world.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        bar = Bar(2, die)
        loop.train(RECIPE, STREETS, VAL_STREETS, run, world=world, bar=bar)

    return work


def validating(folder: Path) -> Callable[[World], None]:
    def work(world: World) -> None:
        torch.manual_seed(world.rank)  # process 0's weights are to count
        model = FrameNetwork(BiSeNetV2(NETWORK)).eval()
        found = validate(model, VAL_STREETS, ModelCard(CAMVID, (64, 96)), world)
        np.save(folder / f"matrix-{world.size}-{world.rank}.npy", found.matrix.counts)
        (folder / f"merit-{world.size}-{world.rank}").write_text(found.merit)

    return work


def main(folder: Path) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    Watch._board = None  # type: ignore[assignment]
    for dataset in (STREETS, VAL_STREETS):
        for index in range(len(dataset)):
            dataset[index]
    assert together(1, training(RECIPE, folder / "one")) == [0]
    assert together(2, training(RECIPE, folder / "two")) == [0, 0]
    # The same parts either way: two frames each, their losses and gradients one mean.
    parts = replace(RECIPE, sync_bn=False, batch=8, ohem=False, iterations=1)
    for count in (1, 2):
        recipe = replace(parts, accumulate=4 // count)
        assert together(count, training(recipe, folder / f"parts-{count}")) == [0] * count
    assert together(2, dying(folder / "died")) == [2, -signal.SIGKILL]
    assert together(2, training(RECIPE, folder / "died", resume=True)) == [0, 0]
    for count in (1, 3):
        assert together(count, validating(folder)) == [0] * count


if __name__ == "__main__":
    main(Path(sys.argv[1]))
