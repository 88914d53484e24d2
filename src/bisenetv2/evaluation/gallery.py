"""Keep the best and the worst frames of an evaluation, and make pictures of them for a page."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from bisenetv2.evaluation import page
from bisenetv2.evaluation.walk import Answered
from bisenetv2.images import Image
from bisenetv2.labels import Labels, Mask

WORST, BEST = 6, 3
"""Frames kept of each kind."""

WIDTH = 480
"""Widest picture on a page, in pixels."""

JPEG_QUALITY = 80

WRONG, UNKNOWN = (222, 45, 38), (120, 120, 120)
"""Colours of wrong and of ignored pixels in a picture of differences."""


class Kept(NamedTuple):
    """A frame worth looking at."""

    score: float
    frame: Answered


class Gallery:
    """Sees the frames go by and keeps those with the lowest and the highest score.

    A frame without a labelled pixel has no score and is never kept.
    """

    def __init__(self, worst: int = WORST, best: int = BEST) -> None:
        self._limits = worst, best
        self.worst: list[Kept] = []
        """The lowest first."""
        self.best: list[Kept] = []
        """The highest first."""

    def add(self, frame: Answered, score: float) -> None:
        """Looks at a frame."""
        if math.isnan(score):
            return
        kept = Kept(score, frame)
        self._keep([kept], [kept])

    def merge(self, other: Gallery) -> None:
        """Looks at the frames that another gallery kept."""
        self._keep(other.worst, other.best)

    def _keep(self, low: list[Kept], high: list[Kept]) -> None:
        worst, best = self._limits
        self.worst = sorted([*self.worst, *low], key=lambda each: each.score)[:worst]
        self.best = sorted([*self.best, *high], key=lambda each: -each.score)[:best]


def pictures(
    heading: str, frame: Answered, labels: Labels, captions: Sequence[str], last: tuple[Image, str]
) -> str:
    """Shows a frame: as it is, its truth, the answers, and a picture of differences.

    Args:
        heading: Plain text.
        frame: The frame.
        labels: Colours of the masks.
        captions: Of each answer's mask.
        last: The picture of differences and its caption.
    """
    masks = [frame.truth, *(answer.mask for answer in frame.answers)]
    charts = [chart(labels.colorize(mask)) for mask in masks]
    addresses = [photo(frame.image), *charts, photo(last[0])]
    names = ["image", "truth", *captions, last[1]]
    return page.pictures(heading, zip(addresses, names, strict=True))


def difference(image: Image, truth: Mask, prediction: Mask, labels: Labels) -> Image:
    """Paints wrong pixels red and ignored ones grey over a dimmed frame.

    Args:
        image: RGB `uint8` H×W×3.
        truth: H×W of class indices and the ignore index.
        prediction: H×W of class indices.
        labels: Where the ignore index stands.

    Returns:
        RGB `uint8` H×W×3.
    """
    picture = dimmed(image)
    picture[truth != prediction] = WRONG
    picture[truth == labels.ignore_index] = UNKNOWN
    return picture


def dimmed(image: Image) -> Image:
    """Makes a pale grey picture of a frame, to be painted on."""
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))
    return np.repeat((grey // 3 + 150)[..., None], 3, axis=2).astype(np.uint8)  # H, W, 3


def photo(image: Image) -> str:
    """Turns a picture into the address of an inline JPEG, at most `WIDTH` wide."""
    return _address(image, cv2.INTER_AREA, "jpeg", (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))


def chart(image: Image) -> str:
    """Turns a picture of flat colours into the address of an inline PNG, at most `WIDTH` wide."""
    return _address(image, cv2.INTER_NEAREST, "png")


def _address(image: Image, interpolation: int, form: str, options: tuple[int, ...] = ()) -> str:
    height, width = image.shape[:2]
    if width > WIDTH:
        size = WIDTH, max(1, round(height * WIDTH / width))
        image = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
    _, data = cv2.imencode(f".{form}", np.ascontiguousarray(image[..., ::-1]), options)
    return f"data:image/{form};base64,{b64encode(data.tobytes()).decode()}"
