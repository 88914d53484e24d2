"""Evaluation of a segmenter on a dataset, its JSON and its printed report."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bisenetv2.builtin_labels import CITYSCAPES
from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.evaluation.boundary import BoundaryScores
from bisenetv2.evaluation.calibration import Calibration
from bisenetv2.evaluation.evaluate import Evaluation, evaluate
from bisenetv2.evaluation.protocols import Answer
from bisenetv2.evaluation.report import print_report, write_image_scores
from bisenetv2.evaluation.walk import Answered, Clock
from bisenetv2.images import Image, read_image, read_mask
from bisenetv2.labels import CAMVID, IGNORE_INDEX, Labels, Mask

CAMVID_ROOT = Path(__file__).parents[2] / "shared" / "camvid"

LABELS = Labels(("road", "sky", "[tree]"), ((128, 64, 128), (70, 130, 180), (0, 128, 0)))


class ListDataset:
    """Samples from memory; notes which thread reads which index."""

    def __init__(self, samples: list[Sample], labels: Labels = LABELS) -> None:
        self._samples, self.labels = samples, labels
        self.name, self.licence = "toy val", "CC0"
        self.reads: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._samples)

    def sample_name(self, index: int) -> str:
        return f"toy/{index}.png"

    def __getitem__(self, index: int) -> Sample:
        self.reads.append((index, threading.get_ident()))
        return self._samples[index]


class FunctionModel:
    description = "as it is"

    def __init__(self, function: Callable[[Image], Mask], labels: Labels = LABELS) -> None:
        self._function, self.labels = function, labels

    def answer(self, frame: Image, confidence: bool) -> Answer:
        return Answer(self._function(frame), None)


def sample_of(mask: list[list[int]]) -> Sample:
    """A sample whose frame shows its mask in the red channel."""
    array = np.array(mask, np.uint8)
    return Sample(np.repeat(array[..., None], 3, axis=2), array)


def reads_red(frame: Image) -> Mask:
    return np.ascontiguousarray(frame[..., 0])


def says_road(frame: Image) -> Mask:
    return np.zeros(frame.shape[:2], np.uint8)


def evaluation_of(mask: list[list[int]], function: Callable[[Image], Mask]) -> Evaluation:
    return evaluate(FunctionModel(function), ListDataset([sample_of(mask)]))


def printed(evaluation: Evaluation) -> str:
    stream = io.StringIO()
    print_report(evaluation, Console(file=stream, width=100))
    return stream.getvalue()


def test_perfect_prediction_scores_one_on_frames_of_any_size() -> None:
    dataset = ListDataset([sample_of([[0, 1], [2, 255]]), sample_of([[0, 1, 2]])])
    evaluation = evaluate(FunctionModel(reads_red), dataset)
    assert evaluation.matrix.mean_iou == 1.0
    assert evaluation.matrix.pixels == 6
    assert (evaluation.images, evaluation.data) == (2, "toy val")
    assert evaluation.protocol == "as it is"


def test_every_sample_meets_its_own_truth_once_and_in_order() -> None:
    dataset = ListDataset([sample_of([[i % 3, i // 3 % 3]]) for i in range(9)])
    done: list[int] = []
    evaluation = evaluate(FunctionModel(reads_red), dataset, done.append)
    assert [index for index, _ in dataset.reads] == list(range(9))
    assert done == list(range(1, 10))
    assert evaluation.matrix.pixel_accuracy == 1.0


def test_samples_are_read_ahead_by_one_other_thread() -> None:
    dataset = ListDataset([sample_of([[0]]) for _ in range(5)])
    read_before: list[int] = []

    def segment(frame: Image) -> Mask:
        read_before.append(len(dataset.reads))
        return says_road(frame)

    evaluate(FunctionModel(segment), dataset)
    threads = {thread for _, thread in dataset.reads}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert all(done <= turn + 2 for turn, done in enumerate(read_before))


def test_a_sample_that_cannot_be_read_ends_the_evaluation_with_its_error() -> None:
    class Broken(ListDataset):
        def __getitem__(self, index: int) -> Sample:
            if index == 1:
                raise UserError("toy/1.png: truncated")
            return super().__getitem__(index)

    dataset = Broken([sample_of([[0]])] * 3)
    with pytest.raises(UserError, match=r"toy/1\.png: truncated"):
        evaluate(FunctionModel(says_road), dataset)


def test_different_labels_are_refused_with_both_lists_on_one_line() -> None:
    other = Labels(("sky", "road", "[tree]"), LABELS.palette)
    with pytest.raises(UserError) as caught:
        evaluate(FunctionModel(says_road, other), ListDataset([sample_of([[0]])]))
    message = str(caught.value)
    assert "0 sky | road, 1 road | sky, 2 [tree] | [tree]" in message
    assert "toy val" in message
    assert "\n" not in message


def test_another_palette_or_raw_coding_is_no_other_label_set() -> None:
    repainted = replace(LABELS, palette=((1, 1, 1),) * 3, raw_ids=((7, 0), (8, 1), (9, 2)))
    evaluation = evaluate(FunctionModel(reads_red, repainted), ListDataset([sample_of([[0, 1]])]))
    assert evaluation.matrix.mean_iou == 1.0


def test_frame_and_mask_of_different_size_name_the_sample_and_both_sizes() -> None:
    wrong = Sample(np.zeros((4, 6, 3), np.uint8), np.zeros((2, 3), np.uint8))
    dataset = ListDataset([sample_of([[0]]), wrong])
    with pytest.raises(UserError, match=r"^toy/1\.png: prediction of 6×4 against truth of 3×2"):
        evaluate(FunctionModel(says_road), dataset)


@pytest.mark.parametrize(
    ("mask", "function", "message"),
    [
        ([[0, 5]], says_road, r"toy/0\.png: truth holds label 5"),
        ([[0, 0]], lambda frame: says_road(frame) + 3, r"toy/0\.png: prediction holds label 3"),
        ([[0, 0]], lambda frame: says_road(frame)[:, :1], r"toy/0\.png: prediction of 1×1"),
    ],
)
def test_a_value_or_size_that_does_not_fit_names_the_sample(
    mask: list[list[int]], function: Callable[[Image], Mask], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluation_of(mask, function)


def test_an_empty_dataset_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="toy val: holds no images"):
        evaluate(FunctionModel(says_road), ListDataset([]))


def test_json_holds_fractions_and_names_the_absent_class() -> None:
    clock = Clock(network=0.25, reading=0.125, total=0.5)
    evaluation = replace(evaluation_of([[0, 0, 0, 1]], says_road), seconds=0.5, clock=clock)
    content = json.loads(json.dumps(evaluation.to_json_object(), allow_nan=False))
    nothing = {"iou": None, "iou_interval": None, "accuracy": None, "dice": None}
    assert content == {
        "data": "toy val",
        "protocol": "as it is",
        "seen": [],
        "images": 1,
        "labelled_pixels": 4,
        "miou": 0.375,
        "miou_interval": None,  # one image tells nothing about others
        "pixel_accuracy": 0.75,
        "mean_accuracy": 0.5,
        "frequency_weighted_iou": 0.5625,
        "mean_dice": pytest.approx(3 / 7),
        "per_class": {
            "road": {**nothing, "iou": 0.75, "accuracy": 1.0, "dice": 6 / 7, "share": 0.75},
            "sky": {**nothing, "iou": 0.0, "accuracy": 0.0, "dice": 0.0, "share": 0.25},
            "[tree]": {**nothing, "share": 0.0},
        },
        "absent_classes": ["[tree]"],
        "confusion": [[3, 0, 0], [1, 0, 0], [0, 0, 0]],
        "images_per_second": 2.0,
        "time_shares": {"network": 0.5, "reading": 0.25, "scoring": 0.0, "rest": 0.25},
    }


def test_json_of_several_images_has_intervals_around_the_figures() -> None:
    samples = [sample_of([[0, 0, 1, i % 2]]) for i in range(20)]
    content = evaluate(FunctionModel(says_road), ListDataset(samples)).to_json_object()
    low, high = content["miou_interval"]
    assert low < content["miou"] < high
    low, high = content["per_class"]["road"]["iou_interval"]
    assert low < content["per_class"]["road"]["iou"] < high
    assert content["per_class"]["[tree]"]["iou_interval"] is None


def test_outlines_and_confidence_are_scored_where_asked_for() -> None:
    class Sure:
        labels, description = LABELS, "sure"

        def answer(self, frame: Image, confidence: bool) -> Answer:
            assert confidence
            return Answer(reads_red(frame), np.full(frame.shape[:2], 0.5, np.float32))

    dataset = ListDataset([sample_of([[0] * 8 + [1] * 8] * 6)] * 2)
    result = evaluate(
        Sure(), dataset, boundary=BoundaryScores(LABELS), calibration=Calibration(LABELS)
    )
    content = json.loads(json.dumps(result.to_json_object(), allow_nan=False))
    assert content["expected_calibration_error"] == 0.5
    assert content["boundary"] == {
        "distance": "1 px, 2 % of the diagonal",
        "mean_boundary_iou": 1.0,
        "trimap_miou": 1.0,
    }
    assert content["per_class"]["road"]["boundary_iou"] == 1.0
    text = printed(result)
    assert "boundary IoU 100.00 %, trimap IoU 100.00 %, within 1 px, 2 % of the diagonal" in text
    assert "expected calibration error 50.00 %" in text


def test_frames_are_scored_by_one_other_thread_in_order_and_seen_by_observers() -> None:
    class Notes:
        def __init__(self) -> None:
            self.seen: list[tuple[str, float, int]] = []

        def add(self, frame: Answered, score: float) -> None:
            self.seen.append((frame.name, score, threading.get_ident()))

    notes = Notes()
    samples = [sample_of([[i % 2, 0]]) for i in range(6)]
    evaluate(FunctionModel(says_road), ListDataset(samples), observers=(notes.add,))
    assert [name for name, _, _ in notes.seen] == [f"toy/{index}.png" for index in range(6)]
    assert [score for _, score, _ in notes.seen] == [1.0, 0.25] * 3
    threads = {thread for _, _, thread in notes.seen}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_the_clock_accounts_for_all_the_time() -> None:
    dataset = ListDataset([sample_of([[0, 1]])] * 5)
    evaluation = evaluate(FunctionModel(says_road), dataset)
    shares = evaluation.clock.shares()
    assert [*shares] == ["network", "reading", "scoring", "rest"]
    assert sum(shares.values()) == pytest.approx(1)
    assert evaluation.seconds == evaluation.clock.total > 0


def test_scores_of_each_image_go_to_a_csv_file(tmp_path: Path) -> None:
    samples = [sample_of([[0, 0, 0, 1]]), sample_of([[0, 0]]), sample_of([[IGNORE_INDEX]])]
    evaluation = evaluate(FunctionModel(says_road), ListDataset(samples))
    write_image_scores(tmp_path / "new" / "images.csv", evaluation)
    assert (tmp_path / "new" / "images.csv").read_text().splitlines() == [
        "image,miou,pixel_accuracy,road,sky,[tree]",
        "toy/0.png,0.375000,0.750000,0.750000,0.000000,",
        "toy/1.png,1.000000,1.000000,1.000000,,",
        "toy/2.png,,,,,",
    ]
    with pytest.raises(UserError, match="cannot be written"):
        write_image_scores(tmp_path / "new" / "images.csv" / "x.csv", evaluation)


def test_cityscapes_has_its_categories() -> None:
    road, sidewalk, car = 0, 1, 13
    samples = [sample_of([[road, sidewalk, car, car]])]
    dataset = ListDataset(samples, CITYSCAPES)
    result = evaluate(FunctionModel(lambda f: reads_red(f) // 13 * 13, CITYSCAPES), dataset)
    assert result.matrix.mean_iou == 0.5  # road 1/2, sidewalk 0, car 1
    content = result.to_json_object()
    categories = content["categories"]
    assert content["category_miou"] == 1.0
    assert [categories[name] for name in ("flat", "vehicle", "sky")] == [1.0, 1.0, None]
    assert "categories: mean IoU 100.00 %; flat 100.00, construction -" in printed(result)


def test_json_of_data_without_a_labelled_pixel_is_valid_and_says_null() -> None:
    evaluation = evaluation_of([[IGNORE_INDEX] * 2], says_road)
    content = json.loads(json.dumps(evaluation.to_json_object(), allow_nan=False))
    assert content["miou"] is None
    assert content["pixel_accuracy"] is None
    assert content["absent_classes"] == list(LABELS.names)


def test_report_has_a_row_a_class_the_mean_and_names_the_absent_class() -> None:
    text = printed(evaluation_of([[0, 0, 0, 1]], says_road))
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert [*rows] == ["road", "sky", "[tree]", "mean"]
    cells = {name: [cell.strip() for cell in row.split("│")[2:-1]] for name, row in rows.items()}
    assert cells["road"] == ["75.00", "-", "85.71", "100.00", "75.00"]
    assert cells["[tree]"] == ["-", "-", "-", "-", "0.00"]
    assert cells["mean"] == ["37.50", "-", "42.86", "50.00", ""]
    assert "pixel accuracy 75.00 %" in text
    assert "1 image," in text
    assert "left out of the means: [tree]" in text
    assert "toy val, as it is" in text


def test_report_counts_what_was_predicted_as_an_absent_class() -> None:
    text = printed(evaluation_of([[0, 0, 0, 1]], lambda frame: reads_red(frame) * 2))
    assert "left out of the means: [tree] (predicted on 1 pixels)" in text


def test_report_says_so_if_nothing_is_labelled() -> None:
    text = printed(evaluation_of([[IGNORE_INDEX] * 2], says_road))
    assert "no pixel of this data is labelled" in text


@pytest.mark.skipif(not CAMVID_ROOT.is_dir(), reason="../shared/camvid is absent")
def test_camvid_truth_against_itself_scores_one() -> None:
    truth_paths = sorted((CAMVID_ROOT / "valannot").glob("*.png"))[:4]
    assert truth_paths
    truths = [CAMVID.from_raw(read_mask(path), path) for path in truth_paths]
    samples = [
        Sample(read_image(CAMVID_ROOT / "val" / f"{path.stem}.webp"), truth)
        for path, truth in zip(truth_paths, truths, strict=True)
    ]
    # The network never predicts the ignore index; any class will do where the truth is ignored.
    answers = iter([np.where(truth == IGNORE_INDEX, 0, truth).astype(np.uint8) for truth in truths])
    model = FunctionModel(lambda _: next(answers), CAMVID)
    evaluation = evaluate(model, ListDataset(samples, CAMVID))
    assert evaluation.matrix.mean_iou == 1.0
    assert evaluation.matrix.pixels == sum(int((truth != IGNORE_INDEX).sum()) for truth in truths)
