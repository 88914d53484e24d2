from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisenetv2.builtin_labels import ADE20K, BUILTIN, CITYSCAPES, COCO_STUFF, VOC
from bisenetv2.errors import UserError
from bisenetv2.labels import CAMVID, IGNORE_INDEX, Labels

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
STREET = Labels(names=("road", "car"), palette=(RED, GREEN))
REMAPPED = Labels(
    names=("road", "car"), palette=(RED, GREEN), raw_ids=((7, 0), (26, 1), (0, IGNORE_INDEX))
)


@st.composite
def any_labels(draw: st.DrawFn) -> Labels:
    names = draw(st.lists(st.text(max_size=8), min_size=1, max_size=255, unique=True))
    count = len(names)
    channel = st.integers(0, 255)
    palette = draw(st.lists(st.tuples(channel, channel, channel), min_size=count, max_size=count))
    ignore = draw(st.integers(count, 255))
    target = st.one_of(st.integers(0, count - 1), st.just(ignore))
    raw_ids = draw(st.none() | st.dictionaries(channel, target).map(lambda d: tuple(d.items())))
    return Labels(tuple(names), tuple(palette), ignore, raw_ids)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"names": (), "palette": ()}, "0 classes: a mask holds 1 to 255 of them"),
        ({"names": ("a", "b", "a"), "palette": (RED,) * 3}, "class names used twice: a"),
        ({"palette": (RED,)}, "1 colours for 2 classes"),
        ({"palette": (RED, (0, 0, 256))}, "RGB triples of 0-255"),
        ({"palette": (RED, (0, 0))}, "RGB triples of 0-255"),
        ({"ignore_index": 1}, "ignore index 1: take one of 2-255"),
        ({"ignore_index": 256}, "ignore index 256: take one of 2-255"),
        ({"raw_ids": ((65536, 0),)}, "raw id 65536: ids of masks are 0-65535"),
        ({"raw_ids": ((-1, 0),)}, "raw id -1"),
        ({"raw_ids": ((4, 2),)}, "raw id 4 maps to 2, which is no class of 2"),
        ({"raw_ids": ((4, 0), (4, 1))}, "raw id 4 is listed twice"),
    ],
)
def test_labels_that_do_not_fit_together_are_refused_in_one_line(
    fields: dict[str, Any], message: str
) -> None:
    sound = {"names": ("road", "car"), "palette": (RED, GREEN)}
    with pytest.raises(UserError) as caught:
        Labels(**{**sound, **fields})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mask_holds_at_most_255_classes() -> None:
    names = tuple(str(i) for i in range(256))
    assert len(Labels(names[:255], (RED,) * 255)) == 255
    with pytest.raises(UserError, match="256 classes"):
        Labels(names, (RED,) * 256)


def test_index_finds_a_class_by_name() -> None:
    assert STREET.index("car") == 1


def test_index_of_an_unknown_class_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown class 'bike': the classes are road, car"):
        STREET.index("bike")


def test_without_raw_ids_class_indices_and_the_ignore_index_stand_for_themselves() -> None:
    mask = np.array([[0, 1], [255, 0]], np.uint8)
    np.testing.assert_array_equal(STREET.from_raw(mask), mask)


def test_another_ignore_index_stays_as_it_is() -> None:
    labels = Labels(names=("road", "car"), palette=(RED, GREEN), ignore_index=2)
    np.testing.assert_array_equal(labels.from_raw(np.array([[2, 1]], np.uint8)), [[2, 1]])
    with pytest.raises(UserError, match="label 255 is out of range"):
        labels.from_raw(np.array([[255]], np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, ">u2"])
def test_raw_ids_of_any_integer_type_become_class_indices(dtype: str) -> None:
    found = REMAPPED.from_raw(np.array([[7, 26, 0, 255]], dtype))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[0, 1, 255, 255]])


@pytest.mark.parametrize(
    ("labels", "raw"), [(STREET, 2), (STREET, 254), (REMAPPED, 1), (REMAPPED, 27)]
)
def test_an_id_without_a_meaning_is_refused_by_path_and_value(labels: Labels, raw: int) -> None:
    mask = np.zeros((4, 4), np.uint8) if labels is STREET else np.full((4, 4), 7, np.uint8)
    mask[2, 3] = raw
    with pytest.raises(UserError, match=rf"^set/a\.png: label {raw} is out of range: 2 classes"):
        labels.from_raw(mask, source="set/a.png")


