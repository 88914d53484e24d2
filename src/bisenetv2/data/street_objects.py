"""What stands, walks and drives on a rendered street: cars, people, cyclists, poles and signs."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Protocol

import numpy as np

from bisenetv2.data.street_canvas import (
    BICYCLIST,
    CAR,
    PEDESTRIAN,
    POLE,
    SIGN,
    Canvas,
    Points,
    Tint,
    Vector,
)

_BLACK: Tint = (18, 18, 20)
_GLASS: Tint = (42, 48, 54)
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
    corners = [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in
               (low[2], high[2])]
    return np.array(corners)


@dataclass(frozen=True)
class Body:
    """Shape of a kind of vehicle, seen from its side with its rear at 0 and its front at 1."""

    length: float
    """Metres."""

    width: float
    """Metres."""

    profile: tuple[tuple[float, float], ...]
    """Corners (along 0-1, height in metres) from under the rear bumper over the roof to the front."""

    panes: tuple[int, ...]
    """Which edges of the profile, by their first corner, are glass."""

    windows: tuple[tuple[tuple[float, float], ...], ...]
    """Side windows as outlines in the profile's coordinates."""

    waist: float
    """Height in metres above which the sides lean inwards."""


HATCHBACK = Body(
    4.0,
    1.72,
    ((0, 0.3), (0, 0.72), (0.03, 0.95), (0.13, 1.38), (0.24, 1.46), (0.54, 1.45), (0.76, 0.97),
     (0.97, 0.76), (1, 0.6), (1, 0.28)),
    (2, 5),
    (((0.13, 0.98), (0.18, 1.32), (0.36, 1.37), (0.36, 0.97)),
     ((0.39, 0.97), (0.39, 1.37), (0.53, 1.35), (0.69, 0.96))),
    0.95,
)
SALOON = Body(
    4.5,
    1.76,
    ((0, 0.3), (0, 0.7), (0.01, 0.93), (0.15, 0.97), (0.29, 1.36), (0.38, 1.42), (0.54, 1.41),
     (0.73, 0.95), (0.97, 0.76), (1, 0.6), (1, 0.28)),
    (3, 6),
    (((0.25, 0.97), (0.32, 1.3), (0.43, 1.34), (0.43, 0.96)),
     ((0.45, 0.96), (0.45, 1.34), (0.54, 1.32), (0.67, 0.95))),
    0.95,
)
VAN = Body(
    4.9,
    1.92,
    ((0, 0.34), (0, 1.05), (0.01, 1.12), (0.02, 1.72), (0.04, 1.95), (0.64, 1.96), (0.83, 1.14),
     (0.98, 0.95), (1, 0.7), (1, 0.3)),
    (2, 5),
    (((0.56, 1.14), (0.56, 1.72), (0.65, 1.72), (0.79, 1.12)),),
    1.1,
)
BUS = Body(
    9.5,
    2.5,
    ((0, 0.36), (0, 1.15), (0, 1.3), (0.005, 2.4), (0.01, 3.0), (0.98, 3.0), (0.995, 2.75),
     (1, 1.05), (1, 0.34)),
    (2, 6),
    (((0.04, 1.3), (0.04, 2.35), (0.34, 2.35), (0.34, 1.3)),
     ((0.36, 1.3), (0.36, 2.35), (0.66, 2.35), (0.66, 1.3)),
     ((0.68, 1.3), (0.68, 2.35), (0.96, 2.35), (0.96, 1.3))),
    1.3,
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

    def _place(self, side: float, along: float, height: float) -> Vector:
        """A spot of the body: side -1 to 1, along 0 (rear) to 1 (front), height in metres."""
        lean = 0.28 * max(0.0, height - self.body.waist) * min(1.0, 1.6 / self.body.profile[4][1])
        far = 1 - along if self.oncoming else along
        return (
            self.x + side * (self.body.width / 2 - lean),
            height,
            self.z + far * self.body.length,
        )

    def _across(self, *edge: tuple[float, float], inset: float = 0.0) -> Points:
        """The strip from the left to the right side between two profile corners: 4, 3."""
        (a, low), (b, high) = edge
        s = 1 - inset
        return np.array(
            [self._place(-s, a, low), self._place(s, a, low),
             self._place(s, b, high), self._place(-s, b, high)]
        )

    def paint(self, canvas: Canvas) -> None:
        """Draws shadow, wheels, body, windows and lights."""
        half, length = self.body.width / 2, self.body.length
        x, z = self.x, self.z
        footprint = [
            (x - half - 0.08, 0, z - 0.3),
            (x + half + 0.08, 0, z - 0.3),
            (x + half + 0.08, 0, z + length + 0.1),
            (x - half - 0.08, 0, z + length + 0.1),
        ]
        canvas.darken(np.array(footprint), 0.42)
        self._paint_tyres(canvas)
        profile = self.body.profile
        edges = list(range(len(profile) - 1))
        for first in edges if self.oncoming else reversed(edges):
            self._paint_edge(canvas, first)
        eye = canvas.camera.eye[0]
        if abs(eye - x) > half:
            self._paint_side(canvas, 1.0 if eye > x else -1.0)
        self._paint_end(canvas)

    def _paint_tyres(self, canvas: Canvas) -> None:
        """The two tyres that show under the nearest bumper."""
        half, z = self.body.width / 2, self.z + 0.35
        for side in (-1, 1):
            centre = self.x + side * (half - 0.16)
            tyre = upright((centre, 0, z), [(-0.11, 0), (0.11, 0), (0.11, 0.5), (-0.11, 0.5)])
            canvas.fill(tyre, _BLACK, CAR)

    def _paint_edge(self, canvas: Canvas, first: int) -> None:
        """One strip of the shell, with its pane where it is glass."""
        (a, low), (b, high) = edge = self.body.profile[first : first + 2]
        run, rise = (b - a) * self.body.length, high - low
        size = (run * run + rise * rise) ** 0.5
        ahead = rise / size if self.oncoming else -rise / size
        canvas.fill(self._across(*edge), self.color, CAR, (0, abs(run) / size, ahead))
        if first in self.body.panes:
            mid_a, mid_b = a + 0.08 * (b - a), b - 0.08 * (b - a)
            rim = 0.07 * rise
            pane = self._across((mid_a, low + rim), (mid_b, high - rim), inset=0.09)
            canvas.fill(pane, _GLASS, CAR)
            glare = self._across(
                (mid_a + 0.6 * (mid_b - mid_a), low + 0.6 * rise), (mid_b, high - rim), inset=0.12
            )
            canvas.fill(glare, (66, 75, 84), CAR)

    def _paint_side(self, canvas: Canvas, side: float) -> None:
        """The flank that looks at the camera, its windows and wheels."""
        normal = (side, 0.0, 0.0)
        flank = np.array([self._place(side, along, y) for along, y in self.body.profile])
        canvas.fill(flank, self.color, CAR, normal)
        sill = [(0.02, 0.3), (0.02, 0.46), (0.98, 0.46), (0.98, 0.3)]
        dark = tuple(0.6 * c for c in self.color)
        canvas.fill(np.array([self._place(side, *p) for p in sill]), dark, CAR, normal)
        for window in self.body.windows:
            canvas.fill(np.array([self._place(side, *p) for p in window]), _GLASS, CAR, normal)
        radius = 0.31 if self.body.length < 6 else 0.46
        for along in (0.19, 0.81):
            hub = np.array(self._place(side, along, radius))
            for size, color in ((1.0, _BLACK), (0.58, _METAL)):
                turn = np.linspace(0, 2 * pi, 16, endpoint=False)
                rim = np.stack([0 * turn, np.sin(turn), np.cos(turn)], axis=-1)
                canvas.fill(hub + size * radius * rim, color, CAR, normal)

    def _paint_end(self, canvas: Canvas) -> None:
        """Bumper, plate and lamps of the end that looks at the camera."""
        along = 1.0 if self.oncoming else 0.0
        bottom, top = self.body.profile[0][1], 0.72 if self.body.length < 6 else 1.0

        def patch(left: float, low: float, right: float, high: float) -> Points:
            """A rectangle on the end, sides in half widths and heights in metres."""
            return np.array([self._place(left, along, low), self._place(right, along, low),
                             self._place(right, along, high), self._place(left, along, high)])

        canvas.fill(patch(-0.97, bottom, 0.97, bottom + 0.16), (40, 41, 43), CAR)
        plate = (205, 205, 198) if self.oncoming else (196, 170, 60)
        canvas.fill(patch(-0.28, bottom + 0.18, 0.28, bottom + 0.29), plate, CAR)
        if self.oncoming:
            canvas.fill(patch(-0.5, bottom + 0.26, 0.5, top - 0.12), (30, 31, 33), CAR)
        lamp = (228, 228, 218) if self.oncoming else (150, 24, 22)
        low = top - (0.18 if self.oncoming else 0.26)
        for side in (-1, 1):
            canvas.fill(patch(side * 0.94, low, side * 0.62, top), lamp, CAR)


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

        def limb(a: Vector, b: Vector, radii: tuple[float, float], color: Tint) -> None:
            radii = (radii[0] * scale, radii[1] * scale)
            canvas.limb(place(a, scale), place(b, scale), radii, color, PEDESTRIAN)

        for side, swing in ((0.1, step), (-0.1, -step)):
            knee, foot = (side, 0.48, 0.6 * swing), (side, 0.07, swing)
            limb((side * 0.9, 0.9, 0), knee, (0.1, 0.075), look.trousers)
            limb(knee, foot, (0.072, 0.055), look.trousers)
            limb(foot, (side, 0.05, swing + 0.14), (0.055, 0.045), _BLACK)
        for side, swing in ((0.24, -step), (-0.24, step)):
            sleeve = tuple(0.85 * c for c in look.coat)
            limb((side * 0.85, 1.4, 0), (side * 1.1, 1.12, 0.3 * swing), (0.07, 0.06), sleeve)
            limb((side * 1.1, 1.12, 0.3 * swing), (side, 0.88, 0.8 * swing), (0.06, 0.045), sleeve)
        limb((-0.08, 0.92, 0), (-0.11, 1.38, 0), (0.11, 0.1), look.coat)
        limb((0.08, 0.92, 0), (0.11, 1.38, 0), (0.11, 0.1), look.coat)
        limb((0, 0.92, 0), (0, 1.4, 0), (0.13, 0.13), look.coat)
        limb((0, 1.5, 0), (0, 1.6, 0.02), (0.06, 0.1), look.skin)
        limb((0, 1.68, -0.02), (0, 1.64, -0.03), (0.095, 0.1), look.hair)


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

        def limb(a: Vector, b: Vector, radii: tuple[float, float], color: Tint) -> None:
            canvas.limb(place(a), place(b), radii, color, BICYCLIST)

        turn = np.linspace(0, 2 * pi, 20)
        for hub in (-0.53, 0.53):
            rim = [place((0, 0.34 + 0.33 * sin(t), hub + 0.33 * cos(t))) for t in turn]
            canvas.strokes(np.array([rim]), 0.045, _BLACK, BICYCLIST)
        crank, saddle, stem = (0, 0.3, -0.05), (0, 0.92, -0.2), (0, 0.88, 0.38)
        tubes = [(crank, saddle), (crank, stem), (saddle, stem), (crank, (0, 0.34, -0.53)),
                 ((0, 1.02, 0.36), (0, 0.34, 0.53)), ((-0.26, 1.04, 0.4), (0.26, 1.04, 0.4))]
        frame = np.array([[place(a), place(b)] for a, b in tubes])
        canvas.strokes(frame, 0.04, _METAL, BICYCLIST)
        for side, angle in ((-0.11, self.pedal), (0.11, self.pedal + pi)):
            foot = (side, 0.32 + 0.17 * sin(angle), -0.02 + 0.17 * cos(angle))
            knee = (side, 0.5 * (foot[1] + 0.92) + 0.06, 0.5 * (foot[2] - 0.15) + 0.2)
            limb((side, 0.96, -0.17), knee, (0.1, 0.075), look.trousers)
            limb(knee, foot, (0.072, 0.05), look.trousers)
            limb(foot, (side, foot[1] - 0.02, foot[2] + 0.14), (0.05, 0.045), _BLACK)
        for side in (-0.12, 0.12):
            limb((side * 0.7, 0.98, -0.17), (side, 1.4, 0.14), (0.12, 0.11), look.coat)
        for side in (-0.19, 0.19):
            limb((side, 1.4, 0.14), (side * 1.2, 1.08, 0.38), (0.065, 0.045), look.coat)
        limb((0, 1.5, 0.2), (0, 1.6, 0.22), (0.07, 0.1), look.skin)
        limb((0, 1.66, 0.17), (0, 1.64, 0.22), (0.1, 0.1), look.hair)


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
        canvas.limb((x, 0, z), (x, 1.2, z), (0.1, 0.09), self.color, POLE)
        canvas.limb((x, 1.2, z), (x, top, z), (0.065, 0.045), self.color, POLE)
        canvas.limb((x, top, z), (tip, top + 0.25, z), (0.04, 0.03), self.color, POLE)
        head = (tip + 0.25 * self.reach, top + 0.28, z)
        canvas.limb((tip, top + 0.25, z), head, (0.07, 0.1), self.color, POLE)


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
        canvas.limb((x, 0, z), (x, self.top, z), (0.04, 0.04), _METAL, POLE)
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
        canvas.limb((x, 0, z), (x, 3.1, z), (0.06, 0.06), (70, 72, 74), POLE)
        head = upright((x, 2.7, z - 0.1), [(-0.2, -0.5), (0.2, -0.5), (0.2, 0.5), (-0.2, 0.5)])
        canvas.fill(head, (20, 21, 22), SIGN)
        shining = ((255, 50, 40), (255, 180, 50), (60, 255, 150))
        for lamp, color in enumerate(shining):
            y = 3.02 - 0.32 * lamp
            glow = color if lamp == self.lit else tuple(0.18 * c for c in color)
            canvas.limb((x, y, z - 0.15), (x, y, z - 0.15), (0.11, 0.11), glow, SIGN)

