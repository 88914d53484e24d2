"""Polygons to pixels and pixels to polygons, without loss.

A pixel is in a polygon if its centre is. OpenCV's own fill adds the pixels that an outline crosses,
and errs by pixels where one leaves the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.labels import Mask

Polygon = npt.NDArray[np.float64]
"""Corners (x, y) in pixels, N×2; closed from the last to the first."""


_CROSSINGS = 1 << 22
"""Of edges with rows, looked at in one go: what bounds the memory that a polygon takes."""


def fill(mask: Mask, polygon: Polygon, value: int) -> None:
    """Paints the pixels whose centres lie in a polygon, by the even-odd rule.

    What lies outside the mask is cut off; the polygons of `outlines` give back their regions.

    Args:
        mask: `uint8` H×W, changed in place.
        polygon: Corners, N×2, finite.
        value: What to paint.
    """
    size = np.array(mask.shape[::-1])
    left, top = np.floor(polygon.min(axis=0)).clip(0, size).astype(int)
    right, bottom = np.ceil(polygon.max(axis=0)).clip(0, size).astype(int)
    flips = np.zeros((bottom - top, right - left + 1), np.uint8)
    # Each edge crosses the centre lines of rows `first` to `end`, and flips all pixels right of it.
    ends = np.roll(polygon, -1, axis=0)
    many = 1 + _CROSSINGS // (1 + bottom - top)  # edges at a time
    for start in range(0, len(polygon), many):
        (x, y), (next_x, next_y) = polygon[start : start + many].T, ends[start : start + many].T
        rows = np.ceil([np.minimum(y, next_y) - 0.5, np.maximum(y, next_y) - 0.5])
        first, end = rows.clip(top, bottom).astype(int)
        edge = np.repeat(np.arange(len(x)), end - first)
        row = np.arange(edge.size) - np.repeat(np.cumsum(end - first) - end, end - first)
        way = (row + 0.5 - y[edge]) / (next_y - y)[edge]
        column = np.ceil(x[edge] + way * (next_x - x)[edge] - 0.5).clip(left, right).astype(int)
        np.bitwise_xor.at(flips, (row - top, column - left), np.uint8(1))
    inside = np.bitwise_xor.accumulate(flips, axis=1)[:, :-1]
    mask[top:bottom, left:right][inside != 0] = value


def outlines(mask: Mask, value: int) -> list[Polygon]:
    """Traces the regions of a value along the borders of their pixels.

    Pixels that touch at a corner are of one region. A hole is joined to the outline around it by a
    bridge of no width, walked there and back, so that a single polygon keeps it: no polygon covers
    another, and their order does not matter.

    Args:
        mask: `uint8` H×W.
        value: Whose regions.

    Returns:
        A polygon of whole numbers for every region; `fill` gives back exactly its pixels.
    """
    region = (mask == value).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(region)
    if not width:
        return []
    box = region[top : top + height, left : left + width]
    # At twice the resolution nothing is one pixel wide, and no outline is walked on both sides.
    doubled = box.repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes: dict[int, list[npt.NDArray[np.int32]]] = {}
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
        if parent >= 0:
            holes.setdefault(int(parent), []).append(_corners(contour))
    return [
        np.add(_bridged(_corners(contour), holes.get(index, [])), (left, top), dtype=np.float64)
        for index, contour in enumerate(contours)
        if hierarchy[0][index][3] < 0
    ]


def area(polygon: Polygon) -> float:
    """Returns the area that a polygon encloses, in pixels."""
    x, y = (polygon - polygon[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _corners(contour: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Takes a contour traced at twice the resolution to the corners of pixels, turns alone."""
    # A region's first of two columns or rows borders on pixel corner k, its second on k + 1.
    ring = (contour[:, 0] + 1) // 2
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.ascontiguousarray(ring[turns])


def _bridged(
    ring: npt.NDArray[np.int32], holes: list[npt.NDArray[np.int32]]
) -> npt.NDArray[np.int32]:
    """Joins holes to the ring around them, from the leftmost on, each to the edge on its left.

    That edge belongs to the ring or to a hole that is joined already, and all between is region.
    """
    turned = []
    for hole in holes:
        first = np.lexsort((hole[:, 1], hole[:, 0]))[0]  # the upper end of its leftmost edge
        turned.append(np.roll(hole, -first, axis=0))
    for hole in sorted(turned, key=lambda hole: int(hole[0, 0])):
        x, y = hole[0]
        after = np.roll(ring, -1, axis=0)
        low, high = np.minimum(ring[:, 1], after[:, 1]), np.maximum(ring[:, 1], after[:, 1])
        facing = (ring[:, 0] == after[:, 0]) & (ring[:, 0] < x) & (low <= y) & (high > y)
        edge = int(np.where(facing, ring[:, 0], -1).argmax())
        landing = np.array([[ring[edge, 0], y]], np.int32)
        ring = np.concatenate(
            [ring[: edge + 1], landing, hole, hole[:1], landing, ring[edge + 1 :]]
        )
    distinct: npt.NDArray[np.int32] = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    return distinct
