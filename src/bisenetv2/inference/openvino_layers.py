"""What a model file costs and where its time goes, read off OpenVINO's graphs.

Two graphs: the file's, whose convolutions are counted, and the one OpenVINO runs, whose layers are
timed. The convolution peak is the yardstick for both: no network of convolutions runs faster than
one large convolution, time and again, does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from bisenetv2.inference.engines import Frames
from bisenetv2.inference.openvino_model import compile_model, read_model, without_telemetry

if TYPE_CHECKING:
    import openvino

Precision = Literal["INT8", "FP32", "BF16"]

CONVOLUTIONS = {"Convolution": 1, "GroupConvolution": 2}
"""Operations that multiply and accumulate, and the leading axes of their weights that do not:
outputs, or groups and outputs."""

PEAK_CHANNELS, PEAK_SIZE, PEAK_REPEATS = 128, (64, 128), 8
"""The large convolution: 3×3, as many channels in as out; the network's own widest are like it.
It is repeated, so that what goes in and comes out is as narrow as within a network."""

PEAK_SECONDS, PEAK_RUNS = 3.0, 20
"""Least time and least number of runs of which the fastest counts: on a shared machine the pace
changes from second to second, and a yardstick taken in a slow one flatters the network."""


@dataclass(frozen=True)
class GraphCost:
    """Cost of one frame, as the file stands."""

    macs: int
    """Multiply-accumulates of all convolutions."""

    parameters: int
    """Weights and biases of all convolutions; batch normalisation is folded into them."""


@dataclass(frozen=True)
class Peak:
    """The most multiply-accumulates a second that a convolution reaches."""

    precision: Precision

    kernel: str
    """OpenVINO's name of what computed it."""

    threads: int
    """Threads it ran on."""

    macs_per_second: float
    """Of the fastest run."""


@dataclass(frozen=True)
class Layer:
    """A layer as OpenVINO runs it, what it fused into it included."""

    name: str
    kind: str
    kernel: str
    """OpenVINO's name of what computes it; says INT8 or FP32."""

    milliseconds: float
    """Mean time."""

    macs: int
    """Multiply-accumulates; 0 for all but convolutions."""


def graph_cost(path: str | Path, size: tuple[int, int]) -> GraphCost:
    """Counts what a model file costs.

    Args:
        path: Model file (`.onnx`).
        size: Height and width of the network's input, multiples of 32.

    Raises:
        UserError: If the file cannot be read.
    """
    model = read_model(path, size)  # kept: nodes do not keep alive what follows them
    nodes = list(_convolutions(model))
    return GraphCost(
        macs=sum(_macs(node) for node in nodes),
        parameters=sum(math.prod(node.get_input_shape(1)) + _biases(node) for node in nodes),
    )


def convolution_peak(precision: Precision, threads: int | None = None) -> Peak:
    """Measures the convolution peak of this machine; takes `PEAK_SECONDS`.

    Args:
        precision: Of activations and weights. A CPU without bfloat16 takes it for FP32.
        threads: CPU threads; `None` leaves the choice to OpenVINO, as in the engine.
    """
    model = _large_convolutions(precision == "INT8")
    compiled = compile_model(model, threads, clocks=True, bfloat16=precision == "BF16")
    (port,) = compiled.inputs
    values = np.random.default_rng(0).integers(0, 256, tuple(port.shape))
    values = values.astype(port.element_type.to_dtype())
    request = compiled.create_infer_request()
    times: list[float] = []
    while len(times) < PEAK_RUNS or sum(times) < PEAK_SECONDS:
        start = perf_counter()
        request.infer([values], share_inputs=True, share_outputs=True)
        times.append(perf_counter() - start)
    return Peak(
        precision=precision,
        kernel=next(info.exec_type for info in request.profiling_info if "Conv" in info.node_type),
        threads=int(compiled.get_property("INFERENCE_NUM_THREADS")),
        macs_per_second=sum(map(_macs, _convolutions(model))) / min(times),
    )


