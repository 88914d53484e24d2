"""An evaluation as a table in the terminal and as scores of each image in a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bisenetv2.builtin_labels import CITYSCAPES_CATEGORIES
from bisenetv2.card import ModelCard
from bisenetv2.evaluation.bootstrap import Interval
from bisenetv2.evaluation.confusion import iou_of, mean_of
from bisenetv2.evaluation.evaluate import Evaluation
from bisenetv2.files import atomic_path
from bisenetv2.inference.segmenter import network_size
from bisenetv2.labels import Labels


def print_report(evaluation: Evaluation, console: Console) -> None:
    """Prints scores in percent: by class, their mean, and the circumstances.

    Args:
        evaluation: What `evaluate` returned.
        console: The rich console to print to.
    """
    title = f"{evaluation.data}, {evaluation.protocol}"
    print_table(title, evaluation.labels, class_columns(evaluation), console)
    for line in summary(evaluation):
        console.print(Text(line))


def print_table(
    title: str, labels: Labels, columns: Mapping[str, Sequence[str]], console: Console
) -> None:
    """Prints a row for each class and one for the mean.

    Args:
        title: Stands above.
        labels: The classes.
        columns: By heading, the text of each class and of the mean.
        console: The rich console to print to.
    """
    # `Text`: a name such as "[road]" is printed, not read as markup.
    table = Table(title=Text(title))
    table.add_column("class", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", min_width=5)
    *classes, means = zip(*columns.values(), strict=True)
    for name, texts in zip(labels.names, classes, strict=True):
        table.add_row(Text(name), *texts)
    table.add_section()
    table.add_row("mean", *means)
    console.print(table)


def class_columns(evaluation: Evaluation) -> dict[str, list[str]]:
    """Returns what a table of scores says, by heading: of each class, then of their mean."""
    matrix, boundary = evaluation.matrix, evaluation.boundary
    columns = {
        "IoU %": [*map(percent, matrix.iou), percent(matrix.mean_iou)],
        "95 % interval": [*map(span, evaluation.intervals)],
        "Dice %": [*map(percent, matrix.dice), percent(matrix.mean_dice)],
        "accuracy %": [*map(percent, matrix.accuracy), percent(matrix.mean_accuracy)],
        "pixels %": [*map(percent, matrix.share), ""],
    }
    if boundary is not None:
        columns["boundary IoU %"] = [*map(percent, boundary.iou), percent(boundary.mean_iou)]
    return columns


def summary(evaluation: Evaluation) -> list[str]:
    """Returns what is to be said beside the table, in lines."""
    matrix, boundary, calibration = evaluation.matrix, evaluation.boundary, evaluation.calibration
    lines = [
        f"pixel accuracy {percent(matrix.pixel_accuracy)} %, "
        f"frequency-weighted IoU {percent(matrix.frequency_weighted_iou)} %",
    ]
    categories = evaluation.categories
    if categories is not None:
        ious = zip(CITYSCAPES_CATEGORIES, categories.iou, strict=True)
        each = ", ".join(f"{name} {percent(iou)}" for name, iou in ious)
        lines.append(f"categories: mean IoU {percent(categories.mean_iou)} %; {each}")
    if boundary is not None:
        lines.append(
            f"boundary IoU {percent(boundary.mean_iou)} %, trimap IoU "
            f"{percent(boundary.trimap.mean_iou)} %, within {boundary.distance}"
        )
    if calibration is not None:
        lines.append(f"expected calibration error {percent(calibration.error)} %")
    lines.append(f"{evaluation.extent}; {speed(evaluation)}")
    return [*lines, *filter(None, (evaluation.absence, evaluation.rarity))]


def speed(evaluation: Evaluation) -> str:
    """Says how fast it went and where the time went."""
    rate = evaluation.images / evaluation.seconds if evaluation.seconds > 0 else math.nan
    shares = evaluation.clock.shares()
    return (
        f"{rate:.1f} images/s: frame to mask {100 * shares['network']:.0f} % of the time, waiting "
        f"for reading {100 * shares['reading']:.0f} %, for scoring "
        f"{100 * shares['scoring']:.0f} %, the rest {100 * shares['rest']:.0f} %"
    )


def write_image_scores(path: Path, evaluation: Evaluation) -> None:
    """Writes a CSV file: a row an image with mIoU, pixel accuracy and the IoU of each class.

    Scores are fractions of 0-1, empty where an image lacks the class.

    Raises:
        UserError: If the file cannot be written.
    """
    with (
        atomic_path(path) as temporary,
        # File names that are not UTF-8 come as lone surrogates, which UTF-8 refuses.
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "miou", "pixel_accuracy", *evaluation.labels.names])
        for name, sums in evaluation.scored:
            iou = iou_of(sums)  # C: `nan` where the image lacks the class
            hits, truth, _ = sums.sum(axis=1)
            scores = (mean_of(iou), hits / truth if truth else math.nan, *iou)
            writer.writerow([name, *("" if math.isnan(s) else f"{s:.6f}" for s in scores)])


def card_facts(card: ModelCard) -> dict[str, str]:
    """Returns what a model says of itself, by name; what it does not say is left out."""
    (height, width), (rows, columns) = card.frame_size, network_size(card.frame_size, card)
    facts = {
        "classes": f"{len(card.labels)}: {', '.join(card.labels.names)}",
        "frames": f"of {width}×{height} in training, seen at {columns}×{rows}",
        "merit": card.merit,
        "data": card.data,
        "licence of the data": card.data_licence,
        "recipe": card.recipe,
        "origin": card.origin,
        "quantisation": card.quantization,
        "written by": f"bisenetv2 {card.version}" if card.version else "",
    }
    return {name: text for name, text in facts.items() if text}


def percent(score: float) -> str:
    """Writes a fraction in percent, a dash where it is undefined."""
    return "-" if math.isnan(score) else f"{100 * score:.2f}"


def span(bounds: Interval) -> str:
    """Writes an interval in percent, a dash where it is undefined."""
    return "-" if math.isnan(bounds.low) else f"{100 * bounds.low:.1f}-{100 * bounds.high:.1f}"
