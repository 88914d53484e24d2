"""The plain road, which every figure of speed is held against, and the networks that run on it.

It is what one writes first: a network in eager PyTorch in FP32, its logits enlarged to the frame's
size, their arg-max.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from bisenetv2.builtin_labels import BUILTIN, voc_color
from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.export.onnx_file import to_onnx
from bisenetv2.inference.benchmark import UNTRAINED
from bisenetv2.inference.model_file import read_card
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.torch_engine import TorchEngine
from bisenetv2.labels import Labels, Mask
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.checkpoint import load_checkpoint, save_checkpoint
from bisenetv2.network.config import BiSeNetV2Config
from bisenetv2.network.frames import FrameNetwork, Normalization


class PlainRoad(Segmenter):
    """A segmenter with a plain second and third stage; the first, the resize, is the same."""

    @classmethod
    def of(
        cls, model: FrameNetwork, card: ModelCard, scale: float | None, threads: int | None
    ) -> PlainRoad:
        """Lays the road for a network, which is shared, not copied.

        Args:
            model: Network without booster heads.
            card: Its card.
            scale: As for `Segmenter`.
            threads: CPU threads, which PyTorch keeps for the whole process; `None` leaves it be.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        statistics = model.normalization.mean, model.normalization.std
        plain = FrameNetwork(model.network, _Contiguous(*statistics))
        plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return cls.from_engine(TorchEngine(plain, threads), card, scale)  # type: ignore[return-value]

    def decode(self, logits: npt.NDArray[np.float32], size: tuple[int, int]) -> Mask:
        """Third stage: enlarges all logits to the frame's size, then takes the arg-max."""
        return plain_argmax(logits, size)


def plain_argmax(logits: npt.NDArray[np.float32], size: tuple[int, int]) -> Mask:
    """Does with PyTorch, in two calls, what `upsample_argmax` does.

    Args:
        logits: `float32` C×h×w.
        size: Height and width of the mask.

    Returns:
        `uint8` H×W of class indices.
    """
    with torch.inference_mode():
        planes = F.interpolate(torch.from_numpy(logits)[None], size, mode="bilinear")[0]  # C, H, W
        return planes.argmax(0).to(torch.uint8).numpy()


class _Contiguous(Normalization):
    """Normalisation into channels first, in memory too: the layout PyTorch has by default."""

    def forward(self, frames: Tensor) -> Tensor:
        """Maps `uint8` B, H, W, 3 to `float32` B, 3, H, W."""
        return super().forward(frames).contiguous()


def read_network(path: Path) -> tuple[FrameNetwork, bool]:
    """Builds the network inside a model, in PyTorch and in FP32.

    Args:
        path: Checkpoint (`.safetensors`) or model file (`.onnx`).

    Returns:
        The network without booster heads, in evaluation mode, and whether its weights are the
        model's. Those of a model file can be read back unless it is quantised; where they cannot,
        the network has the same shape, and so the same speed, and weights at random.

    Raises:
        UserError: If the file cannot be read, or does not say what network it holds.
    """
    if path.suffix.lower() == ".safetensors":
        model, _ = load_checkpoint(path)
        return FrameNetwork(model.network.without_boosters(), model.normalization).eval(), True
    card = read_card(path)
    if not card.network:
        raise UserError(f"{path}: its card does not say what network it holds; export it anew")
    try:
        config = BiSeNetV2Config(**dict(card.network))
    except (UserError, TypeError) as error:
        raise UserError(f"{path}: network of another version ({error}); export it anew") from error
    network = BiSeNetV2(config).without_boosters().eval()
    graph = onnx.load(path).graph
    weights_are_theirs = _fill(network, graph)
    return FrameNetwork(network, _normalization(graph)).eval(), weights_are_theirs


def _normalization(graph: onnx.GraphProto) -> Normalization:
    """Reads the normalisation off the subtraction and the division a model file begins with."""
    constants = {entry.name: entry for entry in graph.initializer}
    values = {
        node.op_type: tuple(numpy_helper.to_array(constants[node.input[1]]).ravel().tolist())
        for node in reversed(graph.node)
        if node.op_type in ("Sub", "Div") and node.input[1] in constants
    }
    if len(values) != 2:
        return Normalization()
    return Normalization(values["Sub"], values["Div"])


def _fill(network: BiSeNetV2, graph: onnx.GraphProto) -> bool:
    """Fills a network from a model file; tells whether all was found.

    In the file batch normalisation is folded into the convolution before it. Here the convolution
    takes the folded weights, and its normalisation is left to add the folded bias.
    """
    values = {
        entry.name.removeprefix("network."): torch.from_numpy(numpy_helper.to_array(entry).copy())
        for entry in graph.initializer
        if entry.name.startswith("network.")
    }
    state = network.state_dict()
    tensors = {name: value for name, value in values.items() if name in state}
    for node in graph.node:
        if node.op_type != "Conv" or len(node.input) < 3:
            continue
        unit = node.input[1].removeprefix("network.").removesuffix("conv.weight")
        bias = values.get(node.input[2].removeprefix("network."))
        if bias is None or f"{unit}bn.weight" not in state:
            continue
        if f"{unit}conv.bias" in state:  # folded into the other with all else
            tensors[f"{unit}conv.bias"] = torch.zeros_like(bias)
        scale = torch.full_like(bias, math.sqrt(1 + torch.nn.BatchNorm2d(1).eps))
        tensors[f"{unit}bn.weight"], tensors[f"{unit}bn.bias"] = scale, bias
        tensors[f"{unit}bn.running_mean"] = torch.zeros_like(bias)
        tensors[f"{unit}bn.running_var"] = torch.ones_like(bias)
    counters = {name for name in state if name.endswith("num_batches_tracked")}
    fits = all(tensors[name].shape == state[name].shape for name in tensors)
    if not fits or state.keys() - tensors.keys() - counters:
        return False
    network.load_state_dict(tensors, strict=False)
    return True


def write_untrained(config: BiSeNetV2Config, size: tuple[int, int], output: Path) -> None:
    """Writes a checkpoint with weights at random, to take the time of its network.

    Args:
        config: The network.
        size: Height and width of the frames in its card.
        output: File to write (`.safetensors`).
    """
    torch.manual_seed(0)
    classes = range(config.num_classes)
    numbered = Labels(tuple(f"class {index}" for index in classes), tuple(map(voc_color, classes)))
    card = ModelCard(
        labels=next((x for x in BUILTIN.values() if len(x) == len(classes)), numbered),
        frame_size=size,
        logits_stride=config.logits_stride,
        data=UNTRAINED,
        network=tuple(asdict(config).items()),
    )
    save_checkpoint(output, FrameNetwork(BiSeNetV2(config).without_boosters()), card)


def write_exported(checkpoint: Path, output: Path) -> None:
    """Writes a checkpoint as a model file, without the proof that `bisenetv2 export` asks for.

    Raises:
        UserError: If the checkpoint cannot be read.
    """
    model, _ = read_network(checkpoint)
    onnx.save(to_onnx(model, read_card(checkpoint)), output)


def open_in_torch(path: Path, threads: int | None) -> TorchEngine:
    """Opens a model file in PyTorch.

    Raises:
        UserError: If the file cannot be read, or its weights cannot be read back.
    """
    model, weights_are_theirs = read_network(path)
    if not weights_are_theirs:
        raise UserError(f"{path}: torch cannot read the weights back; take the checkpoint")
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TorchEngine(model, threads)
