"""Protocols: what the network sees of a frame, and what becomes of its answers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.evaluation.protocols import RATIOS, FrameProtocol, sizes_in_words
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.labels import Labels

LABELS = Labels(("dark", "bright"), ((0, 0, 0), (255, 255, 255)))
CARD = ModelCard(labels=LABELS, frame_size=(96, 128))


class BrightRed:
    """Finds bright red, surer the further from the middle; notes the sizes it sees."""

    name = "fake"

    def __init__(self):
        self.seen = []

    def logits(self, frames):
        self.seen.append(frames.shape[1:3])
        n, h, w, _ = frames.shape
        red = frames[..., 0].reshape(n, h // 8, 8, w // 8, 8).mean(axis=(2, 4), dtype=np.float32)
        return np.stack([np.zeros_like(red), (red - 128) / 32], axis=1)


def protocol(name, scale=None, window=None):
    return FrameProtocol(Segmenter.from_engine(BrightRed(), CARD, scale), name, window)


def frame_of(size=(96, 128), seed=0):
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (-(-size[0] // 32), -(-size[1] // 32), 3), np.uint8)
    return np.ascontiguousarray(cells.repeat(32, axis=0).repeat(32, axis=1)[: size[0], : size[1]])


@pytest.mark.parametrize(
    ("name", "frame", "sizes"),
    [
        ("resized", (192, 256), [(96, 128)]),
        ("full", (192, 256), [(192, 256)]),
        ("flip", (192, 256), [(96, 128)] * 2),
        ("sliding", (192, 256), [(96, 128)] * 9),
        ("sliding", (64, 96), [(64, 96)]),
        (
            "multiscale",
            (192, 256),
            [(64, 64), (64, 96), (96, 128), (128, 160), (160, 192), (160, 224)],
        ),
    ],
)
def test_the_network_sees_the_sizes_of_the_protocol(name, frame, sizes):
    looking = protocol(name)
    mask, confidence, _ = looking.answer(frame_of(frame), True)
    assert looking.segmenter.engine.seen == sizes
    assert mask.shape == confidence.shape == frame


def test_every_scale_is_mirrored_too_on_demand():
    looks = protocol("multiscale-flip").looks((96, 128))
    assert len(looks) == 2 * len(RATIOS)
    assert [look.mirrored for look in looks] == [False, True] * len(RATIOS)


def test_frames_that_were_enlarged_in_training_are_so_again():
    segmenter = Segmenter.from_engine(BrightRed(), replace(CARD, input_scale=1.5))
    sizes = {
        name: [look.size for look in FrameProtocol(segmenter, name).looks((96, 128))]
        for name in ("resized", "full", "multiscale")
    }
    assert sizes["resized"] == [(160, 192)]  # 144 × 192
    assert sizes["full"] == [(96, 128)]
    assert sizes["multiscale"][-1] == (256, 352)  # 1.75 times: 252 × 336


def test_a_scale_given_is_the_base_of_the_others():
    assert protocol("flip", scale=2.0).looks((96, 128))[1].size == (192, 256)
    assert protocol("multiscale", scale=2.0).looks((96, 128))[0].size == (96, 128)


@pytest.mark.parametrize("scale", [None, 0.5])
def test_resized_is_what_the_segmenter_does(scale):
    frame, looking = frame_of((150, 170)), protocol("resized", scale)
    expected = looking.segmenter(frame)
    for confidence in (False, True):
        assert np.array_equal(looking.answer(frame, confidence).mask, expected)


def test_confidence_is_the_probability_of_the_class_in_the_mask():
    frame = frame_of()
    for name in ("resized", "flip", "sliding", "multiscale"):
        mask, confidence, _ = protocol(name).answer(frame, True)
        assert confidence.min() >= 0.5 - 1e-6
        assert confidence.max() <= 1 + 1e-6
        assert np.array_equal(mask, protocol(name).answer(frame, False).mask)
    probabilities = protocol("resized").segmenter.probabilities(frame)
    mask, confidence, _ = protocol("resized").answer(frame, True)
    assert confidence == pytest.approx(probabilities.max(axis=0), abs=1e-6)
    assert np.array_equal(mask, probabilities.argmax(axis=0))


def test_a_mirrored_frame_has_the_mirrored_mask():
    frame, looking = frame_of(), protocol("flip")
    mask, confidence, _ = looking.answer(frame, True)
    mirrored = looking.answer(np.ascontiguousarray(frame[:, ::-1]), True)
    assert np.array_equal(mirrored.mask[:, ::-1], mask)
    assert mirrored.confidence[:, ::-1] == pytest.approx(confidence, abs=1e-5)


@pytest.mark.parametrize("name", ["sliding", "multiscale", "flip"])
def test_averages_lie_where_the_frame_lies(name):
    frame = np.zeros((192, 256, 3), np.uint8)
    frame[96:, 128:, 0] = 255
    wrong = protocol(name).answer(frame, False).mask != (frame[..., 0] > 128)
    assert wrong.mean() < 0.08
    assert not wrong[:64].any()
    assert not wrong[128:, 176:].any()


@given(st.integers(1, 400), st.integers(1, 400), st.integers(32, 200), st.integers(32, 200))
def test_windows_cover_the_frame_and_overlap(height, width, high, wide):
    looks = protocol("sliding", window=(high, wide)).looks((height, width))
    seen = np.zeros((height, width), int)
    for rows, columns, network, _ in looks:
        assert rows.stop - rows.start == min(high, height)
        assert columns.stop - columns.start == min(wide, width)
        assert all(side % 32 == 0 for side in network)
        seen[rows, columns] += 1
    assert seen.min() >= 1
    starts = sorted({look.columns.start for look in looks})
    assert all(b - a <= wide * 2 / 3 + 1 for a, b in pairwise(starts))


def test_descriptions_tell_protocols_apart():
    names = ("resized", "full", "sliding", "multiscale", "flip", "multiscale-flip")
    texts = {protocol(name).description for name in names}
    texts.add(protocol("sliding", window=(64, 64)).description)
    assert len(texts) == 7
    assert "windows of 128×96" in protocol("sliding").description


@pytest.mark.parametrize(
    ("name", "scale", "frame", "text"),
    [
        ("full", None, (90, 120), "frames of 120×90 seen at 128×96"),
        ("resized", None, (96, 128), "frames of 128×96 seen at 128×96"),
        ("resized", None, (192, 256), "frames of 256×192 seen at 128×96 (scale 0.5)"),
        ("flip", 1.5, (96, 128), "frames of 128×96 seen at 192×160 (scale 1.5)"),
        ("multiscale", None, (96, 128), "frames of 128×96 seen at 64×64 to 224×160"),
    ],
)
def test_an_answer_tells_at_which_size_the_network_saw_the_frame(name, scale, frame, text):
    for confidence in (False, True):
        answer = protocol(name, scale).answer(frame_of(frame), confidence)
        assert sizes_in_words([answer.seen]) == text


def test_several_sizes_of_frames_are_told_by_the_least_and_the_largest():
    looking = protocol("resized")
    sizes = ((192, 256), (64, 64), (96, 128))
    seen = [looking.answer(frame_of(size), False).seen for size in sizes]
    assert sizes_in_words(seen) == (
        "frames of 64×64 to 256×192 seen at 64×64 to 128×96 (scale 0.5 to 1)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "unknown protocol 'nonsense': take one of resized, full"),
        (("full", 0.5), "scale 0.5: the protocol full fixes it at 1"),
        (("sliding", 0.5), "scale 0.5: the protocol sliding fixes it at 1"),
        (("flip", None, (64, 64)), "a window goes with the protocol sliding, not with flip"),
        (("sliding", None, (16, 64)), "both sides must be at least 32"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        protocol(*arguments)
