"""COCO's run lengths: how many pixels in a row, column by column, are out of a region and in it."""

from __future__ import annotations

from reprlib import repr as short

import numpy as np
import numpy.typing as npt

from bisenetv2.errors import UserError

_MOST_DIGITS = 7
"""Base-32 digits of a run length: 35 bits are more pixels than any image has."""


def run_lengths(counts: object, size: tuple[int, int], where: str) -> npt.NDArray[np.int64]:
    """Checks run lengths, and unpacks them from a string.

    Args:
        counts: List of run lengths, the first one out of the region, or the string COCO packs them
            into: differences to the run before the last, in base 32, lowest digit first, each digit
            a character from `0` on, with 32 added where more follow.
        size: Height and width in pixels.
        where: What to name in an error.

    Raises:
        UserError: If the counts are no run lengths or do not add up to the size.
    """
    runs = _unpack(counts, where) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise UserError(
            f"{where}: its RLE counts are no list of run lengths of 0 or more; export it anew"
        )
    height, width = size
    if sum(runs) != height * width:
        raise UserError(
            f"{where}: its RLE counts add up to {short(sum(runs))} pixels, not to the "
            f"{width}×{height} of the image; export it anew"
        )
    return np.array(runs, np.int64)


def decode(runs: npt.NDArray[np.int64], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Returns the region of checked run lengths: H×W, true in it."""
    inside = np.arange(len(runs)) % 2 == 1
    pixels = np.repeat(inside, runs)  # column by column
    region: npt.NDArray[np.bool_] = pixels.reshape(size[::-1]).T
    return region


def _unpack(text: str, where: str) -> list[int]:
    runs: list[int] = []
    value = digits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or digits >= _MOST_DIGITS:
            raise UserError(f"{where}: its RLE string is damaged at {character!r}; export it anew")
        value |= (code & 31) << 5 * digits
        digits += 1
        if code & 32:
            continue
        if code & 16:  # the sign, in the highest bit of the last digit
            value -= 1 << 5 * digits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = digits = 0
    if digits:
        raise UserError(f"{where}: its RLE string ends within a number; export it anew")
    return runs
