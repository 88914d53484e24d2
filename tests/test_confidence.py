"""Soft-max at frame size, calibration and confidence intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.evaluation.bootstrap import Interval, interval, resample
from bisenetv2.evaluation.calibration import BINS, Calibration
from bisenetv2.evaluation.confusion import ConfusionMatrix
from bisenetv2.inference.softmax import upsample_confidence, upsample_softmax
from bisenetv2.inference.upsample import upsample_argmax
from bisenetv2.labels import CAMVID, IGNORE_INDEX


def logits_of(seed, classes=5, size=(7, 9)):
    return np.random.default_rng(seed).normal(0, 3, (classes, *size)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60))
def test_probabilities_sum_to_one_and_their_best_is_the_mask(seed, height, width):
    logits = logits_of(seed)
    probabilities = upsample_softmax(logits, (height, width))
    assert probabilities.shape == (5, height, width)
    assert probabilities.sum(axis=0) == pytest.approx(np.ones((height, width)), abs=1e-5)
    best, second = np.sort(probabilities, axis=0)[:-3:-1]
    clear = best - second > 1e-4  # elsewhere rounding may decide
    mask = upsample_argmax(logits, (height, width))
    assert (probabilities.argmax(axis=0) == mask)[clear].all()
    confidence = upsample_confidence(logits, (height, width))
    assert confidence == pytest.approx(best, abs=1e-6)


def test_probabilities_are_those_of_pytorch(one_torch_thread):
    torch = pytest.importorskip("torch")
    logits = logits_of(1)
    planes = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], (50, 71), mode="bilinear"
    )
    expected = planes.softmax(dim=1)[0].numpy()
    assert upsample_softmax(logits, (50, 71)) == pytest.approx(expected, abs=1e-5)


def test_the_calibration_error_is_that_of_torchmetrics(one_torch_thread):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    probabilities = upsample_softmax(logits_of(2), (40, 60))
    truth = rng.integers(0, 5, (40, 60)).astype(np.uint8)
    truth[:5] = IGNORE_INDEX
    calibration = Calibration(CAMVID)
    for rows in (slice(0, 25), slice(25, 40)):
        part = probabilities[:, rows]
        mask = part.argmax(axis=0).astype(np.uint8)
        calibration.add(truth[rows], mask, part.max(axis=0))
    expected = functional.multiclass_calibration_error(
        torch.from_numpy(probabilities)[None],
        torch.from_numpy(truth)[None].long(),
        num_classes=5,
        n_bins=BINS,
        ignore_index=IGNORE_INDEX,
    )
    assert calibration.error == pytest.approx(float(expected), abs=1e-5)
    assert calibration.pixels.sum() == 35 * 60
    assert sum(share for _, _, share in calibration.curve) == pytest.approx(1)


def test_who_is_as_right_as_sure_has_no_calibration_error():
    calibration = Calibration(CAMVID)
    truth = np.zeros((1, 4), np.uint8)
    calibration.add(truth, np.array([[0, 0, 0, 1]], np.uint8), np.full((1, 4), 0.75, np.float32))
    assert calibration.error == 0
    assert calibration.curve == [(0.75, 0.75, 1.0)]
    assert math.isnan(Calibration(CAMVID).error)


def sums_of(seed, images=40):
    """Sums of images whose classes are about 70 % right; class 3 never occurs."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(images):
        truth = rng.integers(0, 3, 400).astype(np.uint8)[None]
        wrong = rng.random(truth.shape) < rng.uniform(0.1, 0.5)
        matrix = ConfusionMatrix(4)
        matrix.update(truth, np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8))
        rows.append(matrix.sums)
    return np.stack(rows)


def test_intervals_hold_the_figure_repeat_exactly_and_shrink_with_more_images():
    few, many = sums_of(0, 20), sums_of(1, 320)
    widths = []
    for sums in (few, many):
        resampled = resample(sums)
        low, high = interval(resampled.mean)
        hits, truth, predicted = sums.sum(axis=0)[:, :3]
        assert low < np.mean(hits / (truth + predicted - hits)) < high
        assert interval(resample(sums).mean) == Interval(low, high)
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.5)


def test_an_absent_class_has_no_interval_and_no_part_in_the_mean():
    resampled = resample(sums_of(2))
    assert np.isnan(resampled.iou[:, 3]).all()
    assert all(map(math.isnan, interval(resampled.iou[:, 3])))
    assert resampled.mean == pytest.approx(resampled.iou[:, :3].mean(axis=1))


def sums_with_rare_classes(holders):
    """Sums of 30 images; class 3, which is always wrong, is in the first few of them."""
    sums = sums_of(5, 30)
    sums[:holders, 1, 3] = 50
    return sums


def test_the_interval_of_the_mean_holds_the_mean_where_resamples_lack_a_class():
    sums = sums_with_rare_classes(2)
    resampled = resample(sums)
    hits, truth, predicted = sums.sum(axis=0)
    low, high = interval(resampled.mean)
    assert np.isnan(resampled.iou[:, 3]).any()
    assert low < np.mean(hits / (truth + predicted - hits)) < high


def test_a_class_in_a_single_image_leaves_itself_and_the_mean_without_an_interval():
    resampled = resample(sums_with_rare_classes(1))
    assert np.isnan(resampled.iou[:, 3]).all()
    assert not np.isnan(resampled.iou[:, :3]).any()
    assert all(map(math.isnan, interval(resampled.mean)))


def test_images_that_are_all_alike_leave_no_doubt():
    sums = np.repeat(sums_of(3, 1), 10, axis=0)
    low, high = interval(resample(sums).mean)
    assert low == high


def test_two_models_get_the_same_draws():
    sums = sums_of(4)
    assert np.array_equal(resample(sums).mean, resample(sums.copy()).mean)
    better = sums.copy()
    better[:, 0] += 1
    assert (resample(better).mean > resample(sums).mean).all()
