"""Joint augmentation of image and mask on `uint8`: whatever moves one moves the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.labels import IGNORE_INDEX, Mask

Rectangle = tuple[slice, slice]
"""Rows and columns of a part of a crop."""

ALIASING = 0.6
"""Scale below which bilinear sampling would alias: pixels are then means of areas."""

LUMINANCE = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a colour."""


class Change(NamedTuple):
    """What is done to one sample: drawn in numbers, so that a CPU or a GPU may do it."""

    size: tuple[int, int]
    """Height and width to which the image is scaled, in pixels."""

    corner: tuple[int, int]
    """Row and column of the crop's upper left corner there; negative where it pads."""

    angle: float
    """Rotation of the crop about its own centre, in degrees."""

    flipped: bool
    """Whether left and right of the crop change places."""

    brightness: float
    contrast: float
    saturation: float
    cast: tuple[float, float, float]
    """Factors: of brightness, of the distance to the mean, to grey, and of red, green and blue."""

    gamma: float
    """Exponent of brightness on a scale of 0 to 1."""

    blur: float
    """Standard deviation of a Gaussian blur in pixels of the crop; 0 leaves it sharp."""

    def placement(self, crop: tuple[int, int]) -> npt.NDArray[np.float64]:
        """Where the unflipped crop lies in the scaled image: 3×3, from pixel centre to centre."""
        x, y = (crop[1] - 1) / 2, (crop[0] - 1) / 2
        cosine, sine = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        return np.array(
            [
                [cosine, -sine, self.corner[1] + x - cosine * x + sine * y],
                [sine, cosine, self.corner[0] + y - sine * x - cosine * y],
                [0, 0, 1],
            ]
        )

    def shrinking(self, source: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """From the scaled image to an image of this height and width: 3×3, centre to centre."""
        sy, sx = (side / before for side, before in zip(self.size, source, strict=True))
        # A pixel's centre lies half a pixel in from its edge.
        return np.array([[1 / sx, 0, 0.5 / sx - 0.5], [0, 1 / sy, 0.5 / sy - 0.5], [0, 0, 1]])

    def scale(self, source: tuple[int, ...]) -> float:
        """The smaller factor of height and width."""
        return min(side / before for side, before in zip(self.size, source, strict=True))

    @property
    def recolours(self) -> bool:
        """Whether colours change other than by gamma."""
        factors = (self.brightness, self.contrast, self.saturation, *self.cast)
        return any(factor != 1 for factor in factors)

    def colours(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The linear map of the colours: 3×3, and 3 shares of the crop's mean value to add."""
        grey = np.tile(LUMINANCE, (3, 1))
        mixed = self.saturation * np.eye(3) + (1 - self.saturation) * grey
        cast = np.array(self.cast)
        factors = self.brightness * self.contrast * mixed * cast[:, None]
        return factors, self.brightness * (1 - self.contrast) * cast


@dataclass(frozen=True)
class Augmentation:
    """Scale, crop, flip, light and focus, all drawn from the generator that is handed in.

    Raises:
        UserError: If a value is out of range.
    """

    crop: tuple[int, int]
    """Height and width in pixels of what comes out, after scaling."""

    scales: tuple[float, ...] = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    """Factors one of which is drawn; with `continuous` their ends bound a log-uniform draw.
    The default is the paper's set, second-hand."""

    continuous: bool = False
    """Whether the factor is drawn from the whole range between the smallest and largest scale."""

    flip: float = 0.5
    """Probability of a horizontal flip."""

    brightness: float = 0.0
    """Largest relative change of brightness, 0 to 1; the paper has no jitter."""

    contrast: float = 0.0
    """Largest relative change of contrast about the image's mean, 0 to 1."""

    saturation: float = 0.0
    """Largest relative change of saturation, 0 to 1."""

    cast: float = 0.0
    """Largest relative change of each of red, green and blue on its own, 0 to 1: the colour of the
    light, and how a camera balances it."""

    gamma: float = 0.0
    """Largest factor of the exponent of brightness less 1, either way, 0 to 1: at 1 it is drawn
    from 1/2 (shadows lifted) to 2 (dusk)."""

    blur: float = 0.0
    """Largest standard deviation of a Gaussian blur, in pixels of the crop; half of the crops stay
    sharp."""

    rotation: float = 0.0
    """Largest rotation about the crop's centre, in degrees, either way."""

    stretch: float = 0.0
    """Largest factor less 1 between width and height, either way, 0 to 1."""

    rare_classes: tuple[int, ...] = ()
    """Class indices that crops prefer: with `rare_share`, a crop is centred near such a pixel."""

    rare_share: float = 0.0
    """Probability of a crop aimed at a pixel of a rare class, where the image has one."""

    ignore_index: int = IGNORE_INDEX
    """Mask value of padding, where the scaled image is smaller than the crop."""

    def __post_init__(self) -> None:
        if min(self.crop) < 1:
            raise UserError(f"crop {self.crop}: both sides must be at least 1")
        if not self.scales or not all(0 < s <= 1000 for s in self.scales):
            raise UserError(f"scales {self.scales}: give factors above 0, at most 1000")
        for name in (
            "flip", "brightness", "contrast", "saturation", "cast", "gamma", "stretch",
            "rare_share",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)}: expected 0 to 1")
        if not 0 <= self.blur <= 20:
            raise UserError(f"blur {self.blur}: expected 0 to 20 pixels")
        if not 0 <= self.rotation <= 180:
            raise UserError(f"rotation {self.rotation}: expected 0 to 180 degrees")
        if not all(0 <= index <= 255 for index in self.rare_classes):
            raise UserError(f"rare_classes {self.rare_classes}: give class indices of 0 to 255")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Augments one sample (image `uint8` H×W×3, mask `uint8` H×W) to the crop's size."""
        return self.apply(sample, self.draw(sample.mask, generator))

    def draw(self, mask: Mask, generator: np.random.Generator) -> Change:
        """Draws what is to be done to the sample of this mask."""
        size = self._draw_size(mask, generator)
        corner = self._draw_corner(mask, size, generator)
        angle = generator.uniform(-self.rotation, self.rotation) if self.rotation else 0.0
        flipped = generator.random() < self.flip
        brightness, contrast, saturation = (
            1 + generator.uniform(-amount, amount)
            for amount in (self.brightness, self.contrast, self.saturation)
        )
        cast = (1.0, 1.0, 1.0)
        if self.cast:
            red, green, blue = 1 + generator.uniform(-self.cast, self.cast, 3)
            cast = (float(red), float(green), float(blue))
        gamma = _between(1 / (1 + self.gamma), 1 + self.gamma, generator) if self.gamma else 1.0
        blur = max(0.0, generator.uniform(-self.blur, self.blur)) if self.blur else 0.0
        return Change(
            size, corner, angle, flipped, brightness, contrast, saturation, cast, gamma, blur
        )

    def apply(self, sample: Sample, change: Change) -> Sample:
        """Does to a sample what was drawn for it."""
        image, mask = self._crop(*sample, change)
        if change.flipped:
            image, mask = image[:, ::-1], mask[:, ::-1]
        image = _recoloured(np.ascontiguousarray(image), change)
        if change.blur:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), change.blur), np.uint8)
        return Sample(image, np.ascontiguousarray(mask))

    def _draw_size(self, mask: Mask, generator: np.random.Generator) -> tuple[int, int]:
        """Draws the height and width to which the image is scaled."""
        if self.continuous:
            scale = _between(min(self.scales), max(self.scales), generator)
        else:
            scale = float(generator.choice(self.scales))
        ratio = 1.0
        if self.stretch:
            ratio = _between(1 / (1 + self.stretch), 1 + self.stretch, generator)
        return tuple(
            max(1, round(side * scale * factor))
            for side, factor in zip(mask.shape, (ratio**-0.5, ratio**0.5), strict=True)
        )

    def _draw_corner(
        self, mask: Mask, size: tuple[int, int], generator: np.random.Generator
    ) -> tuple[int, int]:
        """Draws the crop's upper left corner in the scaled image; negative where it pads."""
        aim = self._draw_rare_pixel(mask, generator)
        corner = []
        for axis in (0, 1):
            room = size[axis] - self.crop[axis]
            place = int(generator.integers(min(room, 0), max(room, 0) + 1))
            if aim is not None and room > 0:
                # The aimed-at pixel lands anywhere within the crop, not always in its middle.
                offset = int(generator.integers(0, self.crop[axis]))
                scaled = aim[axis] * size[axis] // mask.shape[axis]
                place = min(max(scaled - offset, 0), room)
            corner.append(place)
        return corner[0], corner[1]

    def _draw_rare_pixel(
        self, mask: Mask, generator: np.random.Generator
    ) -> tuple[int, int] | None:
        if not self.rare_classes or generator.random() >= self.rare_share:
            return None
        wanted = np.zeros(256, np.uint8)
        wanted[list(self.rare_classes)] = 1
        # As booleans: NumPy finds them nine times as fast.
        pixels = np.flatnonzero(np.asarray(cv2.LUT(mask, wanted), np.uint8).view(bool))
        if pixels.size == 0:
            return None
        row, column = divmod(int(generator.choice(pixels)), mask.shape[1])
        return row, column

    def _crop(self, image: Image, mask: Mask, change: Change) -> tuple[Image, Mask]:
        """Scales, turns and crops in one pass: only the pixels of the crop are computed."""
        height, width = change.size
        place = change.placement(self.crop)  # crop to scaled image
        matrix = change.shrinking(mask.shape) @ place  # crop to image
        if change.scale(mask.shape) < ALIASING:
            smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            crop = self._warp(np.asarray(smaller, np.uint8), place, cv2.INTER_LINEAR)
        else:
            crop = self._warp(image, matrix, cv2.INTER_LINEAR)
        truth = self._warp(mask, matrix, cv2.INTER_NEAREST)
        rows, columns = np.ogrid[: self.crop[0], : self.crop[1]]
        x = place[0, 0] * columns + place[0, 1] * rows + place[0, 2]
        y = place[1, 0] * columns + place[1, 1] * rows + place[1, 2]
        outside = (x < -0.5) | (x >= width - 0.5) | (y < -0.5) | (y >= height - 0.5)
        crop[outside] = 0
        truth[outside] = self.ignore_index
        return crop, truth

    def _warp(self, image: Image, matrix: npt.NDArray[np.float64], interpolation: int) -> Image:
        size = (self.crop[1], self.crop[0])
        flags = interpolation | cv2.WARP_INVERSE_MAP
        mode = cv2.BORDER_REPLICATE
        warped = cv2.warpAffine(image, matrix[:2], size, flags=flags, borderMode=mode)
        return np.asarray(warped, np.uint8)


