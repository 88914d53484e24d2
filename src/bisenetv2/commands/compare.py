"""`bisenetv2 compare`: two models, engines or protocols on the same frames.

bisenetv2 compare camvid-fp32 camvid --data ../shared/camvid
bisenetv2 compare old.onnx new.onnx --data ../shared/camvid --split val --html compare.html
bisenetv2 compare camvid camvid --data ../shared/camvid --engine openvino onnxruntime
bisenetv2 compare camvid camvid --data ../shared/camvid --protocol resized flip
bisenetv2 compare camvid camvid --data ../shared/camvid --scale 1 1.5
bisenetv2 compare camvid other.onnx --data ../shared/camvid --map truck=Car rider=nothing
"""

from __future__ import annotations

import os
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.console import Console
from tyro.conf import Positional, arg

from bisenetv2 import __version__
from bisenetv2.errors import UserError
from bisenetv2.inference.engines import EngineName


def compare(
    first: Annotated[Positional[Path], arg(metavar="A")],
    second: Annotated[Positional[Path], arg(metavar="B")],
    *,
    data: str,
    split: str = "test",
    engine: tuple[EngineName, ...] = ("auto",),
    protocol: tuple[
        Literal["resized", "full", "sliding", "multiscale", "flip", "multiscale-flip"], ...
    ] = ("resized",),
    scale: tuple[float, ...] = (),
    threads: int | None = None,
    map: Annotated[tuple[str, ...], arg(metavar="MODEL=DATA ...")] = (),
    html: Path | None = None,
    json: bool = False,
) -> int:
    """Compare two models: difference of each class with its interval, and where they disagree.

    Both see every frame, so the intervals are of paired differences, B less A.

    Args:
        first: Model file, checkpoint, or embedded model: camvid (INT8) or camvid-fp32.
        second: The other one; the same again to compare engines or protocols.
        data: Folder of images and masks of any layout, list of pairs, dataset.yaml, or `streets`.
        split: train, val, trainval or test; the truth of some test splits is not public.
        engine: What runs the networks; one for both, or one each.
        protocol: How the models look at a frame; one for both, or one each. See evaluate.
        scale: Side of the network's input over the frame's; one for both, or one each; by default
            as the models' cards say.
        threads: CPU threads; by default one for each physical core.
        map: Reconcile the models' classes with the data's, as in evaluate; a pair goes to each
            model that has the class. `nothing=NAME` ignores a class of the data for both.
        html: Write a report with pictures, one file.
        json: Print one JSON object in place of the table.
    """
    from bisenetv2.data.catalogue import open_dataset
    from bisenetv2.evaluation.compare import compare as score
    from bisenetv2.evaluation.compare_report import print_comparison, write_comparison
    from bisenetv2.evaluation.html_report import Circumstances
    from bisenetv2.evaluation.mapping import reconcile
    from bisenetv2.evaluation.protocols import Answering, FrameProtocol
    from bisenetv2.files import check_writable
    from bisenetv2.inference.segmenter import Segmenter
    from bisenetv2.progress import progress_bar

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "compare runs in one process, which torchrun would repeat: start it without torchrun"
        )
    engines, protocols = _for_both("engine", engine), _for_both("protocol", protocol)
    scales = _for_both("scale", scale or (None,))
    if html is not None:
        check_writable(html, (data, first, second))
    dataset = open_dataset(data, split)
    looking: list[Answering] = []
    facts = []
    for model, runs, name, factor in zip((first, second), engines, protocols, scales, strict=True):
        segmenter = Segmenter(model, runs, threads=threads, scale=factor)
        looking.append(FrameProtocol(segmenter, name))
        facts.append(Circumstances.now(model, segmenter))
    if map:
        looking, dataset = reconcile(looking, dataset, map)
    with progress_bar("compare", len(dataset)) as bar:
        result = score(looking[0], looking[1], dataset, lambda _: bar.advance())
    if html is not None:
        write_comparison(html, result, (facts[0], facts[1]))
    if json:
        named = {"models": [f.model for f in facts], "engines": [f.engine for f in facts]}
        content = {**named, "version": __version__, **result.to_json_object()}
        print(dumps(content, indent=2, allow_nan=False))
        return 0
    names = [f"{each.model} ({each.engine})" for each in facts]
    print_comparison(result, (names[0], names[1]), Console())
    if html is not None:
        print(f"written: {html}")
    return 0


def _for_both(option: str, values: tuple[Any, ...]) -> tuple[Any, Any]:
    """Returns a value for each model."""
    if len(values) not in (1, 2):
        raise UserError(f"--{option}: give one for both models or one for each")
    return values[0], values[-1]
