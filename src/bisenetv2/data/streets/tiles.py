"""Textures of the rendered streets: small grey tiles that repeat without a seam.

A value of 128 leaves a colour as it is. Each tile is computed once and always the same; scenes
differ by where they look at it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Tile = npt.NDArray[np.uint8]
"""Side×side of grey values around 128, read-only."""

TILE_SIDE = 512
"""Rows and columns of every tile, in texels."""


def _fractal(seed: int, roughness: float, contrast: float) -> npt.NDArray[np.float64]:
    """Seamless noise around 128 whose amplitude falls with frequency to the power `roughness`."""
    white = np.random.default_rng(seed).standard_normal((TILE_SIDE, TILE_SIDE))
    vertical = np.fft.fftfreq(TILE_SIDE)[:, None]
    horizontal = np.fft.rfftfreq(TILE_SIDE)[None]
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(white) / frequency**roughness, s=white.shape)
    tile: npt.NDArray[np.float64] = 128 + contrast * noise / noise.std()
    return tile


def _tile(values: npt.NDArray[np.float64]) -> Tile:
    tile = values.clip(0, 255).astype(np.uint8)
    tile.setflags(write=False)
    return tile


@cache
def cloud_tile() -> Tile:
    """Billows with soft edges."""
    return _tile(_fractal(1, 1.7, 48))


@cache
def leaf_tile() -> Tile:
    """Clumps on clumps, fine to the texel."""
    return _tile(_fractal(2, 0.85, 44))


@cache
def asphalt_tile() -> Tile:
    """Grit over worn patches; 40 texels a metre."""
    return _tile(0.5 * _fractal(3, 0.3, 17) + 0.5 * _fractal(4, 1.2, 12))


@cache
def plaster_tile() -> Tile:
    """Faint stains; 28 texels a metre."""
    return _tile(_fractal(5, 1.0, 9))


@cache
def brick_tile() -> Tile:
    """Courses of bricks, each of its own tone; 28 texels a metre."""
    course, brick = 2, 8  # texels: 7 x 29 cm
    shape = (TILE_SIDE // course, TILE_SIDE // brick)
    tones = np.random.default_rng(6).normal(0, 13, shape)
    wall = np.kron(tones, np.ones((course, brick)))
    for row in range(1, shape[0], 2):  # running bond: every other course is half a brick along
        rows = slice(row * course, (row + 1) * course)
        wall[rows] = np.roll(wall[rows], brick // 2, axis=1)
    return _tile(wall + _fractal(7, 1.0, 8))


@cache
def paving_tile() -> Tile:
    """Slabs of half a metre with dark joints; 16 texels a metre."""
    slab = 8
    tones = np.random.default_rng(8).normal(0, 7, (TILE_SIDE // slab, TILE_SIDE // slab))
    paving = np.kron(tones, np.ones((slab, slab))) + _fractal(9, 0.9, 9)
    paving[::slab] -= 22
    paving[:, ::slab] -= 22
    return _tile(paving)
