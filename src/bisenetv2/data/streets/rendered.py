"""Rendered streets: endless labelled samples of a street seen from a car.

They need no download and no licence, and their masks are exact to the pixel. A sample is a pure
function of seed, index and size; the same street at another size is the same scene, scaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bisenetv2.data.dataset import Sample
from bisenetv2.data.streets.canvas import Canvas
from bisenetv2.data.streets.ground import paint_ground, shadow
from bisenetv2.data.streets.lens import draw_lens, expose, paint_bonnet
from bisenetv2.data.streets.street import Street
from bisenetv2.data.streets.view import Camera
from bisenetv2.data.streets.weather import draw_weather, paint_sky
from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID


@dataclass(frozen=True)
class RenderedStreets:
    """A dataset of rendered streets in CamVid's 11 classes.

    Raises:
        UserError: If the count, the size or the seed cannot be.
    """

    count: int
    """How many samples it has, at least 1."""

    size: tuple[int, int] = (360, 480)
    """Height and width of the samples in pixels, at least 1."""

    seed: int = 0
    """Which streets: other seeds, other streets; 0 or above."""

    name = "rendered streets"
    licence = "MIT (rendered by bisenetv2)"
    labels = CAMVID

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"{self.count} rendered streets: ask for at least 1")
        _check(self.seed, self.size)

    def __len__(self) -> int:
        return self.count

    def sample_name(self, index: int) -> str:
        """Name of a sample: what `render_street` needs to make it again."""
        return f"rendered street {self.seed}/{index}"

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"sample {index} of {self.count} rendered streets")
        return render_street(self.seed, index, self.size)


def render_street(seed: int, index: int, size: tuple[int, int] = (360, 480)) -> Sample:
    """Renders one street.

    Args:
        seed: Which series of streets, 0 or above.
        index: Which street of the series, 0 or above.
        size: Height and width in pixels, at least 1.

    Returns:
        Image (RGB `uint8` H×W×3) and mask (`uint8` H×W, classes of `CAMVID`; ignored where the
        own car's bonnet is in view).

    Raises:
        UserError: If seed, index or size cannot be.
    """
    _check(seed, size)
    if index < 0:
        raise UserError(f"rendered street {index}: streets are numbered from 0")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    # What is drawn by chance is drawn in this order whatever the size: the scene stays the same.
    half = rng.uniform(3.4, 5.2)  # of the road's width, metres
    camera = Camera(
        eye=(rng.uniform(-0.62, -0.42) * half, rng.uniform(1.2, 1.65), 0.0),
        horizon=rng.uniform(0.4, 0.52),
        focal=rng.uniform(0.85, 1.15),
        yaw=rng.normal(0.03, 0.05),
        bend=rng.normal(0, 0.0006),
        mirror=bool(rng.random() < 0.5),
    )
    light, sky = draw_weather(rng)
    lens = draw_lens(rng)
    street = Street(rng, half)
    canvas = Canvas(camera, light, size)
    paint_sky(canvas, sky)
    # Under an overcast sky, and far away, no shadow has an edge to be seen.
    casting = [thing for thing in street.things if thing.depth < 50 and light.direct > 0.3]
    shadows = [shadow(thing.solid(), light.sun) for thing in casting]
    paint_ground(canvas, rng, half, street.mouths, street.zebra, shadows)
    for thing in sorted(street.things, key=lambda thing: -thing.depth):  # from far to near
        thing.paint(canvas)
    if lens.bonnet:
        paint_bonnet(canvas, lens.bonnet)
    return Sample(expose(canvas.image, lens, rng), canvas.mask)


def _check(seed: int, size: tuple[int, int]) -> None:
    if seed < 0:
        raise UserError(f"seed {seed} of rendered streets: use 0 or above")
    if min(size) < 1:
        raise UserError(f"size {size[0]}x{size[1]} of rendered streets: sides are at least 1 pixel")
