"""Fences and trees along a rendered street."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, sin

import numpy as np

from bisenetv2.data.streets.buildings import Numbers, Wall
from bisenetv2.data.streets.canvas import FENCE, TREE, Canvas, Limb
from bisenetv2.data.streets.view import Points, Tint, scaled


@dataclass(frozen=True)
class Fence:
    """Railings or boards along or across the street."""

    wall: Wall
    color: Tint
    boards: bool
    """Solid boards; otherwise railings that one sees through."""

    @property
    def depth(self) -> float:
        """Metres ahead of its farthest end."""
        return self.wall.depth

    def solid(self) -> Points:
        """Its outline."""
        top = self.wall.height if self.boards else 0.15
        return np.asarray(self.wall.rectangles(np.array([[0, 0, self.wall.width, top]]))[0])

    def paint(self, canvas: Canvas) -> None:
        """Draws boards or bars."""
        width, height = self.wall.width, self.wall.height
        top = np.array([0, height - 0.07, width, height])
        if self.boards:
            layers = [
                (np.array([0, 0, width, height]), self.color),
                (_uprights(width, 0.3, 0.03, 0.05, height), scaled(self.color, 0.66)),
                (top, scaled(self.color, 1.2)),
            ]
        else:
            layers = [
                (_uprights(width, 0.16, 0.035, 0.12, height), self.color),
                (_uprights(width, 2.0, 0.07, 0, height), self.color),
                (np.array([0, 0.12, width, 0.18]), self.color),
                (top, self.color),
            ]
        self.wall.paint(canvas, layers, FENCE)


def _uprights(width: float, step: float, thick: float, low: float, high: float) -> Numbers:
    """Equal posts every `step` metres, as rectangles: N, 4."""
    left = np.arange(0.0, width - thick, step)
    return np.stack([left, np.full_like(left, low), left + thick, np.full_like(left, high)], -1)


@dataclass(frozen=True)
class Tree:
    """A trunk with a crown of leaves, or bare boughs."""

    x: float
    z: float
    depth: float
    """Metres ahead by which it is sorted; beyond z where a fence stands before it."""

    height: float
    spread: float
    """Half the crown's width, metres."""

    color: Tint
    bark: Tint
    clumps: Points = field(repr=False)
    """N, 5: place in the crown (-1 to 1: right, up, ahead) and in the leaf tile (0 to 1)."""

    bare: bool
    boughs: Numbers = field(repr=False)
    """Random numbers in 0-1 that turn the boughs."""

    def solid(self) -> Points:
        """The crown, or the trunk of a bare tree."""
        reach = 0.2 if self.bare else 0.8 * self.spread
        low = 0.0 if self.bare else 0.4 * self.height
        return np.array(
            [
                (self.x + reach * cos(t), y, self.z + reach * sin(t))
                for t in np.linspace(0, 6.28, 10)
                for y in (low, 0.9 * self.height)
            ]
        )

    def paint(self, canvas: Canvas) -> None:
        """Draws trunk and crown."""
        fork = 0.36 * self.height
        girth = 0.024 * self.height
        root, top = (self.x, 0.0, self.z), (self.x, fork, self.z)
        canvas.limbs([Limb(root, top, (girth, 0.75 * girth), self.bark)], TREE)
        if self.bare:
            self._paint_boughs(canvas, fork, girth)
            return
        crown = self.height - 0.8 * fork
        middle = self.height - 0.5 * crown
        clumps = self.clumps if self.z < 40 else self.clumps[-1:]
        size = 1.0 if len(clumps) == 1 else 0.72
        for right, up, ahead, column, row in clumps:
            place = (
                self.x + (1 - size) * right * self.spread,
                middle + (1 - size) * up * 0.5 * crown,
                self.z + 0.5 * ahead * self.spread,
            )
            radii = (size * self.spread, size * 0.5 * crown)
            color = scaled(self.color, 0.9 + 0.12 * up)
            canvas.foliage(place, radii, color, (512 * column, 512 * row))

    def _paint_boughs(self, canvas: Canvas, fork: float, girth: float) -> None:
        """Forks of boughs, each thinner and shorter than the last."""
        feet = np.array([[self.x, 0.92 * fork, self.z]])  # N, 3
        aim = np.zeros((1, 2))  # N, 2: lean to the right and ahead, radians
        length = 0.24 * self.height
        for level in range(6 if self.z < 30 else 5):
            count = 3 if level < 2 else 2
            feet, aim = np.repeat(feet, count, axis=0), np.repeat(aim, count, axis=0)
            jitter = np.resize(np.roll(self.boughs, 7 * level), aim.shape)
            spokes = np.resize(np.linspace(-1, 1, count), len(feet))[:, None]
            aim = aim + [0.42, 0.3] * (spokes * [1, -1] + 1.5 * (jitter - 0.5))
            ups = np.cos(aim[:, 0]) * np.cos(aim[:, 1])
            step = np.stack([np.sin(aim[:, 0]), ups, np.sin(aim[:, 1])], axis=-1)
            tips = feet + step * length * (0.75 + 0.5 * jitter[:, :1])
            lines = np.stack([feet, tips], axis=1)  # N, 2, 3
            canvas.strokes(lines, 1.2 * girth * 0.62**level, self.bark, TREE)
            feet, length = tips, 0.74 * length