@pytest.mark.parametrize("raw", [256, 300, 65535])
def test_a_16_bit_id_beyond_255_is_refused_rather_than_wrapped(raw: int) -> None:
    with pytest.raises(UserError, match=rf"^a\.png: label {raw} is not in 0-255"):
        STREET.from_raw(np.array([[0, raw]], np.uint16), source="a.png")


def test_a_negative_id_is_refused() -> None:
    with pytest.raises(UserError, match="label -1 is not in 0-255"):
        STREET.from_raw(np.array([[0, -1]], np.int32))


def test_ids_beyond_255_become_classes_where_they_are_listed() -> None:
    labels = Labels(("road", "car"), (RED, GREEN), raw_ids=((3, 0), (1000, 1)))
    ids = np.array([[3, 1000, 255]], np.uint16)
    np.testing.assert_array_equal(labels.from_raw(ids), [[0, 1, 255]])
    assert Labels.from_json(labels.to_json()) == labels
    with pytest.raises(UserError, match="label 744 is out of range"):
        labels.from_raw(np.array([[744]], np.uint16))
    with pytest.raises(UserError, match="label 65536 is not in 0-65535"):
        labels.from_raw(np.array([[65536]], np.int32))


def test_from_raw_leaves_its_input_alone_and_accepts_an_empty_mask() -> None:
    mask = np.array([[7, 26]], np.uint8)
    REMAPPED.from_raw(mask)
    np.testing.assert_array_equal(mask, [[7, 26]])
    assert STREET.from_raw(np.zeros((0, 5), np.uint16)).shape == (0, 5)


def test_colorize_paints_classes_in_the_palette_and_ignored_pixels_black() -> None:
    painted = STREET.colorize(np.array([[0, 1, 255]], np.uint8))
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted, [[RED, GREEN, (0, 0, 0)]])


@given(any_labels())
def test_labels_survive_json(labels: Labels) -> None:
    assert Labels.from_json(labels.to_json()) == labels
    assert "\n" not in labels.to_json()


@pytest.mark.parametrize("field", ["names", "palette", "ignore_index", "raw_ids"])
def test_json_without_a_field_is_refused_in_one_line(field: str) -> None:
    content = json.loads(REMAPPED.to_json())
    del content[field]
    with pytest.raises(UserError, match=f"damaged labels.*{field}"):
        Labels.from_json(json.dumps(content))


@pytest.mark.parametrize("field", ["names", "palette", "ignore_index", "raw_ids"])
@pytest.mark.parametrize("value", ["3.5.1", 7.5e400, [[1]], {"a": 1}])
def test_json_with_a_field_of_another_kind_is_refused(field: str, value: object) -> None:
    content = json.loads(REMAPPED.to_json())
    content[field] = value
    with pytest.raises(UserError):
        Labels.from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"road"', "3"])
def test_text_that_is_no_labels_json_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="damaged labels"):
        Labels.from_json(text)


@pytest.mark.parametrize(
    ("name", "count"), [("camvid", 11), ("cityscapes", 19), ("coco-stuff", 171)]
)
def test_built_in_labels_have_their_classes_in_distinct_colours(name: str, count: int) -> None:
    labels = BUILTIN[name]
    assert len(labels) == count
    assert len(set(labels.palette)) == count
    assert (0, 0, 0) not in labels.palette
    assert labels.ignore_index == 255


@pytest.mark.parametrize("labels", BUILTIN.values(), ids=BUILTIN.keys())
def test_every_built_in_class_is_reached_by_exactly_one_raw_id(labels: Labels) -> None:
    assert labels.raw_ids is not None
    reached = [index for _, index in labels.raw_ids if index != labels.ignore_index]
    assert sorted(reached) == list(range(len(labels)))


