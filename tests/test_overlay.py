from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.errors import UserError
from bisenetv2.inference.overlay import class_shares, draw_legend, overlay
from bisenetv2.labels import Labels

LABELS = Labels(names=("road", "Gebäude", "tree"), palette=((200, 0, 0), (0, 200, 0), (0, 0, 200)))
SIZE = (120, 160)


def plain(value: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_classes_are_blended_in_their_colours() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 80:] = 1
    picture = overlay(plain(100), mask, LABELS, alpha=0.5, legend=False)
    assert picture.shape == (*SIZE, 3)
    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [150, 50, 50]
    assert picture[0, 159].tolist() == [50, 150, 50]


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, (100, 100, 100)), (1.0, (200, 0, 0))])
def test_alpha_goes_from_the_frame_to_the_colours(alpha: float, expected: tuple[int, ...]) -> None:
    picture = overlay(plain(100), np.zeros(SIZE, np.uint8), LABELS, alpha, legend=False)
    assert colours_in(picture) == {expected}


def test_ignored_pixels_stay_as_they_are() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    mask[30:60] = 255
    picture = overlay(frame, mask, LABELS, legend=False)
    assert np.array_equal(picture[30:60], frame[30:60])
    assert not np.array_equal(picture[:30], frame[:30])


def test_frame_and_mask_are_left_as_they_were() -> None:
    frame, mask = plain(9), np.full(SIZE, 255, np.uint8)
    overlay(frame, mask, LABELS)
    assert (frame == 9).all()
    assert (mask == 255).all()


def test_the_legend_stands_under_the_picture_and_shows_the_classes_present() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:60] = 2
    picture = overlay(plain(0), mask, LABELS)
    strip = picture[SIZE[0] :]
    assert len(strip) > 0
    assert np.array_equal(picture[: SIZE[0]], overlay(plain(0), mask, LABELS, legend=False))
    assert {LABELS.palette[0], LABELS.palette[2]} <= colours_in(strip)
    assert LABELS.palette[1] not in colours_in(strip)


def test_names_are_written_beside_their_swatches() -> None:
    strip = draw_legend(LABELS, [0], SIZE)
    swatch = (strip == LABELS.palette[0]).all(axis=2).nonzero()[1].max()
    assert (strip[:, swatch + 1 :].max(axis=(0, 2)) > 150).sum() > 10


def test_the_legend_grows_with_the_picture() -> None:
    small, large = draw_legend(LABELS, [0], (120, 160)), draw_legend(LABELS, [0], (1080, 1920))
    assert len(large) > len(small)


def test_the_legend_wraps_where_the_picture_is_narrow() -> None:
    wide, narrow = (draw_legend(LABELS, [0, 1, 2], (400, w)) for w in (600, 100))
    assert len(narrow) == 3 * len(wide)
    for colour in LABELS.palette:
        assert colour in colours_in(narrow)


def test_a_mask_without_classes_has_no_legend() -> None:
    assert overlay(plain(0), np.full(SIZE, 255, np.uint8), LABELS).shape == (*SIZE, 3)


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(1, 200), st.booleans())
def test_every_size_works(height: int, width: int, legend: bool) -> None:
    mask = np.random.default_rng(height).integers(0, 3, (height, width)).astype(np.uint8)
    picture = overlay(plain(50, (height, width)), mask, LABELS, legend=legend)
    assert picture.shape[1:] == (width, 3)
    assert picture.shape[0] >= height
    assert picture.dtype == np.uint8


@pytest.mark.parametrize(
    ("frame", "mask"),
    [
        (plain(0), np.zeros((4, 4), np.uint8)),
        (plain(0).astype(np.float32), np.zeros(SIZE, np.uint8)),
        (plain(0), np.zeros(SIZE, np.int64)),
        (plain(0)[..., 0], np.zeros(SIZE, np.uint8)),
    ],
)
def test_frame_and_mask_must_belong_together(frame: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"expected uint8 H×W×3 and uint8 H×W"):
        overlay(frame, mask, LABELS)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(UserError, match="alpha"):
        overlay(plain(0), np.zeros(SIZE, np.uint8), LABELS, alpha)


def test_shares_are_of_all_pixels_and_the_largest_comes_first() -> None:
    mask = np.array([[2, 2, 2, 2], [0, 0, 255, 7]], np.uint8)
    shares = class_shares(mask, LABELS)
    assert list(shares) == ["tree", "road", "ignored"]
    assert shares == {"tree": 0.5, "road": 0.25, "ignored": 0.25}


@given(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=1, max_size=50))
def test_shares_sum_to_1(values: list[int]) -> None:
    shares = class_shares(np.array([values], np.uint8), LABELS)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert all(share > 0 for share in shares.values())
