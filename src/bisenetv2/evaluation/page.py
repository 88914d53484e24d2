"""A self-contained HTML page: no script, no font, no address of another place.

Every text goes through `esc`. Colours follow the reader's light or dark setting; class colours and
pictures stay as they are. Tables scroll by themselves where the screen is narrow.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bisenetv2 import __version__
from bisenetv2.evaluation.confusion import Scores
from bisenetv2.files import write_bytes
from bisenetv2.labels import Labels

DEEP = 68
"""Per cent from which on a cell is so deep that its text takes the page's colour."""


def esc(text: object) -> str:
    """Escapes a text for the inside of an element or of a quoted attribute."""
    return html.escape(str(text), quote=True)


def write_page(path: Path, title: str, subtitle: str, parts: Iterable[str]) -> None:
    """Writes a page.

    Args:
        path: The file.
        title: Plain text.
        subtitle: Plain text under the title.
        parts: HTML of the parts below it.

    Raises:
        UserError: If the file cannot be written.
    """
    style = (resources.files("bisenetv2.evaluation") / "page.css").read_text(encoding="utf-8")
    content = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{esc(title)}</title><style>\n{style}</style></head>\n<body><main>"
        f'<h1>{esc(title)}</h1><p class="soft">{esc(subtitle)}</p>\n'
        + "\n".join(parts)
        + f'\n<p class="soft">bisenetv2 {esc(__version__)}, {date.today().isoformat()}</p>'
        "</main></body></html>\n"
    )
    # File names that are not UTF-8 come as lone surrogates, which UTF-8 refuses.
    write_bytes(path, content.encode(errors="backslashreplace"))


def section(heading: str, *content: str) -> str:
    """Returns a part with a heading (plain text) and HTML below it."""
    return f"<section><h2>{esc(heading)}</h2>{''.join(content)}</section>"


def note(text: str) -> str:
    """Returns a paragraph of plain text, in small print."""
    return f'<p class="soft">{esc(text)}</p>'


def tiles(figures: Sequence[tuple[str, str, str]]) -> str:
    """Returns key figures: of each its name, its value and what to know about it."""
    each = (
        f'<div class="tile"><span>{esc(name)}</span><b>{esc(value)}</b>'
        f"<span>{esc(more)}</span></div>"
        for name, value, more in figures
    )
    return f'<div class="tiles">{"".join(each)}</div>'


def chip(labels: Labels, index: int) -> str:
    """Returns the name of a class beside its colour."""
    square = f'<span class="sw" style="background:rgb{tuple(labels.palette[index])}"></span>'
    return f"<span>{square}{esc(labels.names[index])}</span>"


def table(
    caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], foot: Sequence[str] = ()
) -> str:
    """Returns a table that scrolls on a narrow screen.

    Args:
        caption: Plain text.
        headings: Plain text a column.
        rows: HTML a cell; the first cell of a row is its heading.
        foot: HTML a cell of a last row.
    """
    head = "".join(f'<th scope="col">{esc(heading)}</th>' for heading in headings)
    body = "".join(_row(cells) for cells in rows)
    last = f"<tfoot>{_row(foot)}</tfoot>" if foot else ""
    return note(caption) + (
        f'<div class="wide"><table aria-label="{esc(caption)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody>{last}</table></div>"
    )


def class_table(caption: str, labels: Labels, columns: Mapping[str, Sequence[str]]) -> str:
    """Returns a table of classes, their mean below.

    Args:
        caption: Plain text.
        labels: The classes.
        columns: By heading, the HTML of each class and of the mean.
    """
    names = [*(chip(labels, index) for index in range(len(labels))), "mean"]
    *rows, foot = zip(names, *columns.values(), strict=True)
    return table(caption, ["class", *columns], rows, foot)


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


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'


def bar(value: float, low: float = math.nan, high: float = math.nan, mark: float = math.nan) -> str:
    """Returns a bar of 0-1 with an interval drawn through it and a mark; `nan` draws nothing."""
    inside = "" if math.isnan(value) else f'<i style="width:{100 * value:.2f}%"></i>'
    if not math.isnan(low):
        inside += f'<u style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></u>'
    if not math.isnan(mark):
        inside += f'<s style="left:{100 * mark:.2f}%"></s>'
    return f'<span class="bar">{inside}</span>'


def bar_around(value: float, low: float, high: float, reach: float) -> str:
    """Returns a bar that starts at 0 in the middle, with an interval; the ends are ±`reach`."""
    inside = ""
    for tag, start, stop in (("i", min(0.0, value), max(0.0, value)), ("u", low, high)):
        if reach > 0 and not math.isnan(value + start):
            left, right = (50 + 50 * max(-1.0, min(1.0, at / reach)) for at in (start, stop))
            inside += f'<{tag} style="left:{left:.2f}%;width:{right - left:.2f}%"></{tag}>'
    return f'<span class="bar around">{inside}</span>'


def facts(texts: Mapping[str, str]) -> str:
    """Returns a list of names and texts (plain)."""
    items = (f"<dt>{esc(name)}</dt><dd>{esc(text)}</dd>" for name, text in texts.items())
    return f"<dl>{''.join(items)}</dl>"


def pictures(heading: str, figures: Iterable[tuple[str, str]]) -> str:
    """Returns pictures side by side: the address of each and what it shows (plain text)."""
    each = (
        f'<figure><img src="{address}" alt="{esc(what)}, {esc(heading)}" loading="lazy">'
        f"<figcaption>{esc(what)}</figcaption></figure>"
        for address, what in figures
    )
    return f'<h3>{esc(heading)}</h3><div class="frames">{"".join(each)}</div>'
