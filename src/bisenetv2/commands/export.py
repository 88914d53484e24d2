"""`bisenetv2 export`: checkpoint to model file, with proof that they agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

EXAMPLES = """\
  bisenetv2 export runs/camvid/best.safetensors -o model.onnx
  bisenetv2 export runs/camvid/best.safetensors --data ../shared/camvid --score-split val
"""


def export(
    checkpoint: Annotated[Positional[Path], arg(metavar="CHECKPOINT")],
    *,
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    data: str = "streets",
    split: str = "val",
    frames: int = 8,
    score_split: str | None = None,
) -> int:
    """Write a model file (.onnx) from a checkpoint, run it, and print how far they agree.

    Args:
        checkpoint: .safetensors that training wrote.
        output: .onnx to write; by default beside the checkpoint.
        data: Where the frames for the comparison come from: CamVid's folder or `streets`.
        split: Split of that data.
        frames: Number of frames to compare on.
        score_split: Split of that data to score the file on; the figure goes into its card.
    """
    from bisenetv2.data.catalogue import open_dataset
    from bisenetv2.data.dataset import FirstSamples
    from bisenetv2.export.onnx_file import export_onnx

    target = output or checkpoint.with_suffix(".onnx")
    dataset = FirstSamples(open_dataset(data, split), frames)
    score_on = open_dataset(data, score_split) if score_split else None
    agreement = export_onnx(checkpoint, target, dataset, score_on)
    print(
        f"{target}: {target.stat().st_size / 1e6:.1f} MB, agrees with {checkpoint} on "
        f"{100 * agreement.share:.4f} % of pixels ({agreement.frames} frames of {dataset.name})"
    )
    return 0


def main(arguments: Sequence[str]) -> int:
    """Reads the arguments and runs the verb."""
    return tyro.cli(export, prog="bisenetv2 export", args=arguments)
