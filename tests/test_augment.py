"""Joint augmentation: whatever moves the image moves the mask, and nothing else."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.data.augment import Augmentation, cut_mix, draw_rectangle
from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.labels import IGNORE_INDEX

COLOURS = np.array(
    [[20, 20, 20], [250, 30, 30], [30, 250, 30], [30, 30, 250], [240, 240, 40], [40, 240, 240]],
    np.uint8,
)
"""One colour a class, far from each other and from the black of padding."""


def coded(mask: npt.NDArray[np.uint8]) -> Sample:
    """A sample whose image shows its mask."""
    return Sample(COLOURS[mask], mask)


def blocks(height: int, width: int, side: int, seed: int = 0) -> Sample:
    """Squares of random classes."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, len(COLOURS), (height // side + 1, width // side + 1), dtype=np.uint8)
    mask = np.repeat(np.repeat(cells, side, 0), side, 1)[:height, :width]
    return coded(np.ascontiguousarray(mask))


def away_from_boundaries(mask: npt.NDArray[np.uint8], distance: int) -> npt.NDArray[np.bool_]:
    kernel = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    return np.asarray(cv2.erode(mask, kernel) == cv2.dilate(mask, kernel))


def augmented(augmentation: Augmentation, sample: Sample, seed: int = 0) -> Sample:
    return augmentation(sample, np.random.default_rng(seed))


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    crop=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    scale=st.floats(0.2, 3),
    seed=st.integers(0, 2**32),
)
def test_image_and_mask_stay_aligned_at_any_size_crop_and_scale(
    size: tuple[int, int], crop: tuple[int, int], scale: float, seed: int
) -> None:
    augmentation = Augmentation(crop, (scale,), rare_classes=(1,), rare_share=0.5)
    sample = blocks(*size, side=24, seed=seed)
    # Where two classes meet, colours blend, as far as a pixel of the result reaches.
    clear = away_from_boundaries(sample.mask, int(np.ceil(0.5 / scale)) + 1)
    sample = Sample(sample.image, np.where(clear, sample.mask, IGNORE_INDEX).astype(np.uint8))
    image, mask = augmented(augmentation, sample, seed)
    assert image.shape == (*crop, 3)
    assert mask.shape == crop
    assert image.dtype == mask.dtype == np.uint8
    assert image.flags.c_contiguous
    assert mask.flags.c_contiguous
    known = mask != IGNORE_INDEX
    distance = np.abs(image[..., None, :].astype(int) - COLOURS).sum(-1)  # h, w, classes
    np.testing.assert_array_equal(distance.argmin(-1)[known], mask[known])


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.75, 1.0, 1.3, 2.0, 4.0])
def test_a_whole_scaled_image_is_what_resizing_with_half_pixel_centres_gives(scale: float) -> None:
    height, width = 40, 60
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = rng.integers(0, 6, (height, width), np.uint8)
    crop = (round(height * scale), round(width * scale))
    result = augmented(Augmentation(crop, (scale,), flip=0), Sample(image, mask))
    way = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
    expected = cv2.resize(image, crop[::-1], interpolation=way)
    np.testing.assert_allclose(result.image.astype(int), expected, atol=2)  # 1/32 pixel steps
    for axis in (0, 1):
        # Away from ties the nearest centre is the source pixel that the centre falls into.
        place = (np.arange(crop[axis]) + 0.5) / scale  # in source pixels, edges at integers
        sure = np.abs(place - np.rint(place)) > 0.01
        other = np.full((height, width), 0, np.uint8)
        other[:] = np.arange(mask.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        found = augmented(Augmentation(crop, (scale,), flip=0), Sample(image, other)).mask
        line = found[:, 0] if axis == 0 else found[0]
        np.testing.assert_array_equal(line[sure], np.floor(place[sure]))


def test_the_mask_of_an_enlarged_image_has_no_shift() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 1
    found = augmented(Augmentation((64, 64), (2.0,), flip=0), coded(mask)).mask
    expected = np.repeat(np.repeat(mask, 2, 0), 2, 1)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(2, 50), st.integers(2, 50)),
    crop=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    scale=st.sampled_from([0.3, 0.5, 0.6, 1.0, 1.4, 2.0]),
    seed=st.integers(0, 1000),
)
def test_padding_is_ignored_and_lies_only_outside_the_image(
    size: tuple[int, int], crop: tuple[int, int], scale: float, seed: int
) -> None:
    white = Sample(np.full((*size, 3), 255, np.uint8), np.full(size, 3, np.uint8))
    image, mask = augmented(Augmentation(crop, (scale,)), white, seed)
    inside = mask == 3
    assert (mask[~inside] == IGNORE_INDEX).all()
    assert (image[~inside] == 0).all()
    assert (image[inside] == 255).all()  # no padding bleeds in by interpolation
    scaled = [max(1, round(side * scale)) for side in size]
    rows, columns = inside.any(1), inside.any(0)
    assert rows.sum() == min(crop[0], scaled[0])
    assert columns.sum() == min(crop[1], scaled[1])
    assert inside.sum() == rows.sum() * columns.sum()


