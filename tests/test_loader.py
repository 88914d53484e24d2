"""Batches are a pure function of (seed, step), whoever prepares them and in whatever order."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.data.augment import Augmentation
from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID, Labels
from bisenetv2.training.loader import Batch, Batches, InMemory

SIDE = 8


class Numbered:
    """Samples whose pixels say their index; counts how often each is read."""

    licence = "CC0"

    def __init__(self, count: int, name: str = "numbers", labels: Labels = CAMVID) -> None:
        self.count, self.name, self.labels = count, name, labels
        self.reads: Counter[int] = Counter()

    def __len__(self) -> int:
        return self.count

    def sample_name(self, index: int) -> str:
        return f"{self.name}/{index}"

    def __getitem__(self, index: int) -> Sample:
        self.reads[index] += 1
        shape = (2 * SIDE, 2 * SIDE)
        return Sample(np.full((*shape, 3), index, np.uint8), np.full(shape, index % 11, np.uint8))


def batches(count: int, batch_size: int, seed: int = 0, **options: Any) -> Batches:
    augmentation = Augmentation((SIDE, SIDE), (1.0, 1.5), brightness=0.2)
    return Batches(Numbered(count), augmentation, batch_size, seed, **options)


def assert_equal(first: Batch, second: Batch) -> None:
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert first.names == second.names


def test_a_batch_is_arrays_of_the_crop_and_the_names_of_its_samples() -> None:
    images, masks, names, first = batches(10, 4)[0]
    assert first == 0
    assert images.shape == (4, SIDE, SIDE, 3)
    assert masks.shape == (4, SIDE, SIDE)
    assert images.dtype == masks.dtype == np.uint8
    assert [int(name.split("/")[1]) % 11 for name in names] == masks[:, 0, 0].tolist()


@given(seed=st.integers(0, 2**40), step=st.integers(0, 10_000))
@settings(max_examples=25)
def test_a_batch_follows_from_seed_and_step_alone(seed: int, step: int) -> None:
    used, fresh = batches(7, 3, seed), batches(7, 3, seed)
    _ = used[step + 1], used[0]  # what was asked for before does not matter
    assert_equal(used[step], fresh[step])


def test_other_seeds_and_other_steps_give_other_batches() -> None:
    contents = {batches(50, 4, seed)[step].images.tobytes() for seed in (0, 1) for step in (0, 1)}
    assert len(contents) == 4


@given(count=st.integers(1, 12), batch_size=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_each_epoch_visits_each_sample_once_across_batch_borders(
    count: int, batch_size: int, seed: int
) -> None:
    source = batches(count, batch_size, seed)
    steps = -(-3 * count // batch_size)
    names = [name for step in range(steps) for name in source[step].names]
    for epoch in range(3):
        visited = names[epoch * count : (epoch + 1) * count]
        assert sorted(visited) == sorted(f"numbers/{index}" for index in range(count))


def test_epochs_differ_in_order_and_the_same_sample_in_augmentation() -> None:
    source = batches(30, 30)
    first, second = source[0], source[1]
    assert first.names != second.names
    place = {name: index for index, name in enumerate(second.names)}
    same = [
        np.array_equal(first.images[index], second.images[place[name]])
        for index, name in enumerate(first.names)
    ]
    assert sum(same) < 15


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, 20), (13, 20), (0, 2), (5, 5)])
def test_prefetched_batches_are_those_asked_for_directly_in_order(
    start: int, stop: int, workers: int
) -> None:
    source = batches(9, 2)
    found = list(source.prefetch(start, stop, workers))
    assert len(found) == stop - start
    for step, batch in zip(range(start, stop), found, strict=True):
        assert_equal(batch, source[step])


def test_prefetch_past_the_end_yields_nothing() -> None:
    assert list(batches(9, 2).prefetch(7, 3)) == []


class Failing(Numbered):
    """Cannot read one of its samples."""

    def __getitem__(self, index: int) -> Sample:
        if index == 5:
            raise UserError("numbers/5: truncated")
        return super().__getitem__(index)


def test_an_error_in_a_worker_reaches_the_training_and_ends_the_threads() -> None:
    threads = threading.active_count()
    source = replace(batches(12, 1), dataset=Failing(12))
    with pytest.raises(UserError, match=r"^numbers/5: truncated$"):
        list(source.prefetch(0, 12))
    assert threading.active_count() == threads


def test_leaving_early_stops_the_workers_soon_after() -> None:
    threads = threading.active_count()
    data = Numbered(250)
    stream = replace(batches(12, 1), dataset=data).prefetch(0, 250, workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == threads
    assert sum(data.reads.values()) < 20


def test_few_batches_wait_at_a_time() -> None:
    data = Numbered(250)
    stream = replace(batches(12, 1), dataset=data).prefetch(0, 250, workers=2)
    for taken in range(1, 30):
        next(stream)
        assert sum(data.reads.values()) <= taken + 5
    stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_second_dataset_is_mixed_in_at_its_share(share: float) -> None:
    source = batches(40, 10, mixed=Numbered(25, "streets"), mixed_share=share)
    names = [name for step in range(60) for name in source[step].names]
    streets = [name for name in names if name.startswith("streets")]
    assert len(streets) / len(names) == pytest.approx(share, abs=0.07)
    if share:
        assert len(set(streets)) == 25  # all of it is drawn from
    assert_equal(source[3], source[3])


def test_of_the_first_dataset_mixing_repeats_nothing_within_an_epoch() -> None:
    source = batches(40, 10, mixed=Numbered(25, "streets"), mixed_share=0.4)
    names = [name for step in range(4) for name in source[step].names]
    own = [name for name in names if name.startswith("numbers")]
    assert len(own) == len(set(own))


OTHER = Labels(("road", "sky"), ((1, 2, 3), (4, 5, 6)))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"batch_size": 0}, r"batch size 0"),
        ({"seed": -1}, r"seed -1"),
        ({"dataset": Numbered(0)}, r"numbers: holds no sample"),
        ({"mixed_share": 1.2}, r"mixed share 1.2"),
        ({"mixed": Numbered(0, "streets")}, r"streets: holds no sample"),
        (
            {"mixed": Numbered(3, "signs", OTHER)},
            r"signs: its classes \(road, sky; 255 ignored\) are not",
        ),
        (
            {"mixed": Numbered(3, "signs", replace(CAMVID, ignore_index=11, raw_ids=None))},
            r"signs: its classes .*; 11 ignored",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=f"^{complaint}"):
        replace(batches(3, 2), **options)


def test_in_memory_reads_each_sample_once_and_changes_nothing() -> None:
    data = Numbered(6)
    kept = InMemory(data)
    for _ in range(3):
        for index in range(6):
            np.testing.assert_array_equal(kept[index].mask, data.__class__(6)[index].mask)
    assert set(data.reads.values()) == {1}
    assert (len(kept), kept.name, kept.licence, kept.labels, kept.sample_name(2)) == (
        6,
        data.name,
        data.licence,
        data.labels,
        data.sample_name(2),
    )


def test_in_memory_keeps_no_more_than_its_budget_and_serves_the_rest_all_the_same() -> None:
    data = Numbered(6)
    size = data[0].image.nbytes + data[0].mask.nbytes
    data.reads.clear()
    kept = InMemory(data, budget=2 * size + 1)
    for _ in range(3):
        assert [int(kept[index].image[0, 0, 0]) for index in range(6)] == list(range(6))
    assert sorted(data.reads.values()) == [1, 1, 3, 3, 3, 3]


def test_slow_reading_of_one_sample_does_not_change_the_order() -> None:
    class Slow(Numbered):
        def __getitem__(self, index: int) -> Sample:
            time.sleep(0.02 if index == 3 else 0)
            return super().__getitem__(index)

    source = replace(batches(8, 1), dataset=Slow(8))
    names = [batch.names for batch in source.prefetch(0, 8, workers=3)]
    assert names == [batches(8, 1)[step].names for step in range(8)]
