"""Checkpoint to ONNX: booster-free, any frame size, normalisation and card inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.export import Dim

from bisenetv2 import __version__
from bisenetv2.card import METADATA_KEY, ModelCard
from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.evaluation.evaluate import evaluate
from bisenetv2.evaluation.protocols import FrameProtocol
from bisenetv2.files import atomic_path, writing
from bisenetv2.images import Image
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.inference.torch_engine import TorchEngine
from bisenetv2.labels import Mask
from bisenetv2.network.bisenetv2 import STRIDE
from bisenetv2.network.checkpoint import load_checkpoint
from bisenetv2.network.frames import FrameNetwork

OPSET = 18
"""ONNX operator set: the oldest the exporter writes natively; OpenVINO, ONNX Runtime and TensorRT
all read it."""

LEAST_AGREEMENT = 0.999
"""Share of pixels that must get the same class from the file as from the checkpoint."""


def export_onnx(
    checkpoint: Path,
    output: Path,
    frames: Dataset,
    score_on: Dataset | None = None,
    *,
    input_scale: float | None = None,
) -> float:
    """Exports a checkpoint, runs the file, and compares the masks of both.

    Args:
        checkpoint: `.safetensors` to read.
        output: `.onnx` to write; only appears if the agreement holds.
        frames: Frames to compare on; their truth is not used.
        score_on: Data to score the file on; the figure of merit goes into its card.
        input_scale: Side of the network's input over a frame's, for the file's card; `None`: the
            checkpoint's.

    Returns:
        The agreement, at least `LEAST_AGREEMENT`.

    Raises:
        UserError: If the checkpoint cannot be read, the output has another ending or cannot be
            written, the scale is out of range, there is no frame, or the file disagrees with the
            checkpoint.
    """
    if output.suffix.lower() != ".onnx":
        raise UserError(f"{output}: model files end in .onnx")
    model, card = load_checkpoint(checkpoint)
    model = FrameNetwork(model.network.without_boosters(), model.normalization).eval()
    if input_scale is not None and input_scale != card.input_scale:
        card = replace(card, input_scale=input_scale, merit="")  # which is of another scale
    card = replace(card, version=__version__)
    with atomic_path(output) as temporary:
        proto = to_onnx(model, card)
        with writing(output):
            onnx.save(proto, temporary)
        reference = Segmenter.from_engine(TorchEngine(model), card)
        exported = Segmenter(temporary)
        share = agreement(reference, exported, frames)
        if share < LEAST_AGREEMENT:
            raise UserError(
                f"{output}: not written, it agrees with {checkpoint} on "
                f"{100 * share:.3f} % of pixels; {100 * LEAST_AGREEMENT:g} % are needed"
            )
        if score_on is not None:
            merit = evaluate(FrameProtocol(exported), score_on).merit
            write_card(proto, replace(card, merit=merit))
            with writing(output):
                onnx.save(proto, temporary)
    return share


def agreement(
    first: Callable[[Image], Mask], second: Callable[[Image], Mask], frames: Dataset
) -> float:
    """Runs both segmenters on every frame of a dataset.

    Returns:
        Share of all pixels to which both give the same class, 0 to 1.

    Raises:
        UserError: If there is no frame.
    """
    if len(frames) == 0:
        raise UserError(f"{frames.name}: no frames to compare on; name a split that has some")
    equal = pixels = 0
    for index in range(len(frames)):
        frame = frames[index].image
        mask = first(frame)
        equal += int(np.count_nonzero(mask == second(frame)))
        pixels += mask.size
    return equal / pixels


def to_onnx(model: FrameNetwork, card: ModelCard) -> onnx.ModelProto:
    """Builds the model file in memory.

    Args:
        model: Network without booster heads, in evaluation mode, on the CPU.
        card: What the file says about itself.

    Returns:
        A model with input `frame`, `uint8` N×H×W×3, and output `logits`, `float32` N×C×H/8×W/8
        (N×C×H×W where the card says stride 1), for every H and W divisible by 32.
    """
    example = torch.zeros(2, 2 * STRIDE, 3 * STRIDE, 3, dtype=torch.uint8)
    shape = {
        0: Dim("batch", min=1, max=1024),
        1: STRIDE * Dim("rows", min=1, max=1024),
        2: STRIDE * Dim("columns", min=1, max=1024),
    }
    with quiet("torch.onnx"):  # among others, that torchvision is absent
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["frame"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_shapes=(shape,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # only the older exporter returns nothing
    proto = program.model_proto
    write_card(proto, card)
    proto.doc_string = f"BiSeNet V2 trained on {card.data}"
    onnx.checker.check_model(proto)
    return proto


def write_card(proto: onnx.ModelProto, card: ModelCard) -> None:
    """Puts a card into the metadata of a model."""
    onnx.helper.set_model_props(proto, {METADATA_KEY: card.to_json()})


@contextmanager
def quiet(name: str | None) -> Iterator[None]:
    """Keeps a library's advice, deprecations and remarks on what it does without to itself.

    Args:
        name: Its logger; `None` for the root.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
