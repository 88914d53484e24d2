"""What stands, walks and drives on a rendered street: cars, people, cyclists, poles and signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, sin
from typing import Protocol

import numpy as np

from bisenetv2.data.street_canvas import (
    BICYCLIST,
    CAR,
    FACING,
    PEDESTRIAN,
    POLE,
    SIGN,
    Canvas,
    Limb,
    Patch,
    Points,
    Tint,
    Vector,
)

_BLACK: Tint = (18, 18, 20)
_GLASS: Tint = (42, 48, 54)
_GLARE: Tint = (66, 75, 84)
_METAL: Tint = (96, 98, 100)


class Thing(Protocol):
    """Something on the street."""

    @property
    def depth(self) -> float:
        """Metres ahead by which things are sorted; the farthest is painted first."""

    def solid(self) -> Points:
        """Corners (N, 3) whose convex hull casts its shadow."""

    def paint(self, canvas: Canvas) -> None:
        """Draws it over what lies behind."""


def upright(place: Vector, outline: list[tuple[float, float]]) -> Points:
    """Stands a flat outline of (right, up) metres at a place, facing the camera: K, 3."""
    return np.array([(place[0] + right, place[1] + up, place[2]) for right, up in outline])


def box(low: Vector, high: Vector) -> Points:
    """Returns the 8 corners of a box along the axes: 8, 3."""
    corners = [
        (x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
    ]
    return np.array(corners)


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
    4.0,
    1.72,
    (
        (0, 0.3),
        (0, 0.72),
        (0.03, 0.95),
        (0.13, 1.38),
        (0.24, 1.46),
        (0.54, 1.45),
        (0.76, 0.97),
        (0.97, 0.76),
        (1, 0.6),
        (1, 0.28),
    ),
    (2, 5),
    (
        ((0.13, 0.98), (0.18, 1.32), (0.36, 1.37), (0.36, 0.97)),
        ((0.39, 0.97), (0.39, 1.37), (0.53, 1.35), (0.69, 0.96)),
    ),
    0.95,
    0.72,
    0.31,
)
SALOON = Body(
    4.5,
    1.76,
    (
        (0, 0.3),
        (0, 0.7),
        (0.01, 0.93),
        (0.15, 0.97),
        (0.29, 1.36),
        (0.38, 1.42),
        (0.54, 1.41),
        (0.73, 0.95),
        (0.97, 0.76),
        (1, 0.6),
        (1, 0.28),
    ),
    (3, 6),
    (
        ((0.25, 0.97), (0.32, 1.3), (0.43, 1.34), (0.43, 0.96)),
        ((0.45, 0.96), (0.45, 1.34), (0.54, 1.32), (0.67, 0.95)),
    ),
    0.95,
    0.7,
    0.32,
)
VAN = Body(
    4.9,
    1.92,
    (
        (0, 0.34),
        (0, 1.05),
        (0.01, 1.12),
        (0.02, 1.72),
        (0.04, 1.95),
        (0.64, 1.96),
        (0.83, 1.14),
        (0.98, 0.95),
        (1, 0.7),
        (1, 0.3),
    ),
    (2, 5),
    (((0.56, 1.14), (0.56, 1.72), (0.65, 1.72), (0.79, 1.12)),),
    1.1,
    1.0,
    0.34,
)
BUS = Body(
    9.5,
    2.5,
    (
        (0, 0.36),
        (0, 1.15),
        (0, 1.3),
        (0.005, 2.4),
        (0.01, 3.0),
        (0.98, 3.0),
        (0.995, 2.75),
        (1, 1.05),
        (1, 0.34),
    ),
    (2, 6),
    (
        ((0.04, 1.3), (0.04, 2.35), (0.34, 2.35), (0.34, 1.3)),
        ((0.36, 1.3), (0.36, 2.35), (0.66, 2.35), (0.66, 1.3)),
        ((0.68, 1.3), (0.68, 2.35), (0.96, 2.35), (0.96, 1.3)),
    ),
    1.3,
    0.95,
    0.48,
)


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
        half, length = self.body.width / 2, self.body.length
        x, z = self.x, self.z
        left, right, near, far = x - half - 0.08, x + half + 0.08, z - 0.3, z + length + 0.1
        footprint = [(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)]
        canvas.darken(np.array(footprint), 0.42)
        panels = self._tyres()
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

    def _tyres(self) -> list[_Panel]:
        """What shows of the tyres under the bumper."""
        wide = 0.24 / self.body.width
        return [self._end(s, 0.0, s - 2 * wide, 0.5, _BLACK) for s in (-0.95 + 2 * wide, 0.95)]

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
        panels = [panel(body.profile, self.color), panel(sill, _dimmed(self.color, 0.6))]
        panels += [panel(window, _GLASS) for window in body.windows]
        for along in (0.19, 0.81):
            for size, color in ((1.0, _BLACK), (0.6, _METAL), (0.2, _BLACK)):
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


@dataclass(frozen=True)
class Figure:
    """How a person looks and is heading."""

    height: float
    """Metres."""

    heading: float
    """Radians from straight ahead, clockwise."""

    coat: Tint
    trousers: Tint
    skin: Tint
    hair: Tint


@dataclass(frozen=True)
class Pedestrian:
    """A person who stands or walks."""

    x: float
    z: float
    figure: Figure
    stride: float
    """Half the distance between the feet in metres; its sign is which leg leads."""

    ground: float
    """Height of the pavement in metres."""

    @property
    def depth(self) -> float:
        """Metres ahead."""
        return self.z

    def solid(self) -> Points:
        """A slim box."""
        return box((self.x - 0.2, 0, self.z - 0.1), (self.x + 0.2, 1.6, self.z + 0.1))

    def paint(self, canvas: Canvas) -> None:
        """Draws legs, arms, coat and head."""
        place = _frame((self.x, self.ground, self.z), self.figure.heading)
        scale, look, step = self.figure.height / 1.75, self.figure, self.stride

        def limb(a: Vector, b: Vector, radii: tuple[float, float], color: Tint) -> Limb:
            thick = (radii[0] * scale, radii[1] * scale)
            return Limb(place(a, scale), place(b, scale), thick, color)

        limbs = []
        sleeve = _dimmed(look.coat, 0.85)
        for side, swing in ((0.1, step), (-0.1, -step)):
            knee, foot = (side, 0.48, 0.6 * swing), (side, 0.07, swing)
            limbs.append(limb((side * 0.9, 0.9, 0), knee, (0.1, 0.075), look.trousers))
            limbs.append(limb(knee, foot, (0.072, 0.055), look.trousers))
            limbs.append(limb(foot, (side, 0.05, swing + 0.14), (0.055, 0.045), _BLACK))
        for side, swing in ((0.24, -step), (-0.24, step)):
            elbow, hand = (side * 1.1, 1.12, 0.3 * swing), (side, 0.88, 0.8 * swing)
            limbs.append(limb((side * 0.85, 1.4, 0), elbow, (0.07, 0.06), sleeve))
            limbs.append(limb(elbow, hand, (0.06, 0.045), sleeve))
        for side in (-0.08, 0.08, 0.0):
            limbs.append(limb((side, 0.92, 0), (1.4 * side, 1.38, 0), (0.12, 0.11), look.coat))
        limbs.append(limb((0, 1.5, 0), (0, 1.6, 0.02), (0.06, 0.1), look.skin))
        limbs.append(limb((0, 1.68, -0.02), (0, 1.64, -0.03), (0.095, 0.1), look.hair))
        canvas.limbs(limbs, PEDESTRIAN)


@dataclass(frozen=True)
class Cyclist:
    """A person on a bicycle."""

    x: float
    z: float
    figure: Figure
    pedal: float
    """Radians the cranks have turned."""

    @property
    def depth(self) -> float:
        """Metres ahead."""
        return self.z

    def solid(self) -> Points:
        """A slim box."""
        return box((self.x - 0.2, 0, self.z - 0.7), (self.x + 0.2, 1.5, self.z + 0.7))

    def paint(self, canvas: Canvas) -> None:
        """Draws wheels, frame and rider."""
        place = _frame((self.x, 0, self.z), self.figure.heading)
        look = self.figure

        def limb(a: Vector, b: Vector, radii: tuple[float, float], color: Tint) -> Limb:
            return Limb(place(a), place(b), radii, color)

        turn = np.linspace(0, 2 * pi, 20)
        for hub in (-0.53, 0.53):
            rim = [place((0, 0.34 + 0.33 * sin(t), hub + 0.33 * cos(t))) for t in turn]
            canvas.strokes(np.array([rim]), 0.045, _BLACK, BICYCLIST)
        crank, saddle, stem = (0, 0.3, -0.05), (0, 0.92, -0.2), (0, 0.88, 0.38)
        tubes = [
            (crank, saddle),
            (crank, stem),
            (saddle, stem),
            (crank, (0, 0.34, -0.53)),
            ((0, 1.02, 0.36), (0, 0.34, 0.53)),
            ((-0.26, 1.04, 0.4), (0.26, 1.04, 0.4)),
        ]
        frame = np.array([[place(a), place(b)] for a, b in tubes])
        canvas.strokes(frame, 0.04, _METAL, BICYCLIST)
        limbs = []
        for side, angle in ((-0.11, self.pedal), (0.11, self.pedal + pi)):
            foot = (side, 0.32 + 0.17 * sin(angle), -0.02 + 0.17 * cos(angle))
            knee = (side, 0.5 * (foot[1] + 0.92) + 0.06, 0.5 * (foot[2] - 0.15) + 0.2)
            limbs.append(limb((side, 0.96, -0.17), knee, (0.1, 0.075), look.trousers))
            limbs.append(limb(knee, foot, (0.072, 0.05), look.trousers))
            toe = (side, foot[1] - 0.02, foot[2] + 0.14)
            limbs.append(limb(foot, toe, (0.05, 0.045), _BLACK))
        for side in (-0.12, 0.12):
            limbs.append(
                limb((side * 0.7, 0.98, -0.17), (side, 1.4, 0.14), (0.12, 0.11), look.coat)
            )
        for side in (-0.19, 0.19):
            hand = (side * 1.2, 1.08, 0.38)
            limbs.append(limb((side, 1.4, 0.14), hand, (0.065, 0.045), look.coat))
        limbs.append(limb((0, 1.5, 0.2), (0, 1.6, 0.22), (0.07, 0.1), look.skin))
        limbs.append(limb((0, 1.66, 0.17), (0, 1.64, 0.22), (0.1, 0.1), look.hair))
        canvas.limbs(limbs, BICYCLIST)


class _Frame(Protocol):
    def __call__(self, local: Vector, scale: float = 1.0) -> Vector: ...


def _frame(origin: Vector, heading: float) -> _Frame:
    """Returns what turns (right, up, forwards) metres of a figure into street coordinates."""
    c, s = cos(heading), sin(heading)

    def place(local: Vector, scale: float = 1.0) -> Vector:
        right, up, forwards = (scale * v for v in local)
        return (
            origin[0] + c * right + s * forwards,
            origin[1] + up,
            origin[2] - s * right + c * forwards,
        )

    return place


@dataclass(frozen=True)
class Lamp:
    """A street lamp whose arm reaches over the road."""

    x: float
    z: float
    height: float
    reach: float
    """Metres the arm reaches to the right; negative to the left."""

    color: Tint

    @property
    def depth(self) -> float:
        """Metres ahead."""
        return self.z

    def solid(self) -> Points:
        """The post."""
        return box((self.x - 0.07, 0, self.z - 0.07), (self.x + 0.07, self.height, self.z + 0.07))

    def paint(self, canvas: Canvas) -> None:
        """Draws post, arm and lamp."""
        x, z, top = self.x, self.z, self.height
        tip = x + self.reach
        head = (tip + 0.25 * self.reach, top + 0.28, z)
        canvas.limbs(
            [
                Limb((x, 0, z), (x, 1.2, z), (0.1, 0.09), self.color),
                Limb((x, 1.2, z), (x, top, z), (0.065, 0.045), self.color),
                Limb((x, top, z), (tip, top + 0.25, z), (0.04, 0.03), self.color),
                Limb((tip, top + 0.25, z), head, (0.07, 0.1), self.color),
            ],
            POLE,
        )


@dataclass(frozen=True)
class RoadSign:
    """A plate on a post."""

    x: float
    z: float
    top: float
    """Height of the plate's middle, metres."""

    kind: str
    """`disc`, `order`, `triangle` or `board`."""

    @property
    def depth(self) -> float:
        """Metres ahead."""
        return self.z

    def solid(self) -> Points:
        """The plate."""
        return box((self.x - 0.25, self.top - 0.25, self.z), (self.x + 0.25, self.top, self.z))

    def paint(self, canvas: Canvas) -> None:
        """Draws post and plate."""
        x, z = self.x, self.z
        canvas.limbs([Limb((x, 0, z), (x, self.top, z), (0.04, 0.04), _METAL)], POLE)
        corners = 3 if self.kind == "triangle" else 18
        turn = pi / 2 + np.arange(corners) * 2 * pi / corners
        outline = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
        if self.kind == "board":
            outline = np.array([(-1, -0.7, 0), (1, -0.7, 0), (1, 0.7, 0), (-1, 0.7, 0)])
        rim, face, mark = {
            "disc": ((168, 30, 34), (214, 214, 210), (30, 30, 32)),
            "order": ((206, 208, 212), (26, 66, 146), (220, 222, 226)),
            "triangle": ((170, 30, 34), (216, 214, 208), (36, 36, 38)),
            "board": ((210, 212, 210), (28, 84, 66), (214, 216, 214)),
        }[self.kind]
        middle = np.array([x, self.top, z - 0.05])
        for radius, color in ((0.36, rim), (0.27, face)):
            canvas.fill(middle + radius * outline, color, SIGN)
        bar = np.array([(-0.14, -0.05, 0), (0.14, -0.05, 0), (0.14, 0.04, 0), (-0.14, 0.04, 0)])
        canvas.fill(middle + bar, mark, SIGN)


