"""Ways of looking at a frame to find its mask: what must stand beside every figure.

A protocol is a list of *looks*: a part of the frame, the size at which the network sees it,
mirrored or not. One look gives a mask as `predict` does; of several, the soft-max probabilities are
averaged at the frame's size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, product
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np

from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.inference.segmenter import STRIDE, Segmenter, network_size, training_scale
from bisenetv2.inference.softmax import upsample_confidence
from bisenetv2.inference.upsample import Floats
from bisenetv2.labels import Labels, Mask

ProtocolName = Literal["resized", "full", "sliding", "multiscale", "flip", "multiscale-flip"]

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Scales of multi-scale evaluation over the network's own, as is customary on Cityscapes."""

OVERLAP = 1 / 3
"""Least share of a sliding window that its neighbour sees too."""


class Seen(NamedTuple):
    """At which sizes a network sees frames of one size; heights and widths in pixels."""

    frame: tuple[int, int]

    scale: float
    """Side of the network's input over the frame's, before it is rounded to a multiple of 32."""

    network: tuple[tuple[int, int], ...]


class Answer(NamedTuple):
    """What a protocol makes of a frame."""

    mask: Mask  # H, W: class indices
    confidence: Floats | None  # H, W: probability of the class in the mask; only where asked for
    seen: Seen | None = None  # where a network saw the frame


class Answering(Protocol):
    """Whatever evaluation can score."""

    @property
    def labels(self) -> Labels:
        """Meaning of the class indices in its masks."""

    @property
    def description(self) -> str:
        """The protocol in words; reports add the sizes that the network saw."""

    def answer(self, frame: Image, confidence: bool) -> Answer:
        """Finds the mask of a frame (`uint8` H×W×3) and, if asked, the confidence in it."""


class Look(NamedTuple):
    """A part of a frame and how the network sees it."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    """Height and width at which the network sees it, multiples of 32."""

    mirrored: bool = False


@dataclass(frozen=True)
class FrameProtocol:
    """A protocol for a model.

    Raises:
        UserError: If the protocol does not go with a value that was given.
    """

    segmenter: Segmenter

    name: ProtocolName = "resized"
    """`resized`: the frame at the network's scale, as in the paper (section 3 of the
    specification). `full`: at its own, even if the network was to see it enlarged. `sliding`:
    windows of it at its own scale. `multiscale`: at `RATIOS` times the network's scale. `flip`:
    resized, and mirrored. `multiscale-flip`: each scale mirrored too."""

    window: tuple[int, int] | None = None
    """Height and width of sliding windows in pixels; `None`: as the network saw in training."""

    def __post_init__(self) -> None:
        if self.name not in get_args(ProtocolName):
            raise UserError(
                f"unknown protocol {self.name!r}: take one of {', '.join(get_args(ProtocolName))}"
            )
        if self.name in ("full", "sliding") and self.segmenter.scale is not None:
            raise UserError(
                f"scale {self.segmenter.scale:g}: the protocol {self.name} fixes it at 1; leave it "
                "out, or take the protocol resized"
            )
        if self.window is not None and self.name != "sliding":
            raise UserError(f"a window goes with the protocol sliding, not with {self.name}")
        if self.window is not None and min(self.window) < STRIDE:
            raise UserError(f"window of {self.window}: both sides must be at least {STRIDE}")

    @property
    def labels(self) -> Labels:
        """Labels of the model."""
        return self.segmenter.labels

    @property
    def description(self) -> str:
        """The protocol in words."""
        height, width = self._window
        multiscale = f"multi-scale, {RATIOS[0]:g}-{RATIOS[-1]:g} times the network's size"
        return {
            "resized": "resized: single scale, masks at label size",
            "full": "full: single scale, frames at full resolution",
            "sliding": f"sliding: windows of {width}×{height} at full resolution, averaged",
            "multiscale": f"multiscale: {multiscale}, averaged",
            "flip": "flip: resized, with its mirror image, averaged",
            "multiscale-flip": f"multiscale-flip: {multiscale}, with mirror images, averaged",
        }[self.name]

    def answer(self, frame: Image, confidence: bool) -> Answer:
        """Finds the mask of a frame and, if asked, the confidence in it."""
        size = frame.shape[:2]
        looks = self.looks(size)
        seen = Seen(size, self._scale(size), tuple(dict.fromkeys(look.size for look in looks)))
        if len(looks) == 1:
            if not confidence:
                return Answer(self.segmenter(frame, size=looks[0].size), None, seen)
            logits = self.segmenter.infer(self.segmenter.prepare(frame, size=looks[0].size))
            mask = self.segmenter.decode(logits, size)
            return Answer(mask, upsample_confidence(logits, size), seen)
        total = np.zeros((len(self.labels), *size), np.float32)
        times = np.zeros(size, np.float32)
        for rows, columns, network, mirrored in looks:
            turn = slice(None, None, -1 if mirrored else None)
            part = frame[rows, columns][:, turn]
            total[:, rows, columns] += self.segmenter.probabilities(part, size=network)[..., turn]
            times[rows, columns] += 1
        # Every class of a pixel has the same divisor, so the mask does not need it.
        mask = total.argmax(axis=0).astype(np.uint8)
        return Answer(mask, total.max(axis=0) / times if confidence else None, seen)

    def looks(self, size: tuple[int, int]) -> list[Look]:
        """Lists the looks at a frame.

        Args:
            size: Height and width of the frame in pixels.
        """
        window = self._window if self.name == "sliding" else size
        height, width = (min(sides) for sides in zip(size, window, strict=True))
        rows, columns = _stretches(size[0], height), _stretches(size[1], width)
        scale, card = self._scale(size), self.segmenter.card
        ratios = RATIOS if self.name.startswith("multiscale") else (1.0,)
        sizes = [network_size((height, width), card, scale * ratio) for ratio in ratios]
        mirrored = (False, True) if self.name.endswith("flip") else (False,)
        return [Look(*place) for place in product(rows, columns, sizes, mirrored)]

    def _scale(self, size: tuple[int, int]) -> float:
        """Side of the network's input over that of a frame of this size, at a ratio of 1."""
        if self.name in ("full", "sliding"):
            return 1.0
        return self.segmenter.scale or training_scale(size, self.segmenter.card)

    @property
    def _window(self) -> tuple[int, int]:
        card = self.segmenter.card
        height, width = (max(STRIDE, round(side * card.input_scale)) for side in card.frame_size)
        return self.window or (height, width)


def sizes_in_words(seen: Iterable[Seen]) -> str:
    """Says at which sizes, and at which scale unless it is 1, a network saw frames."""
    frames, scales, networks = zip(*seen, strict=True)
    text = f"frames of {_sizes(frames)} seen at {_sizes(chain(*networks))}"
    least, most = f"{min(scales):.3g}", f"{max(scales):.3g}"
    if least == most:
        return text if least == "1" else f"{text} (scale {least})"
    return f"{text} (scale {least} to {most})"


def _sizes(sizes: Iterable[tuple[int, int]]) -> str:
    """Width and height of the least and of the largest size."""
    ordered = sorted(set(sizes), key=math.prod)
    least, most = (f"{width}×{height}" for height, width in (ordered[0], ordered[-1]))
    return least if len(ordered) == 1 else f"{least} to {most}"


def _stretches(side: int, window: int) -> list[slice]:
    """Covers a side with evenly spaced windows, no longer than it, that overlap by `OVERLAP`."""
    count = 1 + int(np.ceil((side - window) / (window * (1 - OVERLAP))))
    starts = np.linspace(0, side - window, count).round().astype(int)
    return [slice(start, start + window) for start in starts.tolist()]
