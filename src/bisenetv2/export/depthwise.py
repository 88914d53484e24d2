"""Depth-wise convolutions that expand, rewritten into what engines have an INT8 kernel for.

The expanding convolution of a Gather-and-Expansion layer (Figure 5) makes ε outputs of each input
channel. Engines compute that as many tiny general convolutions, at a hundredth of the speed of the
others. The same, and quick, is a plain depth-wise convolution of ε copies of the input side by
side. Its channels come in another order, which is handed on to whatever reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import onnx
from onnx import helper, numpy_helper


def is_depthwise(node: onnx.NodeProto) -> bool:
    """Whether a convolution has more than one group."""
    return node.op_type == "Conv" and _groups(node).i > 1


def repeat_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a model that computes the same without depth-wise convolutions that expand.

    Args:
        model: FP32 model as `to_onnx` builds it: only convolutions and functions of single values
            stand between an expanding convolution and the dense one that ends its layer.
    """
    plain = deepcopy(model)
    constants = {tensor.name: tensor for tensor in plain.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in plain.graph.node:
        if is_depthwise(node):
            channels, outputs = _groups(node).i, constants[node.input[1]].dims[0]
            if outputs > channels:
                copies = outputs // channels
                # Output c·ε + k, made of input c, becomes output k·C + c.
                order = np.arange(outputs).reshape(channels, copies).T.ravel()
                for reader, axis in [(node, 0), *_reorderings(plain.graph, node.output[0])]:
                    for name in reader.input[1 : 3 - axis]:  # a bias has no axis of inputs
                        values = numpy_helper.to_array(constants[name]).take(order, axis)
                        constants[name].CopyFrom(numpy_helper.from_array(values, name))
                repeated = f"{node.input[0]}_repeated"
                nodes.append(
                    helper.make_node(
                        "Concat", [node.input[0]] * copies, [repeated], repeated, axis=1
                    )
                )
                node.input[0], _groups(node).i = repeated, outputs
        nodes.append(node)
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    return plain


def _reorderings(graph: onnx.GraphProto, tensor: str) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Yields what reads a tensor whose channels change places, and the axis of its weights."""
    for node in graph.node:
        if tensor in node.input:
            if node.op_type == "Conv" and not is_depthwise(node):
                yield node, 1
                continue
            if node.op_type == "Conv":
                yield node, 0
            yield from _reorderings(graph, node.output[0])


def _groups(node: onnx.NodeProto) -> onnx.AttributeProto:
    return next((a for a in node.attribute if a.name == "group"), onnx.AttributeProto(i=1))
