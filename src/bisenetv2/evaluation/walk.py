"""Take frames through networks, reading and scoring beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

from bisenetv2.data.dataset import Dataset
from bisenetv2.errors import UserError
from bisenetv2.evaluation.protocols import Answer, Answering
from bisenetv2.images import Image
from bisenetv2.labels import Mask


class Answered(NamedTuple):
    """A frame with its truth and what the networks made of it."""

    name: str
    image: Image  # H, W, 3
    truth: Mask  # H, W
    answers: tuple[Answer, ...]


@dataclass
class Clock:
    """Where the wall-clock time of an evaluation went, in seconds."""

    network: float = 0.0
    """Frame to mask: both resizes and the network."""

    reading: float = 0.0
    """Waiting for a frame that was not read yet."""

    scoring: float = 0.0
    """Waiting for the scores of the frame before."""

    total: float = 0.0
    """All of it; what the others leave is the start and the end."""

    @contextmanager
    def running(self, stage: str) -> Iterator[None]:
        """Adds the time its block takes to a stage."""
        start = time.perf_counter()
        yield
        setattr(self, stage, getattr(self, stage) + time.perf_counter() - start)

    def merge(self, other: Clock) -> None:
        """Adds the seconds of another clock."""
        for stage, seconds in asdict(other).items():
            setattr(self, stage, getattr(self, stage) + seconds)

    def shares(self) -> dict[str, float]:
        """Share of each stage and of the rest in the total, 0 to 1."""
        seconds = asdict(self)
        total = seconds.pop("total")
        seconds["rest"] = max(0.0, total - sum(seconds.values()))
        return {stage: value / total if total > 0 else 0.0 for stage, value in seconds.items()}


def walk(
    protocols: Sequence[Answering],
    dataset: Dataset,
    add: Callable[[Answered], None],
    progress: Callable[[int], None] | None = None,
    confidence: bool = False,
) -> Clock:
    """Takes every frame of a dataset through one or more networks.

    One thread reads a frame ahead and one scores the frame before, while the networks have theirs;
    so memory holds three frames at most.

    Args:
        protocols: Networks and how they look at a frame.
        dataset: Frames with their truth, each of one size.
        add: Scores a frame; called in the order of the frames, never twice at a time.
        progress: Called after each image with the number of images done so far.
        confidence: Ask for confidences too.

    Returns:
        Where the time went.

    Raises:
        UserError: If the dataset is empty, or `add` says so.
    """
    count = len(dataset)
    if not count:
        raise UserError(f"{dataset.name}: holds no images to evaluate on")
    clock = Clock()
    with (
        clock.running("total"),
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="score") as scorer,
    ):
        upcoming = reader.submit(dataset.__getitem__, 0)
        scored: Future[None] = scorer.submit(lambda: None)  # no frame before the first
        for index in range(count):
            with clock.running("reading"):
                sample = upcoming.result()
            if index + 1 < count:
                upcoming = reader.submit(dataset.__getitem__, index + 1)
            with clock.running("network"):
                answers = tuple(each.answer(sample.image, confidence) for each in protocols)
            with clock.running("scoring"):
                scored.result()
            answered = Answered(dataset.sample_name(index), *sample, answers)
            scored = scorer.submit(add, answered)
            if progress is not None:
                progress(index + 1)
        with clock.running("scoring"):
            scored.result()
    return clock
