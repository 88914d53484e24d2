"""Joint augmentation of image and mask on `uint8`: whatever moves one moves the other."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.images import Image
from bisenetv2.labels import IGNORE_INDEX, Mask


@dataclass(frozen=True)
class Augmentation:
    """Scale, crop, flip and colour jitter, all drawn from the generator that is handed in.

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
        for name in ("flip", "brightness", "contrast", "saturation", "rare_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)}: expected 0 to 1")
        if not all(0 <= index <= 255 for index in self.rare_classes):
            raise UserError(f"rare_classes {self.rare_classes}: give class indices of 0 to 255")

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """Augments one sample (image `uint8` H×W×3, mask `uint8` H×W) to the crop's size."""
        image, mask = sample
        scale = self._draw_scale(generator)
        top, left = self._draw_corner(mask, scale, generator)
        image, mask = self._crop(image, mask, scale, top, left)
        if generator.random() < self.flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return Sample(
            self._jitter(np.ascontiguousarray(image), generator), np.ascontiguousarray(mask)
        )

    def _draw_scale(self, generator: np.random.Generator) -> float:
        if self.continuous:
            low, high = np.log(min(self.scales)), np.log(max(self.scales))
            return float(np.exp(generator.uniform(low, high)))
        return float(generator.choice(self.scales))

    def _draw_corner(
        self, mask: Mask, scale: float, generator: np.random.Generator
    ) -> tuple[int, int]:
        """Draws the crop's upper left corner in the scaled image; negative where it pads."""
        height, width = _scaled(mask.shape, scale)
        spare = (height - self.crop[0], width - self.crop[1])
        aim = self._draw_rare_pixel(mask, generator)
        corner = []
        for axis, room in enumerate(spare):
            place = int(generator.integers(min(room, 0), max(room, 0) + 1))
            if aim is not None and room > 0:
                # The aimed-at pixel lands anywhere within the crop, not always in its middle.
                offset = int(generator.integers(0, self.crop[axis]))
                place = min(max(int(aim[axis] * scale) - offset, 0), room)
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
        self, image: Image, mask: Mask, scale: float, top: int, left: int
    ) -> tuple[Image, Mask]:
        """Scales and crops in one pass: only the pixels of the crop are computed."""
        height, width = _scaled(mask.shape, scale)
        sy, sx = height / mask.shape[0], width / mask.shape[1]
        # Maps the crop's pixel centres to the source's: half-pixel centres on both sides.
        matrix = np.array(
            [[1 / sx, 0, (left + 0.5) / sx - 0.5], [0, 1 / sy, (top + 0.5) / sy - 0.5]]
        )
        size = (self.crop[1], self.crop[0])
        if scale < 0.6:  # far below 1, bilinear sampling would alias
            smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            shift = np.array([[1.0, 0, left], [0, 1.0, top]])
            crop = cv2.warpAffine(smaller, shift, size, flags=cv2.WARP_INVERSE_MAP)
        else:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            crop = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        truth = cv2.warpAffine(mask, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        outside = np.ones(self.crop, bool)
        outside[max(-top, 0) : height - top, max(-left, 0) : width - left] = False
        crop[outside] = 0
        truth[outside] = self.ignore_index
        return np.asarray(crop, np.uint8), np.asarray(truth, np.uint8)

    def _jitter(self, image: Image, generator: np.random.Generator) -> Image:
        """Brightness, contrast and saturation as one linear map of the colours."""
        draw = [
            1 + generator.uniform(-amount, amount)
            for amount in (self.brightness, self.contrast, self.saturation)
        ]
        if not (self.brightness or self.contrast or self.saturation):
            return image
        brightness, contrast, saturation = draw
        grey = np.tile(np.array([0.299, 0.587, 0.114], np.float32), (3, 1))
        colours = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey
        mean = float(image.mean()) * brightness
        matrix = np.empty((3, 4), np.float32)
        matrix[:, :3] = colours * (brightness * contrast)
        matrix[:, 3] = mean * (1 - contrast)
        return np.asarray(cv2.transform(image, matrix), np.uint8)  # saturates at 0 and 255


def _scaled(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
