"""`bisenetv2 export`: checkpoint to model file, FP32 or INT8, with proof of what it is worth.

bisenetv2 export runs/camvid/best.safetensors -o model.onnx
bisenetv2 export runs/camvid/best.safetensors --data ../shared/camvid --score-split test
bisenetv2 export runs/camvid/best.safetensors --input-scale 1.5
bisenetv2 export runs/camvid/best.safetensors -o int8.onnx --int8 --calibrate ../shared/camvid
bisenetv2 export model.onnx -o int8.onnx --int8 --calibrate ../shared/camvid --max-drop 0.2
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from tyro.conf import Positional, arg

from bisenetv2.errors import UserError

if TYPE_CHECKING:
    from bisenetv2.export.int8_file import Int8Export


def export(
    model: Annotated[Positional[Path], arg(metavar="MODEL")],
    *,
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    data: str | None = None,
    split: str | None = None,
    frames: int | None = None,
    score_split: str | None = None,
    input_scale: float | None = None,
    int8: bool = False,
    calibrate: str | None = None,
    drop_split: str | None = None,
    max_drop: float | None = None,
) -> int:
    """Write a model file (.onnx) from a checkpoint, run it, and print how good it is.

    FP32: prints how far file and checkpoint agree; less than 99.9 % of pixels is a failure.
    INT8 (--int8 --calibrate DATA): prints mIoU and time of FP32 and INT8 side by side, and leaves
    the fewest layers in FP32 that keep the drop within --max-drop.

    Args:
        model: .safetensors that training wrote; for INT8 an FP32 .onnx, or camvid-fp32, will do.
        output: .onnx to write; by default beside the model.
        data: FP32: where frames to compare on come from: a data folder, or `streets` (default).
        split: Split of the frames to compare on (val), or to calibrate on (train).
        frames: Number of frames to compare on (8), or to calibrate on (64).
        score_split: Split to score the finished file on; the figure goes into its card.
        input_scale: Side of the network's input over that of a frame of the training's size, 0.01
            to 8; by default the checkpoint's. `evaluate --scale` on such frames tells which is
            best.
        int8: Quantise the convolutions.
        calibrate: INT8: data folder, or `streets`, that calibrates and scores.
        drop_split: INT8: split on which mIoU may drop (val).
        max_drop: INT8: most points of mIoU that any installed engine may lose there (0.5).
    """
    from bisenetv2.inference.model_file import EMBEDDED_MODELS

    if int8 != (calibrate is not None):
        raise UserError(
            "--int8 and --calibrate DATA go together: INT8 needs frames to calibrate on"
        )
    for option, given in (("--drop-split", drop_split), ("--max-drop", max_drop)):
        if not int8 and given is not None:
            raise UserError(f"{option} {given}: goes with --int8")
    if frames is not None and frames < 1:
        raise UserError(f"--frames {frames}: ask for 1 or more")
    if int8 and data is not None:
        raise UserError(f"--data {data}: INT8 takes its frames from --calibrate alone")
    is_checkpoint = model.suffix.lower() == ".safetensors"
    if input_scale is not None and not is_checkpoint:
        raise UserError(
            f"--input-scale {input_scale:g}: {model} keeps its own; give the checkpoint it was "
            "exported from"
        )
    if not int8 and not is_checkpoint:
        there = model.exists() or str(model) in EMBEDDED_MODELS
        raise UserError(
            f"{model}: {'is no' if there else 'no such file; name a'} .safetensors that training "
            "wrote, as runs/x/best.safetensors; see `bisenetv2 import` for other projects' files; "
            "for INT8 of a model file add --int8 --calibrate DATA"
        )
    target = output or model.with_suffix(".int8.onnx" if int8 else ".onnx")
    if target.resolve() == model.resolve():
        raise UserError(f"{target}: is the model itself; name another file with --output")
    from bisenetv2.data.catalogue import open_dataset
    from bisenetv2.data.dataset import SpreadSamples
    from bisenetv2.export.int8_file import export_int8
    from bisenetv2.export.onnx_file import export_onnx
    from bisenetv2.files import check_writable

    check_writable(target)
    source = calibrate or data or "streets"
    score_on = open_dataset(source, score_split) if score_split else None
    if not int8:
        dataset = SpreadSamples(open_dataset(source, split or "val"), frames or 8)
        share = export_onnx(model, target, dataset, score_on, input_scale=input_scale)
        print(
            f"{target}: {target.stat().st_size / 1e6:.1f} MB, agrees with {model} on "
            f"{100 * share:.4f} % of pixels ({len(dataset)} frames of {dataset.name})"
        )
        return 0
    split, drop_split = split or "train", drop_split or "val"
    parts = {"trainval": {"train", "val"}}
    if parts.get(split, {split}) & parts.get(drop_split, {drop_split}):
        raise UserError(
            f"--drop-split {drop_split}: is what calibrates the file; score it on another split"
        )
    calibration = SpreadSamples(open_dataset(source, split), frames or 64)
    drop_on = open_dataset(source, drop_split)
    with TemporaryDirectory(prefix="bisenetv2-export-") as folder:
        fp32 = model
        if is_checkpoint:
            fp32 = Path(folder) / "fp32.onnx"
            export_onnx(model, fp32, SpreadSamples(calibration, 4), input_scale=input_scale)
        result = export_int8(
            fp32, target, calibration, drop_on, 0.5 if max_drop is None else max_drop, score_on,
            lambda line: print(line, file=sys.stderr, flush=True),
        )  # fmt: skip
    _print_int8(result, target)
    return 0


def _print_int8(result: Int8Export, target: Path) -> None:
    """Sets FP32 and INT8 side by side."""
    from bisenetv2.evaluation.report import percent, print_table

    scores = {"FP32": result.fp32, **{f"INT8 {name}": each for name, each in result.int8.items()}}
    columns = {
        heading: [*map(percent, each.matrix.iou), percent(each.matrix.mean_iou)]
        for heading, each in scores.items()
    }
    title = f"IoU, %, {result.fp32.data}"
    print_table(title, result.fp32.labels, columns, Console())
    print("network: {:.1f} ms in FP32, {:.1f} in INT8".format(*result.milliseconds))
    print(
        f"{target}: {target.stat().st_size / 1e6:.1f} MB, {result.drop:.2f} points of mIoU lost, "
        f"{100 * result.agreement:.2f} % of pixels as in FP32"
    )
    print(f"left in floating point: {', '.join(result.floating) or 'none'}")
