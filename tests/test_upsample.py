from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.errors import UserError
from bisenetv2.inference import upsample
from bisenetv2.inference.upsample import upsample_argmax

Floats = npt.NDArray[np.floating]

sides = st.integers(1, 12)
pixels = st.integers(1, 90)
classes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


def interpolate(logits: Floats, size: tuple[int, int]) -> Floats:
    """The plain road in float64: every class at every pixel, C×H×W."""
    scores = logits.astype(np.float64)
    for axis, count in ((1, size[0]), (2, size[1])):
        extent = scores.shape[axis]
        position = ((np.arange(count) + 0.5) * extent / count - 0.5).clip(0, extent - 1)
        before = np.floor(position).astype(int)
        after = np.minimum(before + 1, extent - 1)
        weight = (position - before).reshape((-1, 1) if axis == 1 else (1, -1))
        low, high = scores.take(before, axis), scores.take(after, axis)
        scores = low * (1 - weight) + high * weight
    return scores


def assert_is_argmax(mask: npt.NDArray[np.uint8], logits: Floats, size: tuple[int, int]) -> None:
    """Holds the mask against the plain road; where rounding may decide, the choice must be near."""
    assert mask.shape == size
    assert mask.dtype == np.uint8
    scores = interpolate(logits, size)
    chosen = np.take_along_axis(scores, mask[None].astype(int), axis=0)[0]
    slack = 1e-5 * np.abs(logits).max()
    assert (chosen >= scores.max(axis=0) - slack).all()


def smooth_logits(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Logits as a network gives them: neighbours mostly agree."""
    coarse = rng.normal(size=(shape[0], shape[1] // 6 + 2, shape[2] // 6 + 2)) * 4
    fine = interpolate(coarse, shape[1:]) + rng.normal(size=shape) * 0.1
    return fine.astype(np.float32)


@settings(max_examples=150)
@given(classes, sides, sides, pixels, pixels, seeds, st.sampled_from([np.inf, 3.0, 0.0]))
def test_it_is_the_argmax_of_the_bilinear_interpolation(
    c: int, h: int, w: int, height: int, width: int, seed: int, levels: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(c, h, w))
    if np.isfinite(levels):  # few levels: corners that tie, and planes that are equal throughout
        logits = np.round(logits * levels)
    logits = logits.astype(np.float32)
    assert_is_argmax(upsample_argmax(logits, (height, width)), logits, (height, width))


@settings(max_examples=40)
@given(st.integers(1, 19), st.integers(1, 40), st.integers(1, 40), pixels, pixels, seeds)
def test_it_holds_for_logits_whose_neighbours_agree(
    c: int, h: int, w: int, height: int, width: int, seed: int
) -> None:
    logits = smooth_logits(np.random.default_rng(seed), (c, h, w))
    assert_is_argmax(upsample_argmax(logits, (height, width)), logits, (height, width))


@pytest.mark.parametrize("size", [(352, 480), (360, 480), (176, 961), (44, 60), (31, 17), (1, 1)])
def test_it_equals_pytorch_pixel_by_pixel(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    logits = smooth_logits(np.random.default_rng(3), (11, 44, 60))
    scores = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], size, mode="bilinear", align_corners=False
    )[0]
    top = scores.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-5 * np.abs(logits).max()).numpy()
    expected = scores.argmax(0).numpy()
    assert (upsample_argmax(logits, size)[clear] == expected[clear]).all()
    assert clear.mean() > 0.99


def test_a_class_that_wins_at_no_corner_may_win_inside() -> None:
    logits = np.array([[[4, 0]], [[0, 4]], [[3, 3]]], np.float32)  # 3, 1, 2
    mask = upsample_argmax(logits, (1, 8))
    assert mask.tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]]


def test_of_equal_scores_the_lower_index_wins() -> None:
    logits = np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.ones((2, 2))]).astype(np.float32)
    assert (upsample_argmax(logits, (7, 7)) == 1).all()
    assert (upsample_argmax(logits[1:, :, ::-1], (7, 7)) == 0).all()


def test_at_the_size_of_the_logits_it_is_their_argmax() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 9, 13)).astype(np.float32)
    assert np.array_equal(upsample_argmax(logits, (9, 13)), logits.argmax(axis=0))


def test_the_division_of_the_work_does_not_change_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32)
    whole = upsample_argmax(logits, (301, 402))
    monkeypatch.setattr(upsample, "LONGEST_RUN", 7)
    monkeypatch.setattr(upsample, "CHUNK_PIXELS", 100)
    assert np.array_equal(upsample_argmax(logits, (301, 402)), whole)


@pytest.mark.parametrize(("shape", "side"), [((3, 2, 2), 2000), ((19, 100, 100), 800)])
def test_memory_stays_within_a_few_times_logits_and_mask(
    shape: tuple[int, int, int], side: int
) -> None:
    logits = np.random.default_rng(6).normal(size=shape).astype(np.float32)  # all tiles disagree
    tracemalloc.start()
    mask = upsample_argmax(logits, (side, side))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * mask.nbytes + 12 * logits.nbytes


def test_255_classes_fit() -> None:
    logits = np.random.default_rng(2).normal(size=(255, 4, 4)).astype(np.float32)
    mask = upsample_argmax(logits, (20, 20))
    assert_is_argmax(mask, logits, (20, 20))
    assert mask.max() > 200


def test_nan_never_wins_and_all_nan_is_class_0() -> None:
    logits = np.random.default_rng(4).normal(size=(3, 6, 6)).astype(np.float32)
    logits[1] = np.nan
    assert set(np.unique(upsample_argmax(logits, (48, 48)))) == {0, 2}
    assert not upsample_argmax(np.full((3, 2, 2), np.nan, np.float32), (9, 9)).any()


@pytest.mark.filterwarnings("error")
def test_infinite_logits_decide_without_a_warning() -> None:
    logits = np.zeros((3, 4, 4), np.float32)
    logits[0] = -np.inf
    logits[1, :2] = np.inf
    logits[2, 2:] = 1
    mask = upsample_argmax(logits, (32, 32))
    assert (mask[:12] == 1).all()
    assert (mask[20:] == 2).all()
    assert mask.all()  # minus infinity does not win where infinite and finite rows meet either


def test_logits_are_left_as_they_were_and_need_not_be_contiguous() -> None:
    logits = np.random.default_rng(5).normal(size=(6, 8, 3)).astype(np.float32)
    planes = logits.transpose(2, 0, 1)
    before = logits.copy()
    mask = upsample_argmax(planes, (48, 64))
    assert np.array_equal(mask, upsample_argmax(np.ascontiguousarray(planes), (48, 64)))
    assert np.array_equal(logits, before)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((3, 4), (8, 8)),
        ((0, 4, 4), (8, 8)),
        ((3, 0, 4), (8, 8)),
        ((256, 1, 1), (8, 8)),
        ((3, 4, 4), (0, 8)),
    ],
)
def test_shapes_out_of_range_are_refused(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="expected 1-255 classes"):
        upsample_argmax(np.zeros(shape, np.float32), size)
