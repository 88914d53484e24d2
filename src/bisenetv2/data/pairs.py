"""Read images and the masks that go with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bisenetv2.data.dataset import Sample
from bisenetv2.data.encodings import Encoding, read_classes
from bisenetv2.errors import UserError
from bisenetv2.images import read_image
from bisenetv2.labels import Labels

IDS = Encoding()
"""Masks that hold ids."""


@dataclass(frozen=True)
class PairedFiles:
    """A dataset whose samples are an image file and a mask file each; made without a look at them.

    Public data sets, CamVid and one's own differ in how their files are found, and in no more.
    """

    name: str
    """For instance `CamVid trainval`."""

    licence: str
    """Terms of the data, or where they stand."""

    labels: Labels
    """The classes that are evaluated."""

    files: tuple[tuple[Path, Path], ...] = field(repr=False)
    """Pairs of image and mask."""

    encoding: Encoding = IDS
    """What the masks hold."""

    file_labels: Labels | None = None
    """Labels that read the masks, if their ids are not those that `labels` reads."""

    def __len__(self) -> int:
        return len(self.files)

    def sample_name(self, index: int) -> str:
        """Path of the sample's image."""
        return str(self.files[index][0])

    def __getitem__(self, index: int) -> Sample:
        """Reads one sample.

        Raises:
            UserError: If a file is unreadable, sizes differ, or a label is out of range.
        """
        return read_pair(*self.files[index], self.file_labels or self.labels, self.encoding)


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