def test_padding_takes_the_ignore_index_of_the_labels() -> None:
    augmentation = Augmentation((8, 8), (1.0,), ignore_index=11)
    mask = augmented(augmentation, coded(np.zeros((4, 4), np.uint8))).mask
    assert (mask == 11).sum() == 64 - 16


def test_ignored_pixels_of_the_source_stay_ignored() -> None:
    mask = np.full((20, 20), IGNORE_INDEX, np.uint8)
    sample = Sample(np.zeros((20, 20, 3), np.uint8), mask)
    assert (augmented(Augmentation((16, 16)), sample).mask == IGNORE_INDEX).all()


def test_a_small_image_lands_anywhere_in_the_crop() -> None:
    sample = coded(np.ones((2, 2), np.uint8))
    augmentation = Augmentation((4, 4), (1.0,), flip=0)
    rng = np.random.default_rng(0)
    places = {tuple(np.argwhere(augmentation(sample, rng).mask == 1)[0]) for _ in range(200)}
    assert len(places) == 9


def test_crops_reach_every_corner_of_a_large_image() -> None:
    sample = coded(np.arange(6, dtype=np.uint8).reshape(2, 3))
    augmentation = Augmentation((1, 1), (1.0,), flip=0)
    rng = np.random.default_rng(0)
    assert {int(augmentation(sample, rng).mask[0, 0]) for _ in range(200)} == set(range(6))


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_flip_mirrors_left_and_right_of_both(flip: float) -> None:
    sample = blocks(32, 48, side=5)
    image, mask = augmented(Augmentation((32, 48), (1.0,), flip=flip), sample)
    step = -1 if flip else 1
    np.testing.assert_array_equal(image, sample.image[:, ::step])
    np.testing.assert_array_equal(mask, sample.mask[:, ::step])


FULL = Augmentation(
    (32, 40),
    (0.4, 2.0),
    continuous=True,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    cast=0.2,
    gamma=0.5,
    blur=1.0,
    rotation=10.0,
    stretch=0.3,
    rare_classes=(2,),
    rare_share=0.5,
)


def test_the_same_generator_seed_gives_the_same_sample() -> None:
    sample = blocks(64, 64, side=7)
    for seed in range(10):
        first, second = augmented(FULL, sample, seed), augmented(FULL, sample, seed)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.mask, second.mask)
    others = [augmented(FULL, sample, seed).image.tobytes() for seed in range(10)]
    assert len(set(others)) == 10


def test_global_random_state_and_source_are_left_alone() -> None:
    sample = blocks(64, 64, side=7)
    before = sample.image.copy(), sample.mask.copy()
    state = repr(np.random.get_state())
    for seed in range(5):
        augmented(FULL, sample, seed)
    assert repr(np.random.get_state()) == state
    np.testing.assert_array_equal(sample.image, before[0])
    np.testing.assert_array_equal(sample.mask, before[1])


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation", "cast", "gamma"])
def test_jitter_changes_the_image_and_never_the_mask(kind: str) -> None:
    sample = blocks(32, 32, side=5)
    plain = augmented(Augmentation((24, 24)), sample)
    options: dict[str, Any] = {kind: 0.5}
    jittered = augmented(Augmentation((24, 24), **options), sample)
    np.testing.assert_array_equal(jittered.mask, plain.mask)
    assert (jittered.image != plain.image).any()


