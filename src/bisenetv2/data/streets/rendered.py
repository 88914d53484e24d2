"""Rendered streets: endless labelled samples of a street seen from a car.

They need no download and no licence, and their masks are exact to the pixel. A sample is a pure
function of seed, index and size; the same street at another size is the same scene, scaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.data.dataset import Sample
from bisenetv2.data.streets.canvas import SKY, Canvas
from bisenetv2.data.streets.ground import shadow
from bisenetv2.data.streets.scene import Lens, Scene, Sky, draw_scene
from bisenetv2.data.streets.tiles import cloud_tile
from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.labels import CAMVID, IGNORE_INDEX


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
    scene = draw_scene(rng)
    canvas = Canvas(scene.camera, scene.light, size)
    _paint_sky(canvas, scene.sky)
    _paint_street(canvas, scene)
    if scene.lens.bonnet is not None:
        _paint_bonnet(canvas, scene.lens.bonnet)
    return Sample(_expose(canvas.image, scene.lens, rng), canvas.mask)


def _check(seed: int, size: tuple[int, int]) -> None:
    if seed < 0:
        raise UserError(f"seed {seed} of rendered streets: use 0 or above")
    if min(size) < 1:
        raise UserError(f"size {size[0]}x{size[1]} of rendered streets: sides are at least 1 pixel")


def _paint_sky(canvas: Canvas, sky: Sky) -> None:
    """Fills the image with a gradient and clouds that gather towards the horizon."""
    canvas.mask[:] = SKY
    height, width = canvas.mask.shape
    # Clouds are soft: a small picture, enlarged, is as good and much cheaper.
    rows, columns = 160, 240
    below = np.linspace(0, 1, rows, dtype=np.float32)[:, None] / canvas.camera.horizon
    height_above = np.clip(1 - below, 0, 1)  # 1 at the top, 0 at the horizon
    flat = 1 / (height_above + 0.12)  # clouds seen ever flatter towards the horizon
    across = np.linspace(-1, 1, columns, dtype=np.float32)[None]
    column = (sky.seed[0] + 50 * across * flat) % 512
    row = (sky.seed[1] + 60 * flat + 0 * across) % 512
    seen = cv2.remap(
        cloud_tile(),
        column.astype(np.float32),
        row.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    ).astype(np.float32)
    amount = np.clip((seen - 128 - 110 * (0.5 - sky.cover)) / 70, 0, 1)[..., None]
    fade = height_above[..., None] ** 0.7
    clear = fade * np.array(sky.zenith) + (1 - fade) * np.array(sky.horizon)
    relief = 0.92 + 0.08 * np.clip(seen / 128, 0, 1.4)[..., None]
    small = (clear + amount * (relief * np.array(sky.cloud) - clear)).clip(0, 255)
    canvas.image[:] = cv2.resize(
        small.astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )


def _paint_street(canvas: Canvas, scene: Scene) -> None:
    """Ground with shadows, then everything on it from far to near."""
    light = scene.light
    # Under an overcast sky, and far away, no shadow has an edge to be seen.
    casting = [thing for thing in scene.things if thing.depth < 50 and light.direct > 0.3]
    scene.ground.paint(canvas, [shadow(thing.solid(), light.sun) for thing in casting])
    for thing in scene.things:
        thing.paint(canvas)


def _paint_bonnet(canvas: Canvas, share: float) -> None:
    """The own car's bonnet: no class of its own, hence ignored."""
    height, width = canvas.mask.shape
    x = np.linspace(-0.05, 1.05, 24)
    y = 1 - share * (1 - (1.6 * (x - 0.5)) ** 4)
    edge = np.stack([x * width - 0.5, y * height - 0.5], axis=-1)
    outline = np.concatenate([edge, [(1.1 * width, 1.1 * height), (-0.1 * width, 1.1 * height)]])
    fixed = [np.rint(outline * 16).astype(np.int32)]
    cv2.fillPoly(canvas.image, fixed, (30, 32, 36), cv2.LINE_8, 4)
    cv2.fillPoly(canvas.mask, fixed, IGNORE_INDEX, cv2.LINE_8, 4)
    lower = edge[::-1] + np.array([0, 0.006 * height])
    glint = [np.rint(np.concatenate([edge, lower]) * 16).astype(np.int32)]
    cv2.fillPoly(canvas.image, glint, (150, 158, 168), cv2.LINE_8, 4)


def _expose(image: Image, lens: Lens, rng: np.random.Generator) -> Image:
    """Blur, vignette, colour and noise of the camera: RGB `uint8` H×W×3."""
    height, width = image.shape[:2]
    sigma = lens.blur * max(1.0, (height * width / (360 * 480)) ** 0.25)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    y = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, 64, dtype=np.float32)[None]
    corner = (255 * (1 - lens.vignette * ((x * x + y * y) / 2) ** 1.5)).astype(np.uint8)
    falloff = cv2.resize(corner, (width, height), interpolation=cv2.INTER_LINEAR)
    image = np.asarray(cv2.multiply(image, cv2.merge([falloff] * 3), scale=1 / 255), np.uint8)
    ramp = 255 * (np.arange(256)[:, None] / 255) ** lens.gamma * np.array(lens.cast)  # 256, 3
    image = np.asarray(cv2.LUT(image, ramp.clip(0, 255).astype(np.uint8)[None]), np.uint8)
    chance = rng.integers(0, 256, (height, width, 3), np.uint8)
    grain = cv2.LUT(chance, _gaussian_levels(lens.noise))
    exposed: Image = np.ascontiguousarray(cv2.add(image, grain, dtype=cv2.CV_8U))
    return exposed


def _gaussian_levels(deviation: float) -> npt.NDArray[np.int16]:
    """For each value of a random byte the noise of that quantile, in grey levels: 256, 1."""
    quantiles = (np.arange(256) + 0.5) / 256
    # Logistic stand-in for the normal quantile function: same spread, no dependency.
    normal = np.log(quantiles / (1 - quantiles)) * (np.sqrt(3) / np.pi)
    return np.asarray(np.rint(deviation * normal), np.int16)
