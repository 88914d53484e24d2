"""Reconciling the classes of a model with those of a dataset."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.evaluation.compare import compare
from bisenetv2.evaluation.evaluate import evaluate
from bisenetv2.evaluation.mapping import ELSE, ELSE_COLORS, check_labels, reconcile
from bisenetv2.evaluation.protocols import Answer
from bisenetv2.labels import Labels


def labels_of(*names):
    return Labels(names, tuple((index, 0, 0) for index in range(len(names))))


MODEL = labels_of("car", "truck", "sky", "rider")
DATA = labels_of("Sky", "Vehicle", "Void")


class Fixed:
    """A model that always gives one mask."""

    description = "fixed"

    def __init__(self, mask, labels=MODEL):
        self.labels, self._mask = labels, np.array(mask, np.uint8)

    def answer(self, frame, confidence):
        return Answer(self._mask, None)


class One:
    """A dataset of one sample."""

    name, licence = "toy val", "CC0"

    def __init__(self, mask, labels=DATA):
        self.labels, self._mask = labels, np.array(mask, np.uint8)

    def __len__(self):
        return 1

    def sample_name(self, index):
        return "toy/0.png"

    def __getitem__(self, index):
        return Sample(np.zeros((*self._mask.shape, 3), np.uint8), self._mask)


def test_unlike_labels_are_set_side_by_side_on_one_line():
    with pytest.raises(UserError) as caught:
        check_labels(MODEL, One([[0]]))
    message = str(caught.value)
    assert "0 car | Sky, 1 truck | Vehicle, 2 sky | Void, 3 rider | -" in message
    assert "--map MODEL=DATA" in message
    assert "\n" not in message


def test_classes_merge_are_matched_by_name_ignored_or_count_as_wrong():
    # car, truck, sky and rider on true vehicle, vehicle, sky, vehicle, void
    pairs = ["car=Vehicle", "truck=Vehicle", "rider=nothing", "nothing=Void"]
    (model,), data = reconcile([Fixed([[0, 1, 2, 3, 3]])], One([[1, 1, 0, 1, 2]]), pairs)
    result = evaluate(model, data)
    assert result.labels.names == ("Sky", "Vehicle", "Void", ELSE)
    assert result.matrix.iou[:2].tolist() == [1.0, 2 / 3]
    assert set(result.absent_classes) == {"Void", ELSE}
    assert result.matrix.pixels == 4
    assert result.protocol == "fixed, classes mapped"


@pytest.mark.parametrize("taken", [(128, 128, 128), *ELSE_COLORS[:2]])
def test_the_other_classes_have_a_colour_of_their_own(taken):
    data = replace(DATA, palette=(taken, *DATA.palette[1:]))
    pairs = ["car=Vehicle", "truck=Vehicle", "rider=nothing", "nothing=Void"]
    _, mapped = reconcile([Fixed([[0]])], One([[0]], data), pairs)
    assert len(set(mapped.labels.palette)) == len(mapped.labels) == 4


def test_another_order_and_case_need_no_pairs():
    data = labels_of("Sky", "Truck", "Rider", "CAR")
    (model,), dataset = reconcile([Fixed([[0, 1, 2, 3]])], One([[3, 1, 0, 2]], data), ["by-name"])
    assert model.labels == dataset.labels
    assert dataset.labels.names == data.names
    assert evaluate(model, dataset).matrix.mean_iou == 1.0


def test_a_pair_overrules_the_match_by_name():
    data = labels_of("sky", "car", "truck", "rider")
    swap = ["car=truck", "truck=car"]
    (model,), _ = reconcile([Fixed([[0, 1]])], One([[0]], data), swap)
    assert model.answer(np.zeros((1, 2, 3), np.uint8), False).mask.tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["car"], "--map car: write MODEL=DATA"),
        (["nothing=nothing"], "--map nothing=nothing: write"),
        (["=Sky"], "--map =Sky: write"),
        (["cart=Sky"], "unknown class 'cart': the classes are car, truck"),
        (["car=Street"], "unknown class 'Street': the classes are Sky, Vehicle"),
        (["by-name"], "no counterpart for car, truck, rider of the model: add NAME=DATA"),
        (
            ["car=Vehicle", "truck=Vehicle", "rider=nothing"],
            "no counterpart for Void of toy val: add MODEL=NAME or nothing=NAME",
        ),
    ],
)
def test_a_map_that_leaves_something_open_is_refused(pairs, message):
    with pytest.raises(UserError, match=message) as caught:
        reconcile([Fixed([[0]])], One([[0]]), pairs)
    assert "\n" not in str(caught.value)


def test_models_of_unlike_classes_are_compared_on_the_same_pixels():
    other = labels_of("sky", "vehicle", "void")
    first, second = Fixed([[0, 1, 2, 3, 3]]), Fixed([[1, 1, 0, 0, 2]], other)
    pairs = ["car=Vehicle", "truck=Vehicle", "rider=nothing", "nothing=Void"]
    models, data = reconcile([first, second], One([[1, 1, 0, 1, 2]]), pairs)
    result = compare(*models, data)
    assert result.labels.names == ("Sky", "Vehicle", "Void", ELSE)
    assert [each.matrix.pixels for each in result.evaluations] == [4, 4]
    assert result.evaluations[0].matrix.iou[:2].tolist() == [1.0, 2 / 3]
    assert result.evaluations[1].matrix.iou[:2].tolist() == [0.5, 2 / 3]


def test_a_class_that_no_model_has_is_refused_when_several_are_mapped():
    with pytest.raises(UserError, match="unknown class 'ridr': the classes are car, truck"):
        reconcile([Fixed([[0]]), Fixed([[0]])], One([[0]]), ["ridr=nothing"])


def test_254_classes_and_one_more_still_fit():
    data = labels_of(*(f"class {index}" for index in range(254)))
    model = SimpleNamespace(labels=labels_of(*data.names, "else"), description="")
    (mapped,), _ = reconcile([model], One([[0]], data), ["else=nothing"])
    assert len(mapped.labels) == 255
