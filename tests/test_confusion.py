"""The confusion matrix against set arithmetic in pure Python."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisenetv2.errors import UserError
from bisenetv2.evaluation.confusion import ConfusionMatrix

IGNORE = 255
Pair = tuple[list[int], list[int]]


@st.composite
def scenes(draw: st.DrawFn, classes: int = 4) -> Pair:
    """Truth and prediction of the same length, some truth ignored, some classes often absent."""
    size = draw(st.integers(0, 24))
    indices = st.integers(0, draw(st.integers(0, classes - 1)))
    truth = draw(st.lists(indices | st.just(IGNORE), min_size=size, max_size=size))
    prediction = draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size))
    return truth, prediction


def as_mask(values: list[int]) -> npt.NDArray[np.uint8]:
    return np.array(values, np.uint8).reshape(1, -1)


def counted(*pairs: Pair, classes: int = 4) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes)
    for truth, prediction in pairs:
        matrix.update(as_mask(truth), as_mask(prediction))
    return matrix


class Oracle:
    """The textbook definitions on sets of pixel positions."""

    def __init__(self, truth: list[int], prediction: list[int], classes: int = 4) -> None:
        labelled = {i for i, value in enumerate(truth) if value != IGNORE}
        is_class = [{i for i in labelled if truth[i] == c} for c in range(classes)]
        said = [{i for i in labelled if prediction[i] == c} for c in range(classes)]
        self.present = tuple(c for c in range(classes) if is_class[c])
        self.pixels = len(labelled)
        self.iou = {
            c: len(is_class[c] & said[c]) / len(is_class[c] | said[c]) for c in self.present
        }
        self.accuracy = {c: len(is_class[c] & said[c]) / len(is_class[c]) for c in self.present}
        self.share = {c: len(is_class[c]) / len(labelled) for c in self.present}
        self.correct = sum(truth[i] == prediction[i] for i in labelled)


@given(scenes())
def test_scores_are_those_of_set_arithmetic(scene: Pair) -> None:
    matrix, oracle = counted(scene), Oracle(*scene)
    assert matrix.pixels == oracle.pixels
    assert matrix.present == oracle.present
    assert set(matrix.absent) == set(range(4)) - set(oracle.present)
    for index in range(4):
        for scores, expected in ((matrix.iou, oracle.iou), (matrix.accuracy, oracle.accuracy)):
            assert scores[index] == pytest.approx(expected.get(index, math.nan), nan_ok=True)
    if not oracle.present:
        return
    assert matrix.mean_iou == pytest.approx(sum(oracle.iou.values()) / len(oracle.iou))
    assert matrix.mean_accuracy == pytest.approx(sum(oracle.accuracy.values()) / len(oracle.iou))
    assert matrix.pixel_accuracy == pytest.approx(oracle.correct / oracle.pixels)
    assert matrix.share.tolist() == pytest.approx([oracle.share.get(c, 0.0) for c in range(4)])
    weighted = sum(oracle.share[c] * oracle.iou[c] for c in oracle.present)
    assert matrix.frequency_weighted_iou == pytest.approx(weighted)


@given(st.lists(scenes(), min_size=1, max_size=4))
def test_sum_of_shards_equals_the_whole(shards: list[Pair]) -> None:
    total = sum(counted(shard).counts for shard in shards)
    assert (total == counted(*shards).counts).all()


def test_rows_are_truth_and_columns_prediction() -> None:
    matrix = counted(([0, 0, 1], [1, 1, 0]), classes=2)
    assert matrix.counts.tolist() == [[0, 2], [1, 0]]
    assert matrix.counts.dtype == np.int64


def test_perfect_prediction_scores_exactly_one() -> None:
    matrix = counted(([0, 1, 1, 2, 3], [0, 1, 1, 2, 3]))
    assert matrix.iou.tolist() == [1.0] * 4
    assert matrix.mean_iou == matrix.mean_accuracy == matrix.pixel_accuracy == 1.0
    assert matrix.frequency_weighted_iou == 1.0


def test_ignored_truth_does_not_count_whatever_is_predicted_there() -> None:
    matrix = counted(([0, IGNORE, IGNORE, IGNORE], [0, 1, 0, IGNORE]), classes=2)
    assert matrix.counts.tolist() == [[1, 0], [0, 0]]


def test_another_ignore_index_is_honoured() -> None:
    matrix = ConfusionMatrix(2, ignore_index=2)
    matrix.update(as_mask([0, 1, 2]), as_mask([0, 1, 1]))
    assert matrix.pixels == 2
    with pytest.raises(UserError, match="truth holds label 255"):
        matrix.update(as_mask([255]), as_mask([0]))


def test_absent_class_is_left_out_of_the_mean_but_its_false_positives_cost() -> None:
    matrix = counted(([0, 0, 1, 1], [0, 2, 1, 1]), classes=3)
    assert matrix.absent == (2,)
    assert math.isnan(matrix.iou[2])
    assert math.isnan(matrix.accuracy[2])
    assert matrix.iou[:2].tolist() == [0.5, 1.0]
    assert matrix.mean_iou == 0.75


def test_data_without_a_labelled_pixel_scores_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = counted(([IGNORE] * 3, [0, 1, 2]))
        means = (matrix.mean_iou, matrix.mean_accuracy, matrix.pixel_accuracy)
        assert all(math.isnan(mean) for mean in (*means, matrix.frequency_weighted_iou))
        assert np.isnan([matrix.iou, matrix.accuracy, matrix.share]).all()
    assert (matrix.pixels, matrix.present) == (0, ())


def test_counts_beyond_32_bits_stay_exact() -> None:
    matrix = counted(([0, 0, 0, 1], [0, 0, 1, 1]), classes=2)
    matrix.counts <<= 40
    assert matrix.pixels == 4 << 40
    assert matrix.counts.tolist() == [[2 << 40, 1 << 40], [0, 1 << 40]]
    assert matrix.iou == pytest.approx([2 / 3, 1 / 2])


def test_every_class_of_255_fits() -> None:
    values = list(range(255))
    matrix = counted((values, values), classes=255)
    assert (matrix.counts == np.eye(255)).all()


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 7], [0, 0], r"truth holds label 7, which is out of range"),
        ([0, 1], [0, 9], r"prediction holds label 9, which is out of range"),
        ([0, IGNORE], [0, 9], r"prediction holds label 9, which is out of range"),
        ([0, 1], [0, IGNORE], r"ignore index 255 on 1 labelled pixels"),
        ([0, 1], [0], r"prediction of 1×1 against truth of 2×1 pixels"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused_and_counts_nothing(
    truth: list[int], prediction: list[int], message: str
) -> None:
    matrix = counted(([0], [0]), classes=2)
    with pytest.raises(UserError, match=message):
        matrix.update(as_mask(truth), as_mask(prediction))
    assert matrix.counts.tolist() == [[1, 0], [0, 0]]


def test_masks_of_another_type_or_rank_are_refused() -> None:
    matrix = ConfusionMatrix(2)
    good = np.zeros((2, 3), np.uint8)
    with pytest.raises(UserError, match="prediction is int64"):
        matrix.update(good, good.astype(np.int64))
    with pytest.raises(UserError, match=r"truth is uint8 of shape \(1, 2, 3\)"):
        matrix.update(good[None], good[None])
