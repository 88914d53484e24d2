"""The same scores as the official and the usual evaluators, on generated masks.

They differ in one thing: a class that is predicted but never true counts as 0 in their mean and is
left out of ours. Where every class that is predicted is also true, all figures are equal.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest

from bisenetv2.builtin_labels import CITYSCAPES, CITYSCAPES_CATEGORIES
from bisenetv2.evaluation.confusion import ConfusionMatrix
from bisenetv2.labels import IGNORE_INDEX, Mask

SEEDS = range(6)


def scene(seed: int, classes: int, most: int | None = None) -> tuple[Mask, Mask]:
    """Blobs of some classes and a prediction that errs on a third of the pixels.

    `most` bounds the classes in the scene, so that the others are neither true nor predicted.
    """
    rng = np.random.default_rng(seed)
    used = rng.permutation(classes)[: most or classes]
    truth = rng.choice(used, (12, 18)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    truth.flat[: len(used)] = used
    prediction = np.where(rng.random(truth.shape) < 1 / 3, rng.choice(used, truth.shape), truth)
    ignored = rng.random(truth.shape) < 0.1
    ignored.flat[: len(used)] = False  # every class in use is true somewhere
    truth[ignored] = IGNORE_INDEX
    return truth, prediction.astype(np.uint8)


def counted(truth: Mask, prediction: Mask, classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes)
    matrix.update(truth, prediction)
    return matrix


def as_raw(mask: Mask) -> npt.NDArray[np.uint8]:
    """Cityscapes' raw ids of train ids; ignored pixels become `out of roi`."""
    table = np.full(256, 3, np.uint8)
    for raw, index in CITYSCAPES.raw_ids or ():
        if index != IGNORE_INDEX:
            table[index] = raw
    return table.take(mask)


@pytest.fixture(scope="module")
def official():
    return pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="cityscapesscripts and what it needs are not installed",
    )


def official_scores(official, folder, pairs):
    """Runs the official evaluator on files, without its instance scores."""
    from PIL import Image

    files = []
    for index, (truth, prediction) in enumerate(pairs):
        paths = folder / f"{index}_truth.png", folder / f"{index}_prediction.png"
        for path, mask in zip(paths, (truth, prediction), strict=True):
            Image.fromarray(as_raw(mask)).save(path)
        files.append(paths)
    arguments = SimpleNamespace(**vars(official.args))
    arguments.evalInstLevelScore = arguments.JSONOutput = False
    arguments.quiet = True
    truths, predictions = zip(*((str(t), str(p)) for t, p in files), strict=True)
    return official.evaluateImgLists(predictions, truths, arguments)


@pytest.mark.parametrize("most", [19, 7])
def test_cityscapes_classes_and_categories_are_the_official_ones(official, tmp_path, most):
    pairs = [scene(seed, 19, most) for seed in range(3)]
    if most < 19:  # one set of classes for all images
        pairs = pairs[:1]
    expected = official_scores(official, tmp_path, pairs)
    matrix = ConfusionMatrix(19)
    for truth, prediction in pairs:
        matrix.update(truth, prediction)
    for index, name in enumerate(CITYSCAPES.names):
        assert matrix.iou[index] == pytest.approx(expected["classScores"][name], nan_ok=True)
    assert matrix.mean_iou == pytest.approx(expected["averageScoreClasses"])
    groups = [[CITYSCAPES.index(n) for n in group] for group in CITYSCAPES_CATEGORIES.values()]
    categories = matrix.grouped(groups)
    for iou, name in zip(categories.iou, CITYSCAPES_CATEGORIES, strict=True):
        assert iou == pytest.approx(expected["categoryScores"][name], nan_ok=True)
    assert categories.mean_iou == pytest.approx(expected["averageScoreCategories"])
    assert matrix.pixels == sum(int((truth != IGNORE_INDEX).sum()) for truth, _ in pairs)


def test_categories_are_the_official_ones(official):
    labels = [each for each in official.labels if not each.ignoreInEval]
    assert {each.name: each.category for each in labels} == {
        name: category for category, names in CITYSCAPES_CATEGORIES.items() for name in names
    }


def test_a_class_predicted_but_never_true_is_zero_to_them_and_left_out_here(official, tmp_path):
    truth = np.zeros((4, 4), np.uint8)
    prediction = truth.copy()
    prediction[0] = 13
    expected = official_scores(official, tmp_path, [(truth, prediction)])
    matrix = counted(truth, prediction, 19)
    assert matrix.iou[0] == expected["classScores"]["road"] == 0.75
    assert expected["classScores"]["car"] == 0
    assert math.isnan(matrix.iou[13])
    assert (matrix.mean_iou, expected["averageScoreClasses"]) == (0.75, 0.375)


@pytest.mark.parametrize("seed", SEEDS)
def test_iou_and_dice_are_those_of_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, prediction = scene(seed, 11)
    labelled = truth != IGNORE_INDEX
    pair = truth[labelled], prediction[labelled]
    matrix, classes = counted(truth, prediction, 11), list(range(11))
    expected = metrics.jaccard_score(*pair, labels=classes, average=None)
    assert matrix.iou == pytest.approx(expected)
    assert matrix.mean_iou == pytest.approx(metrics.jaccard_score(*pair, average="macro"))
    weighted = metrics.jaccard_score(*pair, average="weighted")
    assert matrix.frequency_weighted_iou == pytest.approx(weighted)
    assert matrix.dice == pytest.approx(metrics.f1_score(*pair, average=None))
    assert matrix.pixel_accuracy == pytest.approx(metrics.accuracy_score(*pair))
    assert matrix.mean_accuracy == pytest.approx(metrics.balanced_accuracy_score(*pair))
    assert (matrix.counts == metrics.confusion_matrix(*pair, labels=classes)).all()


@pytest.mark.parametrize("most", [11, 6])
@pytest.mark.parametrize("seed", SEEDS)
def test_iou_and_accuracy_are_those_of_torchmetrics(seed, most, one_torch_thread):
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification")
    truth, prediction = scene(seed, 11, most)
    pair = torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()
    options = {"num_classes": 11, "ignore_index": IGNORE_INDEX}
    matrix = counted(truth, prediction, 11)
    jaccard = classification.MulticlassJaccardIndex(average="none", **options)(*pair).numpy()
    assert matrix.iou[list(matrix.present)] == pytest.approx(jaccard[list(matrix.present)])
    mean = classification.MulticlassJaccardIndex(average="macro", **options)(*pair)
    assert matrix.mean_iou == pytest.approx(float(mean), abs=1e-6)
    accuracy = classification.MulticlassAccuracy(average="micro", **options)(*pair)
    assert matrix.pixel_accuracy == pytest.approx(float(accuracy), abs=1e-6)
    counts = classification.MulticlassConfusionMatrix(**options)(*pair).numpy()
    assert (matrix.counts == counts).all()
