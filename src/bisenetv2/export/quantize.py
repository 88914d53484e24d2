"""FP32 model file to INT8: post-training quantization of the convolutions, in ONNX's QDQ form.

Each quantised convolution reads its input and its weights through a pair of QuantizeLinear and
DequantizeLinear, which OpenVINO, ONNX Runtime and TensorRT fuse into an INT8 kernel. What they all
take: symmetric `int8`, one scale an activation, one scale an output channel of the weights.

Outputs are quantised as well as inputs: it costs OpenVINO nothing, and only so does ONNX Runtime
compute in INT8 (92 ms a frame where it takes 163 otherwise). What a ReLU reads is rounded at the
scale of what it puts out, so that it is rounded once.

Weights use 7 of the 8 bits. CPUs without VNNI add products of 8 by 8 bits in pairs of 16 bits,
which overflow: with 8-bit weights such a machine loses tens of points of mIoU, silently.

`fit` then brings scales and biases nearer to what FP32 computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from bisenetv2.errors import UserError, require
from bisenetv2.export.onnx_file import quiet
from bisenetv2.inference.engines import Frames

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

STEP = 0.8
"""Factor by which a scale is lowered at a time."""


def layer_names(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Returns the convolutions of a model file by the network's names, in its order.

    A name is that of the module, such as `detail.S1.0` or `head.classifier`.
    """
    return {
        node.input[1].removeprefix("network.").removesuffix(".weight").removesuffix(".conv"): node
        for node in model.graph.node
        if node.op_type == "Conv"
    }


def quantize(model: onnx.ModelProto, frames: Iterable[Frames]) -> onnx.ModelProto:
    """Quantises every convolution of a model file.

    Args:
        model: FP32 model as `to_onnx` builds it.
        frames: What the network is to see, `uint8` 1×H×W×3: their extremes fix the scales.

    Raises:
        UserError: If ONNX Runtime is missing or there is no frame.
    """
    try:
        from onnxruntime import quantization
    except ModuleNotFoundError as error:
        raise require("onnxruntime", "train") from error
    feeds = ({"frame": frame} for frame in frames)
    first = next(feeds, None)
    if first is None:
        raise UserError("no frame to calibrate on: name data and a split that hold some")
    whole = chain([first], feeds)
    reader = SimpleNamespace(get_next=lambda: next(whole, None))
    with TemporaryDirectory(prefix="bisenetv2-int8-") as folder, quiet(None):
        source, path = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)  # given the model itself, the quantizer would change it
        quantization.quantize_static(
            source,
            path,
            reader,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                # At no cost: it is added to the products' 32-bit sum.
                "QuantizeBias": False,
            },
        )
        quantised = onnx.load(path)
    _leave_exact(quantised.graph)
    _share_scales(quantised.graph)
    return quantised


def fit(
    quantised: onnx.ModelProto, original: onnx.ModelProto, frames: Sequence[Frames]
) -> onnx.ModelProto:
    """Lowers scales, then corrects biases if that brings the logits nearer FP32 too.

    Args:
        quantised: What `quantize` made of `original`.
        original: FP32 model.
        frames: A few frames `uint8` 1×H×W×3.
    """
    tightened = tighten(quantised, original, frames)
    corrected = correct_biases(tightened, original, frames)
    expected = logits_of(original, frames)
    before, after = (logits_error(m, frames, expected) for m in (tightened, corrected))
    return corrected if after < before else tightened


