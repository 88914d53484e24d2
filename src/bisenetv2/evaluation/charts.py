"""Charts of a report, drawn as HTML and SVG in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bisenetv2.evaluation.confusion import Scores
from bisenetv2.evaluation.page import chip, esc
from bisenetv2.labels import Labels

DEEP = 68
"""Per cent from which on a cell is so deep that its text takes the page's colour."""

SIDE, LEFT, TOP, BELOW = 280, 44, 12, 46
"""Side of a square plot and the room around it, in pixels."""


def heat(labels: Labels, counts: npt.NDArray[np.int64], share: Scores) -> str:
    """Draws a confusion matrix.

    Args:
        labels: The C classes.
        counts: C×C pixels, rows the truth.
        share: C×C, each row divided by its sum.
    """
    head = "".join(f'<th scope="col">{esc(name)}</th>' for name in labels.names)
    body = []
    for index, name in enumerate(labels.names):
        cells = []
        for other, part in enumerate((100 * share[index]).tolist()):
            said = f"{name} taken for {labels.names[other]}: {counts[index, other]:,} pixels"
            deep = ' class="deep"' if part > DEEP else ""
            text = f"{part:.0f}" if part >= 0.5 else ""
            cells.append(f'<td{deep} style="--v:{part:.1f}" title="{esc(said)}">{text}</td>')
        body.append(f'<tr><th scope="row">{chip(labels, index)}</th>{"".join(cells)}</tr>')
    return (
        '<div class="wide"><table class="heat" aria-label="Row-normalised confusion matrix, in %">'
        f"<thead><tr><th>truth \\ prediction</th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def reliability(curve: Sequence[tuple[float, float, float]]) -> str:
    """Draws how often a network was right by how sure it was.

    Args:
        curve: Mean confidence, share of correct pixels and share of all pixels of each bin.
    """
    marks = [0.0, 0.25, 0.5, 0.75, 1.0]
    grid = "".join(f"M{_x(v):.0f} {_y(0):.0f}V{TOP}M{LEFT} {_y(v):.0f}H{_x(1):.0f}" for v in marks)
    drawn = [f'<path d="{grid}" stroke="var(--line)"/>']
    for value in marks:
        drawn.append(_text(_x(value), _y(0) + 18, f"{100 * value:.0f}", "middle"))
        drawn.append(_text(LEFT - 8, _y(value) + 4, f"{100 * value:.0f}", "end"))
    drawn.append(
        f'<path d="M{LEFT} {_y(0):.0f}L{_x(1):.0f} {TOP}" stroke="var(--soft)" '
        'stroke-dasharray="5 4"/>'
    )
    for sure, _, share in curve:
        drawn.append(
            f'<rect x="{_x(sure) - 6:.1f}" y="{_y(share):.1f}" width="12" '
            f'height="{SIDE * share:.1f}" fill="var(--bar)" opacity=".3"/>'
        )
    points = " ".join(f"{_x(sure):.1f},{_y(right):.1f}" for sure, right, _ in curve)
    drawn.append(f'<polyline points="{points}" fill="none" stroke="var(--bar)" stroke-width="2"/>')
    for sure, right, share in curve:
        said = f"{100 * sure:.1f} % sure, {100 * right:.1f} % right, {100 * share:.1f} % of pixels"
        drawn.append(
            f'<circle cx="{_x(sure):.1f}" cy="{_y(right):.1f}" r="4" fill="var(--bar)">'
            f"<title>{said}</title></circle>"
        )
    drawn.append(_text(_x(0.5), TOP + SIDE + 40, "confidence %", "middle"))
    drawn.append(
        f'<text transform="translate(12 {_y(0.5):.0f}) rotate(-90)" text-anchor="middle">'
        "correct %</text>"
    )
    width, height = LEFT + SIDE + 20, TOP + SIDE + BELOW
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="Share of correct pixels by confidence">{"".join(drawn)}</svg>'
    )


def _x(value: float) -> float:
    return LEFT + SIDE * value


def _y(value: float) -> float:
    return TOP + SIDE * (1 - value)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'