@dataclass(frozen=True)
class TrafficLight:
    """A signal head on a post."""

    x: float
    z: float
    lit: int
    """Which lamp shines: 0 red, 1 amber, 2 green."""

    @property
    def depth(self) -> float:
        """Metres ahead."""
        return self.z

    def solid(self) -> Points:
        """The head."""
        return box((self.x - 0.2, 2.2, self.z), (self.x + 0.2, 3.2, self.z + 0.2))

    def paint(self, canvas: Canvas) -> None:
        """Draws post, head and lamps."""
        x, z = self.x, self.z
        canvas.limbs([Limb((x, 0, z), (x, 3.1, z), (0.06, 0.06), (70, 72, 74))], POLE)
        head = upright((x, 2.7, z - 0.1), [(-0.2, -0.5), (0.2, -0.5), (0.2, 0.5), (-0.2, 0.5)])
        canvas.fill(head, (20, 21, 22), SIGN)
        lamps = []
        for lamp, color in enumerate(((255, 50, 40), (255, 180, 50), (60, 255, 150))):
            spot = (x, 3.02 - 0.32 * lamp, z - 0.15)
            glow = color if lamp == self.lit else _dimmed(color, 0.18)
            lamps.append(Limb(spot, spot, (0.11, 0.11), glow))
        canvas.limbs(lamps, SIGN)


def _dimmed(color: Tint, factor: float) -> Tint:
    r, g, b = color
    return factor * r, factor * g, factor * b
