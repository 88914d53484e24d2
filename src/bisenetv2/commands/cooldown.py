"""`bisenetv2 cooldown`: bring a trunk's rate down to nothing and ship what comes of it.

bisenetv2 cooldown runs/x
bisenetv2 cooldown runs/x --iterations 2000 --run runs/shipped
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from bisenetv2.errors import UserError


def cooldown(
    trunk: Annotated[Path, Positional],
    *,
    iterations: int = 1000,
    run: Path | None = None,
    data: str | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> int:
    """Go on from a trunk's newest state with a falling rate, in a run folder of its own.

    The trunk (`bisenetv2 train RECIPE --schedule trunk`) stays as it is and may go on training
    meanwhile, to be cooled down again later. An interrupted cool-down goes on as any run does:
    `bisenetv2 train RUN --resume`.

    Args:
        trunk: Run folder of the trunk.
        iterations: Steps over which the rate falls to 0; a fifth of the trunk's is plenty.
        run: Run folder to write; by default named after the trunk and its step.
        data: Data folder, where it is no longer that of the trunk.
        device: auto, cpu, cuda or mps.
        threads: CPU threads; by default one for each physical core.
    """
    from bisenetv2.commands.train import train_once
    from bisenetv2.data.catalogue import open_dataset
    from bisenetv2.data.dataset import SpreadSamples
    from bisenetv2.network.device import set_threads
    from bisenetv2.training.branch import branch_off
    from bisenetv2.training.resumed import check_same_data
    from bisenetv2.training.run_folder import RunConfig, fingerprint
    from bisenetv2.training.world import joined

    set_threads(threads)
    config = RunConfig.read(trunk)
    data = data or config.data
    if data is None:
        raise UserError(f"{trunk}: its configuration names no data; name the folder with --data")

    def look() -> None:
        dataset = open_dataset(data, config.recipe.split)
        overfit = config.recipe.overfit
        seen = SpreadSamples(dataset, overfit) if overfit else dataset
        check_same_data(config, fingerprint(seen), dataset)

    with joined(device) as world:
        world.share(look)  # before there is a folder: a mistake here is to leave none
        folder = world.share(lambda: branch_off(trunk, run, iterations))
        recipe = RunConfig.read(folder).recipe
        best, _ = train_once(recipe, data, folder, True, config.init, world)
        if world.writes:
            print(best)
    return 0
