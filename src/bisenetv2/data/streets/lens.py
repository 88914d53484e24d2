"""What the own car and its camera do to the picture of a rendered street."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from bisenetv2.data.streets.canvas import Canvas, fixed_point
from bisenetv2.data.streets.view import Tint
from bisenetv2.images import Image
from bisenetv2.labels import IGNORE_INDEX


class Lens(NamedTuple):
    """What the camera does to the light."""

    cast: Tint
    """Gain of red, green and blue."""

    gamma: float
    noise: float
    """Standard deviation of the sensor's noise, grey levels."""

    blur: float
    """Standard deviation of the lens blur in pixels at a height of 360."""

    vignette: float
    """Light lost in the corners, 0-1."""

    bonnet: float
    """Height of the own car's bonnet as a fraction of the image's; 0 out of view."""


def draw_lens(rng: np.random.Generator) -> Lens:
    """Draws a camera."""
    return Lens(
        cast=(rng.normal(1, 0.02), 1.0, rng.normal(1.01, 0.025)),
        gamma=rng.uniform(0.9, 1.12),
        noise=rng.uniform(1.5, 4.5),
        blur=rng.uniform(0.35, 0.7),
        vignette=rng.uniform(0.0, 0.3),
        bonnet=rng.uniform(0.03, 0.08) if rng.random() < 0.2 else 0.0,
    )


def paint_bonnet(canvas: Canvas, share: float) -> None:
    """The own car's bonnet: no class of its own, hence ignored."""
    height, width = canvas.mask.shape
    x = np.linspace(-0.05, 1.05, 24)
    y = 1 - share * (1 - (1.6 * (x - 0.5)) ** 4)
    edge = np.stack([x * width - 0.5, y * height - 0.5], axis=-1)
    outline = np.concatenate([edge, [(1.1 * width, 1.1 * height), (-0.1 * width, 1.1 * height)]])
    canvas.paint([fixed_point(outline)], (30, 32, 36), IGNORE_INDEX)
    glint = np.concatenate([edge, edge[::-1] + np.array([0, 0.006 * height])])
    canvas.paint([fixed_point(glint)], (150, 158, 168), IGNORE_INDEX)


def expose(image: Image, lens: Lens, rng: np.random.Generator) -> Image:
    """Blur, vignette, colour and noise of the camera: RGB `uint8` H×W×3."""
    height, width = image.shape[:2]
    sigma = lens.blur * max(1.0, (height * width / (360 * 480)) ** 0.25)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    across = np.square(np.linspace(-1, 1, 64, dtype=np.float32))
    corner = 1 - lens.vignette * ((across + across[:, None]) / 2) ** 1.5  # 64, 64
    falloff = cv2.resize((255 * corner).astype(np.uint8), (width, height))
    image = np.asarray(cv2.multiply(image, cv2.merge([falloff] * 3), scale=1 / 255), np.uint8)
    ramp = 255 * (np.arange(256)[:, None] / 255) ** lens.gamma * np.array(lens.cast)  # 256, 3
    image = np.asarray(cv2.LUT(image, ramp.clip(0, 255).astype(np.uint8)[None]), np.uint8)
    # Logistic stand-in for the normal quantile function: same spread, no dependency.
    quantiles = (np.arange(256) + 0.5) / 256
    normal = np.log(quantiles / (1 - quantiles)) * (np.sqrt(3) / np.pi)
    levels = np.rint(lens.noise * normal).astype(np.int16)  # the noise of each random byte
    grain = cv2.LUT(rng.integers(0, 256, image.shape, np.uint8), levels)
    exposed: Image = np.ascontiguousarray(cv2.add(image, grain, dtype=cv2.CV_8U))
    return exposed
