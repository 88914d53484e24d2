"""Boundary and trimap IoU against their definitions, class by class."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.errors import UserError
from bisenetv2.evaluation.boundary import BoundaryScores, boundary_distance, outline_band
from bisenetv2.evaluation.confusion import ConfusionMatrix
from bisenetv2.labels import IGNORE_INDEX, Labels

CLASSES = 4
LABELS = Labels(tuple("abcd"), ((0, 0, 0),) * CLASSES)


def mask_of(seed, size=(30, 41), cell=6):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, CLASSES, (-(-size[0] // cell), -(-size[1] // cell)))
    fine = coarse.repeat(cell, axis=0).repeat(cell, axis=1)[: size[0], : size[1]]
    return np.ascontiguousarray(fine, np.uint8)


def inner_boundary(region, distance):
    """Pixels of a region that an erosion, as the paper's authors do it, takes away."""
    padded = np.pad(region.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return region & (eroded == 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.02, 0.05, 0.2]))
def test_without_ignored_pixels_it_is_the_authors_definition(first, second, share):
    truth, prediction = mask_of(first), mask_of(second)
    scores = BoundaryScores(LABELS, share)
    scores.add(truth, prediction)
    distance = boundary_distance(truth.shape, share)
    for index in np.unique(truth):
        a = inner_boundary(truth == index, distance)
        b = inner_boundary(prediction == index, distance)
        assert scores.iou[index] == pytest.approx((a & b).sum() / (a | b).sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_a_band_holds_what_has_another_labelled_class_within_the_distance(seed, distance):
    mask = mask_of(seed, (17, 21), 5)
    mask[np.random.default_rng(seed).random(mask.shape) < 0.1] = IGNORE_INDEX
    band = outline_band(mask, IGNORE_INDEX, distance)
    for row, column in zip(*np.nonzero(mask != IGNORE_INDEX), strict=True):
        rows = slice(max(0, row - distance), row + distance + 1)
        window = mask[rows, max(0, column - distance) : column + distance + 1]
        others = window[(window != IGNORE_INDEX) & (window != mask[row, column])]
        assert band[row, column] == bool(others.size)


def test_truth_against_itself_scores_one_with_ignored_pixels_too():
    truth = mask_of(3)
    truth[5:9, 4:30] = IGNORE_INDEX
    scores = BoundaryScores(LABELS)
    scores.add(truth, np.where(truth == IGNORE_INDEX, 2, truth).astype(np.uint8))
    assert scores.mean_iou == scores.trimap.mean_iou == 1.0


def test_the_trimap_counts_labelled_pixels_near_true_outlines_alone():
    truth = np.zeros((20, 20), np.uint8)
    truth[:, 10:] = 1
    prediction = truth.copy()
    prediction[:, 0] = 1  # far from any outline: the trimap does not see it
    prediction[:4, 9] = 1
    scores = BoundaryScores(LABELS, 2 / np.hypot(20, 20))
    scores.add(truth, prediction)
    expected = ConfusionMatrix(CLASSES)
    expected.update(truth[:, 8:12], prediction[:, 8:12])
    assert (scores.trimap.counts == expected.counts).all()


def test_absent_classes_are_left_out_and_thin_errors_cost_more_than_in_iou():
    truth = np.zeros((60, 60), np.uint8)
    truth[:, 30:] = 1
    prediction = np.roll(truth, 1, axis=1)
    prediction[:, 0] = 0
    scores, plain = BoundaryScores(LABELS), ConfusionMatrix(CLASSES)
    scores.add(truth, prediction)
    plain.update(truth, prediction)
    assert np.isnan(scores.iou[2:]).all()
    assert scores.mean_iou < plain.mean_iou
    assert scores.trimap.mean_iou < plain.mean_iou


def test_another_ignore_index_is_honoured():
    labels = Labels(("a", "b"), ((0, 0, 0),) * 2, ignore_index=2)
    truth = np.array([[0, 2, 1]], np.uint8)
    scores = BoundaryScores(labels, 0.5)
    scores.add(truth, np.array([[0, 1, 1]], np.uint8))
    assert scores.mean_iou == 1.0


def test_the_distance_is_stated_in_pixels_and_as_a_share():
    scores = BoundaryScores(LABELS)
    assert scores.distance == "2 % of the diagonal"
    scores.add(mask_of(0, (360, 480)), mask_of(1, (360, 480)))
    assert scores.distance == "12 px, 2 % of the diagonal"
    scores.add(mask_of(0, (30, 40)), mask_of(1, (30, 40)))
    assert scores.distance == "1-12 px, 2 % of the diagonal"


@pytest.mark.parametrize("share", [0.0, -0.1, 0.6, float("nan")])
def test_a_distance_out_of_range_is_refused(share):
    with pytest.raises(UserError, match="share of the frame's diagonal above 0"):
        BoundaryScores(LABELS, share)
