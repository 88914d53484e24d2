"""A comparison of two models as a table in the terminal and as an HTML file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bisenetv2.evaluation.compare import Comparison, Difference
from bisenetv2.evaluation.confusion import largest_off_diagonal
from bisenetv2.evaluation.gallery import chart, dimmed, photo
from bisenetv2.evaluation.html_report import Circumstances, card_section
from bisenetv2.evaluation.page import (
    bar_around,
    chip,
    note,
    pictures,
    section,
    table,
    tiles,
    write_page,
)
from bisenetv2.evaluation.report import percent, print_table
from bisenetv2.evaluation.walk import Answered
from bisenetv2.images import Image
from bisenetv2.labels import Labels

CHANGES = 10
"""Pairs of answers listed."""

FIRST, SECOND, NEITHER = (33, 113, 181), (230, 120, 20), (40, 40, 40)
"""Colours of pixels on which the two differ: only the first, only the second, none is right."""

COLOURS = "blue: only A is right, orange: only B, black: none"


def print_comparison(comparison: Comparison, names: tuple[str, str], console: Console) -> None:
    """Prints scores and differences in percent points.

    Args:
        comparison: What `compare` returned.
        names: Names of the two models.
        console: The rich console to print to.
    """
    first, _ = comparison.evaluations
    title = f"{first.data}, {first.images} images"
    print_table(title, comparison.labels, class_columns(comparison), console)
    for line in summary(comparison, names):
        console.print(Text(line))


def class_columns(comparison: Comparison) -> dict[str, Sequence[str]]:
    """Returns what a table of differences says, by heading: of each class, then of their mean."""
    first, second = (evaluation.matrix for evaluation in comparison.evaluations)
    only_first, only_second = comparison.only_right
    each = [*comparison.per_class, comparison.miou]
    differences, intervals = zip(*map(_difference, each), strict=True)
    return {
        "A IoU %": [*map(percent, first.iou), percent(first.mean_iou)],
        "B IoU %": [*map(percent, second.iou), percent(second.mean_iou)],
        "B - A": differences,
        "95 % interval": intervals,
        "only A": [*map(percent, only_first), ""],
        "only B": [*map(percent, only_second), ""],
    }


def summary(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    """Returns what is to be said beside the table, in lines."""
    lines = [
        f"{letter}: {name}, {evaluation.protocol}; {milliseconds:.1f} ms from frame to mask"
        for letter, name, evaluation, milliseconds in zip(
            "AB", names, comparison.evaluations, comparison.milliseconds, strict=True
        )
    ]
    return [
        *lines,
        f"the two agree on {percent(comparison.agreement)} % of the labelled pixels",
        "differences in points, paired over the images; *: the interval leaves 0 out",
        "only A, only B: % of a class that only this one has right",
        *_remarks(comparison),
    ]


def write_comparison(
    path: Path, comparison: Comparison, circumstances: tuple[Circumstances, Circumstances]
) -> None:
    """Writes the HTML file.

    Args:
        path: The file.
        comparison: What `compare` returned.
        circumstances: What each model was run with.

    Raises:
        UserError: If the file cannot be written.
    """
    first, second = comparison.evaluations
    names = circumstances[0].model, circumstances[1].model
    difference = comparison.miou
    figures = [
        ("mIoU of A", f"{percent(first.matrix.mean_iou)} %", _short(first.protocol)),
        ("mIoU of B", f"{percent(second.matrix.mean_iou)} %", _short(second.protocol)),
        ("points, B - A", _points(difference.value), _verdict(difference)),
        ("agreement", f"{percent(comparison.agreement)} %", "of the labelled pixels"),
        ("A, frame to mask", f"{comparison.milliseconds[0]:.1f} ms", circumstances[0].engine),
        ("B, frame to mask", f"{comparison.milliseconds[1]:.1f} ms", circumstances[1].engine),
    ]
    parts = [
        tiles(figures),
        _classes(comparison),
        _changes(comparison),
        _disagreements(comparison),
        card_section("Model A", circumstances[0]),
        card_section("Model B", circumstances[1]),
    ]
    subtitle = f"A: {names[0]}, {first.protocol}. B: {names[1]}, {second.protocol}. {first.extent}."
    write_page(path, f"Comparison on {first.data}", subtitle, parts)


def _classes(comparison: Comparison) -> str:
    differences = [*comparison.per_class, comparison.miou]
    ends = [abs(end) for each in differences for end in (each.value, *each.bounds)]
    reach = max((end for end in ends if not math.isnan(end)), default=0.0)
    columns = class_columns(comparison)
    names = [*(chip(comparison.labels, index) for index in range(len(comparison.labels))), "mean"]
    texts = zip(*columns.values(), strict=True)
    *rows, foot = (
        [name, bar_around(each.value, *each.bounds, reach), *cells]
        for name, each, cells in zip(names, differences, texts, strict=True)
    )
    headings = ["class", f"±{100 * reach:.1f} points", *columns]
    caption = (
        "Differences in points of IoU, paired over the images, to the right where B is better; "
        "*: the interval leaves 0 out. Only A, only B: % of a class that only this one has right."
    )
    notes = map(note, _remarks(comparison))
    return section("Classes", table(caption, headings, rows, foot), *notes)


def _changes(comparison: Comparison) -> str:
    labels, pairs, total = comparison.labels, comparison.pairs, int(comparison.pairs.sum())
    rows = [
        [f"{chip(labels, a)} became {chip(labels, b)}", percent(int(pairs[a, b]) / total)]
        for a, b in largest_off_diagonal(pairs, CHANGES)
    ]
    caption = "What A said and B says where they differ, by pixels."
    if not rows:
        return section("Where they disagree", note("Nowhere on this data."))
    return section("Where they disagree", table(caption, ["A and B", "% of all pixels"], rows))


def _disagreements(comparison: Comparison) -> str:
    labels = comparison.labels
    shown = []
    for agreement, frame in comparison.gallery.worst:
        masks = [answer.mask for answer in frame.answers]
        figures = [
            (photo(frame.image), "image"),
            (chart(labels.colorize(frame.truth)), "truth"),
            (chart(labels.colorize(masks[0])), "A"),
            (chart(labels.colorize(masks[1])), "B"),
            (photo(who_is_right(frame, labels)), COLOURS),
        ]
        shown.append(pictures(f"{percent(agreement)} % agreement, {frame.name}", figures))
    return section("Frames they agree on least", *shown)


def who_is_right(frame: Answered, labels: Labels) -> Image:
    """Paints the labelled pixels on which two answers differ over a dimmed frame.

    Args:
        frame: A frame with two answers.
        labels: Where the ignore index stands.

    Returns:
        RGB `uint8` H×W×3.
    """
    a, b = (answer.mask for answer in frame.answers)
    picture = dimmed(frame.image)
    differ = (a != b) & (frame.truth != labels.ignore_index)
    picture[differ] = NEITHER
    picture[differ & (a == frame.truth)] = FIRST
    picture[differ & (b == frame.truth)] = SECOND
    return picture


def _remarks(comparison: Comparison) -> list[str]:
    """Tells of classes without a truth pixel, or in a single image, if there are any."""
    first, second = comparison.evaluations
    absences = [f"A: {first.absence}", f"B: {second.absence}"] if first.absence else []
    return [*absences, *filter(None, [first.rarity])]


def _difference(difference: Difference) -> tuple[str, str]:
    """Writes value, with a star where it is clear, and interval."""
    low, high = difference.bounds
    bounds = "-" if math.isnan(low) else f"{_points(low)} to {_points(high)}"
    return _points(difference.value) + ("*" if difference.clear else ""), bounds


def _verdict(difference: Difference) -> str:
    if math.isnan(difference.bounds.low):
        return "no interval"
    _, bounds = _difference(difference)
    return f"95 % interval {bounds}: {'clear' if difference.clear else 'may be chance'}"


def _points(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.2f}"


def _short(protocol: str) -> str:
    return f"protocol {protocol.partition(':')[0]}"
