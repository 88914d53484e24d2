"""Laying out a rendered street: what stands where, by chance, from its pavements to its people."""

from __future__ import annotations

from math import pi

import numpy as np

from bisenetv2.data.streets.buildings import Building, Style, Wall
from bisenetv2.data.streets.cars import BUS, HATCHBACK, SALOON, VAN, Body, Car
from bisenetv2.data.streets.greenery import Fence, Tree
from bisenetv2.data.streets.ground import KERB
from bisenetv2.data.streets.objects import (
    Cyclist,
    Figure,
    Lamp,
    Pedestrian,
    RoadSign,
    Thing,
    TrafficLight,
)
from bisenetv2.data.streets.view import Tint, scaled

Rng = np.random.Generator

_END = 120.0  # metres: how far the street is built up

_WALLS: tuple[tuple[Tint, bool], ...] = (
    ((112, 74, 58), True), ((92, 66, 56), True), ((134, 116, 86), True),
    ((148, 132, 104), True), ((128, 122, 112), False), ((186, 182, 170), False),
    ((168, 158, 138), False), ((92, 92, 92), False), ((120, 98, 84), True),
    ((150, 150, 148), False),
)  # fmt: skip
_PAINTS: tuple[Tint, ...] = (
    (24, 25, 28), (150, 152, 154), (196, 197, 196), (84, 88, 92), (30, 44, 78), (122, 24, 26),
    (46, 60, 52), (104, 108, 112), (40, 42, 46), (70, 20, 24), (52, 76, 112), (140, 130, 108),
)  # fmt: skip
_COATS: tuple[Tint, ...] = (
    (28, 28, 32), (44, 44, 50), (60, 44, 38), (34, 46, 70), (96, 34, 34), (120, 116, 108),
    (58, 66, 52), (70, 70, 74), (160, 156, 150),
)  # fmt: skip
_TIMBER: tuple[Tint, ...] = ((104, 82, 60), (84, 72, 60), (120, 112, 100))
_IRON: tuple[Tint, ...] = ((40, 44, 46), (88, 90, 92))
_SHOPS: tuple[Tint, ...] = (
    (40, 60, 50), (110, 30, 32), (32, 44, 82), (52, 48, 44), (150, 120, 52), (70, 84, 92),
    (28, 28, 30),
)  # fmt: skip


