"""`bisenetv2 average`: the mean of checkpoints that started from the same weights.

bisenetv2 average start.safetensors runs/tuned/best.safetensors -o mean.safetensors
bisenetv2 average runs/a/best.safetensors runs/b/best.safetensors -o mean.safetensors
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def average(
    models: Annotated[Positional[tuple[Path, ...]], arg(metavar="CHECKPOINT ...")],
    *,
    output: Annotated[Path, arg(aliases=["-o"])],
) -> int:
    """Write the mean of checkpoints, weight by weight, each counting the same.

    It is often better on unseen data than any of them, if all were trained on from the same
    weights; those may be among them. Of runs from scratch it is of no use.

    Args:
        models: Checkpoints of one network and the same classes, two or more.
        output: Checkpoint to write.
    """
    from bisenetv2.files import check_writable
    from bisenetv2.network.checkpoint import save_checkpoint
    from bisenetv2.training.soup import mean_of

    check_writable(output, models)
    save_checkpoint(output, *mean_of(models))
    print(output)
    return 0
