"""From a frame to its mask: the one object that every surface of the product uses."""

from __future__ import annotations

import math
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.inference.engines import (
    DeviceDecoder,
    Engine,
    EngineName,
    Frames,
    memory_errors,
    open_engine,
)
from bisenetv2.inference.model_file import find_model, read_card
from bisenetv2.inference.softmax import upsample_softmax
from bisenetv2.inference.upsample import upsample_argmax
from bisenetv2.labels import Labels, Mask

STRIDE = 32
"""The network takes frames whose sides are multiples of this."""

SCALES = (0.01, 8.0)
"""Least and greatest factor from a frame's sides to the network's."""


class Segmenter:
    """Finds the class of every pixel of a frame of any size.

    Threads may share a segmenter: the network runs for one at a time, all else runs side by side.

    Attributes:
        card: What the model was trained on.
        engine: What runs the model.
        scale: Side of the network's input over the frame's, or `None` for as the card says.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        engine: EngineName = "auto",
        *,
        threads: int | None = None,
        scale: float | None = None,
    ) -> None:
        """Loads a model.

        Args:
            model: Model file (`.onnx`), checkpoint (`.safetensors`), or the name of an embedded
                model, `camvid` (INT8) or `camvid-fp32`; `None`: the first of these.
            engine: What runs it; see `open_engine`.
            threads: CPU threads to compute with; `None` leaves the choice to the engine.
            scale: Factor from the frame's sides to the network's, 0.01 to 8; less is faster and
                sees less. `None`: as many pixels as its card says, the frame enlarged only if, and
                no more than, the card says that.

        Raises:
            UserError: If the model or a value cannot be used.
        """
        path = find_model(model)
        self._set(open_engine(path, engine, threads), read_card(path), scale)

    @classmethod
    def from_engine(cls, engine: Engine, card: ModelCard, scale: float | None = None) -> Segmenter:
        """Builds a segmenter around an engine that is open already.

        Raises:
            UserError: If the scale is out of range.
        """
        segmenter = cls.__new__(cls)
        segmenter._set(engine, card, scale)
        return segmenter

    def _set(self, engine: Engine, card: ModelCard, scale: float | None) -> None:
        least, greatest = SCALES
        if scale is not None and not least <= scale <= greatest:
            raise UserError(f"scale {scale}: expected {least} to {greatest:g}")
        self.engine, self.card, self.scale = engine, card, scale
        self._turn = Lock()

    @property
    def labels(self) -> Labels:
        """Meaning of the class indices in the masks."""
        return self.card.labels

    def __call__(
        self, frame: Image, *, bgr: bool = False, size: tuple[int, int] | None = None
    ) -> Mask:
        """Finds the class of every pixel.

        Args:
            frame: `uint8` H×W×3 of any size, RGB.
            bgr: The frame's channels come in OpenCV's order, blue first.
            size: Height and width at which the network sees the frame, multiples of 32; `None`: by
                the segmenter's scale.

        Returns:
            `uint8` H×W of class indices.

        Raises:
            UserError: If the frame has another type or shape.
        """
        network_frame = self.prepare(frame, bgr=bgr, size=size)
        if isinstance(self.engine, DeviceDecoder):
            with self._turn:
                mask: Mask = self.engine.masks(network_frame, frame.shape[:2])[0]
            return mask
        return self.decode(self.infer(network_frame), frame.shape[:2])

    def probabilities(
        self, frame: Image, *, bgr: bool = False, size: tuple[int, int] | None = None
    ) -> npt.NDArray[np.float32]:
        """Finds how sure the network is of every class at every pixel.

        Args:
            frame: `uint8` H×W×3 of any size, RGB.
            bgr: As for a mask.
            size: As for a mask.

        Returns:
            Soft-max of the enlarged logits, `float32` C×H×W; its arg-max is the mask.

        Raises:
            UserError: If the frame has another type or shape.
        """
        logits = self.infer(self.prepare(frame, bgr=bgr, size=size))
        return upsample_softmax(logits, frame.shape[:2])

    def prepare(
        self, frame: Image, *, bgr: bool = False, size: tuple[int, int] | None = None
    ) -> Frames:
        """First stage: brings a frame to the network's size.

        Args:
            frame: `uint8` H×W×3.
            bgr: The frame's channels come blue first.
            size: That size (height, width), multiples of 32; `None`: by the segmenter's scale.

        Returns:
            RGB `uint8` 1×H'×W'×3, both sides multiples of 32.

        Raises:
            UserError: If the frame has another type or shape.
        """
        _check_frame(frame)
        height, width = map(int, size or network_size(frame.shape[:2], self.card, self.scale))
        if min(height, width) < STRIDE or height % STRIDE or width % STRIDE:
            raise UserError(f"size {height}×{width}: both sides must be multiples of {STRIDE}")
        with memory_errors((height, width)):
            image = _resize(frame, height, width)  # H', W', 3
        if bgr:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        return np.ascontiguousarray(image)[None]

    def infer(self, network_frame: Frames) -> npt.NDArray[np.float32]:
        """Second stage: runs the network on what `prepare` returned.

        Returns:
            Logits `float32` C×H'/s×W'/s, s being the card's `logits_stride`: 8, or 1.

        Raises:
            UserError: If the model gives logits of another stride than its card says.
        """
        with self._turn:
            logits: npt.NDArray[np.float32] = self.engine.logits(network_frame)[0]  # C, H'/s, W'/s
        (height, width), stride = network_frame.shape[1:3], self.card.logits_stride
        if logits.shape[1:] != (height // stride, width // stride):
            raise UserError(
                f"logits of {logits.shape[2]}×{logits.shape[1]} for a frame of {width}×{height}: "
                f"the model's card says stride {stride}; export it anew"
            )
        return logits

    def decode(self, logits: npt.NDArray[np.float32], size: tuple[int, int]) -> Mask:
        """Third stage: makes a mask of the frame's size (height, width) of the logits."""
        return upsample_argmax(logits, size)


