"""An evaluation as one HTML file to read, print and pass on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bisenetv2.builtin_labels import CITYSCAPES_CATEGORIES
from bisenetv2.card import ModelCard
from bisenetv2.evaluation import page
from bisenetv2.evaluation.calibration import BINS, Calibration
from bisenetv2.evaluation.confusion import largest_off_diagonal
from bisenetv2.evaluation.evaluate import Evaluation
from bisenetv2.evaluation.gallery import Gallery, Kept, difference, pictures
from bisenetv2.evaluation.report import card_facts, class_columns, percent, span, speed
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.segmenter import Segmenter

WIDEST_MATRIX = 40
"""Most classes for which the confusion matrix is drawn; beyond, the list of confusions must do."""

CONFUSIONS = 10
"""Confusions listed."""


@dataclass(frozen=True)
class Circumstances:
    """What a report says beside the scores."""

    model: str
    """Path or name of the model."""

    card: ModelCard
    engine: str
    machine: str

    @classmethod
    def now(cls, model: str | Path | None, segmenter: Segmenter) -> Circumstances:
        """Describes a model on this machine."""
        name = "embedded model camvid" if model is None else str(model)
        return cls(name, segmenter.card, segmenter.engine.name, str(describe_machine()))


def write_report(
    path: Path, evaluation: Evaluation, gallery: Gallery, circumstances: Circumstances
) -> None:
    """Writes the report.

    Args:
        path: The HTML file.
        evaluation: The scores.
        gallery: Frames to show.
        circumstances: What the scores were taken with.

    Raises:
        UserError: If the file cannot be written.
    """
    parts = [_key_figures(evaluation), _classes(evaluation), _confusion(evaluation)]
    for heading, kept in (("Worst frames", gallery.worst), ("Best frames", gallery.best)):
        if kept:
            parts.append(_frames(heading, kept, evaluation))
    if evaluation.calibration is not None:
        parts.append(_calibration(evaluation.calibration, evaluation.protocol))
    parts += [
        _speed(evaluation, circumstances),
        card_section("Model card", circumstances),
        _definitions(evaluation),
    ]
    subtitle = f"{circumstances.model}. Protocol: {evaluation.protocol}. {evaluation.extent}."
    page.write_page(path, f"Evaluation on {evaluation.data}", subtitle, parts)


def _key_figures(evaluation: Evaluation) -> str:
    matrix, boundary, protocol = evaluation.matrix, evaluation.boundary, evaluation.protocol
    short = protocol.partition(":")[0]
    figures = [
        ("mIoU", matrix.mean_iou, f"95 % interval {span(evaluation.intervals[-1])}"),
        ("pixel accuracy", matrix.pixel_accuracy, "of all labelled pixels"),
        ("mean accuracy", matrix.mean_accuracy, "mean over classes"),
        ("frequency-weighted IoU", matrix.frequency_weighted_iou, "weighted by pixels"),
        ("mean Dice", matrix.mean_dice, "mean over classes"),
    ]
    if evaluation.categories is not None:
        mean = evaluation.categories.mean_iou
        figures.append(("category mIoU", mean, "mean over the benchmark's categories"))
    if boundary is not None:
        figures += [
            ("boundary IoU", boundary.mean_iou, f"within {boundary.distance}"),
            ("trimap mIoU", boundary.trimap.mean_iou, f"within {boundary.distance}"),
        ]
    if evaluation.calibration is not None:
        error = evaluation.calibration.error
        figures.append(("calibration error", error, f"expected, {BINS} bins; less is better"))
    return page.tiles(
        [(name, f"{percent(score)} %", f"{more}; {short}") for name, score, more in figures]
    )


def _classes(evaluation: Evaluation) -> str:
    matrix, boundary = evaluation.matrix, evaluation.boundary
    ious = [*matrix.iou, matrix.mean_iou]
    outlines = [np.nan] * len(ious) if boundary is None else [*boundary.iou, np.nan]
    bars = [
        page.bar(iou, *bounds, mark=outline)
        for iou, bounds, outline in zip(ious, evaluation.intervals, outlines, strict=True)
    ]
    columns = {"IoU, 0 to 100 %": bars, **class_columns(evaluation)}
    caption = f"Protocol: {evaluation.protocol}. Bar: IoU; dark line: its 95 % interval"
    if boundary is not None:
        caption += f"; orange: boundary IoU within {boundary.distance}"
    content = [page.class_table(caption + ".", evaluation.labels, columns)]
    content += map(page.note, filter(None, (evaluation.absence, evaluation.rarity)))
    if evaluation.categories is not None:
        named = zip(CITYSCAPES_CATEGORIES, evaluation.categories.iou, strict=True)
        each = [[page.esc(name), page.bar(iou), percent(iou)] for name, iou in named]
        headings = ["category", "IoU", "IoU %"]
        content.append(page.table("The benchmark's categories.", headings, each))
    return page.section("Classes", *content)


def _confusion(evaluation: Evaluation) -> str:
    labels, counts = evaluation.labels, evaluation.matrix.counts
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)  # C, C
    told = page.note(
        "Each row is a true class and sums to 100 %: what its pixels were taken for; below 0.5 % "
        f"left empty. Protocol: {evaluation.protocol}."
    )
    matrix = page.heat(labels, counts, share) if len(labels) <= WIDEST_MATRIX else ""
    listed = [
        [
            f"{page.chip(labels, true)} taken for {page.chip(labels, said)}",
            percent(float(share[true, said])),
            percent(int(counts[true, said]) / evaluation.matrix.pixels),
        ]
        for true, said in largest_off_diagonal(counts, CONFUSIONS)
    ]
    headings = ["confusion", "% of the class", "% of all pixels"]
    costly = page.table("The confusions that cost the most pixels.", headings, listed)
    return page.section("Confusion", told, matrix, costly)


def _frames(heading: str, kept: list[Kept], evaluation: Evaluation) -> str:
    labels, shown = evaluation.labels, []
    for score, frame in kept:
        painted = difference(frame.image, frame.truth, frame.answers[0].mask, labels)
        caption = f"{percent(score)} % mIoU, {frame.name}"
        shown.append(pictures(caption, frame, labels, ["prediction"], (painted, "difference")))
    present = {int(i) for _, f in kept for m in (f.truth, f.answers[0].mask) for i in np.unique(m)}
    key = "".join(page.chip(labels, index) for index in sorted(present) if index < len(labels))
    told = page.note(
        f"By mIoU over the classes in the frame; protocol: {evaluation.protocol}. Difference: red "
        "is wrong, grey is not labelled."
    )
    return page.section(heading, told, f'<div class="key">{key}</div>', *shown)


def _calibration(calibration: Calibration, protocol: str) -> str:
    text = (
        f"Expected calibration error {percent(calibration.error)} %, protocol: {protocol}. Bars: "
        "share of correct pixels; orange: confidence, beyond the bar's end where surer than right."
    )
    rows = [
        [percent(sure), page.bar(right, mark=sure), percent(right), percent(share)]
        for sure, right, share in calibration.curve
    ]
    headings = ["confidence %", "correct, 0 to 100 %", "correct %", "pixels %"]
    return page.section("Calibration", page.table(text, headings, rows))


def _speed(evaluation: Evaluation, circumstances: Circumstances) -> str:
    shares = evaluation.clock.shares()
    parts = "".join(f'<i style="width:{100 * share:.2f}%"></i>' for share in shares.values())
    return page.section(
        "Speed",
        page.note(f"{speed(evaluation)}. Engine: {circumstances.engine}."),
        f'<div class="stack" aria-hidden="true">{parts}</div>',
        page.note(
            f"From left: frame to mask, waiting for reading, for scoring, the rest. "
            f"Measured on {circumstances.machine}; bisenetv2 benchmark takes exact times."
        ),
    )


def card_section(heading: str, circumstances: Circumstances) -> str:
    """Returns what is known of a model, as a part of a page."""
    known = {"model": circumstances.model, **card_facts(circumstances.card)}
    return page.section(heading, page.facts(known))


def _definitions(evaluation: Evaluation) -> str:
    told = {
        "IoU": "correct pixels over the union of true and predicted ones, counted over all images; "
        "ignored pixels count nowhere, a class without a true pixel is in no mean",
        "95 % interval": "images drawn anew with replacement, 1000 times; frames of one video are "
        "much alike, so on them the truth may lie further off",
        "Dice": "twice the correct pixels over the sum of true and predicted ones (F1)",
    }
    if evaluation.boundary is not None:
        near = f"pixels within {evaluation.boundary.distance} of"
        told["boundary IoU"] = f"IoU of the {near} their class's outlines (Cheng et al., CVPR 2021)"
        told["trimap IoU"] = f"IoU on {near} true outlines"
    return page.section("How it is counted", page.facts(told))
