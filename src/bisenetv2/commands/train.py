"""`bisenetv2 train`: train a recipe on a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

from bisenetv2.errors import UserError
from bisenetv2.training.recipes import RECIPES, Recipe

EXAMPLES = """\
  bisenetv2 train camvid --data ../shared/camvid
  bisenetv2 train camvid --data ../shared/camvid --resume
  bisenetv2 train camvid --data ../shared/camvid --init city.safetensors --rate 0.01
  bisenetv2 train streets --iterations 200 --run runs/trial
"""


def train(
    *,
    recipe: Annotated[Recipe, arg(name="")],
    data: str | None = None,
    run: Path,
    resume: bool = False,
    init: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> int:
    """Train a network. Every field of the recipe is an option.

    Args:
        recipe: Settings of the run.
        data: CamVid's folder; recipes on rendered streets need none.
        run: Run folder to write.
        resume: Go on with the run of that folder.
        init: Checkpoint to start from: its network is trained on, with the recipe's booster heads
            and, for another number of classes, new heads.
        device: auto, cpu, cuda or mps.
        threads: CPU threads; all by default.
    """
    import torch

    from bisenetv2.data.catalogue import STREETS, open_dataset
    from bisenetv2.progress import progress_bar
    from bisenetv2.training.loop import train as train_loop

    if threads is not None:
        torch.set_num_threads(threads)
    if recipe.dataset == STREETS:
        data = STREETS
    elif data is None:
        raise UserError(f"this recipe trains on {recipe.dataset}: name its folder with --data")
    dataset = open_dataset(data, recipe.split)
    val_dataset = open_dataset(data, recipe.val_split) if recipe.val_split else None
    mixed = open_dataset(STREETS, "train") if recipe.streets_share else None
    with progress_bar("train", recipe.iterations) as bar:
        best = train_loop(
            recipe,
            dataset,
            val_dataset,
            run,
            mixed=mixed,
            resume=resume,
            init=init,
            device=device,
            bar=bar,
        )
    print(best)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Reads the recipe's name, then the options over its defaults."""
    names = ", ".join(RECIPES)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: bisenetv2 train RECIPE [options]\n\nrecipes: {names}\n")
        print("options of a recipe: bisenetv2 train RECIPE --help")
        return 0
    name, *rest = arguments
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}: the recipes are {names}")
    # Bound arguments become the defaults of the options.
    command = partial(train, recipe=RECIPES[name], run=Path("runs") / name)
    return tyro.cli(command, prog=f"bisenetv2 train {name}", args=rest)
