"""The arg-max of bilinearly enlarged logits, without enlarging the logits.

The plain road interpolates C planes at the frame's size and takes the arg-max over them. But a
bilinear value is a convex combination of its cell's four corner logits: where the four corners
have the same class on top, that class is on top everywhere in the cell. So the mask is filled with
the corners' class, and only cells whose corners disagree (those on the outlines of things) are
interpolated. There a class that wins at no corner may still win inside, but by the same argument
never one that some other class surpasses at all four corners: few candidates are left. Mostly two,
and then one plane, their difference, is all there is to interpolate: its sign decides.

A *cell* is the square between four neighbouring logits. A *run* is a stretch of output rows (or
columns) within one row (or column) of cells. A *tile* is one run of rows by one run of columns:
output pixels that share their four corners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

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
    if size == (height, width):
        return corner_classes
    above, below = corner_classes[rows.before], corner_classes[rows.after]  # row runs, w
    tile_class = above[:, columns.before]  # row runs, column runs
    agree = tile_class == above[:, columns.after]
    agree &= tile_class == below[:, columns.before]
    agree &= tile_class == below[:, columns.after]
    mask = tile_class.repeat(columns.lengths, axis=1).repeat(rows.lengths, axis=0)  # H, W
    if not agree.all():
        tiles = _Tiles(rows, columns, *np.nonzero(~agree))
        corners = tiles.corners(width)  # 4, tiles
        scores = logits.reshape(classes, -1).take(corners, axis=1)  # C, 4, tiles
        possible = _possible(scores, corner_classes.ravel()[corners])  # C, tiles
        _fill(mask, tiles, scores, possible)
    return mask


@dataclass(frozen=True)
class _Runs:
    """The runs of output pixels along one axis, each between two neighbouring logits."""

    before: Indices  # runs: index of the logit before the run
    after: Indices  # runs: index of the logit after it; at the edges the same
    starts: Indices  # runs: first output pixel
    lengths: Indices  # runs: number of output pixels
    weights: Floats  # pixels: share of the logit after, 0 to 1

    @classmethod
    def along(cls, extent: int, pixels: int) -> _Runs:
        """Divides an axis of `extent` logits and `pixels` output pixels into runs."""
        position = (np.arange(pixels) + 0.5) * (extent / pixels) - 0.5
        # The margins beyond the outermost logits are cells of their own, -1 and extent - 1: joined
        # to their neighbours they would make runs of another length, half as long again.
        cell = np.floor(position).astype(np.intp)  # pixels
        starts = np.flatnonzero(np.diff(cell, prepend=-2))
        lengths = np.diff(starts, append=pixels)
        pieces = -(-int(lengths.max()) // LONGEST_RUN)
        step = -(-int(lengths.max()) // pieces)  # cuts a long run into pieces of even length
        within = np.arange(pixels) - starts.repeat(lengths)  # pixels: position in the run
        starts = np.flatnonzero(within % step == 0)
        return cls(
            before=np.maximum(cell[starts], 0),
            after=np.minimum(cell[starts] + 1, extent - 1),
            starts=starts,
            lengths=np.diff(starts, append=pixels),
            weights=(position - cell).astype(np.float32),
        )

    def weights_of(self, runs: Indices, length: int) -> Floats:
        """Returns the weights of runs that have one length: length × runs."""
        return self.weights.take(self.starts[runs] + np.arange(length)[:, None])


@dataclass(frozen=True)
class _Tiles:
    """Some of the tiles that runs of rows and runs of columns make."""

    rows: _Runs
    columns: _Runs
    i: Indices  # tiles: row run
    j: Indices  # tiles: column run

    def corners(self, width: int) -> Indices:
        """Returns the corners as indices into a flattened plane of that width: 4 × tiles.

        In this order: above left, below left, above right, below right.
        """
        above, below = self.rows.before[self.i] * width, self.rows.after[self.i] * width
        left, right = self.columns.before[self.j], self.columns.after[self.j]
        return np.stack([above + left, below + left, above + right, below + right])

    def of_one_size(self, members: Indices) -> Iterator[tuple[int, int, list[Indices]]]:
        """Divides some of the tiles by height and width, and those of one size into chunks.

        Args:
            members: Indices of tiles; their order is kept within a size.

        Yields:
            Height, width and the chunks: indices of at most `CHUNK_PIXELS` pixels' worth of tiles.
        """
        heights, widths = self.rows.lengths[self.i[members]], self.columns.lengths[self.j[members]]
        sizes = heights * (LONGEST_RUN + 1) + widths  # members
        for size in np.unique(sizes):
            height, width = divmod(int(size), LONGEST_RUN + 1)
            tiles, chunk = members[sizes == size], max(1, CHUNK_PIXELS // (height * width))
            yield height, width, [tiles[k : k + chunk] for k in range(0, len(tiles), chunk)]


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


def _fill(mask: Mask, tiles: _Tiles, scores: Floats, possible: npt.NDArray[np.bool_]) -> None:
    """Interpolates tiles and writes their classes into the mask.

    Args:
        mask: H×W, written in place.
        tiles: Which tiles.
        scores: C × 4 corners × tiles.
        possible: C × tiles: which classes may win.
    """
    counts = possible.sum(axis=0)  # tiles
    if not np.isfinite(scores).all():
        # The difference of infinities, and NaN, have no sign to decide by.
        counts[counts == 2] = 3
    # Tiles with equally many candidates go together: a chunk interpolates the most any tile has.
    order = np.argsort(counts, kind="stable")
    pairs, others = np.split(order, [np.count_nonzero(counts == 2)])
    for members, decide in ((pairs, _better_of_two), (others, _best_of_many)):
        for height, width, chunks in tiles.of_one_size(members):
            windows = sliding_window_view(mask, (height, width), writeable=True)
            for chunk in chunks:
                i, j = tiles.i[chunk], tiles.j[chunk]
                winners = decide(
                    scores[:, :, chunk],
                    possible[:, chunk],
                    down=tiles.rows.weights_of(i, height)[:, None],
                    across=tiles.columns.weights_of(j, width)[None],
                )  # height, width, tiles
                # Tile by tile, so that each is written at once; OpenCV transposes bytes several
                # times as fast as NumPy.
                by_tile = cv2.transpose(winners.reshape(height * width, -1))
                corner = tiles.rows.starts[i], tiles.columns.starts[j]
                windows[corner] = by_tile.reshape(-1, height, width)


def _better_of_two(
    scores: Floats, possible: npt.NDArray[np.bool_], down: Floats, across: Floats
) -> Mask:
    """Takes the arg-max of tiles with two candidates, by the sign of the candidates' difference.

    Args:
        scores: C × 4 × tiles, finite; the corners in the order of `_Tiles.corners`.
        possible: C × tiles: which classes may win.
        down: Rows × 1 × tiles: share of the corners below, 0 to 1.
        across: 1 × columns × tiles: share of the corners on the right, 0 to 1.

    Returns:
        Rows × columns × tiles.
    """
    first = possible.argmax(axis=0)  # tiles
    second = len(possible) - 1 - possible[::-1].argmax(axis=0)
    tiles = np.arange(len(first))
    lead = scores[second, :, tiles] - scores[first, :, tiles]  # tiles, 4
    above_left, below_left, above_right, below_right = lead.T
    left = above_left + (below_left - above_left) * down  # rows, 1, tiles
    right = above_right + (below_right - above_right) * down
    second_wins = (right - left) * across > -left  # rows, columns, tiles
    winners: Mask = second_wins.view(np.uint8)
    winners *= (second - first).astype(np.uint8)
    winners += first.astype(np.uint8)
    return winners


def _best_of_many(
    scores: Floats, possible: npt.NDArray[np.bool_], down: Floats, across: Floats
) -> Mask:
    """Takes the arg-max of tiles over all candidates; see `_better_of_two`, but any value goes."""
    most = int(possible.sum(axis=0).max())
    # Candidates by ascending class; after them come classes that cannot win and do no harm.
    candidates = np.argsort(~possible, axis=0, kind="stable")[:most]
    corners = np.take_along_axis(scores, candidates[:, None], axis=0)
    planes = _interpolate(corners, down, across)
    shape = down.shape[0], across.shape[1], scores.shape[2]
    return _argmax(planes, candidates.astype(np.uint8), shape)


def _interpolate(corners: Floats, down: Floats, across: Floats) -> Iterator[Floats]:
    """Yields plane by plane the bilinear interpolation of tiles between their corners.

    Tiles are the last axis, the longest by far, so that each step is one pass over memory.

    Args:
        corners: Planes × 4 × tiles, the corners in the order of `_Tiles.corners`.
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
