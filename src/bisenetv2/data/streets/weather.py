"""Sun, haze and the sky above the roofs of a rendered street."""

from __future__ import annotations

from math import cos, pi, sin, sqrt
from typing import NamedTuple

import cv2
import numpy as np

from bisenetv2.data.streets.canvas import SKY, Canvas
from bisenetv2.data.streets.tiles import cloud_tile
from bisenetv2.data.streets.view import Light, Tint


class Sky(NamedTuple):
    """What shows above the roofs."""

    zenith: Tint
    horizon: Tint
    cloud: Tint
    cover: float
    """Share of the sky under clouds, 0-1."""

    seed: tuple[float, float]
    """Place in the cloud tile, in texels."""


def draw_weather(rng: np.random.Generator) -> tuple[Light, Sky]:
    """Draws sun or overcast, with the sky and the haze that go with it."""
    seed = (rng.uniform(0, 512), rng.uniform(0, 512))
    azimuth, height = rng.uniform(-pi, pi), rng.uniform(0.35, 0.95)
    flat = sqrt(1 - height * height)
    sun = (flat * sin(azimuth), height, flat * cos(azimuth))
    density = rng.uniform(0.0015, 0.006)
    mood = rng.random()
    if mood < 0.5:  # sunny
        bright = rng.uniform(0.85, 1.1)
        light = Light(sun, 0.72 * bright, 0.5 * bright, (196, 208, 220), density)
        cover = rng.uniform(0.1, 0.55)
        return light, Sky((96, 140, 196), (206, 222, 234), (244, 246, 248), cover, seed)
    if mood < 0.85:  # bright overcast, which blows out on a dashcam
        bright = rng.uniform(0.75, 1.05)
        light = Light(sun, 0.12 * bright, 0.74 * bright, (214, 218, 222), density)
        return light, Sky((222, 227, 233), (238, 240, 242), (250, 250, 250), 0.6, seed)
    bright = rng.uniform(0.5, 0.7)  # heavy clouds, dim street
    light = Light(sun, 0.06, 0.8 * bright, (134, 142, 150), density)
    return light, Sky((112, 124, 138), (176, 184, 190), (158, 166, 172), 0.7, seed)


def paint_sky(canvas: Canvas, sky: Sky) -> None:
    """Fills the image with a gradient and clouds that gather towards the horizon."""
    canvas.mask[:] = SKY
    # Clouds are soft: a small picture, enlarged, is as good and much cheaper.
    rows, columns = 160, 240
    below = np.linspace(0, 1, rows, dtype=np.float32)[:, None] / canvas.camera.horizon
    height_above = np.clip(1 - below, 0, 1)  # 1 at the top, 0 at the horizon
    flat = 1 / (height_above + 0.12)  # clouds seen ever flatter towards the horizon
    across = np.linspace(-1, 1, columns, dtype=np.float32)[None]
    column = ((sky.seed[0] + 50 * across * flat) % 512).astype(np.float32)
    row = ((sky.seed[1] + 60 * flat + 0 * across) % 512).astype(np.float32)
    seen = cv2.remap(cloud_tile(), column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    seen = seen[..., None].astype(np.float32)
    amount = np.clip((seen - 128 - 110 * (0.5 - sky.cover)) / 70, 0, 1)
    fade = height_above[..., None] ** 0.7
    clear = fade * np.array(sky.zenith) + (1 - fade) * np.array(sky.horizon)
    relief = 0.92 + 0.08 * np.clip(seen / 128, 0, 1.4)
    small = (clear + amount * (relief * np.array(sky.cloud) - clear)).clip(0, 255)
    size = canvas.mask.shape[::-1]
    canvas.image[:] = cv2.resize(small.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
