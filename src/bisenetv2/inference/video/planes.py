"""The overlay of a video, made in YUV: the colours a video is stored in.

Blending is linear, and so is the step from RGB to YUV: mixing the planes of a picture with the
planes of its class colours gives what mixing in RGB would give, without taking the whole picture
there and back. That is several times as fast, and pixels that are not coloured stay exactly as
they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import av
import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.inference.video.frames import BT709, FULL_RANGE, LIMITED_RANGE, Frame, is_full_range
from bisenetv2.labels import Labels, Mask

Plane = npt.NDArray[np.uint8]

BT2020 = 9, 10
"""libavutil's numbers of the two matrices of BT.2020, of constant and non-constant luminance."""

LUMA_WEIGHTS = {BT709: (0.2126, 0.0722), **dict.fromkeys(BT2020, (0.2627, 0.0593))}
"""Share of red and of blue in the luma, for each matrix."""

BT601_WEIGHTS = 0.299, 0.114
"""The same for BT.601, which libswscale also takes where a video does not say."""


@dataclass(frozen=True)
class PictureFormat:
    """How the written picture stores its colours.

    Attributes:
        size: Height and width, upright.
        pixels: `yuv420p`, or `yuv444p` where a side is odd: chroma at half the size cannot end on
            an odd pixel, and H.264 refuses it.
        matrix: Number of the colour matrix, as libavutil has it.
        full_range: Luma runs from 0 to 255, not from 16 to 235.
    """

    size: tuple[int, int]
    pixels: str
    matrix: int
    full_range: bool

    @classmethod
    def of(cls, frame: Frame) -> PictureFormat:
        """Chooses the format that keeps most of a frame as it is."""
        pixels = "yuv444p" if frame.size[0] % 2 or frame.size[1] % 2 else "yuv420p"
        picture = frame.picture
        if isinstance(picture, np.ndarray) or picture.format.is_rgb:
            return cls(frame.size, pixels, BT709, False)
        same = picture.format.name in _stored_as(pixels)
        full_range = same and is_full_range(picture)
        return cls(frame.size, pixels, int(picture.colorspace), full_range)


def _stored_as(pixels: str) -> tuple[str, str]:
    """Names of a pixel format; the second says by its name that it is of full range."""
    return pixels, pixels.replace("yuv", "yuvj")


def to_planes(frame: Frame, target: PictureFormat) -> list[Plane]:
    """Gives the planes Y, U, V of a frame in the target's format, upright; views where possible."""
    picture = frame.picture
    if isinstance(picture, np.ndarray):
        picture = av.VideoFrame.from_ndarray(picture, format="rgb24")
    turn = frame.orientation
    height, width = reversed(target.size) if turn.transpose else target.size
    fits = picture.format.name in _stored_as(target.pixels)
    if not fits or PictureFormat.of(frame) != target:
        picture = picture.reformat(
            width=width,
            height=height,
            format=target.pixels,
            dst_colorspace=BT709 if picture.format.is_rgb else None,
            src_color_range=FULL_RANGE if is_full_range(picture) else None,
            dst_color_range=FULL_RANGE if target.full_range else LIMITED_RANGE,
        )
    return [turn.apply(plane) for plane in plane_views(picture)]


def plane_views(picture: av.VideoFrame) -> list[Plane]:
    """Gives the planes of an 8-bit planar picture as arrays over its own memory."""
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]  # type: ignore[call-overload]
        for plane in picture.planes
    ]


@lru_cache(maxsize=8)
def class_planes(labels: Labels, matrix: int, full_range: bool) -> Plane:
    """Computes Y, U and V of each class's colour.

    Returns:
        `uint8` 3×256: a plane's value for each class index; neutral where there is no class.
    """
    red_share, blue_share = LUMA_WEIGHTS.get(matrix, BT601_WEIGHTS)
    red, green, blue = np.array(labels.palette, np.float64).T  # classes
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    u, v = (blue - luma) / (2 - 2 * blue_share), (red - luma) / (2 - 2 * red_share)
    if not full_range:
        luma, u, v = 16 + luma * 219 / 255, u * 224 / 255, v * 224 / 255
    table = np.full((3, 256), 128, np.uint8)
    table[:, : len(labels)] = np.clip(np.rint([luma, 128 + u, 128 + v]), 0, 255)
    return table


def blend(
    frame: Frame, mask: Mask, labels: Labels, alpha: float, target: PictureFormat
) -> av.VideoFrame:
    """Lays the colours of a mask over a frame.

    Args:
        frame: The frame.
        mask: `uint8` H×W of class indices; ignored pixels stay as they are.
        labels: Colours of the classes.
        alpha: Opacity of the colours, 0 to 1.
        target: Format and size of the result; a frame of another size is scaled to it.

    Returns:
        A picture of its own memory, without a timestamp.
    """
    if mask.shape != target.size:
        mask = scale_mask(mask, target.size)
    blended = av.VideoFrame(target.size[1], target.size[0], target.pixels)
    step = 2 if target.pixels == "yuv420p" else 1
    coarse = np.ascontiguousarray(mask[::step, ::step])  # of each 2×2 the first
    any_ignored = int(mask.max()) >= len(labels)
    colours = class_planes(labels, target.matrix, target.full_range)
    classes = mask, coarse, coarse
    for plane, indices, table, result in zip(
        to_planes(frame, target), classes, colours, plane_views(blended), strict=True
    ):
        cv2.addWeighted(plane, 1 - alpha, cv2.LUT(indices, table), alpha, 0, dst=result)
        if any_ignored:
            np.copyto(result, plane, where=indices >= len(labels))
    return blended


def scale_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Brings a mask to another height and width; indices are copied, never mixed."""
    scaled = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(scaled, np.uint8)
