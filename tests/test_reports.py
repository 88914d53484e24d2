"""Pages, pictures and comparisons: what they hold, and that nothing in them calls out or breaks."""

from __future__ import annotations

import io
import json
import math
import re
from base64 import b64decode
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from rich.console import Console

from bisenetv2.card import ModelCard
from bisenetv2.data.dataset import Sample
from bisenetv2.errors import UserError
from bisenetv2.evaluation.boundary import BoundaryScores
from bisenetv2.evaluation.calibration import Calibration
from bisenetv2.evaluation.compare import compare
from bisenetv2.evaluation.compare_report import print_comparison, who_is_right, write_comparison
from bisenetv2.evaluation.evaluate import evaluate
from bisenetv2.evaluation.gallery import WIDTH, WRONG, Gallery, chart, difference, photo
from bisenetv2.evaluation.html_report import Circumstances, write_report
from bisenetv2.evaluation.page import bar_around
from bisenetv2.evaluation.protocols import Answer
from bisenetv2.evaluation.report import print_report
from bisenetv2.evaluation.walk import Answered
from bisenetv2.labels import IGNORE_INDEX, Labels

NASTY = "<script>alert('&\")</script>"
LABELS = Labels(("road", "sky", NASTY), ((128, 64, 128), (70, 130, 180), (0, 128, 0)))
CARD = ModelCard(LABELS, (48, 64), data=f"toys {NASTY}", merit="12 % mIoU")
FACTS = Circumstances("model.onnx", CARD, "openvino", "a machine")

VOID = {"meta", "img"}


class Errs:
    """Reads the truth off the red channel and errs on some pixels; always equally sure."""

    labels, description = LABELS, "resized: as it is"

    def __init__(self, rate, seed=0):
        self._rate, self._rng = rate, np.random.default_rng(seed)

    def answer(self, frame, confidence):
        truth = frame[..., 0] % 3
        wrong = self._rng.random(truth.shape) < self._rate
        mask = np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8)
        return Answer(mask, np.full(mask.shape, 0.8, np.float32))


class Blobs:
    """Frames whose red channel holds the truth; names as nasty as those of classes."""

    name, licence, labels = f"toy {NASTY}", "CC0", LABELS

    def __init__(self, count=8, classes=3):
        self._count, self._classes = count, classes

    def __len__(self):
        return self._count

    def sample_name(self, index):
        return f"toy/{index}{NASTY}.png"

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        mask = rng.integers(0, self._classes, (6, 8)).astype(np.uint8)
        mask = mask.repeat(8, axis=0).repeat(8, axis=1)
        image = np.repeat(mask[..., None], 3, axis=2)
        mask[:4] = IGNORE_INDEX
        return Sample(np.ascontiguousarray(image), np.ascontiguousarray(mask))


