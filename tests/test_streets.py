"""Rendered streets: reproducible, exact, plausible, at any size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bisenetv2.data.dataset import Dataset, Sample
from bisenetv2.data.streets import RenderedStreets, render_street
from bisenetv2.data.streets import canvas as street_canvas
from bisenetv2.data.streets.canvas import Canvas
from bisenetv2.data.streets.ground import shadow
from bisenetv2.data.streets.view import Camera, Light, Points
from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID, IGNORE_INDEX

SIZE = (90, 120)


@pytest.fixture(scope="module")
def streets() -> list[Sample]:
    return [render_street(0, index, SIZE) for index in range(30)]


def same(one: Sample, other: Sample) -> bool:
    return np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)


def shares(samples: list[Sample]) -> dict[str, float]:
    """Each class's share of the labelled pixels."""
    counts = np.bincount(np.concatenate([sample.mask.ravel() for sample in samples]), minlength=256)
    labelled = counts[: len(CAMVID)]
    return dict(zip(CAMVID.names, labelled / labelled.sum(), strict=True))


def test_a_street_depends_on_nothing_but_seed_index_and_size(streets: list[Sample]) -> None:
    np.random.seed(1)
    cv2.setRNGSeed(1)
    expected = np.random.RandomState(1).random()
    backwards = {index: render_street(0, index, SIZE) for index in (7, 3, 0)}
    assert all(same(streets[index], sample) for index, sample in backwards.items())
    assert np.random.random() == expected, "the global generator was used"


def test_streets_rendered_in_threads_are_the_same(streets: list[Sample]) -> None:
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda index: render_street(0, index, SIZE), range(4)))
    assert all(map(same, streets, at_once))


def test_painting_over_a_sample_does_not_reach_the_next_one(streets: list[Sample]) -> None:
    spoilt = render_street(0, 0, SIZE)
    spoilt.image[:] = 0
    spoilt.mask[:] = 0
    assert same(streets[0], render_street(0, 0, SIZE))


def test_other_seeds_and_other_indices_give_other_streets(streets: list[Sample]) -> None:
    others = [*streets[1:4], render_street(1, 0, SIZE), render_street(2, 0, SIZE)]
    assert all((streets[0].mask != other.mask).mean() > 0.05 for other in others)
    # Seed and index are two numbers, not one sum.
    assert not same(render_street(1, 2, SIZE), render_street(2, 1, SIZE))


@settings(max_examples=25)
@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(1, 150), st.integers(1, 150))
@example(0, 0, 1, 1)
@example(0, 1, 1, 900)
@example(0, 2, 900, 1)
@example(0, 3, 2, 2)
def test_every_size_holds_a_frame_and_a_mask_of_the_contract(
    seed: int, index: int, height: int, width: int
) -> None:
    image, mask = render_street(seed, index, (height, width))
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert mask.shape == (height, width)
    assert mask.dtype == np.uint8
    assert image.flags.c_contiguous
    assert mask.flags.c_contiguous
    assert image.flags.writeable
    assert mask.flags.writeable
    assert np.isin(mask, [*range(len(CAMVID)), IGNORE_INDEX]).all()


def test_the_classes_are_numbered_as_camvid_names_them() -> None:
    named = {name: getattr(street_canvas, name) for name in ("SKY", "ROAD", "SIGN", "BICYCLIST")}
    assert named == {
        "SKY": CAMVID.index("Sky"),
        "ROAD": CAMVID.index("Road"),
        "SIGN": CAMVID.index("SignSymbol"),
        "BICYCLIST": CAMVID.index("Bicyclist"),
    }


def test_every_class_appears_within_thirty_streets(streets: list[Sample]) -> None:
    assert [name for name, share in shares(streets).items() if share == 0] == []


def test_class_shares_are_those_of_a_street(streets: list[Sample]) -> None:
    share = shares(streets)
    largest = sorted(share, key=lambda name: -share[name])[:4]
    assert {"Road", "Building", "Sky"} <= set(largest)
    assert 0.2 < share["Road"] < 0.5
    assert 0.1 < share["Building"] < 0.45
    assert 0.02 < share["Pavement"] < 0.2
    assert 0.01 < share["Car"] < 0.2
    small = ("Pole", "SignSymbol", "Pedestrian", "Bicyclist")
    assert all(0.0005 < share[name] < 0.05 for name in small)