def network_size(
    frame_size: tuple[int, int], card: ModelCard, scale: float | None = None
) -> tuple[int, int]:
    """Chooses the size at which the network sees a frame.

    Args:
        frame_size: Height and width of the frame in pixels.
        card: Card of the model.
        scale: Factor from the frame's sides to the network's. `None`: about as many pixels as in
            training, since the network knows things at the size they had there, but the frame is
            enlarged only if frames were there, and no more than they.

    Returns:
        Height and width, each the nearest multiple of 32 and at least 32; the shape of the frame
        is kept as far as that allows.
    """
    if scale is None:
        scale = training_scale(frame_size, card)
    height, width = (max(STRIDE, STRIDE * math.floor(s * scale / STRIDE + 0.5)) for s in frame_size)
    return height, width


def training_scale(frame_size: tuple[int, int], card: ModelCard) -> float:
    """Returns the factor that gives a frame as many pixels as in training, by the card.

    It is 1 at most, or what frames were enlarged by in training.
    """
    pixels_in_training = math.prod(card.frame_size) * card.input_scale**2
    factor = math.sqrt(pixels_in_training / math.prod(frame_size))
    return min(max(1.0, card.input_scale), factor)


def _resize(frame: Image, height: int, width: int) -> Image:
    if frame.shape[:2] == (height, width):
        return frame
    shrink = max(frame.shape[0] / height, frame.shape[1] / width)
    # Beyond a factor of 2 linear interpolation would pass over pixels, and fine things would
    # flicker.
    interpolation = cv2.INTER_AREA if shrink > 2 else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=interpolation)
    return np.asarray(resized, np.uint8)


def _check_frame(frame: Any) -> None:
    is_array = isinstance(frame, np.ndarray)
    if is_array and frame.dtype == np.uint8 and frame.shape[2:] == (3,) and frame.size:
        return
    given = f"{frame.dtype} {'×'.join(map(str, frame.shape))}" if is_array else type(frame).__name__
    raise UserError(f"frame: got {given}; expected a NumPy array of uint8 height×width×3, RGB")