class Page(HTMLParser):
    """Checks that elements nest, and gathers what they hold."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses, self.headings, self.text = [], [], [], [], ""
        self.pictures = {}  # address of the first with a caption
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        values = dict(attrs)
        self.addresses += [values[key] for key in ("src", "href", "action") if key in values]
        if tag == "img":
            assert values["alt"]
            self.pictures.setdefault(values["alt"].partition(",")[0], values["src"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if "style" not in self.open:
            self.text += data + " "


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def evaluated():
    gallery = Gallery()
    result = evaluate(
        Errs(0.2),
        Blobs(),
        boundary=BoundaryScores(LABELS),
        calibration=Calibration(LABELS),
        observers=(gallery.add,),
    )
    return result, gallery


def test_the_report_is_whole_and_needs_no_other_file(evaluated, tmp_path):
    write_report(tmp_path / "new" / "report.html", *evaluated, FACTS)
    page = page_of(tmp_path / "new" / "report.html")
    assert page.headings == [
        "Classes",
        "Confusion",
        "Worst frames",
        "Best frames",
        "Calibration",
        "Speed",
        "Model card",
        "How it is counted",
    ]
    assert not {"script", "link", "iframe", "object"} & set(page.seen)
    assert page.addresses
    assert all(re.match(r"data:image/(png|jpeg);base64,", each) for each in page.addresses)
    assert not re.search(r"url\(|@import|https?:", (tmp_path / "new" / "report.html").read_text())


def test_the_report_states_its_figures_with_the_protocol(evaluated, tmp_path):
    result, _ = evaluated
    write_report(tmp_path / "report.html", *evaluated, FACTS)
    text = page_of(tmp_path / "report.html").text
    assert result.boundary is not None
    figures = (result.matrix.mean_iou, result.matrix.mean_dice, result.boundary.mean_iou)
    for figure in figures:
        assert f"{100 * figure:.2f} %" in text
    assert text.count("resized") >= 8
    assert "within 2 px, 2 % of the diagonal" in text
    assert f"toys {NASTY}" in text
    assert text.count(NASTY) > 10


def test_bars_and_the_matrix_of_a_report_show_its_figures(evaluated, tmp_path):
    result, _ = evaluated
    write_report(tmp_path / "report.html", *evaluated, FACTS)
    text, counts = (tmp_path / "report.html").read_text(encoding="utf-8"), result.matrix.counts
    for iou, outline in zip(result.matrix.iou, result.boundary.iou, strict=True):
        assert f'<i style="width:{100 * iou:.2f}%">' in text
        assert f'<s style="left:{100 * outline:.2f}%">' in text
    cells = re.findall(r'style="--v:([\d.]+)" title="[^"]*: ([\d,]+) pixels"', text)
    shares, pixels = zip(*cells, strict=True)
    assert [int(each.replace(",", "")) for each in pixels] == counts.ravel().tolist()
    expected = 100 * counts / counts.sum(axis=1, keepdims=True)
    assert np.array(shares, float).reshape(3, 3) == pytest.approx(expected, abs=0.051)
    assert f"road taken for sky: {counts[0, 1]:,} pixels" in text


def test_bars_of_differences_go_right_where_b_is_better():
    for sign, left in ((1, 50), (-1, 25)):
        drawn = bar_around(sign * 0.1, sign * 0.05, sign * 0.05, reach=0.2)
        assert f'<i style="left:{left:.2f}%;width:25.00%">' in drawn
        assert f'<u style="left:{50 + sign * 12.5:.2f}%' in drawn


def test_a_gallery_keeps_the_worst_and_the_best_of_all():
    gallery, other = Gallery(2, 1), Gallery(2, 1)
    for score in (0.5, 0.4, math.nan, 0.9, 0.1):
        gallery.add(None, score)
    for score in (0.6, 0.3, 0.95):
        other.add(None, score)
    assert [kept.score for kept in (*gallery.worst, *gallery.best)] == [0.1, 0.4, 0.9]
    gallery.merge(other)
    assert [kept.score for kept in (*gallery.worst, *gallery.best)] == [0.1, 0.3, 0.95]


def test_worst_and_best_frames_are_shown_with_four_pictures_each(evaluated, tmp_path):
    _, gallery = evaluated
    write_report(tmp_path / "report.html", *evaluated, FACTS)
    page = page_of(tmp_path / "report.html")
    assert len(page.addresses) == 4 * (6 + 3)
    scores = [kept.score for kept in (*gallery.worst, *reversed(gallery.best))]
    assert scores[:6] == sorted(scores[:6])
    assert [k.score for k in gallery.best] == sorted((k.score for k in gallery.best), reverse=True)
    assert scores[0] == min(scores)
    frame = gallery.worst[0].frame
    for caption, mask in (("truth", frame.truth), ("prediction", frame.answers[0].mask)):
        assert (decoded(page.pictures[caption]) == LABELS.colorize(mask)).all()


def test_a_report_of_nothing_labelled_or_many_classes_is_whole_too(tmp_path):
    class Unlabelled(Blobs):
        def __getitem__(self, index):
            image, mask = super().__getitem__(index)
            return Sample(image, np.full_like(mask, IGNORE_INDEX))

    result = evaluate(Errs(0.1), Unlabelled(1), observers=(Gallery().add,))
    write_report(tmp_path / "none.html", result, Gallery(), FACTS)
    page = page_of(tmp_path / "none.html")
    assert "nan" not in page.text
    assert page.headings == ["Classes", "Confusion", "Speed", "Model card", "How it is counted"]

    many = Labels(tuple(f"class {i}" for i in range(60)), tuple((i, i, i) for i in range(60)))

    class Many(Errs):
        labels = many

    class ManyBlobs(Blobs):
        labels = many

    write_report(tmp_path / "many.html", evaluate(Many(0.1), ManyBlobs()), Gallery(), FACTS)
    page = page_of(tmp_path / "many.html")
    assert "class 0" in page.text
    assert page.seen.count("td") < 60 * 60


def decoded(address):
    data = np.frombuffer(b64decode(address.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def test_pictures_are_small_and_flat_colours_stay_exact():
    image = np.zeros((600, 1200, 3), np.uint8)
    image[:, 600:] = (10, 200, 30)
    for picture in (decoded(photo(image)), decoded(chart(image))):
        assert picture.shape == (240, WIDTH, 3)
    assert (decoded(chart(image))[:, 300:] == (10, 200, 30)).all()
    assert decoded(photo(image[:5, :7])).shape == (5, 7, 3)


def test_the_difference_is_red_where_wrong_and_grey_where_unknown():
    truth = np.array([[0, 1, IGNORE_INDEX]], np.uint8)
    picture = difference(
        np.full((1, 3, 3), 90, np.uint8), truth, np.array([[0, 2, 2]], np.uint8), LABELS
    )
    assert tuple(picture[0, 1]) == WRONG
    assert len(set(picture[0, 0].tolist())) == 1
    assert tuple(picture[0, 2]) == (120, 120, 120)


@pytest.fixture(scope="module")
def compared():
    return compare(Errs(0.3, 1), Errs(0.1, 2), Blobs(12))


def test_the_better_model_is_clearly_better_and_counts_add_up(compared):
    first, second = compared.evaluations
    assert compared.miou.value == pytest.approx(second.matrix.mean_iou - first.matrix.mean_iou)
    assert compared.miou.clear
    assert compared.miou.bounds.low < compared.miou.value < compared.miou.bounds.high
    assert all(each.clear for each in compared.per_class)
    assert compared.right.sum() == compared.pairs.sum() == first.matrix.pixels
    for index, evaluation in ((1, first), (2, second)):
        right = compared.right[0] + compared.right[index]
        assert (right == np.diagonal(evaluation.matrix.counts)).all()
    agreement = np.trace(compared.pairs) / compared.pairs.sum()
    assert compared.agreement == agreement == pytest.approx(0.3 * 0.1 + 0.7 * 0.9, abs=0.02)
    shares = np.array([[0.7 * 0.1], [0.3 * 0.9]]).repeat(3, axis=1)
    assert compared.only_right == pytest.approx(shares, abs=0.02)


def test_a_model_against_itself_differs_nowhere(tmp_path):
    same = compare(Errs(0.2, 5), Errs(0.2, 5), Blobs(4))
    assert (same.agreement, same.miou.value, same.miou.clear) == (1.0, 0.0, False)
    assert same.miou.bounds == (0.0, 0.0)
    write_comparison(tmp_path / "same.html", same, (FACTS, FACTS))
    text = page_of(tmp_path / "same.html").text
    assert "Nowhere on this data" in text
    assert "95 % interval +0.00 to +0.00: may be chance" in text


def test_a_paired_difference_is_surer_than_two_intervals(compared):
    """Both models err on the same hard frames; the difference does not mind."""

    class Uneven(Errs):
        def answer(self, frame, confidence):
            self._rng = np.random.default_rng(int(frame.sum()))  # the same errors on a frame
            hard = 0.05 + 0.6 * (int(frame.sum()) % 7 / 7)
            mask = frame[..., 0] % 3
            wrong = self._rng.random(mask.shape) < hard + self._rate
            return Answer(np.where(wrong, (mask + 1) % 3, mask).astype(np.uint8), None)

    result = compare(Uneven(0.02), Uneven(0.0), Blobs(20))
    first, second = (each.intervals[-1] for each in result.evaluations)
    assert first.high > second.low  # alone, the two cannot be told apart
    assert result.miou.clear


def test_a_comparison_is_printed_with_its_legend(compared):
    stream = io.StringIO()
    print_comparison(compared, ("a.onnx", "b.onnx"), Console(file=stream, width=100))
    rows = {
        line.split("│")[1].strip(): line for line in stream.getvalue().splitlines() if "│" in line
    }
    assert f"{100 * compared.miou.value:+.2f}*" in rows["mean"]
    assert NASTY in rows
    assert "A: a.onnx, resized: as it is" in stream.getvalue()
    assert "the interval leaves 0 out" in stream.getvalue()


def test_json_of_a_comparison_is_valid(compared):
    content = json.loads(json.dumps(compared.to_json_object(), allow_nan=False))
    assert content["miou"][1] > content["miou"][0]
    assert content["miou_difference"]["clear"] is True
    assert set(content["per_class"]) == set(LABELS.names)


def test_the_page_of_a_comparison_is_whole(compared, tmp_path):
    write_comparison(tmp_path / "compare.html", compared, (FACTS, FACTS))
    page = page_of(tmp_path / "compare.html")
    assert page.headings == [
        "Classes",
        "Where they disagree",
        "Frames they agree on least",
        "Model A",
        "Model B",
    ]
    assert len(page.addresses) == 5 * 6
    assert "script" not in page.seen
    for caption, answer in zip("AB", compared.gallery.worst[0].frame.answers, strict=True):
        assert (decoded(page.pictures[caption]) == LABELS.colorize(answer.mask)).all()


def test_a_comparison_names_the_classes_that_the_data_lack(tmp_path):
    class Fewer(Blobs):
        def __getitem__(self, index):
            image, mask = super().__getitem__(index)
            return Sample(image, np.where(mask == 2, IGNORE_INDEX, mask).astype(np.uint8))

    result = compare(Errs(0.3, 1), Errs(0.0, 2), Fewer(4))
    stream = io.StringIO()
    print_comparison(result, ("a.onnx", "b.onnx"), Console(file=stream, width=200))
    write_comparison(tmp_path / "compare.html", result, (FACTS, FACTS))
    absent = LABELS.names[2]
    for text in (stream.getvalue(), page_of(tmp_path / "compare.html").text):
        assert f"A: absent from this data and left out of the means: {absent} (predicted" in text
        assert f"B: absent from this data and left out of the means: {absent}" in text
        assert f"B: absent from this data and left out of the means: {absent} (" not in text
    assert result.to_json_object()["absent_classes"] == [absent]
    unknown = json.dumps(result.per_class[2].to_json_object(), allow_nan=False)
    assert json.loads(unknown) == {"value": None, "interval": None, "clear": False}


def test_a_class_in_one_image_is_said_to_leave_no_interval(tmp_path):
    class Rare(Blobs):
        def __getitem__(self, index):
            image, mask = super().__getitem__(index)
            keep = (mask != 2) | (index == 0)
            return Sample(image, np.where(keep, mask, IGNORE_INDEX).astype(np.uint8))

    expected = f"in one image only, which leaves them and the mean no interval: {LABELS.names[2]}"
    stream = io.StringIO()
    result = evaluate(Errs(0.1), Rare(4))
    print_report(result, Console(file=stream, width=200))
    write_report(tmp_path / "report.html", result, Gallery(), FACTS)
    compared = compare(Errs(0.1), Errs(0.2), Rare(4))
    print_comparison(compared, ("a", "b"), Console(file=stream, width=200))
    write_comparison(tmp_path / "compare.html", compared, (FACTS, FACTS))
    assert stream.getvalue().count(expected) == 2
    for name in ("report", "compare"):
        assert expected in page_of(tmp_path / f"{name}.html").text
    assert "<span>no interval</span>" in (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert evaluate(Errs(0.1), Rare(1)).rarity == ""
    assert evaluate(Errs(0.1), Blobs(4)).rarity == ""


def test_who_is_right_is_told_by_colour():
    truth = np.array([[0, 0, 0, 0, IGNORE_INDEX]], np.uint8)
    answers = tuple(
        Answer(np.array([mask], np.uint8), None) for mask in ([0, 0, 1, 1, 0], [0, 1, 0, 2, 1])
    )
    frame = Answered("x", np.zeros((1, 5, 3), np.uint8), truth, answers)
    colours = [tuple(colour) for colour in who_is_right(frame, LABELS)[0].tolist()]
    blue, orange, black = colours[1:4]  # as the page says: only A is right, only B, none
    assert blue.index(max(blue)) == 2
    assert orange.index(max(orange)) == 0
    assert max(black) < 50
    assert colours[0] == colours[4] == (150, 150, 150)


def test_models_of_other_classes_are_refused():
    class Other(Errs):
        labels = Labels(("a", "b", "c"), LABELS.palette)

    with pytest.raises(UserError, match=r"0 a \| road"):
        compare(Errs(0.1), Other(0.1), Blobs(2))