def tighten(
    quantised: onnx.ModelProto, original: onnx.ModelProto, frames: Sequence[Frames]
) -> onnx.ModelProto:
    """Lowers the scales of activations as far as the logits come nearer FP32.

    Extremes are rare: what clips them rounds all else more finely. One scale after the other, in
    the order of the network, is lowered by `STEP` until that gains no more.

    Args:
        quantised: What `quantize` made of `original`.
        original: FP32 model.
        frames: A few frames `uint8` 1×H×W×3.
    """
    expected = logits_of(original, frames)
    model = deepcopy(quantised)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    rounded = [node.input[1] for node in model.graph.node if node.op_type == QUANTIZE]
    least = logits_error(model, frames, expected)
    for name in dict.fromkeys(rounded):
        while True:
            kept = numpy_helper.to_array(constants[name])
            lower = np.asarray(kept * np.float32(STEP))
            constants[name].CopyFrom(numpy_helper.from_array(lower, name))
            error = logits_error(model, frames, expected)
            if not error < least:
                constants[name].CopyFrom(numpy_helper.from_array(kept, name))
                break
            least = error
    return model


def correct_biases(
    quantised: onnx.ModelProto, original: onnx.ModelProto, frames: Sequence[Frames]
) -> onnx.ModelProto:
    """Moves biases until the mean of each channel that a convolution puts out is FP32's.

    Rounding weights and clipping activations shifts means, and later layers pass the shift on
    (bias correction: Nagel et al., ICCV 2019). The layers go in the order of the network, each one
    read with those before it corrected. Biases are in FP32: it costs nothing.

    Args:
        quantised: What `quantize` made of `original`, its scales lowered or not.
        original: FP32 model.
        frames: A few frames `uint8` 1×H×W×3.
    """
    model = deepcopy(quantised)
    readers = Counter(tensor for node in model.graph.node for tensor in node.input)
    nodes = {node.name: node for node in model.graph.node}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = layer_names(original).values()
    expected = _channel_means(original, [layer.output[0] for layer in layers], frames)
    for layer, wanted in zip(layers, expected, strict=True):
        node = nodes[layer.name]
        if len(node.input) < 3 or readers[node.input[2]] > 1:
            continue  # it has no bias, or one that is another layer's too
        (found,) = _channel_means(model, [node.output[0]], frames)
        bias = constants[node.input[2]]
        moved = numpy_helper.to_array(bias) + (wanted - found)
        bias.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), bias.name))
    return model


def _channel_means(
    model: onnx.ModelProto, tensors: Sequence[str], frames: Sequence[Frames]
) -> list[Any]:
    """Mean of each channel of some tensors N, C, h, w over the frames."""
    inside = deepcopy(model)
    del inside.graph.output[:]
    inside.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = open_session(inside)
    means = [
        [values.mean((0, 2, 3)) for values in session.run(tensors, {"frame": frame})]
        for frame in frames
    ]
    return [np.mean(each, axis=0) for each in zip(*means, strict=True)]


def release(
    quantised: onnx.ModelProto, original: onnx.ModelProto, names: Collection[str]
) -> onnx.ModelProto:
    """Returns a quantised model with some of its layers back in floating point.

    Args:
        quantised: What `quantize` made of `original`, fitted or not; the layers' own weights and
            biases come back.
        original: FP32 model.
        names: Layers by the names of `layer_names` (of the original).
    """
    model = deepcopy(quantised)
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    nodes = {node.name: node for node in graph.node}
    weights = {tensor.name: tensor for tensor in original.graph.initializer}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    layers = layer_names(original)
    touched = set()
    for name in names:
        node, source = nodes[layers[name].name], layers[name]
        dequantize = producers[node.input[0]]
        node.input[0] = producers[dequantize.input[0]].input[0]
        node.input[1] = source.input[1]
        if source.input[1] not in stored:
            graph.initializer.append(weights[source.input[1]])
        for bias in source.input[2:]:
            stored[bias].CopyFrom(weights[bias])
        touched |= {node.input[0], node.output[0]}
    into_layers = {node.input[0] for node in graph.node if node.op_type == "Conv"}
    exact = {
        node.output[0]: producers[node.input[0]].input[0]
        for node in graph.node
        if node.op_type == DEQUANTIZE and node.input[0] in producers
    }  # by the rounded tensor
    for node in graph.node:
        for index, tensor in enumerate(node.input):
            if exact.get(tensor) in touched and tensor not in into_layers:
                node.input[index] = exact[tensor]
    _prune(model.graph)
    return model


