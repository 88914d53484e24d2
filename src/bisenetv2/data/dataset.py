"""What every dataset looks like to training and evaluation."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from bisenetv2.images import Image
from bisenetv2.labels import Labels, Mask


class Sample(NamedTuple):
    """One frame with its truth."""

    image: Image  # H, W, 3
    mask: Mask  # H, W: class indices, ignore index where nothing is known


class Dataset(Protocol):
    """A finite, indexable set of samples; reading is thread-safe and has no side effect."""

    @property
    def name(self) -> str:
        """Name for reports and model cards, for instance `CamVid trainval`."""

    @property
    def licence(self) -> str:
        """Terms under which the data may be used."""

    @property
    def labels(self) -> Labels:
        """Meaning of the class indices."""

    def __len__(self) -> int: ...

    def sample_name(self, index: int) -> str:
        """Name of a sample for messages and reports: its path where it has one."""

    def __getitem__(self, index: int) -> Sample: ...