def test_switching_jitter_on_leaves_the_later_random_draws_in_place() -> None:
    sample = blocks(32, 32, side=5)
    plain, jittered = np.random.default_rng(0), np.random.default_rng(0)
    Augmentation((24, 24))(sample, plain)
    Augmentation((24, 24), brightness=0.3)(sample, jittered)
    assert plain.random() == jittered.random()


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    scale=st.floats(0.3, 2),
    rotation=st.floats(0.1, 180),
    stretch=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_turned_and_stretched_masks_stay_on_their_image(
    size: tuple[int, int], scale: float, rotation: float, stretch: float, seed: int
) -> None:
    augmentation = Augmentation((48, 64), (scale,), rotation=rotation, stretch=stretch)
    sample = blocks(*size, side=24, seed=seed)
    reach = int(np.ceil(0.5 * np.sqrt(2 * (1 + stretch)) / scale)) + 1
    clear = away_from_boundaries(sample.mask, reach)
    sample = Sample(sample.image, np.where(clear, sample.mask, IGNORE_INDEX).astype(np.uint8))
    image, mask = augmented(augmentation, sample, seed)
    known = mask != IGNORE_INDEX
    distance = np.abs(image[..., None, :].astype(int) - COLOURS).sum(-1)  # h, w, classes
    np.testing.assert_array_equal(distance.argmin(-1)[known], mask[known])


def test_a_quarter_turn_is_one_about_the_centre() -> None:
    sample = blocks(40, 40, side=7)
    turns = set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        mask = Augmentation((40, 40), (1.0,), flip=0, rotation=180)(sample, rng).mask
        known = mask != IGNORE_INDEX
        for turn in range(4):
            if (np.rot90(sample.mask, turn)[known] == mask[known]).mean() > 0.85:
                turns.add(turn)
    assert turns == {0, 1, 2, 3}


def test_a_stretched_image_keeps_its_area() -> None:
    sample = Sample(np.full((60, 60, 3), 200, np.uint8), np.ones((60, 60), np.uint8))
    augmentation = Augmentation((150, 150), (1.0,), stretch=1.0)
    shapes = set()
    for seed in range(50):
        inside = augmented(augmentation, sample, seed).mask == 1
        height, width = int(inside.any(1).sum()), int(inside.any(0).sum())
        assert abs(height * width - 3600) < 100
        assert 0.48 < width / height < 2.1
        shapes.add(width > height)
    assert shapes == {True, False}


def test_gamma_darkens_and_lifts_and_leaves_black_and_white() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    sample = Sample(ramp, np.zeros((1, 256), np.uint8))
    means = []
    for seed in range(40):
        line = augmented(Augmentation((1, 256), (1.0,), flip=0, gamma=1.0), sample, seed).image
        assert (np.diff(line[0, :, 0].astype(int)) >= 0).all()
        assert (line[0, 0, 0], line[0, -1, 0]) == (0, 255)
        means.append(float(line.mean()))
    assert min(means) < 105 < 150 < max(means)


def test_half_of_the_crops_stay_sharp() -> None:
    sample = blocks(32, 32, side=4)
    augmentation = Augmentation((32, 32), (1.0,), flip=0, blur=3.0)
    sharp = [
        np.array_equal(augmented(augmentation, sample, s).image, sample.image) for s in range(100)
    ]
    assert 30 <= sum(sharp) <= 70


@settings(max_examples=40)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 2**32))
def test_a_rectangle_of_the_other_sample_covers_at_most_half(
    size: tuple[int, int], seed: int
) -> None:
    sample, other = (coded(np.full(size, index, np.uint8)) for index in (1, 2))
    image, mask = cut_mix(sample, other, draw_rectangle(size, np.random.default_rng(seed)))
    np.testing.assert_array_equal(image, COLOURS[mask])
    inside = mask == 2
    rows, columns = inside.any(1).sum(), inside.any(0).sum()
    assert inside.sum() == rows * columns <= (size[0] / 2**0.5 + 0.5) * (size[1] / 2**0.5 + 0.5)
    assert (sample.mask == 1).all()


def whole(sample: Sample, **options: Any) -> Augmentation:
    height, width = sample.mask.shape
    return Augmentation((height, width), (1.0,), flip=0, **options)


def test_brightness_scales_every_colour_alike() -> None:
    grey = Sample(np.full((8, 8, 3), 100, np.uint8), np.zeros((8, 8), np.uint8))
    seen = {int(augmented(whole(grey, brightness=0.2), grey, s).image[0, 0, 0]) for s in range(60)}
    assert min(seen) in range(80, 86)
    assert max(seen) in range(115, 121)