def time_layers(
    path: str | Path, frames: Frames, threads: int | None = None, runs: int = 20
) -> list[Layer]:
    """Runs a model file and takes the time of each of its layers.

    Args:
        path: Model file (`.onnx`).
        frames: What to run it on: `uint8` 1×H×W×3, both sides multiples of 32.
        threads: CPU threads; `None` leaves the choice to OpenVINO, as in the engine.
        runs: How many times, after as many of warm-up as it takes to lay out memory.

    Returns:
        The layers that took time, the slowest first.

    Raises:
        UserError: If the file cannot be read.
    """
    model = read_model(path, frames.shape[1:3])
    convolutions = {node.get_friendly_name(): node for node in _convolutions(model)}
    compiled = compile_model(read_model(path), threads, clocks=True)
    # The graph that runs says which operations of the file each of its layers stands for.
    origins = {
        node.get_friendly_name(): _runtime_fact(node, "originalLayersNames").split(",")
        for node in compiled.get_runtime_model().get_ops()
    }
    request = compiled.create_infer_request()
    request.infer([frames], share_inputs=True, share_outputs=True)
    first = {info.node_name: info.real_time for info in request.profiling_info}
    for _ in range(runs):
        request.infer([frames], share_inputs=True, share_outputs=True)
    layers = []
    for info in request.profiling_info:
        # OpenVINO gives the mean of all runs; the first, which lays out the memory, is taken out.
        total = info.real_time * (runs + 1) - first[info.node_name]
        computed = [
            convolutions[name] for name in origins.get(info.node_name, []) if name in convolutions
        ]
        layers.append(
            Layer(
                name=_weights_name(computed[0]) if computed else info.node_name,
                kind=info.node_type,
                kernel=info.exec_type,
                milliseconds=1000 * total.total_seconds() / runs,
                macs=sum(map(_macs, computed)),
            )
        )
    layers.sort(key=lambda layer: layer.milliseconds, reverse=True)
    return [layer for layer in layers if layer.milliseconds > 0]


def _large_convolutions(int8: bool) -> openvino.Model:
    """Builds a model of one convolution after the other, with nothing between them."""
    with without_telemetry():
        import openvino
        from openvino import opset13 as ops

    shape = (PEAK_CHANNELS, PEAK_CHANNELS, 3, 3)
    weights = ops.constant(np.random.default_rng(0).integers(-64, 65, shape, np.int8))
    scales = ops.constant(np.full((PEAK_CHANNELS, 1, 1, 1), 1e-3, np.float32))
    kernel = ops.multiply(ops.convert(weights, np.float32), scales)
    low, high = np.float32(0), np.float32(255)
    frame = ops.parameter([1, *PEAK_SIZE, PEAK_CHANNELS], np.uint8 if int8 else np.float32)
    # Channels last outside as inside: nothing is left to reorder.
    planes = ops.transpose(ops.convert(frame, np.float32), [0, 3, 1, 2])
    for _ in range(PEAK_REPEATS):
        if int8:
            planes = ops.fake_quantize(planes, low, high, low, high, 256)
        planes = ops.convolution(planes, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    return openvino.Model([ops.transpose(planes, [0, 2, 3, 1])], [frame], "convolutions")


def _convolutions(model: openvino.Model) -> Iterator[openvino.Node]:
    return (node for node in model.get_ops() if node.get_type_name() in CONVOLUTIONS)


def _macs(node: openvino.Node) -> int:
    """Multiply-accumulates of a convolution in a model of fixed size."""
    leading = CONVOLUTIONS[node.get_type_name()]
    per_output = math.prod(node.get_input_shape(1)[leading:])
    return int(math.prod(node.get_output_shape(0)) * per_output)


def _biases(node: openvino.Node) -> int:
    """Biases of a convolution: an addition of one value a channel follows it."""
    channels = int(node.get_output_shape(0)[1])
    for port in node.output(0).get_target_inputs():
        after = port.get_node()
        if after.get_type_name() == "Add":
            addends = [math.prod(after.get_input_shape(index)) for index in (0, 1)]
            return channels if min(addends) == channels else 0
    return 0


def _weights_name(node: openvino.Node) -> str:
    """Name of a convolution's weights in the file, which says where in the network it is."""
    source = node.input_value(1).get_node()
    while source.get_input_size():
        source = source.input_value(0).get_node()
    return str(source.get_friendly_name()).removeprefix("network.").partition(".weight")[0]


def _runtime_fact(node: openvino.Node, key: str) -> str:
    fact = node.get_rt_info()[key]
    return str(getattr(fact, "value", fact))
