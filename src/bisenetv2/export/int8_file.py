"""From an FP32 model file to an INT8 one that loses no more than it may, and the proof of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import onnx

from bisenetv2 import __version__
from bisenetv2.data.dataset import Dataset, SpreadSamples
from bisenetv2.errors import UserError
from bisenetv2.evaluation.evaluate import Evaluation, evaluate
from bisenetv2.evaluation.protocols import FrameProtocol
from bisenetv2.export.depthwise import repeat_inputs
from bisenetv2.export.onnx_file import agreement, write_card
from bisenetv2.export.quantize import by_sensitivity, fit, quantize, release
from bisenetv2.files import atomic_path, writing
from bisenetv2.inference.benchmark import NETWORK, interleave, time_stages
from bisenetv2.inference.engines import EngineName, Frames
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.model_file import find_model
from bisenetv2.inference.segmenter import Segmenter

FITTING_FRAMES = 6
"""Frames on which scales are lowered and biases corrected."""

SENSITIVITY_FRAMES = 4
"""Frames on which the layers' errors are measured."""

ENGINES: tuple[EngineName, ...] = ("openvino", "onnxruntime")
"""Engines that a file is held to, where they are installed."""

TIMED_FRAMES = 15
"""Runs of each file of which the median is the latency."""


@dataclass(frozen=True)
class Int8Export:
    """What becomes of a model file in INT8."""

    fp32: Evaluation
    int8: dict[str, Evaluation]
    """By engine: each rounds in its own way, and on some CPUs one loses what another does not."""

    floating: tuple[str, ...]
    """Layers left in floating point because of what they lose in INT8."""

    milliseconds: tuple[float, float] = (math.nan, math.nan)
    """Median time of the network in FP32 and in INT8."""

    agreement: float = math.nan
    """Share of pixels to which both give the same class, 0 to 1, on `TIMED_FRAMES` frames."""

    @property
    def lost(self) -> dict[str, float]:
        """Points of mIoU lost by engine, 0 to 100; negative where INT8 is better."""
        fp32 = self.fp32.matrix.mean_iou
        return {name: 100 * (fp32 - score.matrix.mean_iou) for name, score in self.int8.items()}

    @property
    def drop(self) -> float:
        """Points of mIoU lost on the worst engine."""
        return max(self.lost.values())