def test_contrast_keeps_the_mean_and_changes_the_spread() -> None:
    rng = np.random.default_rng(0)
    sample = Sample(rng.integers(90, 160, (64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8))
    image = augmented(whole(sample, contrast=0.5), sample).image
    assert image.mean() == pytest.approx(sample.image.mean(), abs=1)
    assert abs(image.std() / sample.image.std() - 1) > 0.05


def test_saturation_leaves_grey_grey_and_luminance_where_it_was() -> None:
    image = np.array([[[100, 100, 100], [180, 90, 60]]], np.uint8)
    sample = Sample(image, np.zeros((1, 2), np.uint8))
    luma = np.array([0.299, 0.587, 0.114])
    for seed in range(10):
        found = augmented(whole(sample, saturation=0.5), sample, seed).image
        np.testing.assert_array_equal(found[0, 0], [100, 100, 100])
        assert found[0, 1] @ luma == pytest.approx(image[0, 1] @ luma, abs=1)


def rare_sample() -> Sample:
    mask = np.zeros((100, 100), np.uint8)
    mask[70:73, 20:23] = 5
    return coded(mask)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_every_aimed_crop_holds_the_rare_class(scale: float) -> None:
    augmentation = Augmentation((24, 32), (scale,), rare_classes=(5,), rare_share=1)
    rng = np.random.default_rng(0)
    crops = [augmentation(rare_sample(), rng).mask == 5 for _ in range(60)]
    assert all(crop.any() for crop in crops)
    columns = {int(np.argwhere(crop)[0, 1]) for crop in crops}
    assert len(columns) > 8  # anywhere in the crop, not always in its middle


def test_rare_crops_hold_the_class_more_often_and_in_proportion_to_their_share() -> None:
    def share(rare_share: float) -> float:
        augmentation = Augmentation((16, 16), (1.0,), rare_classes=(5,), rare_share=rare_share)
        rng = np.random.default_rng(0)
        return float(np.mean([(augmentation(rare_sample(), rng).mask == 5).any()
                              for _ in range(300)]))  # fmt: skip

    without, half = share(0), share(0.5)
    assert without < 0.15
    assert 0.4 < half < 0.65


def test_rare_crops_of_an_image_without_the_class_are_ordinary() -> None:
    sample = blocks(64, 64, side=9)
    aimed, never = (
        Augmentation((16, 16), rare_classes=(77,), rare_share=share) for share in (1, 0)
    )
    for seed in range(20):
        crop, ordinary = (augmented(each, sample, seed) for each in (aimed, never))
        np.testing.assert_array_equal(crop.image, ordinary.image)
        np.testing.assert_array_equal(crop.mask, ordinary.mask)


def test_continuous_scales_fill_the_range_and_discrete_ones_do_not() -> None:
    def widths(continuous: bool) -> list[int]:
        sample = coded(np.zeros((100, 100), np.uint8))
        augmentation = Augmentation((400, 400), (0.5, 2.0), continuous=continuous, flip=0)
        rng = np.random.default_rng(0)
        masks = [augmentation(sample, rng).mask for _ in range(60)]
        return [int((mask != IGNORE_INDEX).any(0).sum()) for mask in masks]

    assert set(widths(False)) == {50, 200}
    drawn = widths(True)
    assert 50 <= min(drawn) < 60
    assert 170 < max(drawn) <= 200
    # Log-uniform: as many are halved to some degree as are enlarged.
    assert 15 <= sum(width < 100 for width in drawn) <= 45


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"crop": (0, 32)}, "crop (0, 32)"),
        ({"crop": (32, -1)}, "crop (32, -1)"),
        ({"scales": ()}, "scales ()"),
        ({"scales": (1.0, 0.0)}, "scales (1.0, 0.0)"),
        ({"scales": (float("nan"),)}, "scales (nan,)"),
        ({"scales": (float("inf"),)}, "scales (inf,)"),
        ({"flip": 1.5}, "flip 1.5"),
        ({"brightness": -0.1}, "brightness -0.1"),
        ({"contrast": 2}, "contrast 2"),
        ({"saturation": float("nan")}, "saturation nan"),
        ({"rare_share": 1.01}, "rare_share 1.01"),
        ({"cast": 1.5}, "cast 1.5"),
        ({"gamma": -1}, "gamma -1"),
        ({"stretch": float("nan")}, "stretch nan"),
        ({"blur": 21}, "blur 21"),
        ({"rotation": -1}, "rotation -1"),
        ({"rare_classes": (3, 256)}, "rare_classes (3, 256)"),
        ({"rare_classes": (-1,)}, "rare_classes (-1,)"),
    ],
)
def test_options_out_of_range_are_refused_by_name_and_value(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError) as caught:
        Augmentation(**{"crop": (32, 32), **options})
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)
