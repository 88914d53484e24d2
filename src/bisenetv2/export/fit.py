"""Fits a quantised model file to its FP32 original: scales and biases, by a few frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from bisenetv2.export.quantize import (
    QUANTIZE,
    layer_names,
    logits_error,
    logits_of,
    open_session,
)
from bisenetv2.inference.engines import Frames

STEP = 0.8
"""Factor by which a scale is lowered at a time."""


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
