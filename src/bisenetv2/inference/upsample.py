"""The arg-max of bilinearly enlarged logits, without enlarging the logits.

The plain road interpolates C planes at the frame's size and takes the arg-max over them. But a
bilinear value is a convex combination of its cell's four corner logits: where the four corners
have the same class on top, that class is on top everywhere in the cell. So the mask is filled with
the corners' class, and only cells whose corners disagree (those on the outlines of things) are
interpolated. There a class that wins at no corner may still win inside, but by the same argument
never one that some other class surpasses at all four corners: few candidates are left.

A *cell* is the square between four neighbouring logits. A *run* is a stretch of output rows (or
columns) within one row (or column) of cells. A *tile* is one run of rows by one run of columns:
output pixels that share their four corners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError
from bisenetv2.labels import Mask

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

LONGEST_RUN = 32
"""Longest run in pixels; longer ones are cut, so that no tile takes much memory."""

CHUNK_PIXELS = 1 << 15
"""Pixels interpolated at once: few enough for their scores to stay in the processor's cache."""


def upsample_argmax(logits: Floats, size: tuple[int, int]) -> Mask:
    """Computes the arg-max over classes of the bilinear interpolation of logits.

    Sample positions have half-pixel centres and are clamped at the edges, as in PyTorch's
    `interpolate(mode="bilinear", align_corners=False)`; shrinking does not smooth. Of equal scores
    the lower index wins. NaN never wins; where every class is NaN the result is 0.

    Args:
        logits: `float32` C×h×w, 1 to 255 classes.
        size: Height and width of the mask in pixels, each at least 1.

    Returns:
        `uint8` H×W of class indices.

    Raises:
        UserError: If shape or size is out of range.
    """
    if logits.ndim != 3 or not 1 <= len(logits) <= 255 or logits.size == 0 or min(size) < 1:
        raise UserError(
            f"logits of shape {logits.shape} for a mask of {size[0]}×{size[1]}: "
            "expected 1-255 classes × height × width and sides of at least 1"
        )
    classes, height, width = logits.shape
    rows, columns = _Runs.along(height, size[0]), _Runs.along(width, size[1])
    corner_classes = _argmax(logits, np.arange(classes, dtype=np.uint8), (height, width))  # h, w
    above, below = corner_classes[rows.before], corner_classes[rows.after]  # row runs, w
    tile_class = above[:, columns.before]  # row runs, column runs
    agree = tile_class == above[:, columns.after]
    agree &= tile_class == below[:, columns.before]
    agree &= tile_class == below[:, columns.after]
    mask = tile_class.repeat(columns.lengths, axis=1).repeat(rows.lengths, axis=0)  # H, W
    if not agree.all():
        _fill(mask, logits, corner_classes, rows, columns, *np.nonzero(~agree))
    return mask


