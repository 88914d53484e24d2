"""What lines a rendered street: buildings, fences and trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, sin

import numpy as np
import numpy.typing as npt

from bisenetv2.data.street_canvas import (
    BUILDING,
    FENCE,
    TREE,
    UP,
    Canvas,
    Points,
    Tint,
    Vector,
)
from bisenetv2.data.street_tiles import Tile, brick_tile, plaster_tile

Numbers = npt.NDArray[np.float64]

_TEXELS = 16.0  # of a wall's texture, per metre


@dataclass(frozen=True)
class Wall:
    """An upright rectangle."""

    corner: Vector
    """Its lower corner, where `along` starts."""

    along: tuple[float, float]
    """Unit direction (x, z) of its foot."""

    outwards: tuple[float, float]
    """Unit direction (x, z) it faces."""

    width: float
    height: float

    @property
    def normal(self) -> Vector:
        """Direction it faces."""
        return (self.outwards[0], 0.0, self.outwards[1])

    def at(self, u: Numbers, v: Numbers, out: float = 0.0) -> Points:
        """Places of metres along `u` and up `v` (any shape), `out` metres before the wall."""
        x0, y0, z0 = self.corner
        x = x0 + self.along[0] * u + self.outwards[0] * out
        z = z0 + self.along[1] * u + self.outwards[1] * out
        return np.stack([x, y0 + v, z], axis=-1)

    def rectangles(self, left: Numbers, low: Numbers, right: Numbers, high: Numbers) -> Points:
        """Rectangles on the wall, one for each broadcast element: N, 4, 3."""
        sides = np.broadcast_arrays(left, low, right, high)
        a, b, c, d = (np.asarray(side, np.float64).ravel() for side in sides)
        return self.at(np.stack([a, c, c, a], -1), np.stack([b, b, d, d], -1))

    def rectangle(self, left: float, low: float, right: float, high: float) -> Points:
        """One rectangle on the wall: 4, 3."""
        return self.at(np.array([left, right, right, left]), np.array([low, low, high, high]))

    def faces(self, eye: Vector) -> bool:
        """Whether its front can be seen from `eye`."""
        x, _, z = self.corner
        return (eye[0] - x) * self.outwards[0] + (eye[2] - z) * self.outwards[1] > 0


@dataclass(frozen=True)
class Style:
    """How a building is built; drawn once per building."""

    wall: Tint
    trim: Tint
    roof: Tint
    brick: bool
    floor: float
    """Height of a storey, metres."""

    pitch: float
    """Rise of the roof's ridge, metres; 0 for a flat roof."""

    bay: float
    """Metres from window to window."""

    window: tuple[float, float]
    """Width and height of a window as fractions of bay and storey."""

    shop: Tint | None
    """Colour of the shop front; `None` for a dwelling."""

    chimney: bool


