"""A contact sheet: masks laid over their images, each class to be seen."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from bisenetv2.data.check.facts import PairFacts
from bisenetv2.data.check.run import Report
from bisenetv2.data.pairs import read_pair
from bisenetv2.errors import UserError
from bisenetv2.images import Image, write_image
from bisenetv2.inference.overlay import BACKGROUND, INK, draw_legend, overlay
from bisenetv2.labels import Labels

COLUMNS, ROWS = 4, 6
TILE = 240, 320
"""Height and width of the place of a picture, in pixels."""

_GAP, _LETTER, _CAPTION = 6, 13, 22


def write_sheet(report: Report, path: Path) -> int:
    """Writes the sheet.

    Returns:
        Pictures on it; nothing is written if there is none.

    Raises:
        UserError: If the file cannot be written.
    """
    labels = report.listing.labels
    if labels is None:
        return 0
    tiles = [tile for fact in choose(report) if (tile := _tile(fact, report, labels)) is not None]
    if tiles:
        write_image(path, _lay_out(tiles, labels, report))
    return len(tiles)


def choose(report: Report, count: int = COLUMNS * ROWS) -> list[PairFacts]:
    """Chooses pairs: for each class, the rarest first, one that shows it well, others spread."""
    facts = [fact for fact in report.facts if not fact.troubles]
    shares = np.array(report.statistics.shares)
    chosen: list[int] = []
    for index in np.argsort(shares)[: 2 * count // 3]:
        shown = [0 if f.mask is None else int(f.mask.classes[index]) for f in facts]
        best = int(np.argmax(shown)) if facts else 0
        if facts and shown[best] and best not in chosen:
            chosen.append(best)
    free = [place for place in range(len(facts)) if place not in chosen]
    spare = min(len(free), count - len(chosen))
    chosen += [free[place * len(free) // spare] for place in range(spare)]
    return [facts[place] for place in sorted(chosen)]


def _tile(fact: PairFacts, report: Report, labels: Labels) -> Image | None:
    """Draws a picture with its caption; `None` where training could not read the pair."""
    try:
        image, mask = read_pair(fact.image_path, fact.mask_path, labels, report.listing.encoding)
    except UserError:
        return None
    height, width = mask.shape
    scale = min(TILE[0] / height, TILE[1] / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    thin = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    tile = np.full((TILE[0] + _CAPTION, TILE[1], 3), BACKGROUND, np.uint8)
    top, left = (TILE[0] - size[1]) // 2, (TILE[1] - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = overlay(small, thin, labels, legend=False)
    canvas = PillowImage.fromarray(tile)
    text, font = f"{fact.split}  {fact.image_path.stem}", ImageFont.load_default(_LETTER)
    while font.getlength(text) > TILE[1]:
        text = text.rstrip("…")[:-1] + "…"
    ImageDraw.Draw(canvas).text((0, TILE[0] + _CAPTION / 2), text, fill=INK, font=font, anchor="lm")
    return np.array(canvas, np.uint8)


def _lay_out(tiles: list[Image], labels: Labels, report: Report) -> Image:
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    height, width = TILE[0] + _CAPTION + _GAP, TILE[1] + _GAP
    sheet = np.full((rows * height + _GAP, columns * width + _GAP, 3), BACKGROUND, np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        top, left = _GAP + row * height, _GAP + column * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    present = [index for index, images in enumerate(report.statistics.images) if images]
    return np.concatenate([sheet, draw_legend(labels, present, (500, sheet.shape[1]))])
