"""Batches: a pure function of (seed, step), prepared ahead of the training by threads.

Nothing here has a state to save: resuming at step n asks for batch n.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bisenetv2.data.augment import Augmentation, Change, Rectangle, cut_mix, draw_rectangle
from bisenetv2.data.dataset import Dataset, DatasetView, Sample
from bisenetv2.errors import UserError
from bisenetv2.labels import Labels

T = TypeVar("T")

MEMORY_BUDGET = 2 << 30
"""Bytes of decoded samples kept: all of CamVid, but not all of 10,000 rendered streets."""


class Batch(NamedTuple):
    """What one step trains on."""

    images: npt.NDArray[np.uint8]  # B, H, W, 3
    masks: npt.NDArray[np.uint8]  # B, H, W
    names: tuple[str, ...]  # B sample names, for messages
    first: int = 0  # number of the first sample, counted over the whole run


class Piece(NamedTuple):
    """A sample and what is to be done to it."""

    sample: Sample
    place: int | None
    """Its index in the dataset; `None` if it is one of the second dataset."""

    name: str
    change: Change


class Part(NamedTuple):
    """One image of a batch to be: a piece, with a rectangle of another one where CutMix is."""

    piece: Piece
    other: Piece | None = None
    area: Rectangle | None = None


class Plan(NamedTuple):
    """A batch of which all is drawn and nothing made."""

    parts: tuple[Part, ...]
    first: int
    """Number of the first sample, counted over the whole run."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its samples, for messages."""
        return tuple(part.piece.name for part in self.parts)


class InMemory(DatasetView):
    """A dataset that keeps decoded samples, as many as fit: no file of a small one is read twice.

    Samples are shared with whoever asks: they are not to be written to.
    """

    def __init__(self, dataset: Dataset, budget: int = MEMORY_BUDGET) -> None:
        """Wraps a dataset.

        Args:
            dataset: Where the samples come from.
            budget: Bytes of images and masks to keep; samples beyond are decoded at each asking.
        """
        super().__init__(dataset)
        self.samples: dict[int, Sample] = {}
        self.budget = self._left = budget

    def __getitem__(self, index: int) -> Sample:
        """Returns a sample, from memory if it was asked for before."""
        sample = self.samples.get(index)
        if sample is None:
            sample = self.dataset[index]
            size = sample.image.nbytes + sample.mask.nbytes
            if size <= self._left:
                self._left -= size
                self.samples[index] = sample
        return sample


