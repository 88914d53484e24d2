"""Predictions for the Cityscapes test server, as the official evaluator finds and reads them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bisenetv2.builtin_labels import CITYSCAPES
from bisenetv2.errors import UserError
from bisenetv2.evaluation.evaluate import evaluate
from bisenetv2.evaluation.protocols import Answer
from bisenetv2.evaluation.submission import CityscapesTest, Submission
from bisenetv2.images import read_mask, write_image, write_mask
from bisenetv2.labels import CAMVID

FRAMES = ("berlin_000000_000019", "berlin_000001_000019", "bonn_000003_000019")


class Stripes:
    """Gives every class a stripe."""

    labels, description = CITYSCAPES, "stripes"

    def answer(self, frame, confidence):
        height, width = frame.shape[:2]
        mask = np.repeat((np.arange(width) * 19 // width)[None], height, axis=0)
        return Answer(mask.astype(np.uint8), None)


@pytest.fixture
def root(tmp_path):
    """The test split's frames, much smaller."""
    for name in FRAMES:
        folder = tmp_path / "leftImg8bit" / "test" / name.partition("_")[0]
        write_image(folder / f"{name}_leftImg8bit.png", np.zeros((16, 38, 3), np.uint8))
    return tmp_path


def submitted(root):
    dataset = CityscapesTest.open(root)
    result = evaluate(Stripes(), dataset, observers=(Submission(root / "out", CITYSCAPES).add,))
    assert result.matrix.pixels == 0
    return root / "out"


def test_every_frame_gets_a_mask_of_raw_ids_at_its_size(root):
    folder = submitted(root)
    assert sorted(p.name for p in folder.iterdir()) == [f"{name}_labelIds.png" for name in FRAMES]
    evaluated = [raw for raw, index in CITYSCAPES.raw_ids or () if index < 19]
    for path in folder.iterdir():
        mask = read_mask(path)
        assert mask.shape == (16, 38)
        assert mask.dtype == np.uint8
        assert mask[0].tolist() == [raw for raw in sorted(evaluated) for _ in range(2)]


def test_the_official_evaluator_finds_and_scores_them(root):
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="cityscapesscripts and what it needs are not installed",
    )
    folder = submitted(root)
    arguments = SimpleNamespace(**vars(official.args))
    arguments.evalInstLevelScore = arguments.JSONOutput = False
    arguments.quiet, arguments.predictionPath = True, str(folder)
    truths = []
    for name in FRAMES:
        path = root / "gtFine" / f"{name}_gtFine_labelIds.png"
        write_mask(path, read_mask(folder / f"{name}_labelIds.png"))
        truths.append(str(path))
    predictions = [official.getPrediction(arguments, truth) for truth in truths]
    scores = official.evaluateImgLists(predictions, truths, arguments)
    assert scores["averageScoreClasses"] == scores["averageScoreCategories"] == 1.0


def test_other_classes_and_other_names_are_refused(root):
    with pytest.raises(UserError, match="needs the 19 classes of Cityscapes, not Sky, Building"):
        Submission(root / "out", CAMVID)
    frame = root / "leftImg8bit" / "test" / "bonn"
    observer = Submission(root / "out", CITYSCAPES)
    answered = SimpleNamespace(name=str(frame / "photo.png"), answers=(None,))
    with pytest.raises(UserError, match=r"photo\.png: a submission needs frames called"):
        observer.add(answered, 0.0)
    assert not (root / "out").exists()


def test_a_folder_without_the_frames_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"leftImg8bit/test: holds no \*_leftImg8bit\.png"):
        CityscapesTest.open(tmp_path)
