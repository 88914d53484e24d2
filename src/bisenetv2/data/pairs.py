"""Read an image and the mask that goes with it."""

from __future__ import annotations

from pathlib import Path

from bisenetv2.data.dataset import Sample
from bisenetv2.data.encodings import Encoding, read_classes
from bisenetv2.errors import UserError
from bisenetv2.images import read_image
from bisenetv2.labels import Labels

IDS = Encoding()
"""Masks that hold ids."""


class PairedFiles:
    """What data sets have in common whose samples are an image file and a mask file each."""

    files: tuple[tuple[Path, Path], ...]
    """Pairs of image and mask."""

    def __len__(self) -> int:
        return len(self.files)

    def sample_name(self, index: int) -> str:
        """Path of the sample's image."""
        return str(self.files[index][0])


def read_pair(
    image_path: Path, mask_path: Path, labels: Labels, encoding: Encoding = IDS
) -> Sample:
    """Reads one sample.

    Raises:
        UserError: If a file is unreadable, sizes differ, or a label is out of range.
    """
    image = read_image(image_path)
    mask = read_classes(mask_path, encoding, labels).mask
    if image.shape[:2] != mask.shape:
        raise UserError(
            f"{mask_path}: mask of {mask.shape[1]}×{mask.shape[0]} for an image of "
            f"{image.shape[1]}×{image.shape[0]} pixels; sizes must be equal"
        )
    return Sample(image, mask)
