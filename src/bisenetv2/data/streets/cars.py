"""The cars, vans and buses of a rendered street."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, sin

import numpy as np

from bisenetv2.data.streets.canvas import CAR, Canvas, Patch
from bisenetv2.data.streets.objects import BLACK, METAL, box
from bisenetv2.data.streets.view import FACING, Points, Tint, Vector, scaled

_GLASS: Tint = (42, 48, 54)
_GLARE: Tint = (66, 75, 84)


@dataclass(frozen=True)
class Body:
    """Shape of a kind of vehicle, seen from its side with its rear at 0 and its front at 1."""

    length: float
    """Metres."""

    width: float
    """Metres."""

    profile: tuple[tuple[float, float], ...]
    """Corners (along 0-1, height in metres), from the rear bumper over the roof to the front."""

    panes: tuple[int, ...]
    """Which edges of the profile, by their first corner, are glass."""

    windows: tuple[tuple[tuple[float, float], ...], ...]
    """Side windows as outlines in the profile's coordinates."""

    waist: float
    """Height in metres above which the sides lean inwards."""

    lamps: float
    """Height of the lamps' upper edge, metres."""

    wheel: float
    """Radius of the wheels, metres."""


HATCHBACK = Body(
    4.0, 1.72,
    ((0, 0.3), (0, 0.72), (0.03, 0.95), (0.13, 1.38), (0.24, 1.46), (0.54, 1.45), (0.76, 0.97),
     (0.97, 0.76), (1, 0.6), (1, 0.28)),
    (2, 5),
    (((0.13, 0.98), (0.18, 1.32), (0.36, 1.37), (0.36, 0.97)),
     ((0.39, 0.97), (0.39, 1.37), (0.53, 1.35), (0.69, 0.96))),
    0.95, 0.72, 0.31,
)  # fmt: skip
SALOON = Body(
    4.5, 1.76,
    ((0, 0.3), (0, 0.7), (0.01, 0.93), (0.15, 0.97), (0.29, 1.36), (0.38, 1.42), (0.54, 1.41),
     (0.73, 0.95), (0.97, 0.76), (1, 0.6), (1, 0.28)),
    (3, 6),
    (((0.25, 0.97), (0.32, 1.3), (0.43, 1.34), (0.43, 0.96)),
     ((0.45, 0.96), (0.45, 1.34), (0.54, 1.32), (0.67, 0.95))),
    0.95, 0.7, 0.32,
)  # fmt: skip
VAN = Body(
    4.9, 1.92,
    ((0, 0.34), (0, 1.05), (0.01, 1.12), (0.02, 1.72), (0.04, 1.95), (0.64, 1.96), (0.83, 1.14),
     (0.98, 0.95), (1, 0.7), (1, 0.3)),
    (2, 5),
    (((0.56, 1.14), (0.56, 1.72), (0.65, 1.72), (0.79, 1.12)),),
    1.1, 1.0, 0.34,
)  # fmt: skip
BUS = Body(
    9.5, 2.5,
    ((0, 0.36), (0, 1.15), (0, 1.3), (0.005, 2.4), (0.01, 3.0), (0.98, 3.0), (0.995, 2.75),
     (1, 1.05), (1, 0.34)),
    (2, 6),
    (((0.04, 1.3), (0.04, 2.35), (0.34, 2.35), (0.34, 1.3)),
     ((0.36, 1.3), (0.36, 2.35), (0.66, 2.35), (0.66, 1.3)),
     ((0.68, 1.3), (0.68, 2.35), (0.96, 2.35), (0.96, 1.3))),
    1.3, 0.95, 0.48,
)  # fmt: skip


