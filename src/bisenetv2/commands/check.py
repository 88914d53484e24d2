"""`bisenetv2 check`: what is wrong with a data set, before hours are spent on it.

bisenetv2 check ../shared/camvid
bisenetv2 check data --sheet sheet.jpg
bisenetv2 check data --quick
bisenetv2 check data/dataset.yaml --json > findings.json
"""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg

from bisenetv2.data.check.finding import counted
from bisenetv2.errors import UserError

if TYPE_CHECKING:
    from bisenetv2.data.check.run import Report, Statistics

SHEET = Path("check.jpg")


def check(
    data: Annotated[Positional[str], arg(metavar="DATA")],
    *,
    quick: bool = False,
    sheet: Path | None = None,
    json: bool = False,
) -> int:
    """Check a data set: files, sizes, values, classes, duplicates; exit code 1 if there are errors.

    It also tells each class's share, and the normalisation, crop and class weights that fit.
    Nothing of the data is changed.

    Args:
        data: Folder of images and masks of any layout, a list of pairs or a dataset.yaml.
        quick: Decode 16 pairs only and read the headers of the others, as `train` does first.
        sheet: Picture of masks laid over their images, apart from the data; check.jpg by default,
            none with --json, inside of the data or where nothing can be written.
        json: Print one JSON object in place of the sentences.
    """
    from bisenetv2.data.check.files import list_files
    from bisenetv2.data.check.run import check as look_at
    from bisenetv2.files import check_writable
    from bisenetv2.images import IMAGE_SUFFIXES
    from bisenetv2.progress import progress_bar

    if sheet is not None and (sheet.is_dir() or sheet.suffix.lower() not in IMAGE_SUFFIXES):
        raise UserError(f"{sheet}: name a picture to write, such as {SHEET}")
    listing = list_files(data)
    if sheet is not None:
        check_writable(sheet, (data, *listing.files_called(sheet.resolve().name)))
    with progress_bar("check", listing.count) as bar:
        report = look_at(listing, quick=quick, progress=bar.advance)
    if json:
        print(dumps(report.to_json_object(), indent=2, allow_nan=False))
    else:
        _print(report, quick)
    told = _write_sheet(report, sheet) if sheet is not None or not json else ""
    if told and not json:
        print(told)
    return 1 if report.errors else 0


def _write_sheet(report: Report, sheet: Path | None) -> str:
    """Writes the sheet and says so; one that nobody asked for is never put among the data."""
    from bisenetv2.commands.check_sheet import write_sheet

    root = report.listing.root
    if sheet is None and root is not None and Path().resolve().is_relative_to(root.resolve()):
        return "no sheet inside of the data, where it would count as an image: see --sheet"
    try:
        pictures = write_sheet(report, sheet or SHEET)
    except UserError as error:
        if sheet is not None:
            raise
        return f"no sheet: {error}"
    told = f"written: {sheet or SHEET}, {counted(pictures, 'mask')} over their images"
    return told if pictures else ""


def _print(report: Report, quick: bool) -> None:
    """Prints what there is, the findings, the table of classes and what to train with."""
    console = Console(soft_wrap=True)  # a finding is one line, however narrow the terminal
    listing, s = report.listing, report.statistics
    pairs = ", ".join(f"{count:,} {split}" for split, count in report.pairs.items())
    part = f", {report.decoded} of them decoded" if quick else ""
    console.print(Text(f"{listing.name}: pairs of image and mask: {pairs or 'none'}{part}"))
    for line in (*listing.notes, *map(str, report.findings)):
        style = line.partition(":")[0]
        console.print(Text(line, {"error": "red", "warning": "yellow"}.get(style, "")))
    if listing.labels is not None and not quick and any(s.images):
        _print_classes(report)
    for line in _advice(s, quick):
        console.print(Text(line))
    warnings = len(report.findings) - report.errors
    console.print(Text(f"{counted(report.errors, 'error')}, {counted(warnings, 'warning')}"))


def _print_classes(report: Report) -> None:
    s, labels = report.statistics, report.listing.labels
    table = Table()
    table.add_column("class", overflow="fold")
    for heading in (*(f"{split} %" for split in s.pixels), "images", "weight"):
        table.add_column(heading, justify="right")
    for index, name in enumerate(labels.names if labels is not None else ()):
        shares = [100 * row[index] / max(1, sum(row)) for row in s.pixels.values()]
        # `Text`: a name such as "[road]" is printed, not read as markup.
        numbers = (*(f"{x:.2f}" for x in shares), f"{s.images[index]:,}", f"{s.weights[index]:.2f}")
        table.add_row(Text(name), *numbers)
    Console().print(table)


def _advice(s: Statistics, quick: bool) -> list[str]:
    """What the images are like and what to train with, a line each."""
    lines = []
    if not quick and any(s.images):
        lines.append(f"ignored: {100 * s.ignored:.1f} % of the pixels")
    if s.sizes:
        common = [f"{w}×{h} ({n:,})" for (h, w), n in s.sizes.most_common(4)]
        more = f" and {len(s.sizes) - 4} more sizes" if len(s.sizes) > 4 else ""
        lines.append(f"image sizes: {', '.join(common)}{more}")
    if s.crop is not None:
        lines.append(f"suggested crop: --crop {s.crop[0]} {s.crop[1]} (height and width)")
    if s.normalization is not None:
        mean, std = ("/".join(f"{value:.1f}" for value in three) for three in s.normalization)
        lines.append(f"suggested normalisation: mean {mean}, deviation {std} (RGB, 0-255)")
    return lines
