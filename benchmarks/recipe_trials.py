"""Settings of the recipe `camvid` against each other, on CamVid's validation split.

    python benchmarks/recipe_trials.py losses
    python benchmarks/recipe_trials.py progressive --budget 400 --seeds 3

Trains on `train` from scratch by the command that a user types, once for each setting and seed, and
scores the weights of the last step on `val`; the test split has no part in it. All settings of a
trial see as many pixels as `--budget` steps of the recipe's full crop and batch hold, which on a
CPU is about equal time (but a step of V2-Large takes five times as long). Rendered streets are left
out. Short runs: they tell which setting learns sooner, not which one ends higher.

A run that is already whole in `--runs` is not made again; remove the folder to begin anew.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import subprocess
import sys
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro
from tyro.conf import Positional

from bisenetv2.data.catalogue import open_dataset
from bisenetv2.files import write_bytes
from bisenetv2.inference.machine import describe_machine
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.training.phases import plan_phases
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.recipes import RECIPES


class Trial(NamedTuple):
    """Settings to hold against each other."""

    about: str
    common: dict[str, Any]
    """Fields of the recipe that all share."""

    rows: dict[str, dict[str, Any]]
    """Fields of each, by what the table calls it."""


V2 = RECIPES["camvid"].network

SHORT: dict[str, Any] = {"warmup": 40, "average": 0.98, "streets_share": 0.0, "lovasz": 0.0}

TRIALS = {
    "losses": Trial(
        "losses below full resolution; frames and crops at half size, where strides weigh more",
        {**SHORT, "input_scale": 0.5, "progressive_share": 0.0},
        {
            "full resolution, all five": {"loss_stride": 1, "booster_stride": 1},
            "strides 2 and 4, the recipe's": {"loss_stride": 2, "booster_stride": 4},
        },
    ),
    "progressive": Trial(
        "progressive resolution: share of the steps at 0.55 of crop and scales, 16 frames a step",
        SHORT,
        {
            "none": {"progressive_share": 0.0},
            "0.45": {"progressive_share": 0.45},
            "0.75, the recipe's": {"progressive_share": 0.75},
        },
    ),
    "lovasz": Trial(
        "the Lovász-softmax loss added to the main one; 0.45 of the steps on small frames",
        {**SHORT, "progressive_share": 0.45},
        {"without": {"lovasz": 0.0}, "at factor 1, the recipe's": {"lovasz": 1.0}},
    ),
    "heads": Trial(
        "channels between the two convolutions of the main head (C_t); 0.75 of the steps on small "
        "frames",
        {**SHORT, "progressive_share": 0.75, "lovasz": 1.0},
        {
            "64": {"network": replace(V2, head_width=64)},
            "128, the recipe's": {},
            "256": {"network": replace(V2, head_width=256)},
        },
    ),
    "networks": Trial(
        "networks of the paper, of equal pixels, not time; 0.75 of the steps on small frames",
        {**SHORT, "progressive_share": 0.75, "lovasz": 1.0},
        {
            "V2, the recipe's": {},
            "V2 without boosters": {"network": replace(V2, boosters=())},
            "V2, printed-cost reading": {"network": BiSeNetV2Config.preset("printed-cost")},
            "V2-Large": {"network": BiSeNetV2Config.preset("figures", "large")},
        },
    ),
}


def main(
    trial: Positional[Literal["losses", "progressive", "lovasz", "heads", "networks"]],
    *,
    data: str = "../shared/camvid",
    budget: int = 200,
    seeds: int = 1,
    runs: Path = Path("runs/trials"),
) -> None:
    """Prints a row for each setting.

    Args:
        trial: Which settings.
        data: CamVid's folder at 480×360.
        budget: Pixels of each run, in steps of the full crop.
        seeds: Runs of each setting.
        runs: Folder of the runs.
    """
    about, common, rows = TRIALS[trial]
    plans = {name: planned(common | row, data, budget) for name, row in rows.items()}
    place = str(Path(data).resolve())
    scores: dict[str, list[float]] = {name: [] for name in plans}
    for seed in range(seeds):
        for name, recipe in plans.items():
            stem = re.sub(r"\W+", "-", name) + f"_{zlib.crc32(repr((recipe, place)).encode()):08x}"
            run = runs / f"{trial}_{budget}_{stem}_{seed}"
            scores[name].append(trained(run, replace(recipe, seed=seed), data))
            print(f"{name}, seed {seed}: {100 * scores[name][-1]:.1f} %", file=sys.stderr)

    print(f"{describe_machine()}\n{about}\npixels of {budget} steps of the full crop\n")
    print("| setting | steps | mIoU % on val | each seed |")
    print("|---|---:|---:|---|")
    for name, found in scores.items():
        percents = [100 * score for score in found]
        spread = f" ± {statistics.stdev(percents):.1f}" if len(percents) > 1 else ""
        each = ", ".join(f"{value:.1f}" for value in percents)
        steps = plans[name].iterations
        print(f"| {name} | {steps} | {statistics.mean(percents):.1f}{spread} | {each} |")


def planned(fields: dict[str, Any], data: str, budget: int) -> Recipe:
    """Returns the recipe with these fields and the number of steps that uses the budget up."""
    recipe = replace(RECIPES["camvid"], **fields)
    phases = plan_phases(recipe, open_dataset(data, "train"))
    pixels = [p.batches.batch_size * math.prod(p.batches.augmentation.crop) for p in phases]
    of_all = sum((p.stop - p.start) * a_step for p, a_step in zip(phases, pixels, strict=True))
    full = of_all / pixels[-1]  # steps of the full crop of as many pixels
    steps = round(budget * recipe.iterations / full)
    return replace(recipe, iterations=steps, val_every=steps)


def trained(run: Path, recipe: Recipe, data: str) -> float:
    """Trains as a user would, unless that is done, and returns the last step's mIoU, 0-1."""
    metrics, steps = run / "metrics.jsonl", recipe.iterations
    if not metrics.exists() or last_score(metrics, steps) is None:
        config = write_config(run.with_suffix(".yaml"), recipe, data)
        words = ["train", str(config), "--run", str(run), "--no-check"]
        words += ["--resume"] if run.exists() else []
        command = [sys.executable, "-m", "bisenetv2", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
    score = last_score(metrics, steps)
    assert score is not None, f"{run}: no score at step {steps}"
    return score


def write_config(path: Path, recipe: Recipe, data: str) -> Path:
    """Writes what `bisenetv2 train` takes in place of a recipe's name (JSON is YAML)."""
    write_bytes(path, json.dumps({"recipe": asdict(recipe), "data": data}).encode())
    return path


def last_score(metrics: Path, steps: int) -> float | None:
    """Returns the mIoU noted at the last step, if there is one."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return next((line["miou"] for line in lines if line["step"] == steps and "miou" in line), None)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
