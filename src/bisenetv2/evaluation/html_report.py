"""An evaluation as one HTML file to read, print and pass on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bisenetv2.builtin_labels import CITYSCAPES_CATEGORIES
from bisenetv2.card import ModelCard
from bisenetv2.evaluation.calibration import BINS, Calibration
from bisenetv2.evaluation.confusion import largest_off_diagonal
from bisenetv2.evaluation.evaluate import Evaluation
from bisenetv2.evaluation.gallery import Gallery, Kept, chart, difference, photo
from bisenetv2.evaluation.page import (
    bar,
    chip,
    esc,
    facts,
    heat,
    note,
    pictures,
    section,
    table,
    tiles,
    write_page,
)
from bisenetv2.evaluation.report import class_columns, percent, span, speed
from bisenetv2.inference.machine import describe_machine
from bisenetv2.inference.segmenter import Segmenter
from bisenetv2.labels import Labels

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
    labels = evaluation.labels
    parts = [_key_figures(evaluation), _classes(evaluation), _confusion(evaluation)]
    parts += _frames("Worst frames", gallery.worst, labels, evaluation.protocol)
    parts += _frames("Best frames", gallery.best, labels, evaluation.protocol)
    if evaluation.calibration is not None:
        parts.append(_calibration(evaluation.calibration, evaluation.protocol))
    parts += [
        _speed(evaluation, circumstances),
        card_section("Model card", circumstances),
        _definitions(evaluation),
    ]
    subtitle = f"{circumstances.model}. Protocol: {evaluation.protocol}. {evaluation.extent}."
    write_page(path, f"Evaluation on {evaluation.data}", subtitle, parts)


def _key_figures(evaluation: Evaluation) -> str:
    matrix, boundary, protocol = evaluation.matrix, evaluation.boundary, evaluation.protocol
    short = protocol.partition(":")[0]
    figures = [
        ("mIoU", matrix.mean_iou, f"95 % interval {span(evaluation.miou_interval)}"),
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
    return tiles(
        [(name, f"{percent(score)} %", f"{more}; {short}") for name, score, more in figures]
    )


def _classes(evaluation: Evaluation) -> str:
    matrix, boundary = evaluation.matrix, evaluation.boundary
    outline = np.full(len(evaluation.labels), np.nan) if boundary is None else boundary.iou
    columns = class_columns(evaluation)
    *classes, means = zip(*columns.values(), strict=True)
    rows = [
        [
            chip(evaluation.labels, index),
            bar(matrix.iou[index], *bounds, mark=outline[index]),
            *classes[index],
        ]
        for index, bounds in enumerate(evaluation.iou_intervals)
    ]
    foot = ["mean", bar(matrix.mean_iou, *evaluation.miou_interval), *means]
    headings = ["class", "IoU, 0 to 100 %", *columns]
    caption = f"Protocol: {evaluation.protocol}. Bar: IoU; dark line: its 95 % interval"
    if boundary is not None:
        caption += f"; orange: boundary IoU within {boundary.distance}"
    content = [table(caption + ".", headings, rows, foot)]
    content += map(note, filter(None, (evaluation.absence, evaluation.rarity)))
    if evaluation.categories is not None:
        ious = zip(CITYSCAPES_CATEGORIES, evaluation.categories.iou, strict=True)
        each = [[esc(name), bar(iou), percent(iou)] for name, iou in ious]
        content.append(table("The benchmark's categories.", ["category", "IoU", "IoU %"], each))
    return section("Classes", *content)


def _confusion(evaluation: Evaluation) -> str:
    labels, counts = evaluation.labels, evaluation.matrix.counts
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)  # C, C
    content = [
        note(
            f"Each row is a true class and sums to 100 %: what its pixels were taken for; below "
            f"0.5 % left empty. Protocol: {evaluation.protocol}."
        )
    ]
    if len(labels) <= WIDEST_MATRIX:
        content.append(heat(labels, counts, share))
    listed = [
        [
            f"{chip(labels, true)} taken for {chip(labels, said)}",
            percent(float(share[true, said])),
            percent(int(counts[true, said]) / evaluation.matrix.pixels),
        ]
        for true, said in largest_off_diagonal(counts, CONFUSIONS)
    ]
    headings = ["confusion", "% of the class", "% of all pixels"]
    content.append(table("The confusions that cost the most pixels.", headings, listed))
    return section("Confusion", *content)


def _frames(heading: str, kept: list[Kept], labels: Labels, protocol: str) -> list[str]:
    if not kept:
        return []
    shown = []
    for score, frame in kept:
        mask = frame.answers[0].mask
        figures = [
            (photo(frame.image), "image"),
            (chart(labels.colorize(frame.truth)), "truth"),
            (chart(labels.colorize(mask)), "prediction"),
            (photo(difference(frame.image, frame.truth, mask, labels)), "difference"),
        ]
        shown.append(pictures(f"{percent(score)} % mIoU, {frame.name}", figures))
    present = {int(i) for _, f in kept for m in (f.truth, f.answers[0].mask) for i in np.unique(m)}
    key = "".join(chip(labels, index) for index in sorted(present) if index < len(labels))
    told = note(
        f"By mIoU over the classes in the frame; protocol: {protocol}. Difference: red is wrong, "
        "grey is not labelled."
    )
    return [section(heading, told, f'<div class="key">{key}</div>', *shown)]


def _calibration(calibration: Calibration, protocol: str) -> str:
    text = (
        f"Expected calibration error {percent(calibration.error)} %, protocol: {protocol}. Bars: "
        "share of correct pixels; orange: confidence, beyond the bar's end where surer than right."
    )
    rows = [
        [percent(sure), bar(right, mark=sure), percent(right), percent(share)]
        for sure, right, share in calibration.curve
    ]
    headings = ["confidence %", "correct, 0 to 100 %", "correct %", "pixels %"]
    return section("Calibration", table(text, headings, rows))


def _speed(evaluation: Evaluation, circumstances: Circumstances) -> str:
    shares = evaluation.clock.shares()
    parts = "".join(f'<i style="width:{100 * share:.2f}%"></i>' for share in shares.values())
    text = f"{speed(evaluation)}. Engine: {circumstances.engine}."
    return section(
        "Speed",
        note(text),
        f'<div class="stack" aria-hidden="true">{parts}</div>',
        note(
            f"From left: frame to mask, waiting for reading, for scoring, the rest. "
            f"Measured on {circumstances.machine}; bisenetv2 benchmark takes exact times."
        ),
    )


def card_section(heading: str, circumstances: Circumstances) -> str:
    """Returns what is known of a model, as a part of a page."""
    card = circumstances.card
    height, width = card.frame_size
    return section(
        heading,
        facts(
            [
                ("model", circumstances.model),
                ("trained on", card.data),
                ("terms of the data", card.data_licence),
                ("frames", f"{width}×{height}, network at {card.input_scale:g} times their sides"),
                ("recipe", card.recipe),
                ("figure of merit", card.merit),
                ("INT8", card.quantization),
                ("origin", card.origin),
                ("classes", ", ".join(card.labels.names)),
                ("written by", f"bisenetv2 {card.version}" if card.version else ""),
            ]
        ),
    )


def _definitions(evaluation: Evaluation) -> str:
    pairs = [
        (
            "IoU",
            "correct pixels over the union of true and predicted ones, counted over all images; "
            "ignored pixels count nowhere, a class without a true pixel is in no mean",
        ),
        (
            "95 % interval",
            "images drawn anew with replacement, 1000 times; frames of one video are much alike, "
            "so on them the truth may lie further off",
        ),
        ("Dice", "twice the correct pixels over the sum of true and predicted ones (F1)"),
    ]
    if evaluation.boundary is not None:
        near = f"pixels within {evaluation.boundary.distance} of"
        pairs += [
            ("boundary IoU", f"IoU of the {near} their class's outlines (Cheng et al., CVPR 2021)"),
            ("trimap IoU", f"IoU on {near} true outlines"),
        ]
    return section("How it is counted", facts(pairs))