def test_little_is_ignored_and_only_at_the_foot_of_the_image(streets: list[Sample]) -> None:
    ignored = np.stack([sample.mask == IGNORE_INDEX for sample in streets])  # N, H, W
    assert 0 < ignored.mean() < 0.05
    assert not ignored[:, : SIZE[0] * 3 // 4].any()


def test_the_sky_is_above_and_the_road_below(streets: list[Sample]) -> None:
    masks = np.stack([sample.mask for sample in streets])  # N, H, W
    sky, road = CAMVID.index("Sky"), CAMVID.index("Road")
    third = SIZE[0] // 3
    assert not (masks[:, -third:] == sky).any()
    assert not (masks[:, : SIZE[0] // 4] == road).any()
    assert (masks[:, -third:] == road).mean() > 0.4


def test_the_sky_is_brighter_than_the_road(streets: list[Sample]) -> None:
    def brightness(name: str) -> float:
        chosen = [s.image[s.mask == CAMVID.index(name)] for s in streets]
        return float(np.concatenate(chosen).mean())

    assert brightness("Sky") > 1.5 * brightness("Road")


@pytest.mark.parametrize("index", range(6))
def test_another_size_is_the_same_scene_scaled(index: int) -> None:
    small = render_street(0, index, (180, 240))
    large = render_street(0, index, (360, 480))
    scaled = large.mask[1::2, 1::2]
    assert (scaled == small.mask).mean() > 0.9
    shrunk = cv2.resize(large.image, (240, 180), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(float) - small.image).mean() < 12


def test_streets_are_driven_on_either_side(streets: list[Sample]) -> None:
    # The nearer kerb is the one driven along, and there the pavement shows larger.
    pavement, middle = CAMVID.index("Pavement"), SIZE[1] // 2
    nearer_left = [
        (mask[:, :middle] == pavement).sum() > (mask[:, middle:] == pavement).sum()
        for _, mask in streets
    ]
    assert 5 < sum(nearer_left) < 25


def test_the_dataset_keeps_the_protocol(streets: list[Sample]) -> None:
    dataset: Dataset = RenderedStreets(3, SIZE, seed=0)
    assert len(dataset) == 3
    assert dataset.labels == CAMVID
    assert dataset.name == "rendered streets"
    assert dataset.licence.startswith("MIT")
    assert dataset.sample_name(2) == "rendered street 0/2"
    assert all(same(dataset[index], streets[index]) for index in range(3))


@pytest.mark.parametrize("index", [3, -1])
def test_an_index_beyond_the_count_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match="of 3 rendered streets"):
        RenderedStreets(3, SIZE)[index]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"count": 0}, "0 rendered streets"),
        ({"count": 1, "size": (0, 480)}, "0x480"),
        ({"count": 1, "size": (360, -2)}, "360x-2"),
        ({"count": 1, "seed": -1}, "seed -1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: dict[str, Any], names: str) -> None:
    with pytest.raises(UserError, match=names) as error:
        RenderedStreets(**arguments)
    assert "\n" not in str(error.value)


def test_a_negative_street_is_refused() -> None:
    with pytest.raises(UserError, match="rendered street -1"):
        render_street(0, -1, SIZE)


def camera(**changes: Any) -> Camera:
    straight: dict[str, Any] = {
        "eye": (0.0, 1.5, 0.0),
        "horizon": 0.5,
        "focal": 1.0,
        "yaw": 0.0,
        "bend": 0.0,
        "mirror": False,
    }
    return Camera(**{**straight, **changes})


LIGHT = Light((0.0, 1.0, 0.0), 0.5, 0.5, (200.0, 200.0, 200.0), 0.01)


def test_the_camera_projects_as_a_pinhole() -> None:
    canvas = Canvas(camera(), LIGHT, (100, 100))
    points = np.array([[0.0, 1.5, 10.0], [1.0, 1.5, 10.0], [0.0, 0.0, 15.0]])
    expected = [[49.5, 49.5], [59.5, 49.5], [49.5, 59.5]]
    assert np.allclose(canvas.pixels(canvas.camera.view(points)), expected)


def test_a_mirrored_camera_swaps_left_and_right_only() -> None:
    points = np.array([[2.0, 0.3, 9.0], [-1.0, 4.0, 30.0]])
    plain, mirrored = camera(bend=0.001), camera(bend=0.001, mirror=True)
    assert np.allclose(plain.view(points) * [-1, 1, 1], mirrored.view(points))


def test_image_and_mask_get_the_same_outline() -> None:
    canvas = Canvas(camera(yaw=0.2), LIGHT, (80, 110))
    triangle = np.array([[-2.0, 0.1, 7.3], [3.1, 0.4, 5.9], [0.7, 3.3, 11.0]])
    canvas.fill(triangle, (90.0, 120.0, 60.0), street_canvas.CAR)
    painted = canvas.image.any(axis=-1)
    assert painted.any()
    assert np.array_equal(painted, canvas.mask == street_canvas.CAR)


def test_what_passes_behind_the_lens_is_cut_off_there() -> None:
    canvas = Canvas(camera(), LIGHT, (100, 100))
    ground = np.array(
        [[-50.0, 0.0, -5.0], [50.0, 0.0, -5.0], [50.0, 0.0, 400.0], [-50.0, 0.0, 400.0]]
    )
    canvas.fill(ground, (90.0, 90.0, 90.0), street_canvas.ROAD)
    road = canvas.mask == street_canvas.ROAD
    assert road[55:].all()
    assert not road[:49].any()
    canvas.fill(ground - [0, 0, 500], (90.0, 90.0, 90.0), street_canvas.CAR)
    assert not (canvas.mask == street_canvas.CAR).any()


def test_nearer_things_cover_farther_ones_and_haze_veils_the_far() -> None:
    def board(z: float) -> Points:
        return np.array([[-1.0, 1.0, z], [1.0, 1.0, z], [1.0, 2.0, z], [-1.0, 2.0, z]])

    canvas = Canvas(camera(), LIGHT, (101, 101))
    black = (0.0, 0.0, 0.0)
    canvas.fill(board(60.0), black, street_canvas.FENCE)
    far = int(canvas.image[50, 50, 0])
    canvas.fill(board(6.0), black, street_canvas.CAR)
    near = int(canvas.image[50, 50, 0])
    assert canvas.mask[50, 50] == street_canvas.CAR
    assert 0 < near < far < 200


def test_a_shadow_reaches_away_from_the_sun() -> None:
    post = np.array([[0.0, 0.0, 10.0], [0.1, 0.0, 10.0], [0.0, 2.0, 10.0], [0.1, 2.0, 10.1]])
    slant = 0.5**0.5
    outline = shadow(post, (-slant, slant, 0.0))
    assert np.isclose(outline[:, 0].max(), 2.1, atol=1e-5)
    assert np.isclose(outline[:, 0].min(), 0.0, atol=1e-5)
    assert not outline[:, 1].any()