@dataclass(frozen=True)
class _Runs:
    """The runs of output pixels along one axis, each between two neighbouring logits.

    Arrays over pixels are as long as the longest run; shorter ones repeat their last pixel, which
    is then computed twice, to the same result.
    """

    before: Indices  # runs: index of the logit before the run
    after: Indices  # runs: index of the logit after it; at the edges the same
    lengths: Indices  # runs: number of output pixels
    pixels: Indices  # longest, runs: index of each output pixel
    weights: Floats  # longest, runs: its share of the logit after, 0 to 1

    @classmethod
    def along(cls, extent: int, pixels: int) -> _Runs:
        """Divides an axis of `extent` logits and `pixels` output pixels into runs."""
        position = (np.arange(pixels) + 0.5) * (extent / pixels) - 0.5
        # The margins beyond the outermost logits are cells of their own, -1 and extent - 1: joined
        # to their neighbours they would make the longest run, and with it all, half as long again.
        cell = np.floor(position).astype(np.intp)  # pixels
        weight = (position - cell).astype(np.float32)  # pixels
        starts = np.flatnonzero(np.diff(cell, prepend=-2))  # runs: first pixel
        lengths = np.diff(starts, append=pixels)
        pieces = -(-int(lengths.max()) // LONGEST_RUN)
        step = -(-int(lengths.max()) // pieces)  # cuts a long run into pieces of even length
        within = np.arange(pixels) - starts.repeat(lengths)  # pixels: position in the run
        starts = np.flatnonzero(within % step == 0)
        lengths = np.diff(starts, append=pixels)
        members = starts + np.minimum(np.arange(step)[:, None], lengths - 1)  # longest, runs
        return cls(
            before=np.maximum(cell[starts], 0),
            after=np.minimum(cell[starts] + 1, extent - 1),
            lengths=lengths,
            pixels=members,
            weights=weight[members],
        )


def _fill(
    mask: Mask,
    logits: Floats,
    corner_classes: Mask,
    rows: _Runs,
    columns: _Runs,
    tile_rows: Indices,
    tile_columns: Indices,
) -> None:
    """Interpolates the given tiles and writes their classes into the mask.

    Args:
        mask: H×W, written in place.
        logits: C×h×w.
        corner_classes: h×w, the arg-max of the logits.
        rows: Runs along the height.
        columns: Runs along the width.
        tile_rows: Row run of each tile.
        tile_columns: Column run of each tile.
    """
    above, below = rows.before[tile_rows], rows.after[tile_rows]  # tiles
    left, right = columns.before[tile_columns], columns.after[tile_columns]
    # The four corners of each tile as indices into a flattened h×w plane.
    corner = np.stack([above, below, above, below]) * logits.shape[2]
    corner += np.stack([left, left, right, right])  # 4, tiles
    scores = logits.reshape(len(logits), -1).take(corner, axis=1)  # C, 4, tiles
    possible = _possible(scores, corner_classes.ravel()[corner])  # C, tiles
    counts = possible.sum(axis=0)  # tiles
    # Tiles with equally many candidates go together: a chunk interpolates the most any tile has.
    order = np.argsort(counts, kind="stable")
    chunk = max(1, CHUNK_PIXELS // (len(rows.pixels) * len(columns.pixels)))
    for start in range(0, len(order), chunk):
        tiles = order[start : start + chunk]
        # Candidates by ascending class; after them come classes that cannot win and do no harm.
        candidates = np.argsort(~possible[:, tiles], axis=0, kind="stable")[: counts[tiles[-1]]]
        i, j = tile_rows[tiles], tile_columns[tiles]
        planes = _interpolate(
            np.take_along_axis(scores[:, :, tiles], candidates[:, None], axis=0),
            down=rows.weights[:, None, i],
            across=columns.weights[None, :, j],
        )
        shape = len(rows.pixels), len(columns.pixels), len(tiles)
        winners = _argmax(planes, candidates.astype(np.uint8), shape)  # rows, columns, tiles
        mask[rows.pixels[:, None, i], columns.pixels[None, :, j]] = winners


def _possible(scores: Floats, corner_classes: Mask) -> npt.NDArray[np.bool_]:
    """Tells which classes may win somewhere in a tile: those not surpassed at all four corners.

    Args:
        scores: C × 4 corners × tiles.
        corner_classes: 4 corners × tiles: the class that wins there.

    Returns:
        C × tiles.
    """
    possible = np.ones((scores.shape[0], scores.shape[2]), np.bool_)
    for winner in corner_classes:
        rival = np.take_along_axis(scores, winner[None, None].astype(np.intp), axis=0)
        possible &= ~(scores < rival).all(axis=1)
    return possible


def _interpolate(corners: Floats, down: Floats, across: Floats) -> Iterator[Floats]:
    """Yields plane by plane the bilinear interpolation of tiles between their corners.

    Tiles are the last axis, the longest by far, so that each step is one pass over memory.

    Args:
        corners: Planes × 4 × tiles: above left, below left, above right, below right.
        down: Rows × 1 × tiles: share of the corners below, 0 to 1.
        across: 1 × columns × tiles: share of the corners on the right, 0 to 1.

    Yields:
        Rows × columns × tiles.
    """
    # Infinite logits become NaN here, which never wins: no reason for a warning.
    with np.errstate(invalid="ignore"):
        for above_left, below_left, above_right, below_right in corners:
            left = above_left + (below_left - above_left) * down  # rows, 1, tiles
            right = above_right + (below_right - above_right) * down
            yield left + (right - left) * across


def _argmax(
    planes: Iterable[Floats], labels: npt.NDArray[np.uint8], shape: tuple[int, ...]
) -> Mask:
    """Takes the arg-max over planes, of which only one need exist at a time.

    Args:
        planes: Planes of the given shape.
        labels: What to call each plane, ascending along the first axis: one number a plane, or an
            array a plane that broadcasts to its shape.
        shape: Shape of the planes and of the result.
    """
    best = np.full(shape, -np.inf, np.float32)
    winner = np.zeros(shape, np.uint8)
    for plane, label in zip(planes, labels, strict=True):
        wins = np.greater(plane, best).view(np.uint8)
        np.fmax(best, plane, out=best)
        # Labels ascend, so the greater of the two is the later winner: a plain maximum does what a
        # masked assignment would do several times slower.
        np.maximum(winner, wins * label, out=winner)
    return winner
