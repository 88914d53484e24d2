"""Joint augmentation of image and mask on `uint8`: whatever moves one moves the other."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.labels import IGNORE_INDEX, Mask


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
        if not self.scales or not all(0.01 <= s <= 100 for s in self.scales):
            raise UserError(f"scales {self.scales}: give factors of 0.01 to 100")
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
        image, mask = sample
        size = self._draw_size(mask, generator)
        top, left = self._draw_corner(mask, size, generator)
        angle = generator.uniform(-self.rotation, self.rotation) if self.rotation else 0.0
        image, mask = self._crop(image, mask, size, (top, left), angle)
        if generator.random() < self.flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        image = self._jitter(np.ascontiguousarray(image), generator)
        return Sample(self._refocus(image, generator), np.ascontiguousarray(mask))

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
        wanted = np.zeros(256, bool)
        wanted[list(self.rare_classes)] = True
        pixels = np.flatnonzero(wanted[mask])
        if pixels.size == 0:
            return None
        row, column = divmod(int(generator.choice(pixels)), mask.shape[1])
        return row, column

    def _crop(
        self,
        image: Image,
        mask: Mask,
        size: tuple[int, int],
        corner: tuple[int, int],
        angle: float,
    ) -> tuple[Image, Mask]:
        """Scales, turns and crops in one pass: only the pixels of the crop are computed."""
        height, width = size
        # Each matrix maps pixel centres, half a pixel in from the edge, from result to source.
        place = self._placement(corner, angle)  # crop to scaled image
        sy, sx = height / mask.shape[0], width / mask.shape[1]
        shrink = np.array([[1 / sx, 0, 0.5 / sx - 0.5], [0, 1 / sy, 0.5 / sy - 0.5], [0, 0, 1]])
        matrix = (shrink @ place)[:2]  # crop to image
        if min(sy, sx) < 0.6:  # far below 1, bilinear sampling would alias
            smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            crop = self._warp(np.asarray(smaller, np.uint8), place[:2], cv2.INTER_LINEAR)
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

    def _placement(self, corner: tuple[int, int], angle: float) -> npt.NDArray[np.float64]:
        """Where the crop lies in the scaled image, turned about its own centre: 3×3."""
        x, y = (self.crop[1] - 1) / 2, (self.crop[0] - 1) / 2
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        return np.array(
            [
                [cosine, -sine, corner[1] + x - cosine * x + sine * y],
                [sine, cosine, corner[0] + y - sine * x - cosine * y],
                [0, 0, 1],
            ]
        )

    def _warp(self, image: Image, matrix: npt.NDArray[np.float64], interpolation: int) -> Image:
        size = (self.crop[1], self.crop[0])
        flags = interpolation | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, np.uint8)

    def _jitter(self, image: Image, generator: np.random.Generator) -> Image:
        """One linear map of the colours, then gamma."""
        draw = [
            1 + generator.uniform(-amount, amount)
            for amount in (self.brightness, self.contrast, self.saturation)
        ]
        cast = np.ones(3, np.float32)
        if self.cast:
            cast += generator.uniform(-self.cast, self.cast, 3).astype(np.float32)
        if self.brightness or self.contrast or self.saturation or self.cast:
            brightness, contrast, saturation = draw
            grey = np.tile(np.array([0.299, 0.587, 0.114], np.float32), (3, 1))
            colours = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey
            mean = float(image.mean()) * brightness
            matrix = np.empty((3, 4), np.float32)
            matrix[:, :3] = colours * (brightness * contrast)
            matrix[:, 3] = mean * (1 - contrast)
            matrix *= cast[:, None]
            image = np.asarray(cv2.transform(image, matrix), np.uint8)  # saturates at 0 and 255
        if self.gamma:
            exponent = _between(1 / (1 + self.gamma), 1 + self.gamma, generator)
            table = np.rint(255 * np.linspace(0, 1, 256) ** exponent).astype(np.uint8)
            image = np.asarray(cv2.LUT(image, table), np.uint8)
        return image

    def _refocus(self, image: Image, generator: np.random.Generator) -> Image:
        if not self.blur:
            return image
        sigma = generator.uniform(-self.blur, self.blur)
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) if sigma > 0 else image


def cut_mix(sample: Sample, other: Sample, generator: np.random.Generator) -> Sample:
    """Puts a rectangle of one sample, image and mask, onto another of the same size.

    The rectangle keeps its place; its area is a share of the whole that is drawn evenly from 0 to
    1/2, its shape the whole's (CutMix, Yun et al., ICCV 2019, whose area is drawn up to 1).

    Args:
        sample: What it is put on.
        other: What it is taken from.
        generator: Draws the rectangle.
    """
    sides = np.array(sample.mask.shape)
    extent = np.rint(sides * np.sqrt(generator.uniform(0, 0.5))).astype(int)
    top, left = generator.integers(0, sides - extent + 1)
    area = np.s_[top : top + extent[0], left : left + extent[1]]
    image, mask = sample.image.copy(), sample.mask.copy()
    image[area], mask[area] = other.image[area], other.mask[area]
    return Sample(image, mask)


def _between(low: float, high: float, generator: np.random.Generator) -> float:
    """Draws a factor whose logarithm is uniform."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