@dataclass(frozen=True)
class Building:
    """A house: front, visible ends, roof and chimney."""

    front: Wall
    style: Style
    tones: Numbers = field(repr=False)
    """Random numbers in 0-1, one a window and more: which panes shine."""

    thickness: float = 9.0
    """Metres from front to back."""

    @property
    def depth(self) -> float:
        """Metres ahead of its farthest front corner."""
        return self.front.corner[2] + max(0.0, self.front.along[1]) * self.front.width

    def _behind(self, u: float, v: float, back: float) -> Vector:
        """A place `back` metres behind the front."""
        x, y, z = self.front.at(np.array(u), np.array(v), -back)
        return float(x), float(y), float(z)

    def solid(self) -> Points:
        """Corners of its walls."""
        w, h, t = self.front.width, self.front.height, self.thickness
        return np.array([self._behind(u, v, b) for u in (0, w) for v in (0, h) for b in (0, t)])

    def paint(self, canvas: Canvas) -> None:
        """Draws roof, ends and front."""
        self._paint_roof(canvas)
        width, height, ridge = self.front.width, self.front.height, self.thickness / 2
        ax, az = self.front.along
        for u, way in ((0.0, -1.0), (width, 1.0)):
            end = Wall(
                self._behind(u, 0, self.thickness), self.front.outwards, (way * ax, way * az),
                self.thickness, height,
            )
            if end.faces(canvas.camera.eye):
                gable = [self._behind(u, 0, self.thickness), self._behind(u, 0, 0),
                         self._behind(u, height, 0),
                         self._behind(u, height + self.style.pitch, ridge),
                         self._behind(u, height, self.thickness)]
                canvas.fill(np.array(gable), self.style.wall, BUILDING, end.normal)
                self._grain(canvas, end)
        if self.front.faces(canvas.camera.eye):
            self._paint_front(canvas)

    def _paint_roof(self, canvas: Canvas) -> None:
        """The slope above the front and a chimney on the ridge."""
        width, height, pitch = self.front.width, self.front.height, self.style.pitch
        ridge = self.thickness / 2
        if self.style.chimney:
            at = 0.2 * width if self.tones[0] < 0.5 else 0.8 * width
            foot, top = height + 0.6 * pitch, height + pitch + 1.3
            for back in (ridge + 0.5, ridge - 0.5):
                stack = [self._behind(at + du, v, back)
                         for du, v in ((-0.6, foot), (0.6, foot), (0.6, top), (-0.6, top))]
                canvas.fill(np.array(stack), self.style.wall, BUILDING, self.front.normal)
            face = [self._behind(at - 0.6, v, b) for v, b in
                    ((foot, ridge - 0.5), (foot, ridge + 0.5), (top, ridge + 0.5),
                     (top, ridge - 0.5))]
            canvas.fill(np.array(face), self.style.wall, BUILDING)
        if pitch:
            slope = [self._behind(-0.1, height, -0.3), self._behind(width + 0.1, height, -0.3),
                     self._behind(width + 0.1, height + pitch, ridge),
                     self._behind(-0.1, height + pitch, ridge)]
            canvas.fill(np.array(slope), self.style.roof, BUILDING, UP)
            corners = np.array(slope)
            canvas.grain(corners, brick_tile(), _texels(width, 6, self.tones), 0.8)

    def _grain(self, canvas: Canvas, wall: Wall) -> None:
        tile: Tile = brick_tile() if self.style.brick else plaster_tile()
        corners = wall.rectangle(0, 0, wall.width, wall.height)
        texels = _texels(wall.width, wall.height, self.tones)
        # The eye cannot tell bricks from afar, where they would only flicker.
        canvas.grain(corners, tile, texels, 1 / (1 + max(0.0, self.depth - 20) / 30))

    def _paint_front(self, canvas: Canvas) -> None:
        """Wall, cornice, windows storey by storey, ground floor."""
        front, style, normal = self.front, self.style, self.front.normal

        def paint(shape: Points, color: Tint) -> None:
            canvas.fill(shape, color, BUILDING, normal)

        paint(front.rectangle(0, 0, front.width, front.height), style.wall)
        self._grain(canvas, front)
        paint(front.rectangle(0, front.height - 0.35, front.width, front.height), style.trim)
        columns = max(1, int(front.width / style.bay))
        storeys = max(1, int((front.height - 0.4) / style.floor))
        bay = front.width / columns
        half = style.window[0] * bay / 2
        middle = (np.arange(columns) + 0.5) * bay  # columns
        first = 1 if style.shop is not None else 0
        if storeys > first:
            sills = (np.arange(first, storeys)[:, None] + 0.3) * style.floor  # storeys, 1
            heads = sills + style.window[1] * style.floor
            self._paint_windows(canvas, middle, half, sills, heads)
        if style.shop is not None:
            self._paint_shop(canvas, style.shop)
        else:
            door = middle[int(self.tones[1] * columns)]
            paint(front.rectangle(door - 0.7, 0, door + 0.7, 2.5), style.trim)
            shade = 0.35 + 0.5 * self.tones[2]
            paint(front.rectangle(door - 0.5, 0, door + 0.5, 2.2), _scaled(style.roof, shade))
            paint(front.rectangle(0, 0, front.width, 0.3), _scaled(style.wall, 0.7))

    def _paint_windows(
        self, canvas: Canvas, middle: Numbers, half: float, sills: Numbers, heads: Numbers
    ) -> None:
        """Frames, panes in three tones, sills and glazing bars."""
        front, style, normal = self.front, self.style, self.front.normal
        rim = 0.09

        def paint(shapes: Points, color: Tint) -> None:
            canvas.fill(shapes, color, BUILDING, normal)

        left, right = middle - half, middle + half
        paint(front.rectangles(left - rim, sills - rim, right + rim, heads + rim), style.trim)
        panes = front.rectangles(left, sills, right, heads)  # N, 4, 3
        tones = np.resize(self.tones, len(panes))
        for low, high, color in (
            (0.0, 0.55, (38, 42, 47)), (0.55, 0.85, (62, 70, 78)), (0.85, 1.01, (116, 124, 130)),
        ):
            paint(panes[(tones >= low) & (tones < high)], color)
        if self.depth < 80:
            paint(front.rectangles(left - 0.15, sills - 0.2, right + 0.15, sills - rim), style.trim)
            centre = 0.5 * (sills + heads)
            paint(front.rectangles(left, centre - 0.03, right, centre + 0.03), style.trim)
            paint(front.rectangles(middle - 0.025, sills, middle + 0.025, heads), style.trim)

    def _paint_shop(self, canvas: Canvas, color: Tint) -> None:
        """Glass front under a fascia board."""
        front, normal = self.front, self.front.normal
        width, board = front.width, self.style.floor - 0.75

        def paint(shape: Points, shade: Tint) -> None:
            canvas.fill(shape, shade, BUILDING, normal)

        paint(front.rectangle(0, 0, width, board + 0.7), _scaled(color, 0.75))
        paint(front.rectangle(0.15, board, width - 0.15, board + 0.6), color)
        letters = np.arange(0.25 * width, 0.7 * width, 0.42)
        light = (205, 200, 185)
        paint(front.rectangles(letters, board + 0.17, letters + 0.27, board + 0.43), light)
        count = max(1, int(width / 2.6))
        left = np.arange(count) * width / count + 0.2
        right = left + width / count - 0.4
        paint(front.rectangles(left, 0.5, right, board - 0.15), (34, 37, 40))
        lit = front.rectangles(left, 1.2, right, board - 0.5)[np.resize(self.tones, count) > 0.6]
        paint(lit, (96, 88, 70))
        door = left[int(self.tones[3] * count)]
        paint(front.rectangle(door, 0.05, door + 0.95, 2.15), (58, 54, 50))


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
        return self.wall.corner[2] + max(0.0, self.wall.along[1]) * self.wall.width

    def solid(self) -> Points:
        """Its outline."""
        top = self.wall.height if self.boards else 0.15
        return self.wall.rectangle(0, 0, self.wall.width, top)

    def paint(self, canvas: Canvas) -> None:
        """Draws boards or bars."""
        wall, normal = self.wall, self.wall.normal
        width, height = wall.width, wall.height
        if self.boards:
            canvas.fill(wall.rectangle(0, 0, width, height), self.color, FENCE, normal)
            seams = np.arange(0.0, width - 0.04, 0.3)
            dark = _scaled(self.color, 0.66)
            canvas.fill(wall.rectangles(seams, 0.05, seams + 0.03, height), dark, FENCE, normal)
            canvas.fill(
                wall.rectangle(0, height - 0.08, width, height), _scaled(self.color, 1.2), FENCE,
                normal,
            )
            return
        posts = np.arange(0.0, width, 2.0)
        bars = np.arange(0.0, width, 0.16)
        canvas.fill(wall.rectangles(bars, 0.12, bars + 0.035, height), self.color, FENCE, normal)
        canvas.fill(wall.rectangles(posts, 0, posts + 0.07, height), self.color, FENCE, normal)
        for rail in (0.12, height - 0.06):
            canvas.fill(wall.rectangle(0, rail, width, rail + 0.06), self.color, FENCE, normal)


