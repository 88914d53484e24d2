"""A comparison of two models as a table in the terminal and as an HTML file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bisenetv2.evaluation import page
from bisenetv2.evaluation.compare import Comparison, Difference
from bisenetv2.evaluation.confusion import largest_off_diagonal
from bisenetv2.evaluation.gallery import dimmed, pictures
from bisenetv2.evaluation.html_report import Circumstances, card_section
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
        f"{letter}: {name}, {evaluation.protocol}"
        for letter, name, evaluation in zip("AB", names, comparison.evaluations, strict=True)
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
    protocols = [f"protocol {each.protocol.partition(':')[0]}" for each in comparison.evaluations]
    figures = [
        ("mIoU of A", f"{percent(first.matrix.mean_iou)} %", protocols[0]),
        ("mIoU of B", f"{percent(second.matrix.mean_iou)} %", protocols[1]),
        ("points, B - A", _points(comparison.miou.value), _verdict(comparison.miou)),
        ("agreement", f"{percent(comparison.agreement)} %", "of the labelled pixels"),
    ]
    parts = [
        page.tiles(figures),
        _classes(comparison),
        _changes(comparison),
        _disagreements(comparison),
        card_section("Model A", circumstances[0]),
        card_section("Model B", circumstances[1]),
    ]
    subtitle = " ".join(
        f"{letter}: {known.model} ({known.engine}), {each.protocol}."
        for letter, known, each in zip("AB", circumstances, comparison.evaluations, strict=True)
    )
    page.write_page(path, f"Comparison on {first.data}", f"{subtitle} {first.extent}.", parts)


def _classes(comparison: Comparison) -> str:
    differences = [*comparison.per_class, comparison.miou]
    ends = [abs(end) for each in differences for end in (each.value, *each.bounds)]
    reach = max((end for end in ends if not math.isnan(end)), default=0.0)
    bars = [page.bar_around(each.value, *each.bounds, reach) for each in differences]
    columns = {f"±{100 * reach:.1f} points": bars, **class_columns(comparison)}
    caption = (
        "Differences in points of IoU, paired over the images, to the right where B is better; "
        "*: the interval leaves 0 out. Only A, only B: % of a class that only this one has right."
    )
    notes = map(page.note, _remarks(comparison))
    return page.section("Classes", page.class_table(caption, comparison.labels, columns), *notes)


def _changes(comparison: Comparison) -> str:
    chips = [page.chip(comparison.labels, index) for index in range(len(comparison.labels))]
    shares = comparison.pairs / max(1, comparison.pairs.sum())
    rows = [
        [f"{chips[a]} became {chips[b]}", percent(shares[a, b])]
        for a, b in largest_off_diagonal(comparison.pairs, CHANGES)
    ]
    caption = "What A said and B says where they differ, by pixels."
    told = page.table(caption, ["A and B", "% of all pixels"], rows)
    return page.section("Where they disagree", told if rows else page.note("Nowhere on this data."))


def _disagreements(comparison: Comparison) -> str:
    labels = comparison.labels
    shown = []
    for agreement, frame in comparison.gallery.worst:
        heading = f"{percent(agreement)} % agreement, {frame.name}"
        shown.append(pictures(heading, frame, labels, "AB", (who_is_right(frame, labels), COLOURS)))
    return page.section("Frames they agree on least", *shown)


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
