"""What every dataset looks like to training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bisenetv2.errors import UserError
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


@dataclass(frozen=True)
class FirstSamples:
    """The first samples of another dataset.

    Raises:
        UserError: If fewer than one sample is asked for.
    """

    dataset: Dataset
    count: int
    """How many; all there are, if there are fewer."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"{self.count} frames: ask for 1 or more")

    @property
    def name(self) -> str:
        """Name of the other dataset."""
        return self.dataset.name

    @property
    def licence(self) -> str:
        """Terms of the other dataset."""
        return self.dataset.licence

    @property
    def labels(self) -> Labels:
        """Labels of the other dataset."""
        return self.dataset.labels

    def __len__(self) -> int:
        return min(self.count, len(self.dataset))

    def sample_name(self, index: int) -> str:
        """Name of a sample."""
        return self.dataset.sample_name(index)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.dataset[index]
