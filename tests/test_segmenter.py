from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.inference.segmenter import Segmenter, network_size
from bisenetv2.labels import Labels

LABELS = Labels(names=("dark", "bright"), palette=((0, 0, 0), (255, 255, 255)))
CARD = ModelCard(labels=LABELS, frame_size=(96, 128))
CITY = ModelCard(labels=LABELS, frame_size=(1024, 2048), input_scale=0.5)
ENLARGED = ModelCard(labels=LABELS, frame_size=(360, 480), input_scale=1.5)
STREET = ModelCard(labels=LABELS, frame_size=(360, 480))


@dataclass
class BrightRed:
    """An engine that tells bright red from dark: enough to see where pixels end up."""

    name: str = "fake"
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def logits(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert frames.dtype == np.uint8
        assert frames.flags.c_contiguous
        self.seen.append(frames.shape)
        n, h, w, _ = frames.shape
        red = frames[..., 0].reshape(n, h // 8, 8, w // 8, 8).mean(axis=(2, 4), dtype=np.float32)
        return np.stack([np.full_like(red, 128), red], axis=1)


def segmenter(card: ModelCard = CARD, scale: float | None = None) -> Segmenter:
    return Segmenter.from_engine(BrightRed(), card, scale)


@pytest.mark.parametrize(
    ("card", "frame", "scale", "expected"),
    [
        (STREET, (360, 480), None, (352, 480)),
        (CITY, (1024, 2048), None, (512, 1024)),
        (CITY, (2048, 4096), None, (512, 1024)),
        (CITY, (512, 1024), None, (512, 1024)),
        (STREET, (720, 960), None, (352, 480)),
        (STREET, (720, 960), 1.0, (736, 960)),  # 22.5 strides: up
        (STREET, (720, 960), 0.5, (352, 480)),
        (STREET, (90, 120), None, (96, 128)),
        (ENLARGED, (360, 480), None, (544, 736)),
        (ENLARGED, (90, 120), None, (128, 192)),  # as much as in training, not more
        (ENLARGED, (720, 960), None, (544, 736)),
        (ENLARGED, (720, 960), 1.0, (736, 960)),
        (STREET, (1, 1), None, (32, 32)),
        (STREET, (1, 5000), None, (32, 4992)),
        (STREET, (5000, 1), 0.5, (2496, 32)),
    ],
)
def test_the_network_sees_what_it_was_trained_on(
    card: ModelCard, frame: tuple[int, int], scale: float | None, expected: tuple[int, int]
) -> None:
    assert network_size(frame, card, scale) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([None, 0.1, 0.5, 1.0, 2.0]))
def test_network_sides_are_multiples_of_32_near_the_scaled_frame(
    height: int, width: int, scale: float | None
) -> None:
    sides = network_size((height, width), STREET, scale)
    factor = scale or min(1.0, math.sqrt(360 * 480 / (height * width)))
    for side, given_side in zip(sides, (height, width), strict=True):
        assert side % 32 == 0
        assert side >= 32
        assert side == 32 or abs(side - given_side * factor) <= 16 + 1e-6


@settings(max_examples=60)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([None, 0.3, 1.0, 1.7]))
def test_the_mask_has_exactly_the_frames_size(height: int, width: int, scale: float | None) -> None:
    mask = segmenter(scale=scale)(np.full((height, width, 3), 200, np.uint8))
    assert mask.shape == (height, width)
    assert mask.dtype == np.uint8
    assert (mask == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 40000)])
def test_long_thin_frames_work(size: tuple[int, int]) -> None:
    assert segmenter()(np.zeros((*size, 3), np.uint8)).shape == size


@pytest.mark.parametrize("size", [(96, 128), (100, 150), (333, 555), (48, 64)])
def test_the_mask_lies_where_the_frame_lies(size: tuple[int, int]) -> None:
    height, width = size
    frame = np.zeros((height, width, 3), np.uint8)
    frame[height // 2 :, width // 2 :, 0] = 255
    wrong = segmenter()(frame) != (frame[..., 0] > 128)
    # One logit of the network's grid is the finest it can know.
    assert wrong.mean() < 0.06
    assert not wrong[: height // 3].any()
    assert not wrong[2 * height // 3 :, 2 * width // 3 :].any()


@pytest.mark.parametrize("size", [(96, 128), (70, 90)])
def test_bgr_frames_are_turned_round_only_on_demand(size: tuple[int, int]) -> None:
    frame = np.zeros((*size, 3), np.uint8)
    frame[..., 2] = 255
    assert not segmenter()(frame).any()
    assert segmenter()(frame, bgr=True).all()


def test_frames_may_be_views_and_are_left_as_they_were() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    before = frame.copy()
    mirrored = segmenter()(frame[:, ::-1])
    assert np.array_equal(mirrored, segmenter()(np.ascontiguousarray(frame[:, ::-1])))
    segmenter()(frame, bgr=True)
    assert np.array_equal(frame, before)


def test_the_three_stages_are_the_whole_road() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (77, 131, 3), np.uint8)
    road = segmenter()
    network_frame = road.prepare(frame)
    logits = road.infer(network_frame)
    assert network_frame.shape == (1, 64, 128, 3)
    assert logits.shape == (2, 8, 16)
    assert np.array_equal(road.decode(logits, (77, 131)), road(frame))


def test_the_engine_sees_the_size_that_was_chosen() -> None:
    engine = BrightRed()
    Segmenter.from_engine(engine, CARD, scale=2.0)(np.zeros((96, 128, 3), np.uint8))
    assert engine.seen == [(1, 192, 256, 3)]


def test_labels_and_card_are_at_hand() -> None:
    assert segmenter().labels is LABELS
    assert segmenter().card is CARD


@pytest.mark.parametrize(
    ("frame", "given_text"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32 8×8×3"),
        (np.zeros((8, 8), np.uint8), "uint8 8×8"),
        (np.zeros((8, 8, 4), np.uint8), "uint8 8×8×4"),
        (np.zeros((1, 8, 8, 3), np.uint8), "uint8 1×8×8×3"),
        (np.zeros((0, 8, 3), np.uint8), "uint8 0×8×3"),
        ([[0, 0, 0]], "list"),
        (None, "NoneType"),
        ("street.jpg", "str"),
    ],
)
def test_a_wrong_frame_is_named_with_what_is_expected(frame: Any, given_text: str) -> None:
    with pytest.raises(UserError) as caught:
        segmenter()(frame)
    assert f"got {given_text};" in str(caught.value)
    assert "expected a NumPy array of uint8 height×width×3" in str(caught.value)


@pytest.mark.parametrize("size", [(100, 96), (64, 33), (0, 0), (-32, 32)])
def test_a_size_the_network_cannot_take_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"size {size[0]}×{size[1]}: both sides must be multiples"):
        segmenter()(np.zeros((64, 96, 3), np.uint8), size=size)


def test_a_frame_that_shrinks_much_passes_over_no_pixel() -> None:
    striped = np.zeros((128, 128, 3), np.uint8)
    striped[:, ::4] = 240
    seen = segmenter().prepare(striped, size=(32, 32))
    assert (seen == 60).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, 9.0, math.nan, math.inf])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(UserError, match=r"scale .*: expected 0\.01 to 8"):
        segmenter(scale=scale)