@dataclass(frozen=True)
class Batches:
    """Shuffled, augmented batches of a dataset, optionally mixed with a second one.

    Each epoch visits every sample once, in an order that follows from (seed, epoch); epochs run on
    across batch boundaries, so that none is dropped.

    Raises:
        UserError: If the dataset is empty or a value is out of range.
    """

    dataset: Dataset
    augmentation: Augmentation
    batch_size: int
    """Samples a batch."""

    seed: int
    """Seed of order and augmentation."""

    mixed: Dataset | None = None
    """A second dataset with the same labels."""

    mixed_share: float = 0.0
    """Probability of a sample being one of the second dataset, 0 to 1."""

    cutmix: float = 0.0
    """Probability of a sample's getting a rectangle of another one, 0 to 1 (CutMix)."""

    start: tuple[int, int] = (0, 0)
    """Step of the first batch, and how many samples the run has taken before it."""

    shard: tuple[int, int] = (0, 1)
    """Which process of how many: each prepares its share of every batch, and all of them the whole
    batch. `batch_size` is a multiple of their number."""

    def __post_init__(self) -> None:
        if len(self.dataset) == 0:
            raise UserError(f"{self.dataset.name}: holds no sample")
        if self.batch_size < 1:
            raise UserError(f"batch size {self.batch_size}: expected 1 or more")
        if self.seed < 0:
            raise UserError(f"seed {self.seed}: expected 0 or more")
        if not 0 <= self.mixed_share <= 1:
            raise UserError(f"mixed share {self.mixed_share}: expected 0 to 1")
        if not 0 <= self.cutmix <= 1:
            raise UserError(f"cutmix {self.cutmix}: expected 0 to 1")
        if self.mixed is not None:
            _check_same_classes(self.dataset, self.mixed)

    def plan(self, step: int) -> Plan:
        """Draws the batch of a step of the run, as far as this process takes part."""
        slots = self._slots(step)
        return Plan(tuple(self._draw(slot) for slot in slots), slots.start)

    def __getitem__(self, step: int) -> Batch:
        """Prepares the batch of a step of the run, as far as this process takes part."""
        slots, samples, names = self._slots(step), [], []
        for slot in slots:  # one after the other: whole frames may be large
            part = self._draw(slot)
            samples.append(self._make(part))
            names.append(part.piece.name)
        return Batch(
            np.stack([sample.image for sample in samples]),
            np.stack([sample.mask for sample in samples]),
            tuple(names),
            slots.start,
        )

    def _slots(self, step: int) -> range:
        """Numbers of this process's samples of a step, counted over the whole run."""
        process, processes = self.shard
        share = self.batch_size // processes
        step_before, taken = self.start
        first = taken + (step - step_before) * self.batch_size + process * share
        return range(first, first + share)

    def _draw(self, slot: int) -> Part:
        generator = np.random.default_rng([self.seed, slot])
        piece = self._draw_piece(*self._choose(slot, generator), generator)
        if not self.cutmix or generator.random() >= self.cutmix:
            return Part(piece)
        index = int(generator.integers(len(self.dataset)))
        other = self._draw_piece(self.dataset, index, generator)
        return Part(piece, other, draw_rectangle(self.augmentation.crop, generator))

    def _draw_piece(self, source: Dataset, index: int, generator: np.random.Generator) -> Piece:
        sample = source[index]
        change = self.augmentation.draw(sample.mask, generator)
        place = index if source is self.dataset else None
        return Piece(sample, place, source.sample_name(index), change)

    def _make(self, part: Part) -> Sample:
        sample, *others = (
            self.augmentation.apply(piece.sample, piece.change)
            for piece in (part.piece, part.other)
            if piece is not None
        )
        if others and part.area is not None:
            return cut_mix(sample, others[0], part.area)
        return sample

    def _choose(self, slot: int, generator: np.random.Generator) -> tuple[Dataset, int]:
        if self.mixed is not None and generator.random() < self.mixed_share:
            return self.mixed, int(generator.integers(len(self.mixed)))
        epoch, place = divmod(slot, len(self.dataset))
        return self.dataset, int(_order(self.seed, epoch, len(self.dataset))[place])

    def prefetch(self, start: int, stop: int, workers: int = 2) -> Iterator[Batch]:
        """Yields the batches of steps `start` to `stop - 1`, in order, prepared by threads."""
        return ahead(self.__getitem__, start, stop, workers)

    def plans(self, start: int, stop: int, workers: int = 2) -> Iterator[Plan]:
        """Yields what is drawn for these steps, in order, by threads.

        One is enough where all samples lie in memory: drawing is Python. A second dataset may have
        to be read or rendered.
        """
        return ahead(self.plan, start, stop, 1 if self.mixed is None else workers)


def ahead(make: Callable[[int], T], start: int, stop: int, workers: int) -> Iterator[T]:
    """Yields `make(start)` to `make(stop - 1)`, in order, a few of them made ahead by threads."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for step in range(start, stop):
                waiting.append(pool.submit(make, step))
                if len(waiting) > workers + 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _check_same_classes(dataset: Dataset, mixed: Dataset) -> None:
    if len(mixed) == 0:
        raise UserError(f"{mixed.name}: holds no sample to mix in")
    theirs, ours = _classes(mixed.labels), _classes(dataset.labels)
    if theirs != ours:
        raise UserError(
            f"{mixed.name}: its classes ({theirs}) are not those of {dataset.name} ({ours}); "
            "mix data with the same labels"
        )


def _classes(labels: Labels) -> str:
    return f"{', '.join(labels.names)}; {labels.ignore_index} ignored"


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    # The 1 keeps these streams apart from the slots' own.
    return np.random.default_rng([seed, epoch, 1]).permutation(count)
