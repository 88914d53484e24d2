"""Polygons and run lengths to pixels and back: exact, and as COCO's own tools have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bisenetv2.data.convert import rle
from bisenetv2.data.convert.regions import area, fill, outlines
from bisenetv2.errors import UserError
from bisenetv2.images import read_mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2)
)


@given(MASKS, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_the_outlines_of_all_regions_fill_to_the_same_mask_in_any_order(mask, random):
    polygons = [(value, polygon) for value in range(3) for polygon in outlines(mask, value)]
    random.shuffle(polygons)
    back = np.full(mask.shape, 255, np.uint8)
    for value, polygon in polygons:
        filled = np.zeros_like(mask)
        fill(filled, polygon, 1)
        assert filled.sum() == area(polygon)
        assert (back[filled == 1] == 255).all(), "polygons overlap"
        back[filled == 1] = value
    np.testing.assert_array_equal(back, mask)


@given(MASKS)
@settings(max_examples=60)
def test_all_edges_follow_the_borders_of_pixels(mask):
    for polygon in outlines(mask, 1):
        steps = np.roll(polygon, -1, axis=0) - polygon
        assert ((steps == 0).sum(axis=1) == 1).all()
        np.testing.assert_array_equal(polygon, polygon.astype(int))


def test_a_hole_with_an_island_in_it_is_kept_by_a_bridge():
    mask = np.zeros((9, 9), np.uint8)
    mask[2:7, 2:7] = 1
    mask[4, 4] = 0
    assert len(outlines(mask, 0)) == 2
    (ring,) = outlines(mask, 1)
    assert area(ring) == 24
    assert (2.0, 4.0) in map(tuple, ring), "the bridge lands on the edge to the hole's left"


def test_one_pixel_is_a_square_around_its_centre():
    mask = np.zeros((4, 5), np.uint8)
    mask[1, 3] = 7
    (square,) = outlines(mask, 7)
    assert {tuple(corner) for corner in square} == {(3, 1), (4, 1), (4, 2), (3, 2)}
    assert outlines(mask, 9) == []


def inside(polygon, shape):
    """Which pixel centres lie in a polygon, edge by edge, and which lie on one, to rounding."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    found, near = np.zeros((2, *shape), bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crossed = (ay <= y) != (by <= y)
        crossing = ax + (y - ay) / (by - ay or 1) * (bx - ax)
        found ^= crossed & (x > crossing)
        near |= crossed & (np.abs(x - crossing) < 1e-6)
    return found, near


@given(st.lists(st.tuples(*[st.floats(-9, 30, width=32)] * 2), min_size=3, max_size=8))
@settings(max_examples=100)
def test_a_pixel_is_filled_if_its_centre_is_inside(corners):
    polygon = np.array(corners)
    mask = np.zeros((20, 21), np.uint8)
    fill(mask, polygon, 1)
    found, near = inside(polygon, mask.shape)
    np.testing.assert_array_equal(mask[~near] == 1, found[~near])


def test_edges_looked_at_in_parts_give_the_same(monkeypatch):
    polygon = np.random.default_rng(0).uniform(-5, 25, (40, 2))
    whole, parts = np.zeros((2, 20, 20), np.uint8)
    fill(whole, polygon, 1)
    monkeypatch.setattr("bisenetv2.data.convert.regions._CROSSINGS", 60)
    fill(parts, polygon, 1)
    np.testing.assert_array_equal(parts, whole)


def test_what_lies_wholly_outside_paints_nothing():
    mask = np.zeros((5, 5), np.uint8)
    fill(mask, np.array([(7.0, 7), (9, 7), (9, 9)]), 1)
    fill(mask, np.array([(-7.0, 1), (-9, 1), (-9, 4)]), 1)
    assert not mask.any()


def test_camvid_comes_back_exactly(camvid_root):
    for path in sorted((camvid_root / "valannot").glob("*.png"))[:2]:
        mask = np.asarray(read_mask(path), np.uint8)
        back = np.full_like(mask, 255)
        for value in range(12):
            for polygon in outlines(mask, value):
                fill(back, polygon, value)
        np.testing.assert_array_equal(back, mask)


def coco_tools():
    return pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")


@given(MASKS.map(lambda mask: (mask > 0).astype(np.uint8)))
@settings(max_examples=100)
def test_run_lengths_decode_as_by_coco(mask):
    tools = coco_tools()
    packed = tools.encode(np.asfortranarray(mask))["counts"].decode()
    runs = rle.run_lengths(packed, mask.shape, "here")
    np.testing.assert_array_equal(rle.decode(runs, mask.shape), mask == 1)
    same = rle.run_lengths(runs.tolist(), mask.shape, "here")
    np.testing.assert_array_equal(same, runs)


def test_long_runs_decode_as_by_coco():
    tools = coco_tools()
    mask = np.zeros((700, 900), np.uint8)
    mask[100:600, 3] = mask[7, 40:880] = mask[:, 899] = 1
    packed = tools.encode(np.asfortranarray(mask))["counts"].decode()
    runs = rle.run_lengths(packed, mask.shape, "here")
    np.testing.assert_array_equal(rle.decode(runs, mask.shape), mask == 1)


@given(MASKS)
@settings(max_examples=60)
def test_coco_fills_the_outlines_to_the_same_pixels(mask):
    tools = coco_tools()
    polygons = [polygon.ravel().tolist() for polygon in outlines(mask, 1)]
    if polygons:
        merged = tools.merge(tools.frPyObjects(polygons, *mask.shape))
        np.testing.assert_array_equal(tools.decode(merged) == 1, mask == 1)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (None, "no list of run lengths"),
        ([1, -1, 12], "no list of run lengths"),
        ([1.5, 10.5], "no list of run lengths"),
        ([True, 11], "no list of run lengths"),
        ([4, 7], "add up to 11 pixels, not to the 4×3"),
        ([10**30], "not to the 4×3"),
        ("a b", "damaged at ' '"),
        ("o" * 100, "damaged at 'o'"),
        ("o", "ends within a number"),
        ("€", "damaged at '€'"),
    ],
)
def test_damaged_run_lengths_are_named(counts, message):
    with pytest.raises(UserError, match=r"^a\.json: annotation 3: ") as refusal:
        rle.run_lengths(counts, (3, 4), "a.json: annotation 3")
    assert message in str(refusal.value)


def test_run_lengths_go_down_the_columns():
    runs = rle.run_lengths([1, 2, 3], (3, 2), "here")
    assert rle.decode(runs, (3, 2)).tolist() == [[False, False], [True, False], [True, False]]
    np.testing.assert_array_equal(rle.run_lengths("123", (3, 2), "here"), runs)
