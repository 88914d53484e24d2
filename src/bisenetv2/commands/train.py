"""`bisenetv2 train`: train a recipe on a dataset.

bisenetv2 train folder --data DIR
bisenetv2 train camvid --data ../shared/camvid
bisenetv2 train camvid --data ../shared/camvid --init city.safetensors --rate 0.01
bisenetv2 train streets --iterations 200 --run runs/trial
bisenetv2 train runs/trial --resume
bisenetv2 train runs/trial/config.yaml --run runs/again
torchrun --nproc-per-node 2 -m bisenetv2 train streets --sync-bn
torchrun --nproc-per-node 2 -m -- bisenetv2 train streets --run runs/two   (-- keeps --run ours)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Suppress, arg

from bisenetv2.errors import UserError
from bisenetv2.training.recipe import Recipe
from bisenetv2.training.recipes import CATALOGUE, NamedRecipe, find_recipe

if TYPE_CHECKING:
    from bisenetv2.data.check.finding import Finding
    from bisenetv2.data.dataset import Dataset
    from bisenetv2.training.world import World


def train(
    *,
    recipe: Annotated[Recipe, arg(name="")],
    data: str | None = None,
    run: Path,
    resume: bool = False,
    init: Path | None = None,
    repeats: int = 1,
    check: bool = True,
    device: str = "auto",
    threads: int | None = None,
    like: Annotated[Path | None, Suppress] = None,
) -> int:
    """Train a network. Every field of the recipe is an option.

    Args:
        recipe: Settings of the run.
        data: Data folder; recipes on rendered streets need none.
        run: Run folder to write.
        resume: Go on with the run of that folder.
        init: Checkpoint to start from: its network is trained on, with the recipe's booster heads
            and, for other classes, new heads.
        repeats: Train this many times, with one seed after the other, in folders below the run
            folder, and print mean and standard deviation of the best validation.
        check: Look at the data first, for seconds, as `bisenetv2 check --quick` does.
        device: auto, cpu, cuda or mps.
        threads: CPU threads; by default one for each physical core.
        like: Configuration or folder of the run that a new run is to repeat: what differs in data
            and checkpoint is told.
    """
    from bisenetv2.network.device import set_threads
    from bisenetv2.training.run_folder import RunFolder
    from bisenetv2.training.world import joined

    set_threads(threads)
    if recipe.dataset == "streets":
        data = data or "streets"
    elif data is None:
        meant = "your data" if recipe.dataset == "any" else recipe.dataset
        raise UserError(f"this recipe trains on {meant}: name its folder with --data")
    if repeats < 1:
        raise UserError(f"repeats {repeats}: expected 1 or more")
    with joined(device) as world:
        if check and not resume:
            look_at(recipe, data, world)
        if repeats == 1:
            best, _ = train_once(recipe, data, run, resume, init, world, like)
            if world.writes:
                print(best)
            return 0
        if not (recipe.val_split or recipe.overfit):
            raise UserError("repeats are compared by validation: set a val_split")
        scores = []
        for seed in range(recipe.seed, recipe.seed + repeats):
            folder = run / f"seed-{seed}"
            # Those of an interrupted series that had begun go on; the others start.
            goes_on = resume and world.share(RunFolder(folder).has_state)
            one = replace(recipe, seed=seed)
            scores.append(train_once(one, data, folder, goes_on, init, world)[1])
        if world.writes:
            print(_spread(scores))
    return 0


def look_at(recipe: Recipe, data: str, world: World) -> None:
    """Checks the data quickly; prints what may be wrong with it.

    Raises:
        UserError: If training would stop at it, or its figures would be false.
    """
    from bisenetv2.data.check.run import quick_check

    def found() -> list[Finding]:
        dataset, val_dataset = _opened(recipe, data)
        findings = quick_check(dataset, recipe.crop)
        return findings if val_dataset is None else findings + quick_check(val_dataset)

    findings = world.share(found)
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        more = f", {len(errors)} errors" if len(errors) > 1 else ""
        raise UserError(
            f"{errors[0]} (`bisenetv2 check {data}` tells all{more}; --no-check trains if all can "
            "be read)"
        )
    if world.writes:
        for finding in findings:
            print(finding, file=sys.stderr)


def _opened(recipe: Recipe, data: str) -> tuple[Dataset, Dataset | None]:
    """Opens what a recipe trains on and, if there is any, what it validates on."""
    from bisenetv2.data.catalogue import open_dataset

    dataset = open_dataset(data, recipe.split)
    validates = recipe.val_split and not recipe.overfit
    return dataset, open_dataset(data, recipe.val_split) if validates else None


def train_once(
    recipe: Recipe,
    data: str,
    run: Path,
    resume: bool,
    init: Path | None,
    world: World,
    like: Path | None = None,
) -> tuple[Path, float]:
    """Opens the data and trains once; returns the best checkpoint and its mIoU, 0-1."""
    from bisenetv2.commands.signals import Stop, stop_on_signal
    from bisenetv2.data.catalogue import STREETS, open_dataset
    from bisenetv2.progress import progress_bar
    from bisenetv2.training.loop import train as train_loop
    from bisenetv2.training.run_folder import RunConfig, RunFolder

    dataset, val_dataset = world.share(lambda: _opened(recipe, data))
    mixed = open_dataset(STREETS, "train") if recipe.streets_share else None
    # Several processes would have to agree on a step at every step: they end where they are.
    stopping = stop_on_signal() if world.size == 1 else nullcontext(Stop())
    with progress_bar("train", recipe.iterations, world.writes) as bar, stopping as stop:
        best = train_loop(
            recipe,
            dataset,
            val_dataset,
            run,
            mixed=mixed,
            resume=resume,
            init=init,
            like=None if like is None else RunConfig.read(like),
            data=data,
            world=world,
            stop=lambda: stop.number,
            bar=bar,
        )
    found = world.share(lambda: RunFolder(run).validations(recipe.validated_on))
    return best, max((entry["miou"] for entry in found), default=float("nan"))


def _spread(scores: Sequence[float]) -> str:
    from statistics import mean, stdev

    each = ", ".join(f"{100 * score:.2f}" for score in scores)
    return (
        f"best validation {100 * mean(scores):.2f} ± {100 * stdev(scores):.2f} % mIoU "
        f"(mean ± standard deviation of {len(scores)} runs: {each})"
    )


def _described(named: NamedRecipe) -> str:
    """What `--help` says above the options."""
    told = f"Train {named.about}. Every field of the recipe is an option."
    printed = f"The paper prints {named.printed}." if named.printed else ""
    doubts = f"Uncertain: {named.doubts}" if named.doubts else ""
    return "\n\n".join(filter(None, (told, printed, doubts)))


def main(arguments: Sequence[str]) -> int:
    """Reads the recipe's name, or the configuration of a run, then the options over its values."""
    names = ", ".join(name for name in CATALOGUE if not name.startswith("ablation-"))
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: bisenetv2 train RECIPE [options]\n\n"
            f"recipes: {names}, and the paper's ablations: see `bisenetv2 recipes`\n\n"
            "options of a recipe: bisenetv2 train RECIPE --help"
        )
        return 0
    name, *rest = arguments
    # Bound arguments become the defaults of the options.
    if name not in CATALOGUE and ("/" in name or Path(name).exists()):
        from bisenetv2.training.run_folder import RunConfig

        description, like = None, Path(name)
        config = RunConfig.read(like)
        run = like if like.is_dir() else like.parent
        command = partial(
            train, recipe=config.recipe, data=config.data, init=config.init, run=run, like=like
        )
    else:
        named = find_recipe(name)
        command = partial(train, recipe=named.recipe, run=Path("runs") / name)
        description = _described(named)
    return tyro.cli(command, prog=f"bisenetv2 train {name}", description=description, args=rest)
