"""Cool-downs: runs that branch off a trunk at a constant rate and bring the rate down."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from bisenetv2.errors import UserError
from bisenetv2.files import write_bytes
from bisenetv2.network.checkpoint import STATE_KEY
from bisenetv2.training.run_folder import RunConfig, RunFolder
from bisenetv2.training.state import newest_state


def branch_off(trunk: Path, run: Path | None, iterations: int) -> Path:
    """Makes a run folder that, resumed, cools a trunk down from its newest state.

    The rate, at its peak up to the trunk's step, falls over the steps that follow; order and
    augmentation of the samples go on where the trunk is.

    Args:
        trunk: Run folder of a recipe whose rate stays constant: `schedule` trunk, or `hold` 1.
        run: Folder to make; `None` names it after the trunk and its step.
        iterations: Steps of the cool-down, 1 or more.

    Returns:
        The folder.

    Raises:
        UserError: If the run is no trunk, has no state, or the folder is in use.
    """
    recipe = RunConfig.read(trunk).recipe
    if recipe.schedule != "trunk" and recipe.hold < 1:
        raise UserError(
            f"{trunk}: its rate falls already (schedule {recipe.schedule}); cool-downs branch off "
            "runs with --schedule trunk"
        )
    if iterations < 1:
        raise UserError(f"iterations {iterations}: expected 1 or more")
    stored = newest_state(RunFolder(trunk).states)
    step = stored.progress["step"]
    if step < recipe.warmup:
        raise UserError(
            f"{trunk}: is at step {step} of a warm-up of {recipe.warmup}; let it reach its rate"
        )
    place = trunk.resolve() if trunk.name in ("", "..") else trunk  # `.` has no name
    folder = RunFolder(run or place.with_name(f"{place.name}-cooldown-{step}"))
    if folder.has_state():
        raise UserError(
            f"{folder.path}: holds a run already; go on with it by `bisenetv2 train {folder.path} "
            "--resume`, or name another --run"
        )
    whole = step + iterations
    early = 0 if recipe.schedule == "trunk" else recipe.progressive_share * recipe.iterations
    cooling = replace(
        recipe,
        schedule="poly",
        iterations=whole,
        hold=step / whole,
        progressive_share=min(1.0, round(early) / whole),
    )
    content = yaml.safe_load(RunFolder(trunk).config.read_text("utf-8"))
    content["recipe"] = json.loads(json.dumps(asdict(cooling)))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_bytes(folder.config, text.encode())
    # The best of the trunk is not this run's: its own validations decide.
    fresh = json.dumps({"step": step, "best_miou": -1.0, "worse": 0})
    path = folder.states / stored.path.name
    stored._replace(path=path, metadata={**stored.metadata, STATE_KEY: fresh}).write()
    return folder.path