@dataclass(frozen=True)
class Tree:
    """A trunk with a crown of leaves, or bare boughs."""

    x: float
    z: float
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

    @property
    def depth(self) -> float:
        """Metres ahead."""
        return self.z

    def solid(self) -> Points:
        """The crown, or the trunk of a bare tree."""
        reach = 0.2 if self.bare else 0.8 * self.spread
        low = 0.0 if self.bare else 0.4 * self.height
        return np.array([(self.x + reach * cos(t), y, self.z + reach * sin(t))
                         for t in np.linspace(0, 6.28, 10) for y in (low, 0.9 * self.height)])

    def paint(self, canvas: Canvas) -> None:
        """Draws trunk and crown."""
        fork = 0.36 * self.height
        girth = 0.024 * self.height
        root, top = (self.x, 0.0, self.z), (self.x, fork, self.z)
        canvas.limb(root, top, (girth, 0.75 * girth), self.bark, TREE)
        if self.bare:
            self._paint_boughs(canvas, fork, girth)
            return
        crown = 0.6 * (self.height - 0.25 * fork)
        middle = fork + 0.5 * crown
        for right, up, ahead, column, row in self.clumps:
            place = (
                self.x + 0.55 * right * self.spread,
                middle + 0.5 * up * crown,
                self.z + 0.5 * ahead * self.spread,
            )
            radii = (0.62 * self.spread, 0.42 * crown)
            color = _scaled(self.color, 0.85 + 0.25 * (up - 0.5 * ahead) / 2)
            canvas.foliage(place, radii, color, (512 * column, 512 * row))

    def _paint_boughs(self, canvas: Canvas, fork: float, girth: float) -> None:
        """Forks of boughs, each thinner and shorter than the last."""
        feet = np.array([[self.x, 0.92 * fork, self.z]])  # N, 3
        aim = np.zeros((1, 2))  # N, 2: lean to the right and ahead, radians
        length, turn = 0.24 * self.height, iter(np.tile(self.boughs, 16))
        for level in range(6):
            count = 3 if level < 2 else 2
            feet, aim = np.repeat(feet, count, axis=0), np.repeat(aim, count, axis=0)
            jitter = np.array([[next(turn), next(turn)] for _ in range(len(feet))])
            spokes = np.tile(np.linspace(-1, 1, count), len(feet) // count)[:, None]
            aim = aim + [0.42, 0.3] * (spokes * [1, -1] + 1.5 * (jitter - 0.5))
            ups = np.cos(aim[:, 0]) * np.cos(aim[:, 1])
            step = np.stack([np.sin(aim[:, 0]), ups, np.sin(aim[:, 1])], axis=-1)
            step *= length * (0.75 + 0.5 * jitter[:, :1])
            tips = feet + step
            lines = np.stack([feet, tips], axis=1)  # N, 2, 3
            canvas.strokes(lines, 1.2 * girth * 0.62**level, self.bark, TREE)
            feet, length = tips, 0.74 * length


def _scaled(color: Tint, factor: float) -> Tint:
    """A brighter or darker tone of a colour."""
    r, g, b = color
    return factor * r, factor * g, factor * b


def _texels(width: float, height: float, tones: Numbers) -> Points:
    """Texture coordinates of a wall's corners, from its foot upwards: 4, 2."""
    start = 512 * tones[:2]
    w, h = _TEXELS * width, _TEXELS * height
    return start + np.array([(0, h), (w, h), (w, 0), (0, 0)])
