"""What stands, walks and drives on a rendered street: people, cyclists, poles and signs."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from typing import NamedTuple, Protocol

import numpy as np

from bisenetv2.data.streets.canvas import BICYCLIST, PEDESTRIAN, POLE, SIGN, Canvas, Limb
from bisenetv2.data.streets.view import Points, Tint, Vector, scaled

BLACK: Tint = (18, 18, 20)
METAL: Tint = (96, 98, 100)


class Thing(Protocol):
    """Something on the street."""

    @property
    def depth(self) -> float:
        """Metres ahead by which things are sorted; the farthest is painted first."""

    def solid(self) -> Points:
        """Corners (N, 3) whose convex hull casts its shadow."""

    def paint(self, canvas: Canvas) -> None:
        """Draws it over what lies behind."""


def box(low: Vector, high: Vector) -> Points:
    """Returns the 8 corners of a box along the axes: 8, 3."""
    corners = [
        (x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
    ]
    return np.array(corners)


@dataclass(frozen=True)
class Standing:
    """A thing at one place of the street."""

    x: float
    """Metres to the right."""

    z: float
    """Metres ahead."""

    @property
    def depth(self) -> float:
        """Metres ahead."""
        return self.z


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
class Pedestrian(Standing):
    """A person who stands or walks."""

    figure: Figure
    stride: float
    """Half the distance between the feet in metres; its sign is which leg leads."""

    ground: float
    """Height of the pavement in metres."""

    def solid(self) -> Points:
        """A slim box."""
        return box((self.x - 0.2, 0, self.z - 0.1), (self.x + 0.2, 1.6, self.z + 0.1))

    def paint(self, canvas: Canvas) -> None:
        """Draws legs, arms, coat and head."""
        look, step = self.figure, self.stride
        limb = _Pose((self.x, self.ground, self.z), look.heading, look.height / 1.75).limb
        limbs = []
        sleeve = scaled(look.coat, 0.85)
        for side, swing in ((0.1, step), (-0.1, -step)):
            knee, foot = (side, 0.48, 0.6 * swing), (side, 0.07, swing)
            limbs.append(limb((side * 0.9, 0.9, 0), knee, (0.1, 0.075), look.trousers))
            limbs.append(limb(knee, foot, (0.072, 0.055), look.trousers))
            limbs.append(limb(foot, (side, 0.05, swing + 0.14), (0.055, 0.045), BLACK))
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
class Cyclist(Standing):
    """A person on a bicycle."""

    figure: Figure
    pedal: float
    """Radians the cranks have turned."""

    def solid(self) -> Points:
        """A slim box."""
        return box((self.x - 0.2, 0, self.z - 0.7), (self.x + 0.2, 1.5, self.z + 0.7))

    def paint(self, canvas: Canvas) -> None:
        """Draws wheels, frame and rider."""
        look = self.figure
        pose = _Pose((self.x, 0, self.z), look.heading)
        place, limb = pose.place, pose.limb
        turn = np.linspace(0, 2 * pi, 20)
        for hub in (-0.53, 0.53):
            rim = [place((0, 0.34 + 0.33 * sin(t), hub + 0.33 * cos(t))) for t in turn]
            canvas.strokes(np.array([rim]), 0.045, BLACK, BICYCLIST)
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
        canvas.strokes(frame, 0.04, METAL, BICYCLIST)
        limbs = []
        for side, angle in ((-0.11, self.pedal), (0.11, self.pedal + pi)):
            foot = (side, 0.32 + 0.17 * sin(angle), -0.02 + 0.17 * cos(angle))
            knee = (side, 0.5 * (foot[1] + 0.92) + 0.06, 0.5 * (foot[2] - 0.15) + 0.2)
            limbs.append(limb((side, 0.96, -0.17), knee, (0.1, 0.075), look.trousers))
            limbs.append(limb(knee, foot, (0.072, 0.05), look.trousers))
            toe = (side, foot[1] - 0.02, foot[2] + 0.14)
            limbs.append(limb(foot, toe, (0.05, 0.045), BLACK))
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


class _Pose(NamedTuple):
    """Turns (right, up, forwards) metres of a figure into street coordinates."""

    origin: Vector
    heading: float
    scale: float = 1.0

    def place(self, local: Vector) -> Vector:
        c, s = cos(self.heading), sin(self.heading)
        right, up, forwards = (self.scale * v for v in local)
        x, y, z = self.origin
        return x + c * right + s * forwards, y + up, z - s * right + c * forwards

    def limb(self, a: Vector, b: Vector, radii: tuple[float, float], color: Tint) -> Limb:
        thick = (radii[0] * self.scale, radii[1] * self.scale)
        return Limb(self.place(a), self.place(b), thick, color)


@dataclass(frozen=True)
class Lamp(Standing):
    """A street lamp whose arm reaches over the road."""

    height: float
    reach: float
    """Metres the arm reaches to the right; negative to the left."""

    color: Tint

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
class RoadSign(Standing):
    """A plate on a post."""

    top: float
    """Height of the plate's middle, metres."""

    kind: str
    """`disc`, `order`, `triangle` or `board`."""

    def solid(self) -> Points:
        """The plate."""
        return box((self.x - 0.25, self.top - 0.25, self.z), (self.x + 0.25, self.top, self.z))

    def paint(self, canvas: Canvas) -> None:
        """Draws post and plate."""
        x, z = self.x, self.z
        canvas.limbs([Limb((x, 0, z), (x, self.top, z), (0.04, 0.04), METAL)], POLE)
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
class TrafficLight(Standing):
    """A signal head on a post."""

    lit: int
    """Which lamp shines: 0 red, 1 amber, 2 green."""

    def solid(self) -> Points:
        """The head."""
        return box((self.x - 0.2, 2.2, self.z), (self.x + 0.2, 3.2, self.z + 0.2))

    def paint(self, canvas: Canvas) -> None:
        """Draws post, head and lamps."""
        x, z = self.x, self.z
        canvas.limbs([Limb((x, 0, z), (x, 3.1, z), (0.06, 0.06), (70, 72, 74))], POLE)
        corners = [(-0.2, 2.2), (0.2, 2.2), (0.2, 3.2), (-0.2, 3.2)]
        head = np.array([(x + right, up, z - 0.1) for right, up in corners])
        canvas.fill(head, (20, 21, 22), SIGN)
        lamps = []
        for lamp, color in enumerate(((255, 50, 40), (255, 180, 50), (60, 255, 150))):
            spot = (x, 3.02 - 0.32 * lamp, z - 0.15)
            glow = color if lamp == self.lit else scaled(color, 0.18)
            lamps.append(Limb(spot, spot, (0.11, 0.11), glow))
        canvas.limbs(lamps, SIGN)