def test_ade20k_has_its_150_classes_in_their_order_and_its_official_colours() -> None:
    assert len(ADE20K) == len(set(ADE20K.names)) == 150
    known = {0: "wall", 7: "bed", 12: "person", 20: "car", 83: "truck", 136: "traffic light"}
    assert {index: ADE20K.names[index] for index in known} == known
    assert ADE20K.names[-1] == "flag"
    colors = {"wall": (120, 120, 120), "sky": (6, 230, 230), "tree": (4, 200, 3)}
    colors |= {"road": (140, 140, 140), "person": (150, 5, 61), "flag": (92, 0, 255)}
    assert {name: ADE20K.palette[ADE20K.index(name)] for name in colors} == colors
    # The benchmark gives one colour twice.
    assert len(set(ADE20K.palette)) == 149
    assert ADE20K.palette[ADE20K.index("skyscraper")] == colors["road"]


def test_ade20k_s_files_count_from_one_and_zero_is_nothing() -> None:
    ids = np.array([[0, 1, 150]], np.uint8)
    np.testing.assert_array_equal(ADE20K.from_raw(ids), [[255, 0, 149]])
    with pytest.raises(UserError, match="label 151 is out of range"):
        ADE20K.from_raw(np.array([[151]], np.uint8))


def test_voc_has_its_21_classes_in_the_colours_of_its_palette() -> None:
    assert len(VOC) == len(set(VOC.palette)) == 21
    assert VOC.names[0] == "background" and VOC.names[-1] == "tvmonitor"
    assert VOC.names.index("person") == 15 and VOC.names.index("car") == 7
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 4: (0, 0, 128), 8: (64, 0, 0)}
    known |= {7: (128, 128, 128), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: VOC.palette[index] for index in known} == known
    np.testing.assert_array_equal(VOC.from_raw(np.array([[0, 20, 255]], np.uint8)), [[0, 20, 255]])


def test_camvid_ignores_the_twelfth_id() -> None:
    np.testing.assert_array_equal(CAMVID.from_raw(np.array([[10, 11]], np.uint8)), [[10, 255]])


def test_cityscapes_ids_become_train_ids_and_the_others_are_ignored() -> None:
    mapped = CITYSCAPES.from_raw(np.arange(34, dtype=np.uint8)[None])[0]
    evaluated = np.flatnonzero(mapped != 255)
    np.testing.assert_array_equal(
        evaluated, [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    )
    np.testing.assert_array_equal(mapped[evaluated], np.arange(19))
    with pytest.raises(UserError, match="label 34"):
        CITYSCAPES.from_raw(np.array([[34]], np.uint8))


@pytest.mark.parametrize(
    ("raw", "name", "color"),
    [(7, "road", (128, 64, 128)), (26, "car", (0, 0, 142)), (33, "bicycle", (119, 11, 32))],
)
def test_cityscapes_has_the_official_names_and_colours(
    raw: int, name: str, color: tuple[int, int, int]
) -> None:
    index = int(CITYSCAPES.from_raw(np.array([[raw]], np.uint8))[0, 0])
    assert (CITYSCAPES.names[index], CITYSCAPES.palette[index]) == (name, color)


@pytest.mark.parametrize(
    ("coco_id", "name"),
    [
        (1, "person"),
        (11, "fire hydrant"),
        (13, "stop sign"),
        (25, "giraffe"),
        (27, "backpack"),
        (67, "dining table"),
        (72, "tv"),
        (90, "toothbrush"),
        (92, "banner"),
        (96, "building-other"),
        (149, "road"),
        (182, "wood"),
    ],
)
def test_coco_stuff_ids_less_one_name_the_official_classes(coco_id: int, name: str) -> None:
    index = int(COCO_STUFF.from_raw(np.array([[coco_id - 1]], np.uint8))[0, 0])
    assert COCO_STUFF.names[index] == name


def test_coco_stuff_ignores_the_removed_ids_and_knows_no_id_beyond_182() -> None:
    mapped = COCO_STUFF.from_raw(np.array([[*range(182), 255]], np.uint8))[0]
    removed = np.flatnonzero(mapped == 255) + 1
    np.testing.assert_array_equal(removed, [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91, 183])
    with pytest.raises(UserError, match="label 182"):
        COCO_STUFF.from_raw(np.array([[182]], np.uint8))


def test_coco_stuff_colours_of_neighbouring_classes_lie_far_apart() -> None:
    for one, other in pairwise(COCO_STUFF.palette):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) >= 102