def export_int8(
    source: Path,
    output: Path,
    calibration: Dataset,
    drop_on: Dataset,
    max_drop: float,
    score_on: Dataset | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Int8Export:
    """Quantises a model file and leaves in floating point what costs too much accuracy.

    Args:
        source: FP32 model file (`.onnx`), or the name of an embedded one.
        output: `.onnx` to write; only appears if the drop is small enough.
        calibration: Frames that fix the scales; their truth is not used.
        drop_on: Data on which mIoU may drop by `max_drop`.
        max_drop: Most points of mIoU that INT8 may lose on any engine, 0 to 100.
        score_on: Data to score the finished file on, once; the figure goes into its card.
        tell: Called with a line for each thing that takes long.

    Raises:
        UserError: If a value is out of range, the source is no FP32 model file, nothing is
            labelled in `drop_on`, or `max_drop` cannot be met.
    """
    if output.suffix.lower() != ".onnx":
        raise UserError(f"{output}: model files end in .onnx")
    if not 0 <= max_drop <= 100:
        raise UserError(f"max drop {max_drop}: expected 0 to 100 points of mIoU")
    source = find_model(source)
    fp32 = Segmenter(source)
    if fp32.card.quantization:
        raise UserError(f"{source}: is INT8 already; give the FP32 file or the checkpoint")
    original = repeat_inputs(onnx.load(source))
    before = evaluate(FrameProtocol(fp32), drop_on)
    if math.isnan(before.matrix.mean_iou):
        raise UserError(f"{drop_on.name}: has no labelled pixel to measure the drop on")
    tell(f"calibrating on {len(calibration)} frames of {calibration.name}")
    quantised = quantize(original, _prepared(fp32, calibration))
    tell("fitting scales and biases, which takes a minute or several")
    few = list(_prepared(fp32, SpreadSamples(calibration, FITTING_FRAMES)))
    quantised = fit(quantised, original, few)
    engines = [name for name in ENGINES if find_spec(name)]
    note = f"INT8, calibrated on {len(calibration)} frames of {calibration.name}"
    with atomic_path(output) as temporary, TemporaryDirectory(prefix="bisenetv2-int8-") as folder:

        def attempt(floating: Sequence[str]) -> Int8Export:
            path = Path(folder) / f"{len(floating)}.onnx"
            more = f"; in floating point: {', '.join(floating)}" if floating else ""
            model = release(quantised, original, floating)
            card = replace(fp32.card, merit="", quantization=note + more, version=__version__)
            write_card(model, card)
            with writing(output):
                onnx.save(model, path)
            after: dict[str, Evaluation] = {
                name: evaluate(FrameProtocol(Segmenter(path, name)), drop_on) for name in engines
            }
            result = Int8Export(before, after, tuple(floating))
            lost = " and ".join(f"{points:.2f} in {name}" for name, points in result.lost.items())
            tell(f"points lost with {len(floating)} sensitive layers in FP32: {lost}")
            return result

        best = attempt(())
        if best.drop > max_drop:
            tell("measuring how sensitive each layer is")
            few = list(_prepared(fp32, SpreadSamples(drop_on, SENSITIVITY_FRAMES)))
            best = _fewest(by_sensitivity(quantised, original, few), attempt, max_drop)
        if best.drop > max_drop:
            raise UserError(
                f"{output}: not written: with all layers but one in floating point it still loses "
                f"{best.drop:.2f} points on {drop_on.name}; allow more than {max_drop:g} with "
                "--max-drop"
            )
        path = Path(folder) / f"{len(best.floating)}.onnx"
        int8, model = Segmenter(path), onnx.load(path)
        agreed = agreement(fp32, int8, SpreadSamples(drop_on, TIMED_FRAMES))
        milliseconds = _network_times(fp32, int8, drop_on)
        card = replace(int8.card, quantization=f"{int8.card.quantization}; {_proof(best, drop_on)}")
        if score_on is not None:
            tell(f"scoring on {score_on.name}")
            card = replace(card, merit=evaluate(FrameProtocol(int8), score_on).merit)
        write_card(model, card)
        with writing(output):
            onnx.save(model, temporary)
    return replace(best, milliseconds=milliseconds, agreement=agreed)


def _fewest(
    order: Sequence[str], attempt: Callable[[Sequence[str]], Int8Export], max_drop: float
) -> Int8Export:
    """Finds by bisection how many of the layers, in their order, it takes; at most all but one."""
    least, enough = 0, max(len(order) - 1, 0)  # `least` layers are known to be too few
    best = attempt(order[:enough])
    if best.drop > max_drop:
        return best
    while enough - least > 1:
        middle = (least + enough) // 2
        result = attempt(order[:middle])
        if result.drop <= max_drop:
            best, enough = result, middle
        else:
            least = middle
    return best


def _proof(found: Int8Export, drop_on: Dataset) -> str:
    """Tells what was lost where: on another kind of CPU the same file may lose more."""
    instructions = describe_machine().instructions
    on = f" with {', '.join(instructions)}" if instructions else ""
    engines = " and ".join(found.int8)
    return f"{found.drop:.2f} points of mIoU lost on {drop_on.name} by {engines} on a CPU{on}"


def _prepared(segmenter: Segmenter, dataset: Dataset) -> Iterator[Frames]:
    """Yields frames as the network sees them."""
    for index in range(len(dataset)):
        yield segmenter.prepare(dataset[index].image)


def _network_times(fp32: Segmenter, int8: Segmenter, dataset: Dataset) -> tuple[float, float]:
    """Takes the median milliseconds of both networks, in turn on the same frames."""
    few = SpreadSamples(dataset, 3)
    images = [few[index].image for index in range(len(few))]
    roads = [lambda image: time_stages(fp32, image), lambda image: time_stages(int8, image)]
    timed = interleave(roads, images, runs=TIMED_FRAMES, warmup=3)
    first, second = (median(run.seconds[NETWORK] for run in runs) for runs in timed)
    return 1000 * first, 1000 * second
