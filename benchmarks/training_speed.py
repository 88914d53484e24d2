"""The recipe's training step against the plain loop's, in turn.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --data ../shared/camvid --steps 20

All train V2 (figures reading, head width 128, 11 classes) on the same batches: 8 frames of
352×480, cut and scaled as the recipe `camvid` does, and made before the clock starts. The plain
loop is what one writes first: FP32, PyTorch's own memory layout, all five losses at the frames'
full resolution. The recipe's step is what `bisenetv2 train camvid` takes, weight average included.
The rows between lack one of what makes it faster on some machines: the way round that
`training/weight_gradient.py` describes, which `train` takes on CPUs with AVX2 and no more, and the
memory that `training/memory.py` keeps. Memory is a matter of the process, so that each row has one
of its own; while one takes a step the others wait. The last line says what the arithmetic alone
takes in the recipe's precision.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from time import perf_counter
from typing import NamedTuple

import torch
import tyro
from plain_loop import plain_step
from torch.utils.flop_counter import FlopCounterMode

from bisenetv2.data.augment import Augmentation
from bisenetv2.data.catalogue import STREETS, open_dataset
from bisenetv2.inference.benchmark import interleave, summarise
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.openvino_layers import convolution_peak
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.device import computes_bfloat16
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.loader import Batch, Batches
from bisenetv2.training.memory import keep_freed_memory
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.recipes import RECIPES
from bisenetv2.training.steps import Steps, new_state
from bisenetv2.training.world import World

RECIPE = RECIPES["camvid"]
BATCHES = 4

take: Callable[[Batch], object]
"""The step of the road that a process of its own takes."""


class Road(NamedTuple):
    """A way to train, and a row of the table."""

    name: str
    recipe: bool = True
    fast_gradients: bool | None = None
    keeps_memory: bool = True


ROADS = (
    Road("plain loop", recipe=False, keeps_memory=False),
    Road("recipe camvid, memory given back", keeps_memory=False),
    Road("recipe camvid, library's weight gradient", fast_gradients=False),
    Road("recipe camvid"),
)


def main(*, data: str = STREETS, steps: int = 10, threads: int = torch.get_num_threads()) -> None:
    """Prints a row for each road.

    Args:
        data: CamVid's folder, or streets.
        steps: Of each road, after two of warm-up.
        threads: CPU threads.
    """
    dataset = open_dataset(data, "train")
    augmentation = Augmentation(crop=RECIPE.crop, scales=RECIPE.scales, continuous=True)
    source = Batches(dataset, augmentation, RECIPE.batch, seed=0)
    network = replace(RECIPE.network, num_classes=len(dataset.labels))
    recipe = replace(RECIPE, network=network)
    batches = [source[number] for number in range(BATCHES)]

    with ExitStack() as stack:
        given = recipe, dataset.labels.ignore_index, threads
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), begin, (road, *given)))
            for road in ROADS
        ]
        takes = [lambda batch, pool=pool: pool.submit(step, batch).result() for pool in pools]
        times = interleave(takes, batches, runs=steps, warmup=2)
    medians = [summarise(taken).median_ms / 1000 for taken in times]

    height, width = RECIPE.crop
    print(f"{describe_machine()}, torch {torch.__version__}, {threads} threads")
    print(f"{RECIPE.batch} frames of {width}×{height} of {dataset.name}, {steps} steps\n")
    print("| step | seconds, median | p95 | images/s | times the plain loop |")
    print("|---|---:|---:|---:|---:|")
    for road, middle, taken in zip(ROADS, medians, times, strict=True):
        p95, pace = summarise(taken).p95_ms / 1000, RECIPE.batch / middle
        ratio = medians[0] / middle
        print(f"| {road.name} | {middle:.2f} | {p95:.2f} | {pace:.2f} | {ratio:.2f} |")
    macs = step_macs(recipe, batches[0])
    bfloat16 = computes_bfloat16(torch.device("cpu"), recipe.precision)
    peak = convolution_peak("BF16" if bfloat16 else "FP32", threads)
    least = macs / peak.macs_per_second
    print(
        f"\nThe convolutions of a step, forward and backward, are {macs / 1e9:.0f} GMAC. At this "
        f"machine's peak in {peak.precision}, {peak.macs_per_second / 1e9:.0f} GMAC/s, they alone "
        f"take {least:.2f} s, {medians[0] / least:.2f} times as fast as the plain loop."
    )


def step_macs(recipe: Recipe, batch: Batch) -> int:
    """Counts the multiply-accumulates of a step's convolutions."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        BiSeNetV2(recipe.network)(torch.empty(len(batch.images), 3, *recipe.crop))
    # It counts a multiply-accumulate as two, and the weight gradients of depth-wise convolutions
    # as if these were dense. Either gradient takes what the forward pass takes.
    return 3 * counter.get_total_flops() // 2


def begin(road: Road, recipe: Recipe, ignore_index: int, threads: int) -> None:
    """Prepares a process to take the steps of one road."""
    global take
    torch.set_num_threads(threads)
    if road.keeps_memory:
        keep_freed_memory()
    network, cpu = BiSeNetV2(recipe.network), torch.device("cpu")
    if road.recipe:
        world = World(cpu)
        state = new_state(recipe, FrameNetwork(network), world, fast_gradients=road.fast_gradients)
        take = Steps(recipe, ignore_index, state, world).take
    else:
        take = plain_step(network, recipe, ignore_index, cpu)


def step(batch: Batch) -> float:
    """Takes a step of the process's road and returns its seconds."""
    start = perf_counter()
    take(batch)
    return perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
