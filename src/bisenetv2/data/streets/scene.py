"""Drawing up a rendered street: everything that chance decides, before anything is painted."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin, sqrt

from bisenetv2.data.streets.ground import Ground
from bisenetv2.data.streets.objects import Thing
from bisenetv2.data.streets.street import Rng, Street
from bisenetv2.data.streets.view import Camera, Light, Tint


@dataclass(frozen=True)
class Sky:
    """What shows above the roofs."""

    zenith: Tint
    horizon: Tint
    cloud: Tint
    cover: float
    """Share of the sky under clouds, 0-1."""

    seed: tuple[float, float]
    """Place in the cloud tile, in texels."""


@dataclass(frozen=True)
class Lens:
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

    bonnet: float | None
    """Height of the own car's bonnet as a fraction of the image's; `None` out of view."""


@dataclass(frozen=True)
class Scene:
    """One street: all that is needed to paint it at any size."""

    camera: Camera
    light: Light
    sky: Sky
    lens: Lens
    ground: Ground
    things: tuple[Thing, ...]
    """From far to near."""


def draw_scene(rng: Rng) -> Scene:
    """Draws a street by chance; the same generator state gives the same street."""
    half = rng.uniform(3.4, 5.2)
    camera = Camera(
        eye=(rng.uniform(-0.62, -0.42) * half, rng.uniform(1.2, 1.65), 0.0),
        horizon=rng.uniform(0.4, 0.52),
        focal=rng.uniform(0.85, 1.15),
        yaw=rng.normal(0.03, 0.05),
        bend=rng.normal(0, 0.0006),
        mirror=bool(rng.random() < 0.5),
    )
    light, sky = _draw_weather(rng)
    lens = Lens(
        cast=(rng.normal(1, 0.02), 1.0, rng.normal(1.01, 0.025)),
        gamma=rng.uniform(0.9, 1.12),
        noise=rng.uniform(1.5, 4.5),
        blur=rng.uniform(0.35, 0.7),
        vignette=rng.uniform(0.0, 0.3),
        bonnet=rng.uniform(0.03, 0.08) if rng.random() < 0.2 else None,
    )
    street = Street(rng, half)
    return Scene(camera, light, sky, lens, street.ground(), street.things())


def _draw_weather(rng: Rng) -> tuple[Light, Sky]:
    """Sun or overcast, with the sky and the haze that go with it."""
    seed = (rng.uniform(0, 512), rng.uniform(0, 512))
    azimuth, height = rng.uniform(-pi, pi), rng.uniform(0.35, 0.95)
    flat = sqrt(1 - height * height)
    sun = (flat * sin(azimuth), height, flat * cos(azimuth))
    density = rng.uniform(0.0015, 0.006)
    mood = rng.random()
    if mood < 0.5:  # sunny
        bright = rng.uniform(0.85, 1.1)
        light = Light(sun, 0.72 * bright, 0.5 * bright, (196, 208, 220), density)
        return light, Sky(
            (96, 140, 196), (206, 222, 234), (244, 246, 248), rng.uniform(0.1, 0.55), seed
        )
    if mood < 0.85:  # bright overcast, which blows out on a dashcam
        bright = rng.uniform(0.75, 1.05)
        light = Light(sun, 0.12 * bright, 0.74 * bright, (214, 218, 222), density)
        return light, Sky((222, 227, 233), (238, 240, 242), (250, 250, 250), 0.6, seed)
    bright = rng.uniform(0.5, 0.7)  # heavy clouds, dim street
    light = Light(sun, 0.06, 0.8 * bright, (134, 142, 150), density)
    return light, Sky((112, 124, 138), (176, 184, 190), (158, 166, 172), 0.7, seed)
