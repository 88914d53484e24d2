"""The recipe's training on an NVIDIA GPU, loader and all, against the plain loop's step.

    python benchmarks/gpu_training.py --data ../shared/camvid
    python benchmarks/gpu_training.py --data ../shared/camvid --batch 8 32 --steps 300

All train V2 (figures reading, head width 128) on crops of 352×480, cut and altered as the recipe
says. The plain loop is what one writes first: all five losses at the crops' full resolution, and
batches that lie ready, so that its loader costs nothing. The other rows are `bisenetv2 train`, its
loader included: with batches made by threads of the CPU; with batches made on the GPU
(`training/resident.py`); and with the passes recorded as well (`training/recorded.py`), which is
what `train` does. Each row is timed over all its steps, the last one waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle
from time import perf_counter

import torch
import tyro
from plain_loop import plain_step

from bisenetv2.data.catalogue import STREETS, open_dataset
from bisenetv2.inference.machine import describe_machine
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.device import choose_device
from bisenetv2.network.frames import FrameNetwork
from bisenetv2.training.loader import Batch, InMemory
from bisenetv2.training.phases import batches_from, plan_phases
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.recipes import RECIPES
from bisenetv2.training.resident import ResidentData
from bisenetv2.training.steps import Steps, new_state
from bisenetv2.training.world import World

WARM_UP = 8


def main(*, data: str = STREETS, batch: tuple[int, ...] = (8, 32), steps: int = 300) -> None:
    """Prints a row for each way and size of a batch.

    Args:
        data: CamVid's folder, or streets.
        batch: Frames a step.
        steps: Many times what lies ready.
    """
    world = World(choose_device("cuda"))
    torch.backends.cudnn.benchmark = True
    samples = InMemory(open_dataset(data, "train"))
    resident = ResidentData.of(samples, world.device, world.loaders)
    assert resident is not None, "frames of one size are needed"
    print(f"{torch.cuda.get_device_name()}, {describe_machine()}, torch {torch.__version__}")
    print(f"crops of 352×480 of {samples.name}, {steps} steps\n")
    print("| batch | training | images/s | times the plain loop | peak memory, GB |")
    print("|---:|---|---:|---:|---:|")
    for frames in batch:
        recipe = replace(
            RECIPES["camvid"],
            network=replace(RECIPES["camvid"].network, num_classes=len(samples.labels)),
            batch=frames,
            iterations=WARM_UP + steps,
            progressive_share=0.0,
            streets_share=0.0,  # rendering them would be timed too
        )
        given = recipe, samples, world
        ways: dict[str, Callable[[], Iterator[None]]] = {
            "plain loop, FP32, batches ready": partial(plain_steps, *given, bfloat16=False),
            "plain loop, bfloat16, batches ready": partial(plain_steps, *given, bfloat16=True),
            "recipe, batches made by the CPU": partial(recipe_steps, *given, None, record=False),
            "recipe, batches made on the GPU": partial(
                recipe_steps, *given, resident, record=False
            ),
            "recipe, made there and recorded": partial(recipe_steps, *given, resident, record=True),
        }
        plain = 0.0
        for name, begin in ways.items():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            pace = frames / seconds_a_step(begin(), steps)
            plain = plain or pace
            memory = torch.cuda.max_memory_allocated() / 1e9
            print(f"| {frames} | {name} | {pace:.0f} | {pace / plain:.2f} | {memory:.1f} |")


def seconds_a_step(steps: Iterator[None], count: int) -> float:
    """Takes steps and times all but the first."""
    for _ in range(WARM_UP):
        next(steps)
    torch.cuda.synchronize()
    start = perf_counter()
    for _ in range(count):
        next(steps)
    torch.cuda.synchronize()
    return (perf_counter() - start) / count


def recipe_steps(
    recipe: Recipe, samples: InMemory, world: World, data: ResidentData | None, *, record: bool
) -> Iterator[None]:
    """Takes a step of `bisenetv2 train` at each asking."""
    torch.manual_seed(0)
    state = new_state(recipe, FrameNetwork(BiSeNetV2(recipe.network)), world)
    steps = Steps(recipe, samples.labels.ignore_index, state, world, record=record)
    for found in batches_from(plan_phases(recipe, samples), 0, world.loaders, data):
        steps.take(found if isinstance(found, Batch) else found())
        if state.step % 20 == 0:
            steps.loss()
        yield


def plain_steps(
    recipe: Recipe, samples: InMemory, world: World, *, bfloat16: bool
) -> Iterator[None]:
    """Takes a step of the plain loop at each asking."""
    torch.manual_seed(0)
    network, ignore_index = BiSeNetV2(recipe.network), samples.labels.ignore_index
    take = plain_step(network, recipe, ignore_index, world.device, bfloat16=bfloat16)
    batches = plan_phases(recipe, samples)[0].batches
    for batch in cycle([batches[step] for step in range(4)]):
        take(batch)
        yield


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
