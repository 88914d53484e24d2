"""Camera and light of the rendered streets, and the coordinates they share with what is drawn.

Street coordinates are metres: x to the right of the road's middle, y up from its surface, z ahead
along it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import cos, exp, sin

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""Street coordinates, ..., 3."""

Tint = tuple[float, float, float]
"""RGB in 0-255, unrounded."""

Vector = tuple[float, float, float]
"""A direction or a place in street coordinates."""

UP: Vector = (0.0, 1.0, 0.0)
FACING: Vector = (0.0, 0.0, -1.0)
"""Normal of whatever looks back at the camera."""


def scaled(color: Tint, factor: float) -> Tint:
    """A brighter or darker tone of a colour."""
    r, g, b = color
    return factor * r, factor * g, factor * b


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on the road, described in fractions so that it fits any image size."""

    eye: Vector
    """Where the lens is, metres."""

    horizon: float
    """Row of the horizon as a fraction of the image's height."""

    focal: float
    """Focal length over the geometric mean of the image's sides."""

    yaw: float
    """Radians the camera looks to the right of the road's direction."""

    bend: float
    """Curvature of the road: metres sideways over squared metres ahead."""

    mirror: bool
    """Whether left and right change places, for traffic on the other side."""

    def view(self, points: Points) -> Points:
        """Turns street coordinates (..., 3) into the camera's: right, down, ahead (..., 3)."""
        local = points.reshape(-1, 3) - self.eye
        local[:, 0] += self.bend * np.square(local[:, 2])
        return (local @ self._turn).reshape(points.shape)

    @cached_property
    def _turn(self) -> npt.NDArray[np.float64]:
        """3, 3: from the street's axes to the camera's, for rows of points."""
        c, s, flip = cos(self.yaw), sin(self.yaw), -1.0 if self.mirror else 1.0
        return np.array([[flip * c, 0.0, flip * s], [0.0, -1.0, 0.0], [-s, 0.0, c]])


@dataclass(frozen=True)
class Light:
    """Sun, sky light and haze."""

    sun: Vector
    """Unit vector towards the sun."""

    direct: float
    """Strength of the sun's light on a surface that faces it; 0 under an overcast sky."""

    ambient: float
    """Strength of the light from everywhere."""

    haze: Tint
    """Colour that distant things fade to."""

    density: float
    """Haze, 1/metre: after 1/density metres a colour is 63 % haze."""

    def shade(self, color: Tint, normal: Vector, distance: float) -> Tint:
        """Returns how a surface of this colour, normal and distance in metres looks."""
        (nx, ny, nz), (sx, sy, sz) = normal, self.sun
        clear = exp(-self.density * distance)
        power = self.ambient + self.direct * max(0.0, nx * sx + ny * sy + nz * sz)
        (r, g, b), (hr, hg, hb), hazy = color, self.haze, 1 - clear
        power *= clear
        return power * r + hazy * hr, power * g + hazy * hg, power * b + hazy * hb
