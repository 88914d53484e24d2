"""`bisenetv2 runs`: list run folders and compare what their recipes differ in.

bisenetv2 runs
bisenetv2 runs runs/a runs/b
bisenetv2 runs --json
"""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from bisenetv2.errors import UserError


def runs(folders: Annotated[tuple[Path, ...], Positional] = (), *, json: bool = False) -> int:
    """List runs with steps, loss and validation, the best first; compare those that are named.

    The best is of the split that the run last validated on, which is named if it is not val.

    Args:
        folders: Run folders, or folders of them; `runs` by default.
        json: Print one JSON object a line.
    """
    found = _find(folders or (Path("runs"),))
    rows = []
    for folder in found:
        try:
            rows.append(_row(folder))
        except UserError as error:  # of another version, or not of a run: the others count
            print(f"left out: {error}", file=sys.stderr)
    rows.sort(key=lambda row: -(row["best_miou"] or -1))
    if json:
        for row in rows:
            print(json_format.dumps(row, ensure_ascii=False))
        return 0
    print(f"{'best mIoU':>9}  {'at step':>8}  {'steps':>15}  {'loss':>7}  {'images/s':>8}  run")
    for row in rows:
        best = "-" if row["best_miou"] is None else f"{100 * row['best_miou']:.2f} %"
        loss = "-" if row["loss"] is None else f"{row['loss']:.3f}"
        pace = "-" if row["images_per_second"] is None else f"{row['images_per_second']:.1f}"
        steps = f"{row['step']:,}/{row['recipe']['iterations']:,}"
        at = "-" if row["best_step"] is None else f"{row['best_step']:,}"
        split = "" if row["split"] in (None, "val") else f"  (on {row['split']})"
        print(f"{best:>9}  {at:>8}  {steps:>15}  {loss:>7}  {pace:>8}  {row['run']}{split}")
    if folders and len(rows) > 1:
        _compare(rows)
    return 0


def _find(places: Sequence[Path]) -> list[Path]:
    """Run folders among or below the places named."""
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place}: no such folder of runs; train one, or name another folder")
        below = sorted(config.parent for config in place.rglob("config.yaml"))
        if not below:
            raise UserError(f"{place}: holds no run (no config.yaml below it)")
        found += below
    return list(dict.fromkeys(found))


def _row(path: Path) -> dict[str, Any]:
    from bisenetv2.training.run_folder import RunConfig, RunFolder

    folder = RunFolder(path)
    config = RunConfig.read(path)
    logged = folder.logged()
    losses = [entry for entry in logged if "loss" in entry]
    validations = folder.validations(config.recipe.validated_on)
    best = max(validations, key=lambda entry: entry["miou"], default={})
    last = losses[-1] if losses else {}
    return {
        "run": str(path),
        "step": max((entry["step"] for entry in logged), default=0),
        "loss": last.get("loss"),
        "images_per_second": last.get("images_per_second"),
        "best_miou": best.get("miou"),
        "best_step": best.get("step"),
        "split": best.get("split"),
        "data": config.data,
        "init": None if config.init is None else str(config.init),
        "recipe": asdict(config.recipe),
    }


def _compare(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the settings in which the runs differ, one a line."""
    from bisenetv2.training.resumed import flat

    settings = [flat({**row["recipe"], "data": row["data"], "init": row["init"]}) for row in rows]
    names = list(dict.fromkeys(name for one in settings for name in one))
    different = [name for name in names if len({repr(one.get(name)) for one in settings}) > 1]
    print("\nthey differ in" if different else "\nthey differ in nothing")
    for name in different:
        values = "; ".join(
            f"{row['run']} {one.get(name)}" for row, one in zip(rows, settings, strict=True)
        )
        print(f"  {name}: {values}")
