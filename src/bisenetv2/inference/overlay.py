"""Masks made visible: colours over the frame, a legend, and what there is how much of."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.labels import Labels, Mask

IGNORED = "ignored"
"""What pixels of no class are counted under."""

BACKGROUND, INK = (24, 24, 24), (240, 240, 240)
"""Colours of the legend."""

LETTER_SHARE, LEAST_LETTER = 0.028, 11
"""Letter height over the picture's shorter side, and the least in pixels that can be read."""

LEAST_LEGEND_WIDTH = 8
"""In letter heights; a narrower picture gets no legend."""


def overlay(
    frame: Image, mask: Mask, labels: Labels, alpha: float = 0.5, legend: bool = True
) -> Image:
    """Lays the colours of a mask over its frame.

    Args:
        frame: RGB `uint8` H×W×3.
        mask: `uint8` H×W of class indices; ignored pixels stay as they are.
        labels: Names and colours of the classes.
        alpha: Opacity of the colours, 0 to 1.
        legend: Put a strip with colours and names of the classes in the mask under the picture;
            a picture too narrow to be written on gets none.

    Returns:
        RGB `uint8` H'×W×3; H' is H and the height of the legend.

    Raises:
        UserError: If frame and mask do not belong together, or `alpha` is out of range.
    """
    types_fit = frame.dtype == np.uint8 and mask.dtype == np.uint8
    if not types_fit or mask.ndim != 2 or frame.shape != (*mask.shape, 3):
        raise UserError(
            f"frame {frame.dtype} of shape {frame.shape} and mask {mask.dtype} of shape "
            f"{mask.shape}: expected uint8 H×W×3 and uint8 H×W"
        )
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha {alpha}: expected 0 to 1")
    height, width = mask.shape
    strip = np.empty((0, width, 3), np.uint8)
    if legend:
        found = cv2.calcHist([np.ascontiguousarray(mask)], [0], None, [256], [0, 256])  # 256, 1
        classes = np.flatnonzero(found[: len(labels)]).tolist()
        strip = draw_legend(labels, classes, mask.shape)
    picture = np.empty((height + len(strip), width, 3), np.uint8)
    blended, picture[height:] = picture[:height], strip
    colours = labels.colorize(mask)  # H, W, 3
    cv2.addWeighted(np.ascontiguousarray(frame), 1 - alpha, colours, alpha, 0, dst=blended)
    ignored = mask >= len(labels)  # H, W
    blended[ignored] = frame[ignored]
    return picture


def draw_legend(labels: Labels, classes: Sequence[int], picture_size: tuple[int, ...]) -> Image:
    """Draws swatches and names of classes, wrapped to the width of a picture.

    Args:
        labels: Names and colours.
        classes: Indices of the classes to show, in this order.
        picture_size: Height and width of the picture the legend is for, in pixels.

    Returns:
        RGB `uint8` strip of the picture's width; of height 0 where there is nothing to show or too
        little room for it. A name wider than the picture is cut off.
    """
    width = picture_size[1]
    letter = max(LEAST_LETTER, round(LETTER_SHARE * min(picture_size)))
    if not classes or width < LEAST_LEGEND_WIDTH * letter:
        return np.zeros((0, width, 3), np.uint8)
    font = ImageFont.load_default(letter)
    margin, row_height = letter // 2, 2 * letter
    # Each entry: a square swatch, half a letter of space, the name, and a letter to the next.
    widths = [round(2.5 * letter + font.getlength(labels.names[index])) for index in classes]
    places = _wrap(widths, width - margin)  # row and offset of each
    height = row_height * (places[-1][0] + 1)
    strip = PillowImage.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for index, (row, offset) in zip(classes, places, strict=True):
        x, y = margin + offset, row * row_height + margin
        draw.rectangle((x, y, x + letter, y + letter), fill=labels.palette[index])
        name_at = x + 1.5 * letter, y + letter / 2
        draw.text(name_at, labels.names[index], fill=INK, font=font, anchor="lm")
    return np.array(strip, np.uint8)


def _wrap(widths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Sets entries side by side in rows of `room` pixels; returns the row and offset of each."""
    places = []
    row = offset = 0
    for width in widths:
        if offset and offset + width > room:
            row, offset = row + 1, 0
        places.append((row, offset))
        offset += width
    return places


def class_shares(mask: Mask, labels: Labels) -> dict[str, float]:
    """Counts how much of a mask belongs to each class.

    Args:
        mask: `uint8` H×W of class indices.
        labels: Names of the classes.

    Returns:
        Share of all pixels for each class that occurs, the largest first; pixels of no class are
        counted under `ignored`. The shares sum to 1.
    """
    counts = np.bincount(mask.ravel(), minlength=256)
    named = dict(zip(labels.names, counts[: len(labels)].tolist(), strict=True))
    named[IGNORED] = named.get(IGNORED, 0) + int(counts[len(labels) :].sum())
    present = sorted(((n, name) for name, n in named.items() if n), key=lambda pair: -pair[0])
    return {name: n / mask.size for n, name in present}
