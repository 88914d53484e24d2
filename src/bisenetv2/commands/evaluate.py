"""`bisenetv2 evaluate`: score a model on a split of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

EXAMPLES = """\
  bisenetv2 evaluate --data ../shared/camvid
  bisenetv2 evaluate runs/camvid/best.safetensors --data ../shared/camvid --split val --json
  bisenetv2 evaluate city.safetensors --data cityscapes --split val
"""


def evaluate(
    model: Annotated[Positional[Path | None], arg(metavar="MODEL")] = None,
    *,
    data: str,
    split: str = "test",
    engine: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto",
    threads: int | None = None,
    scale: float | None = None,
    json: bool = False,
) -> int:
    """Score a model: IoU of each class, mIoU, pixel accuracy.

    Args:
        model: Model file, checkpoint, or embedded model: camvid (INT8, default) or camvid-fp32.
        data: Folder of CamVid, Cityscapes, COCO-Stuff or ADE20K, or `streets` for rendered streets.
        split: train, val, trainval or test; the truth of some test splits is not public.
        engine: What runs the network.
        threads: CPU threads; all by default.
        scale: Side of the network's input over the frame's; by default as in training.
        json: Print one JSON object in place of the table.
    """
    from rich.console import Console

    from bisenetv2.data.catalogue import open_dataset
    from bisenetv2.evaluation.evaluate import evaluate as score
    from bisenetv2.evaluation.report import print_report
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.progress import progress_bar

    dataset = open_dataset(data, split)
    segmenter = Segmenter(model, engine, threads=threads, scale=scale)
    with progress_bar("evaluate", len(dataset)) as bar:
        result = score(segmenter, dataset, lambda _: bar.advance())
    if json:
        print(dumps(result.to_json_object(), indent=2, allow_nan=False))
    else:
        print_report(result, Console())
    return 0


def main(arguments: Sequence[str]) -> int:
    """Reads the arguments and runs the verb."""
    return tyro.cli(evaluate, prog="bisenetv2 evaluate", args=arguments)
