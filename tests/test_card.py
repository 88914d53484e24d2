from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisenetv2.card import ModelCard
from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID, Labels

CARD = ModelCard(
    labels=CAMVID,
    frame_size=(360, 480),
    input_scale=0.5,
    data="CamVid trainval",
    data_licence="for research",
    merit="72.4 % mIoU on test, single scale",
    recipe="camvid --seed 3",
    logits_stride=1,
    origin="a family, from file.pth",
    version="0.1.0",
    network=(("width", 0.25), ("depth", 1), ("head", "figures"), ("boosters", None)),
)

field_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9)
)


@given(
    frame_size=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    input_scale=st.floats(0.01, 8),
    data=st.text(),
    merit=st.text(),
    network=st.dictionaries(st.text(max_size=9), field_values).map(lambda d: tuple(d.items())),
)
def test_a_card_survives_json(
    frame_size: tuple[int, int],
    input_scale: float,
    data: str,
    merit: str,
    network: tuple[tuple[str, Any], ...],
) -> None:
    card = ModelCard(CAMVID, frame_size, input_scale, data=data, merit=merit, network=network)
    assert ModelCard.from_json(card.to_json()) == card


def test_a_full_card_and_a_bare_one_survive_json() -> None:
    bare = ModelCard(Labels(("straße",), ((1, 2, 3),)), (1, 1))
    assert ModelCard.from_json(CARD.to_json()) == CARD
    assert ModelCard.from_json(bare.to_json()) == bare


def test_json_keeps_names_in_any_script_readable() -> None:
    assert "straße" in ModelCard(Labels(("straße",), ((1, 2, 3),)), (1, 1)).to_json()


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '"card"', CARD.to_json()[:-9]])
def test_text_that_is_no_card_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="damaged card in the model's metadata") as caught:
        ModelCard.from_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["labels", "frame_size", "input_scale", "network"])
def test_a_card_without_a_field_is_refused_by_its_name(field: str) -> None:
    content = json.loads(CARD.to_json())
    del content[field]
    with pytest.raises(UserError, match=field):
        ModelCard.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", None),
        ("labels", {"names": ["a"]}),
        ("frame_size", [360]),
        ("frame_size", ["tall", "wide"]),
        ("frame_size", [1e999, 480]),
        ("frame_size", [0, 480]),
        ("input_scale", "half"),
        ("input_scale", 0),
        ("network", [1, 2]),
        ("unheard_of", 1),
    ],
)
def test_a_card_with_a_bad_value_is_refused_in_one_line(field: str, value: object) -> None:
    content = json.loads(CARD.to_json())
    content[field] = value
    with pytest.raises(UserError) as caught:
        ModelCard.from_json(json.dumps(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("frame_size", [(0, 480), (360, -1)])
def test_a_frame_has_at_least_one_pixel(frame_size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="frame size"):
        ModelCard(CAMVID, frame_size)


@pytest.mark.parametrize("scale", [0.0, -1.0, 8.1, float("inf"), float("nan")])
def test_an_input_scale_out_of_range_is_refused_with_its_value(scale: float) -> None:
    with pytest.raises(UserError, match=rf"input scale {scale}: expected 0\.01 to 8"):
        ModelCard(CAMVID, (360, 480), scale)


@pytest.mark.parametrize("stride", [0, 4, -8])
def test_logits_of_an_impossible_stride_are_refused(stride: int) -> None:
    with pytest.raises(UserError, match=f"logits of stride {stride}: expected 1 or 8"):
        ModelCard(CAMVID, (1, 1), logits_stride=stride)
