"""Buildings along a rendered street, and the walls that they and fences stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bisenetv2.data.streets.canvas import BUILDING, Canvas, Patch
from bisenetv2.data.streets.tiles import Tile, brick_tile, plaster_tile
from bisenetv2.data.streets.view import UP, Points, Tint, Vector, scaled

Numbers = npt.NDArray[np.float64]

_FAR = 55.0  # metres: beyond it walls are plain and windows dark
_TEXELS = 28.0  # of a wall's texture, per metre
_GLASS: tuple[tuple[float, float, Tint], ...] = (
    (0.0, 0.55, (38, 42, 47)),  # dark rooms
    (0.55, 0.85, (62, 70, 78)),  # the other side of the street
    (0.85, 1.0, (116, 124, 130)),  # the sky
)


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

    @property
    def depth(self) -> float:
        """Metres ahead of its farthest end."""
        return self.corner[2] + max(0.0, self.along[1]) * self.width

    def at(self, u: float, v: float, back: float = 0.0) -> Vector:
        """A place `u` metres along, `v` up and `back` behind the wall."""
        (x, y, z), (ax, az), (ox, oz) = self.corner, self.along, self.outwards
        return x + ax * u - ox * back, y + v, z + az * u - oz * back

    def rectangles(self, sides: Numbers) -> Points:
        """Turns rectangles (N, 4: left, low, right, high in metres) into corners: N, 4, 3."""
        u, v = sides[:, [0, 2, 2, 0]], sides[:, [1, 1, 3, 3]]  # N, 4
        corners = np.empty((len(sides), 4, 3))
        corners[..., 0] = self.corner[0] + self.along[0] * u
        corners[..., 1] = self.corner[1] + v
        corners[..., 2] = self.corner[2] + self.along[1] * u
        return corners

    def paint(self, canvas: Canvas, layers: Sequence[tuple[Numbers, Tint]], label: int) -> None:
        """Fills layers of rectangles, each of one colour, one over the other."""
        sides = [np.reshape(rectangles, (-1, 4)) for rectangles, _ in layers]
        points = self.rectangles(np.concatenate(sides)).reshape(-1, 3)
        patches = [
            Patch(len(rectangles), 4, color, self.normal)
            for rectangles, (_, color) in zip(sides, layers, strict=True)
        ]
        canvas.fill_all(points, patches, label)

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
        """Metres ahead of its farthest front corner; the nearest is that where `front` starts."""
        return self.front.depth

    def solid(self) -> Points:
        """Corners of its walls."""
        w, h, t = self.front.width, self.front.height, self.thickness
        return np.array([self.front.at(u, v, b) for u in (0, w) for v in (0, h) for b in (0, t)])

    def paint(self, canvas: Canvas) -> None:
        """Draws roof, ends and front."""
        front, eye = self.front, canvas.camera.eye
        self._paint_roof(canvas)
        (ax, az), height, ridge = front.along, front.height, self.thickness / 2
        for u, way in ((0.0, -1.0), (front.width, 1.0)):
            foot = front.at(u, 0, self.thickness)
            end = Wall(foot, front.outwards, (way * ax, way * az), self.thickness, height)
            if end.faces(eye):
                gable = [
                    foot,
                    front.at(u, 0),
                    front.at(u, height),
                    front.at(u, height + self.style.pitch, ridge),
                    front.at(u, height, self.thickness),
                ]
                canvas.fill(np.array(gable), self.style.wall, BUILDING, end.normal)
                self._grain(canvas, end)
        if front.faces(eye):
            whole = np.array([0, 0, front.width, height])
            front.paint(canvas, [(whole, self.style.wall)], BUILDING)
            self._grain(canvas, front)
            front.paint(canvas, self._details(canvas), BUILDING)

    def _grain(self, canvas: Canvas, wall: Wall) -> None:
        """Lays bricks or plaster over a painted wall; from afar they would only flicker."""
        if self.front.corner[2] < _FAR:
            tile: Tile = brick_tile() if self.style.brick else plaster_tile()
            corners = wall.rectangles(np.array([[0, 0, wall.width, wall.height]]))[0]
            strength = 1 / (1 + max(0.0, self.depth - 20) / 30)
            canvas.grain(corners, tile, _texels(wall.width, wall.height, self.tones), strength)

    def _paint_roof(self, canvas: Canvas) -> None:
        """A chimney on the ridge and the slope above the front."""
        front, style, ridge = self.front, self.style, self.thickness / 2
        width, height = front.width, front.height
        if style.chimney:
            at = 0.2 * width if self.tones[0] < 0.5 else 0.8 * width
            foot, top = height + 0.6 * style.pitch, height + style.pitch + 1.3
            ring = ((-1, foot), (1, foot), (1, top), (-1, top))
            stack = [front.at(at + 0.6 * way, v, ridge - 0.5) for way, v in ring]
            flank = [front.at(at - 0.6, v, ridge + 0.5 * way) for way, v in ring]
            sides = [Patch(1, 4, style.wall, front.normal), Patch(1, 4, style.wall)]
            canvas.fill_all(np.array(stack + flank), sides, BUILDING)
        if style.pitch:
            low, high, right = (height, -0.3), (height + style.pitch, ridge), width + 0.1
            corners = ((-0.1, low), (right, low), (right, high), (-0.1, high))
            slope = np.array([front.at(u, *place) for u, place in corners])
            canvas.fill(slope, style.roof, BUILDING, UP)
            if self.front.corner[2] < _FAR:
                canvas.grain(slope, brick_tile(), _texels(width, 6, self.tones), 0.8)

    def _details(self, canvas: Canvas) -> list[tuple[Numbers, Tint]]:
        """Layers on the front: cornice, windows storey by storey, ground floor."""
        front, style, near = self.front, self.style, self.front.corner[2]
        width, height = front.width, front.height
        columns = max(1, int(width / style.bay))
        storeys = max(1, int((height - 0.4) / style.floor))
        first = 1 if style.shop is not None else 0
        sills = np.repeat((np.arange(first, storeys) + 0.3) * style.floor, columns)  # N
        half = 0.5 * style.window[0] * width / columns
        middles = np.tile((np.arange(columns) + 0.5) * width / columns, storeys - first)  # N
        heads = sills + style.window[1] * style.floor
        panes = np.stack([middles - half, sills, middles + half, heads], axis=-1)  # N, 4
        layers: list[tuple[Numbers, Tint]] = [
            (np.array([0, height - 0.35, width, height]), style.trim)
        ]
        if canvas.resolves(0.12, near):
            around = np.array([-0.09, -0.09, 0.09, 0.09])
            layers.append((panes + around, style.trim))
        if near > _FAR:
            return [*layers, (panes, _GLASS[0][2])]
        tones = np.resize(self.tones, len(panes))
        for low, high, glass in _GLASS:
            layers.append((panes[(tones >= low) & (tones < high)], glass))
        if canvas.resolves(0.06, near):
            centres = 0.5 * (sills + heads)
            for sides in (
                (middles - half - 0.15, sills - 0.2, middles + half + 0.15, sills - 0.09),
                (middles - half, centres - 0.03, middles + half, centres + 0.03),
                (middles - 0.025, sills, middles + 0.025, heads),
            ):
                layers.append((np.stack(sides, axis=-1), style.trim))
        return layers + (self._dwelling(columns) if style.shop is None else self._shop(style.shop))

    def _dwelling(self, columns: int) -> list[tuple[Numbers, Tint]]:
        """Door and plinth of a ground floor to live in."""
        width, style = self.front.width, self.style
        door = (int(self.tones[1] * columns) + 0.5) * width / columns
        leaf = scaled(style.roof, 0.35 + 0.5 * self.tones[2])
        return [
            (np.array([0, 0, width, 0.3]), scaled(style.wall, 0.7)),
            (np.array([door - 0.75, 0, door + 0.75, 2.6]), style.trim),
            (np.array([door - 0.5, 0, door + 0.5, 2.2]), leaf),
        ]

    def _shop(self, color: Tint) -> list[tuple[Numbers, Tint]]:
        """Glass front under a fascia board."""
        width, board = self.front.width, self.style.floor - 0.75
        starts = np.arange(0.25 * width, 0.7 * width, 0.42)  # of the letters
        level = np.full(len(starts), board + 0.17)
        letters = np.stack([starts, level, starts + 0.27, level + 0.26], axis=-1)
        count = max(1, int(width / 2.6))
        left = np.arange(count) * width / count + 0.2
        right = left + width / count - 0.4
        panes = np.stack([left, 0 * left + 0.5, right, 0 * left + board - 0.15], axis=-1)
        lit = np.resize(self.tones, count) > 0.6
        door = left[int(self.tones[3] * count)]
        return [
            (np.array([0, 0, width, board + 0.7]), scaled(color, 0.75)),
            (np.array([0.15, board, width - 0.15, board + 0.6]), color),
            (letters, (205, 200, 185)),
            (panes, (34, 37, 40)),
            (panes[lit] + [0.1, 0.7, -0.1, -0.35], (96, 88, 70)),
            (np.array([door, 0.05, door + 0.95, 2.15]), (58, 54, 50)),
        ]


def _texels(width: float, height: float, tones: Numbers) -> Points:
    """Texture coordinates of a wall's corners, from its foot upwards: 4, 2."""
    start = 512 * tones[:2]
    w, h = _TEXELS * width, _TEXELS * height
    return np.asarray(start + np.array([(0, h), (w, h), (w, 0), (0, 0)]))
