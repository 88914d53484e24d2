"""Print an evaluation as a table: one row a class, then what a paper would quote."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bisenetv2.evaluation.evaluate import Evaluation

if TYPE_CHECKING:
    from rich.console import Console


def print_report(evaluation: Evaluation, console: Console) -> None:
    """Prints scores in percent: by class, their mean, and the circumstances.

    Args:
        evaluation: What `evaluate` returned.
        console: The rich console to print to.
    """
    from rich.table import Table
    from rich.text import Text

    matrix = evaluation.matrix
    # `Text` throughout: a name such as "[road]" is printed, not read as markup.
    table = Table(title=Text(evaluation.data))
    table.add_column("class", overflow="fold")
    for heading in ("IoU %", "accuracy %", "pixels %"):
        table.add_column(heading, justify="right")
    rows = zip(evaluation.labels.names, matrix.iou, matrix.accuracy, matrix.share, strict=True)
    for name, *scores in rows:
        table.add_row(Text(name), *map(_percent, scores))
    table.add_section()
    table.add_row("mean", _percent(matrix.mean_iou), _percent(matrix.mean_accuracy), "")
    console.print(table)
    for line in _summary(evaluation):
        console.print(Text(line))


def _summary(evaluation: Evaluation) -> list[str]:
    """Returns the lines below the table."""
    matrix = evaluation.matrix
    images = "1 image" if evaluation.images == 1 else f"{evaluation.images} images"
    lines = [
        f"pixel accuracy {_percent(matrix.pixel_accuracy)} %, "
        f"frequency-weighted IoU {_percent(matrix.frequency_weighted_iou)} %",
        f"{images}, {matrix.pixels:,} labelled pixels, {evaluation.protocol}",
    ]
    if not matrix.present:
        lines.append("no pixel of this data is labelled: there is nothing to score")
    elif matrix.absent:
        names = ", ".join(evaluation.absent_classes)
        lines.append(f"absent from this data and left out of the means: {names}")
    return lines


def _percent(score: float) -> str:
    """Writes a fraction in percent, a dash where it is undefined."""
    return "-" if math.isnan(score) else f"{100 * score:.2f}"
