"""The recipe's training step against the plain loop's, in turn, in one process.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --data ../shared/camvid --steps 20

Both train V2 (figures reading, head width 128, 11 classes) on the same batches: 8 frames of
352×480, cut and altered as the recipe `camvid` does, and made before the clock starts. The plain
loop is what one writes first: FP32, PyTorch's own memory layout, all five losses at the frames'
full resolution. The recipe's step is what `bisenetv2 train camvid` takes, weight average included,
with and without the way round that `training/weight_gradient.py` describes; `bisenetv2 train` takes
it on CPUs with AVX2 and no more.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import torch
import torch.nn.functional as F

from bisenetv2.data.augment import Augmentation
from bisenetv2.data.catalogue import STREETS, open_dataset
from bisenetv2.inference.benchmark import interleave, summarise
from bisenetv2.inference.machine import describe_machine
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.frames import FrameNetwork, Normalization
from bisenetv2.training.loader import Batch, Batches
from bisenetv2.training.recipes import RECIPES
from bisenetv2.training.steps import Steps, new_state
from bisenetv2.training.world import World

RECIPE = RECIPES["camvid"]
BATCHES = 4


def main() -> None:
    """Prints a row for each of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=STREETS, help="CamVid's folder, or streets")
    parser.add_argument("--steps", type=int, default=10, help="of each, after one of warm-up")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    dataset = open_dataset(options.data, "train")
    augmentation = Augmentation(crop=RECIPE.crop, scales=RECIPE.scales, continuous=True)
    source = Batches(dataset, augmentation, RECIPE.batch, seed=0)
    batches = [source[step] for step in range(BATCHES)]

    world = World(torch.device("cpu"))
    classes, ignore_index = len(dataset.labels), dataset.labels.ignore_index
    config = replace(RECIPE.network, num_classes=classes)
    roads = [timed(PlainLoop(BiSeNetV2(config), ignore_index).take)]
    names = ["plain loop"]
    for fast, name in ((False, "library's weight gradient"), (True, "contiguous weight gradient")):
        model = FrameNetwork(BiSeNetV2(config))
        state = new_state(RECIPE, model, world, fast_gradients=fast)
        steps = Steps(RECIPE, ignore_index, state, world)
        roads.append(timed(steps.take))
        names.append(f"recipe camvid{', bfloat16' if steps.bfloat16 else ''}, {name}")

    times = interleave(roads, batches, runs=options.steps, warmup=1)
    medians = [summarise(taken).median_ms / 1000 for taken in times]

    height, width = RECIPE.crop
    print(f"{describe_machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{RECIPE.batch} frames of {width}×{height} of {dataset.name}, {options.steps} steps\n")
    print("| step | seconds, median | p95 | images/s | times the plain loop |")
    print("|---|---:|---:|---:|---:|")
    for name, middle, taken in zip(names, medians, times, strict=True):
        p95, pace = summarise(taken).p95_ms / 1000, RECIPE.batch / middle
        print(f"| {name} | {middle:.2f} | {p95:.2f} | {pace:.2f} | {medians[0] / middle:.2f} |")


class PlainLoop:
    """FP32, contiguous, five losses at full resolution, SGD."""

    def __init__(self, network: BiSeNetV2, ignore_index: int) -> None:
        self.network, self.ignore_index = network.train(), ignore_index
        self.normalization = Normalization()
        self.optimizer = torch.optim.SGD(
            network.parameters(), RECIPE.rate, momentum=0.9, weight_decay=RECIPE.weight_decay
        )

    def take(self, batch: Batch) -> float:
        """Trains on one batch and returns its loss."""
        images = self.normalization(torch.from_numpy(batch.images)).contiguous()  # B, 3, H, W
        masks = torch.from_numpy(batch.masks).long()  # B, H, W
        loss = torch.zeros(())
        for logits in self.network(images):
            enlarged = F.interpolate(logits, masks.shape[-2:], mode="bilinear")  # B, C, H, W
            loss = loss + F.cross_entropy(enlarged, masks, ignore_index=self.ignore_index)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def timed(take: Callable[[Batch], float]) -> Callable[[Batch], float]:
    """Returns a function that takes a step and returns its seconds."""

    def clocked(batch: Batch) -> float:
        start = perf_counter()
        take(batch)
        return perf_counter() - start

    return clocked


if __name__ == "__main__":
    main()