def by_sensitivity(
    quantised: onnx.ModelProto, original: onnx.ModelProto, frames: Sequence[Frames]
) -> list[str]:
    """Orders the quantised layers by how much nearer FP32 the logits come without each.

    Args:
        quantised: What `quantize` made of `original`.
        original: FP32 model.
        frames: A few frames `uint8` 1×H×W×3.

    Returns:
        Names of the quantised layers, the most sensitive first.
    """
    expected = logits_of(original, frames)
    nodes = {node.name: node for node in quantised.graph.node}
    producers = {output: node for node in quantised.graph.node for output in node.output}
    errors = {}
    for name, node in layer_names(original).items():
        source = producers.get(nodes[node.name].input[1])
        if source is not None and source.op_type == DEQUANTIZE:
            errors[name] = logits_error(release(quantised, original, [name]), frames, expected)
    return sorted(errors, key=lambda name: errors[name])


def logits_error(
    model: onnx.ModelProto, frames: Sequence[Frames], expected: Sequence[Any]
) -> float:
    """Mean squared distance of a model's logits from those expected, summed over the frames."""
    found = logits_of(model, frames)
    return sum(float(np.square(a - b).mean()) for a, b in zip(found, expected, strict=True))


def logits_of(model: onnx.ModelProto, frames: Sequence[Frames]) -> list[Any]:
    """Logits `float32` 1×C×h×w of each frame by ONNX Runtime."""
    session = open_session(model)
    return [session.run(["logits"], {"frame": frame})[0] for frame in frames]


def open_session(model: onnx.ModelProto) -> Any:
    """Opens a model in ONNX Runtime, on the CPU."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level = 3
    return InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _leave_exact(graph: onnx.GraphProto) -> None:
    """Takes the quantization off what the model puts out: 8 bits would make equals of logits."""
    producers = {tensor: node for node in graph.node for tensor in node.output}
    for output in graph.output:
        reader, node = None, producers[output.name]
        while node.op_type != DEQUANTIZE:  # a pixel shuffle comes after the last convolution
            reader, node = node, producers[node.input[0]]
        exact = producers[node.input[0]].input[0]
        if reader is not None:
            reader.input[0] = exact
        else:
            node.output[0] = f"{output.name}_rounded"  # nothing reads it
            producers[exact].output[0] = output.name
    _prune(graph)


def _share_scales(graph: onnx.GraphProto) -> None:
    """Gives what a ReLU reads the scale at which what it puts out is rounded.

    Its own covers negative values too, which are to become 0: it may be twice as coarse, and what
    is rounded at it first is off by so much. At the same scale the second rounding changes nothing.
    """
    producers = {tensor: node for node in graph.node for tensor in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node)
    for node in graph.node:
        dequantize = producers.get(node.input[0]) if node.op_type == "Relu" else None
        if dequantize is None or dequantize.op_type != DEQUANTIZE:
            continue
        rounding = producers[dequantize.input[0]]
        if any(len(readers[tensor]) > 1 for tensor in (*rounding.output, *dequantize.output)):
            continue  # others want the negative values
        after = readers.get(node.output[0], [])
        if all(reader.op_type == "Concat" for reader in after):
            after = [last for reader in after for last in readers.get(reader.output[0], [])]
        scales = {tuple(reader.input[1:]) for reader in after if reader.op_type == QUANTIZE}
        if len(scales) == 1 and all(reader.op_type == QUANTIZE for reader in after):
            for pair in (rounding, dequantize):
                pair.input[1:] = next(iter(scales))
    _prune(graph)


def _prune(graph: onnx.GraphProto) -> None:
    """Removes nodes and constants that nothing reads any more."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    nodes = list(reversed(kept))
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
