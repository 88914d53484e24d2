"""What every dataset looks like to training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
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


class DatasetView:
    """Another dataset, seen as it is; subclasses change what they are for."""

    def __init__(self, dataset: Dataset, labels: Labels | None = None) -> None:
        self.dataset = dataset
        self.name, self.licence = dataset.name, dataset.licence
        self.labels = labels or dataset.labels

    def __len__(self) -> int:
        return len(self.dataset)

    def sample_name(self, index: int) -> str:
        """Name of a sample."""
        return self.dataset.sample_name(index)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[index]


class ChosenSamples(DatasetView):
    """Some samples of another dataset, in a given order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        """Takes the samples of these indices, in this order."""
        super().__init__(dataset)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def sample_name(self, index: int) -> str:
        """Name of a sample."""
        return self.dataset.sample_name(self.indices[index])

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]


class SpreadSamples(ChosenSamples):
    """Samples of another dataset, evenly spread over it: neighbours are much alike in a video."""

    def __init__(self, dataset: Dataset, count: int) -> None:
        """Takes `count` of them, or all there are if there are fewer.

        Raises:
            UserError: If fewer than one sample is asked for.
        """
        if count < 1:
            raise UserError(f"{count} frames: ask for 1 or more")
        count = min(count, len(dataset))
        super().__init__(dataset, [place * len(dataset) // count for place in range(count)])


class SharedSamples(ChosenSamples):
    """The samples of another dataset that fall to one of several processes."""

    def __init__(self, dataset: Dataset, rank: int, size: int) -> None:
        """Takes sample `rank`, 0 to size - 1, and every `size`-th after it."""
        super().__init__(dataset, range(rank, len(dataset), size))
