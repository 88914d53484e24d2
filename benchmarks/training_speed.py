"""The recipe's training step against the plain loop's, in turn, in one process.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --data ../shared/camvid --steps 20

Both train V2 (figures reading, head width 128, 11 classes) on the same batches: 8 frames of
352×480, cut and altered as the recipe `camvid` does, and made before the clock starts. The plain
loop is what one writes first: FP32, PyTorch's own memory layout, all five losses at the frames'
full resolution. The recipe's step is what `bisenetv2 train camvid` takes, weight average included.
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
from bisenetv2.training.device import computes_bfloat16
from bisenetv2.training.loader import Batch, Batches
from bisenetv2.training.loop import _new_state, _Steps
from bisenetv2.training.recipes import RECIPES

RECIPE = RECIPES["camvid"]
BATCHES = 4


def main() -> None:
    """Prints a row for each of the two."""
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

    place = torch.device("cpu")
    classes, ignore_index = len(dataset.labels), dataset.labels.ignore_index
    config = replace(RECIPE.network, num_classes=classes)
    state = _new_state(RECIPE, FrameNetwork(BiSeNetV2(config)), place)
    steps = _Steps(RECIPE, ignore_index, state, place)
    bfloat16 = computes_bfloat16(place, RECIPE.precision)
    plain = PlainLoop(BiSeNetV2(config), ignore_index)

    roads = [timed(plain.take), timed(lambda batch: steps.take(batch, bfloat16))]
    times = interleave(roads, batches, runs=options.steps, warmup=1)
    medians = [summarise(taken).median_ms / 1000 for taken in times]

    height, width = RECIPE.crop
    print(f"{describe_machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{RECIPE.batch} frames of {width}×{height} of {dataset.name}, {options.steps} steps\n")
    print("| step | seconds, median | p95 | images/s | times the plain loop |")
    print("|---|---:|---:|---:|---:|")
    names = ("plain loop", f"recipe camvid{', bfloat16' if bfloat16 else ''}")
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