class Street:
    """Lays out one street, from its pavements to its people; used once per scene."""

    def __init__(self, rng: Rng, half: float) -> None:
        self.rng = rng
        self.half = half
        self.town = float(rng.uniform(0, 1))  # 0: leafy suburb, 1: city centre
        self.bare = bool(rng.random() < 0.35)  # winter: trees without leaves
        self.paving = {-1.0: rng.uniform(1.8, 3.6), 1.0: rng.uniform(1.8, 3.6)}
        self.leaf: Tint = (rng.uniform(58, 92), rng.uniform(78, 100), rng.uniform(40, 58))
        self.mouths: list[tuple[float, float, float]] = []
        self.zebra = rng.uniform(9, 24) if rng.random() < 0.25 else None
        self.things: list[Thing] = []
        self._taken: list[tuple[float, float, float, float]] = []  # left, right, near, far
        for side in (-1.0, 1.0):
            self._line(side)
            self._furnish(side)
        self._close()
        self._drive()
        self._walk()
        self._cycle()

    def _pick(self, choices: tuple[Tint, ...], spread: float = 0.12) -> Tint:
        """One of some colours, a little brighter or darker."""
        color = choices[int(self.rng.integers(len(choices)))]
        return scaled(color, self.rng.normal(1, spread))

    def _line(self, side: float) -> None:
        """Buildings, gardens, parks and side streets along one side, from near to far."""
        rng = self.rng
        front = self.half + self.paving[side]
        garden = 0.0 if rng.random() < self.town else rng.uniform(1.5, 4.5)
        storeys = 2.2 + 2.2 * self.town
        z = 2.5
        while z < _END:
            chance = rng.random()
            width = rng.uniform(5, 9 + 6 * self.town)
            if chance < 0.1 and z > 8:
                width = rng.uniform(6, 8)
                self.mouths.append((side, z, z + width))
            elif chance < 0.34 - 0.18 * self.town:
                width = rng.uniform(7, 18)
                self._plant(side, front, z, z + width)
            else:
                height = max(4.5, rng.normal(3.1 * storeys, 2.0))
                self._house(_beside(side, front + garden, 0.0, z, width, height))
                if garden:
                    self._enclose(side, front, z, z + width)
            z += width

    def _house(self, front: Wall) -> None:
        """A building of any style behind its front."""
        rng = self.rng
        color, brick = _WALLS[int(rng.integers(len(_WALLS)))]
        wall = scaled(color, rng.normal(1, 0.1))
        bright = rng.uniform(120, 200)
        slate = rng.uniform(52, 84)
        pitched = rng.random() > 0.6 * self.town
        style = Style(
            wall=wall,
            trim=(bright, bright, 0.96 * bright),
            roof=(slate * rng.uniform(1, 1.35), slate, slate * rng.uniform(0.88, 1)),
            brick=brick,
            floor=rng.uniform(2.8, 3.5),
            pitch=rng.uniform(1.8, 3.2) if pitched else 0.0,
            bay=rng.uniform(1.9, 3.2),
            window=(rng.uniform(0.36, 0.66), rng.uniform(0.42, 0.58)),
            shop=self._pick(_SHOPS) if rng.random() < self.town else None,
            chimney=bool(pitched and rng.random() < 0.7),
        )
        self.things.append(Building(front, style, rng.random(40)))

    def _enclose(self, side: float, x: float, near: float, far: float) -> list[float]:
        """A fence, in lengths short enough to be sorted by distance; returns where they end."""
        rng = self.rng
        boards = bool(rng.random() < 0.6)
        height = rng.uniform(1.0, 1.7)
        color = self._pick(_TIMBER if boards else _IRON)
        ends = []
        while near < far:
            length = min(max(5.0, 0.25 * near), far - near)
            wall = _beside(side, x, KERB, near, length, height)
            self.things.append(Fence(wall, color, boards))
            near += length
            ends.append(near)
        return ends

    def _plant(self, side: float, x: float, near: float, far: float) -> None:
        """A piece of park: a fence, and bushes and trees behind it."""
        rng = self.rng
        for end in self._enclose(side, x, near, far):
            for z in (end - 0.5, end - 3.0):
                # Sorted as if beyond their length of fence, so that it is painted over them.
                height, back = rng.uniform(5, 10), rng.uniform(2, 5)
                self._tree(side * (x + back), z, height, depth=end + 0.2)
                self._tree(side * (x + 1.6), z - 0.5, rng.uniform(1.8, 3.0), end + 0.1, bush=True)
        self._house(_beside(side, x + 12, 0.0, near, far - near, 5.0))

    def _tree(
        self, x: float, z: float, height: float, depth: float | None = None, bush: bool = False
    ) -> None:
        """A tree, sorted at `depth` where its own distance will not do."""
        rng = self.rng
        count = 1 if bush else 3
        clumps = np.concatenate([rng.uniform(-1, 1, (count, 3)), rng.random((count, 2))], axis=1)
        clumps = clumps[np.argsort(-clumps[:, 2])]
        bark = rng.uniform(44, 76)
        self.things.append(
            Tree(
                x=x,
                z=z,
                depth=z if depth is None else depth,
                height=height,
                spread=height * (0.8 if bush else rng.uniform(0.26, 0.4)),
                color=self._pick((self.leaf,), 0.1),
                bark=(bark, 0.93 * bark, 0.84 * bark),
                clumps=clumps,
                bare=self.bare and not bush,
                boughs=rng.random(64),
            )
        )

    def _furnish(self, side: float) -> None:
        """Lamps, signs, signals, street trees and kerb railings along one pavement."""
        rng = self.rng
        kerb = side * (self.half + 0.45)
        tone = rng.uniform(66, 120)
        reach = -side * rng.uniform(0.8, 2.2)
        tall = rng.uniform(5.5, 8.5)
        for z in np.arange(rng.uniform(6, 26), 130, rng.uniform(22, 32)):
            self.things.append(Lamp(kerb, float(z), tall, reach, (tone, tone, tone + 2)))
        for _ in range(int(rng.integers(1, 4))):
            kind = ("disc", "order", "triangle", "board")[int(rng.integers(4))]
            self.things.append(RoadSign(kerb, rng.uniform(7, 40), rng.uniform(2.0, 2.7), kind))
        if self.zebra is not None or rng.random() < 0.3:
            z = (self.zebra or rng.uniform(12, 30)) - 0.6
            self.things.append(TrafficLight(kerb, z, int(rng.integers(3))))
        if rng.random() < 0.6 - 0.3 * self.town and self.paving[side] > 2.2:
            height = rng.uniform(5, 9)
            for z in np.arange(rng.uniform(8, 20), 90, rng.uniform(10, 16)):
                self._tree(kerb + side * 0.6, float(z), height * rng.uniform(0.8, 1.15))
        if rng.random() < 0.35:
            start, length = rng.uniform(6, 25), rng.uniform(8, 20)
            for z in np.arange(start, start + length, 4.0):
                wall = _beside(side, self.half + 0.3, KERB, float(z), 4.0, 1.05)
                self.things.append(Fence(wall, (110, 112, 112), False))

    def _close(self) -> None:
        """Houses and trees across the far end, where the street turns away."""
        rng = self.rng
        x = -60.0
        while x < 60:
            width, height = rng.uniform(10, 20), rng.uniform(5, 13)
            far = _END + rng.uniform(20, 35)
            self._house(Wall((x, 0.0, far), (1.0, 0.0), (0.0, -1.0), width, height))
            self._tree(x, _END + 15, rng.uniform(6, 12))
            x += width

    def _drive(self) -> None:
        """Parked cars along the kerbs, then the traffic ahead and the oncoming."""
        rng = self.rng
        for side in (-1.0, 1.0):
            if rng.random() < 0.75:
                z, last = rng.uniform(5.5, 18), rng.uniform(30, 90)
                while z < last:
                    body = (HATCHBACK, SALOON, VAN)[int(rng.integers(3))]
                    x = side * (self.half - rng.uniform(0.95, 1.15))
                    if self._may_park(side, z):
                        self._car(x, z, body, oncoming=side > 0)
                    z += body.length
                    z += rng.uniform(0.8, 3) if rng.random() < 0.7 else rng.uniform(4, 16)
        for side in (-1.0, 1.0):
            z = rng.uniform(9, 45)
            while z < 110:
                body = (HATCHBACK, SALOON, VAN, BUS)[int(rng.choice(4, p=(0.46, 0.33, 0.16, 0.05)))]
                self._car(side * 0.37 * self.half + rng.normal(0, 0.1), z, body, side > 0)
                z += body.length + rng.uniform(6, 50)

    def _car(self, x: float, z: float, body: Body, oncoming: bool) -> None:
        if self._claim(x, z, body.width, body.length):
            self.things.append(Car(x, z, body, self._pick(_PAINTS), oncoming))

    def _claim(self, x: float, z: float, width: float, length: float) -> bool:
        """Takes a piece of the road from z on, unless somebody is there already."""
        left, right, near, far = x - width / 2, x + width / 2, z - 0.4, z + length + 0.4
        free = all(right <= a or b <= left or far <= c or d <= near for a, b, c, d in self._taken)
        if free:
            self._taken.append((left, right, near, far))
        return free

    def _may_park(self, side: float, z: float) -> bool:
        """Whether a car may be parked there: not across a side street or a zebra crossing."""
        crossing = self.zebra is not None and -7 < z - self.zebra < 5
        return not crossing and all(s != side or z + 5 < a or z > b for s, a, b in self.mouths)

    def _figure(self, heading: float) -> Figure:
        rng = self.rng
        skin, hair = rng.uniform(0.45, 1.05), rng.uniform(0.3, 1.6)
        return Figure(
            height=rng.uniform(1.58, 1.88),
            heading=heading,
            coat=self._pick(_COATS),
            trousers=self._pick(_COATS[:4]),
            skin=(196 * skin, 154 * skin, 130 * skin),
            hair=(52 * hair, 42 * hair, 34 * hair),
        )

    def _walk(self) -> None:
        """People on the pavements and, now and then, on the road."""
        rng = self.rng
        for _ in range(int(rng.integers(3, 8 + int(10 * self.town)))):
            side = -1.0 if rng.random() < 0.5 else 1.0
            x = side * (self.half + rng.uniform(0.7, max(0.8, self.paving[side] - 0.3)))
            heading = rng.normal(0, 0.2) + (pi if rng.random() < 0.5 else 0)
            z = 6 * (60 / 6) ** rng.random()
            stride = rng.uniform(-0.35, 0.35)
            self.things.append(Pedestrian(x, z, self._figure(heading), stride, KERB))
        if rng.random() < 0.3:
            z = self.zebra + 1.2 if self.zebra is not None else rng.uniform(12, 40)
            x = rng.uniform(-self.half, self.half)
            figure = self._figure(self._crossing())
            if self._claim(x, z - 0.3, 0.8, 0.6):
                self.things.append(Pedestrian(x, z, figure, 0.3, 0.0))

    def _cycle(self) -> None:
        """Cyclists near either kerb, one crossing the road now and then."""
        rng = self.rng
        for _ in range(int(rng.integers(0, 4))):
            side = -1.0 if rng.random() < 0.6 else 1.0
            heading = rng.normal(0, 0.12) + (pi if side > 0 else 0)
            x = side * (self.half - rng.uniform(0.7, 2.6))
            self._cyclist(x, 7 * (40 / 7) ** rng.random(), heading)
        if rng.random() < 0.15:
            x, z = rng.uniform(-self.half, self.half), rng.uniform(10, 30)
            self._cyclist(x, z, self._crossing())

    def _cyclist(self, x: float, z: float, heading: float) -> None:
        rider = Cyclist(x, z, self._figure(heading), self.rng.uniform(0, 2 * pi))
        if self._claim(x, z - 0.9, 0.7, 1.8):
            self.things.append(rider)

    def _crossing(self) -> float:
        """Heading of one who crosses the road, to the right or to the left."""
        return pi / 2 if self.rng.random() < 0.5 else -pi / 2


def _beside(side: float, x: float, y: float, z: float, width: float, height: float) -> Wall:
    """A wall along the street that faces it, `x` metres off the road's middle, from z on."""
    return Wall((side * x, y, z), (0.0, 1.0), (-side, 0.0), width, height)