@dataclass(frozen=True)
class Car:
    """A vehicle along the road; its nearest end is at z."""

    x: float
    z: float
    body: Body
    color: Tint
    oncoming: bool

    @property
    def depth(self) -> float:
        """Metres ahead of its nearest end."""
        return self.z + 0.5

    def solid(self) -> Points:
        """Corners of its bounding box."""
        half, top = self.body.width / 2, max(y for _, y in self.body.profile)
        return box(
            (self.x - half, 0, self.z), (self.x + half, 0.85 * top, self.z + self.body.length)
        )

    def _placed(self, shell: Points) -> Points:
        """Turns points of the shell (N, 3: side -1 to 1, height, along 0-1) into the street's."""
        side, height, along = shell.T
        body = self.body
        roof = max(y for _, y in body.profile)
        lean = 0.14 * np.maximum(0.0, height - body.waist) / (roof - body.waist)
        far = 1 - along if self.oncoming else along
        across = self.x + side * (body.width / 2 - lean)
        return np.stack([across, height, self.z + far * body.length], axis=-1)

    def paint(self, canvas: Canvas) -> None:
        """Draws shadow, tyres, shell and, where it can be seen, a flank."""
        x, z, half = self.x, self.z, self.body.width / 2
        left, right = x - half - 0.08, x + half + 0.08
        near, far = z - 0.3, z + self.body.length + 0.1
        footprint = [(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)]
        canvas.darken(np.array(footprint), 0.42)
        tyre = 0.24 / self.body.width
        panels = [self._end(s, 0.0, s - 2 * tyre, 0.5, BLACK) for s in (-0.95 + 2 * tyre, 0.95)]
        edges = range(len(self.body.profile) - 1)
        for first in edges if self.oncoming else reversed(edges):
            panels += self._edge(first)
        eye = canvas.camera.eye[0]
        if abs(eye - x) > half:
            panels += self._flank(1.0 if eye > x else -1.0)
        if canvas.resolves(0.1, z):
            panels += self._lamps()
        corners = [corner for shell, _, _ in panels for corner in shell]
        patches = [Patch(1, len(shell), color, normal) for shell, color, normal in panels]
        canvas.fill_all(self._placed(np.array(corners)), patches, CAR)

    def _end(self, left: float, low: float, right: float, high: float, color: Tint) -> _Panel:
        """A rectangle on the end that looks at the camera."""
        end = 1.0 if self.oncoming else 0.0
        shell = [(left, low, end), (right, low, end), (right, high, end), (left, high, end)]
        return shell, color, FACING

    def _edge(self, first: int) -> list[_Panel]:
        """One strip of the shell from side to side, with its pane where it is glass."""
        (a, low), (b, high) = self.body.profile[first : first + 2]
        run, rise = (b - a) * self.body.length, high - low
        size = hypot(run, rise)
        normal = (0.0, abs(run) / size, (rise if self.oncoming else -rise) / size)
        panels = [(_across(1.0, a, low, b, high), self.color, normal)]
        if first in self.body.panes:
            a, b = a + 0.08 * (b - a), b - 0.08 * (b - a)
            low, high = low + 0.07 * rise, high - 0.07 * rise
            panels.append((_across(0.9, a, low, b, high), _GLASS, FACING))
            a, low = a + 0.6 * (b - a), low + 0.6 * (high - low)
            panels.append((_across(0.87, a, low, b, high), _GLARE, FACING))
        return panels

    def _flank(self, side: float) -> list[_Panel]:
        """The side that looks at the camera, with windows, sill and wheels."""
        body, normal = self.body, (side, 0.0, 0.0)

        def panel(outline: Sequence[tuple[float, float]], color: Tint) -> _Panel:
            return [(side, y, along) for along, y in outline], color, normal

        sill = ((0.02, 0.3), (0.02, 0.46), (0.98, 0.46), (0.98, 0.3))
        panels = [panel(body.profile, self.color), panel(sill, scaled(self.color, 0.6))]
        panels += [panel(window, _GLASS) for window in body.windows]
        for along in (0.19, 0.81):
            for size, color in ((1.0, BLACK), (0.6, METAL), (0.2, BLACK)):
                wheel = [
                    (along + size * body.wheel * c / body.length, body.wheel * (1 + size * s))
                    for c, s in _TURN
                ]
                panels.append(panel(wheel, color))
        return panels

    def _lamps(self) -> list[_Panel]:
        """Bumper, plate, grille and lamps of the end that looks at the camera."""
        bottom, top = self.body.profile[0][1], self.body.lamps
        panels = [self._end(-0.97, bottom, 0.97, bottom + 0.16, (40, 41, 43))]
        plate = (205, 205, 198) if self.oncoming else (196, 170, 60)
        panels.append(self._end(-0.28, bottom + 0.18, 0.28, bottom + 0.29, plate))
        if self.oncoming:
            panels.append(self._end(-0.5, bottom + 0.32, 0.5, top - 0.05, (30, 31, 33)))
        lamp, low = ((222, 224, 218), top - 0.15) if self.oncoming else ((138, 26, 24), top - 0.26)
        return panels + [self._end(s * 0.94, low, s * 0.64, top, lamp) for s in (-1, 1)]


_Panel = tuple[list[Vector], Tint, Vector]  # a polygon of a car's shell, its colour and normal
_TURN = [(cos(pi * step / 8), sin(pi * step / 8)) for step in range(16)]


def _across(side: float, a: float, low: float, b: float, high: float) -> list[Vector]:
    """The strip from the left to the right of the shell between two corners of its profile."""
    return [(-side, low, a), (side, low, a), (side, high, b), (-side, high, b)]