def _recoloured(image: Image, change: Change) -> Image:
    """One linear map of the colours, then gamma."""
    colours, about_mean = change.colours()
    if change.recolours:
        matrix = np.column_stack((colours, about_mean * image.mean())).astype(np.float32)
        image = np.asarray(cv2.transform(image, matrix), np.uint8)  # saturates at 0 and 255
    if change.gamma != 1:
        table = np.rint(255 * np.linspace(0, 1, 256) ** change.gamma).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table), np.uint8)
    return image


def draw_rectangle(sides: tuple[int, int], generator: np.random.Generator) -> Rectangle:
    """Draws the part of a crop that CutMix takes from another.

    Its area is a share of the whole that is drawn evenly from 0 to 1/2, its shape the whole's
    (CutMix, Yun et al., ICCV 2019, whose area is drawn up to 1).
    """
    extent = np.rint(np.array(sides) * np.sqrt(generator.uniform(0, 0.5))).astype(int)
    top, left = generator.integers(0, np.array(sides) - extent + 1)
    return slice(int(top), int(top + extent[0])), slice(int(left), int(left + extent[1]))


def cut_mix(sample: Sample, other: Sample, area: Rectangle) -> Sample:
    """Returns a sample with a rectangle of another of the same size in it, at the same place."""
    image, mask = sample.image.copy(), sample.mask.copy()
    image[area], mask[area] = other.image[area], other.mask[area]
    return Sample(image, mask)


def _between(low: float, high: float, generator: np.random.Generator) -> float:
    """Draws a factor whose logarithm is uniform."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
