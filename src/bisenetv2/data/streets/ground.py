"""What a rendered street stands on: road, markings, pavements, and the shadows on them."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from bisenetv2.data.streets.canvas import PAVEMENT, ROAD, Canvas
from bisenetv2.data.streets.tiles import asphalt_tile, paving_tile
from bisenetv2.data.streets.view import UP, Points, Tint, Vector, scaled

KERB = 0.12
"""Height of the pavement above the road, metres."""

_FAR = 260.0  # metres: where the street ends for good
_WHITE: Tint = (188, 188, 182)
_YELLOW: Tint = (172, 150, 70)


def paint_ground(
    canvas: Canvas,
    rng: np.random.Generator,
    half: float,
    mouths: Iterable[tuple[float, float, float]],
    zebra: float | None,
    shadows: Iterable[Points],
) -> None:
    """Fills everything under the horizon: the road with its pavements and side streets.

    Args:
        canvas: Where to.
        rng: Draws tones, markings and patches of newer asphalt.
        half: Half the road's width, metres.
        mouths: Side (-1 or 1) and the metres ahead between which a side street leaves.
        zebra: Metres ahead of a zebra crossing.
        shadows: Outlines (K, 3) on the ground that the sun does not reach.
    """
    grey, warmth = rng.uniform(78, 104), rng.uniform(-3, 3)
    road: Tint = (grey + warmth, grey, grey + 3 - warmth)
    paved = rng.uniform(92, 128)
    count = int(rng.integers(2, 9))
    places = ((-half, half - 1), (3, 40), (0.4, 2.2), (0.6, 9))  # x, z, and extent in both
    stains = np.stack([rng.uniform(low, high, count) for low, high in places], axis=-1)
    double_yellow = rng.random() < 0.4
    first_dash = rng.uniform(1.5, 7)

    top = min(max(round(canvas.centre[1] + 0.5), 0), len(canvas.mask))
    canvas.image[top:] = np.array(canvas.light.shade(road, UP, 0)).astype(np.uint8)
    canvas.mask[top:] = ROAD
    for x, z, wide, long in stains:
        tone = scaled(road, 0.88 if wide * 7 % 1 < 0.6 else 1.1)
        canvas.fill(strip(x, x + wide, z, z + long), tone, ROAD, UP)
    _pave(canvas, half, (paved + 3, paved, paved - 4))
    for side, near, far in mouths:
        canvas.fill(strip(side * (half - 0.05), side * 90, near, far), road, ROAD, UP)

    dashes = [strip(-0.06, 0.06, z, z + 2.5, samples=2) for z in np.arange(first_dash, 120, 6)]
    # One call a stretch, so that near and far dashes fade with their own distance.
    for stretch in np.array_split(np.stack(dashes), 5):
        canvas.fill(stretch, _WHITE, ROAD, UP)
    if double_yellow:
        for x in (side * (half - inset) for side in (-1, 1) for inset in (0.25, 0.45)):
            canvas.fill(strip(x - 0.04, x + 0.04, 0.4, 120), _YELLOW, ROAD, UP)
    if zebra is not None:
        left = np.arange(-half + 0.4, half - 0.5, 1.2)
        bars = [strip(x, x + 0.6, zebra, zebra + 2.8, samples=2) for x in left]
        canvas.fill(np.stack(bars), _WHITE, ROAD, UP)
    _wear(canvas, top)
    _cast(canvas, shadows)
    _fade(canvas, top)


def _pave(canvas: Canvas, half: float, pavement: Tint) -> None:
    """Pavements on both sides, with their kerbs."""
    for side in (-1.0, 1.0):
        kerb = side * half
        canvas.fill(strip(kerb, side * 90, 0.4, _FAR, KERB), pavement, PAVEMENT, UP)
        stone = strip(kerb, kerb + 0.18 * side, 0.4, _FAR, KERB)
        canvas.fill(stone, scaled(pavement, 1.12), PAVEMENT, UP)
        face = strip(kerb, kerb, 0.4, _FAR, KERB)
        face[: len(face) // 2, 1] = 0  # its lower edge meets the road
        canvas.fill(face, scaled(pavement, 0.8), PAVEMENT, (-side, 0, 0))


def strip(
    left: float, right: float, near: float, far: float, y: float = 0.0, samples: int = 20
) -> Points:
    """Outline of a strip along the street, fine enough to follow its bend: 2·samples, 3."""
    ahead = np.geomspace(near, far, samples)
    edges = [np.stack([np.full(samples, x), np.full(samples, y), ahead], -1) for x in (left, right)]
    return np.concatenate([edges[0], edges[1][::-1]])


def shadow(solid: Points, sun: Vector) -> Points:
    """The ground a convex solid (N, 3) keeps from a sun above the horizon: K, 3."""
    foot = solid - solid[:, 1:2] / sun[1] * np.array(sun)
    hull = cv2.convexHull(foot[:, ::2].astype(np.float32))[:, 0]  # K, 2
    return np.stack([hull[:, 0], np.zeros(len(hull)), hull[:, 1]], axis=-1).astype(np.float64)


def _wear(canvas: Canvas, top: int) -> None:
    """Lays asphalt and slabs over the flat colours; the bend is too slight to matter here."""
    height, width = canvas.mask.shape
    if top >= height:
        return
    camera, (column, row) = canvas.camera, canvas.centre
    eye_x, eye_y, _ = camera.eye
    # Pixel to ground plane, homogeneous: x = eye_y (u - column) / (v - row), z = focal eye_y / ...
    to_ground = np.array(
        [[eye_y, 0, -eye_y * column], [0, 0, canvas.focal * eye_y], [0, 1, -row]]
    ) @ np.array([[1, 0, 0], [0, 1, top], [0, 0, 1]])
    cosine, sine = np.cos(camera.yaw), np.sin(camera.yaw)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    flip = -1.0 if camera.mirror else 1.0
    to_street = np.array([[flip, 0, eye_x], [0, 1, 0], [0, 0, 1]]) @ turn @ to_ground
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    below = canvas.image[top:]
    asphalt, slabs = (
        cv2.warpPerspective(
            tile,
            np.diag([texels, texels, 1.0]) @ to_street,
            (width, height - top),
            flags=flags,
            borderMode=cv2.BORDER_WRAP,
        )
        for tile, texels in ((asphalt_tile(), 40.0), (paving_tile(), 16.0))
    )
    cv2.copyTo(slabs, (canvas.mask[top:] == PAVEMENT).astype(np.uint8), asphalt)
    # Towards the horizon texels shrink below a pixel and would flicker: the texture fades out.
    distance = canvas.focal * eye_y / np.maximum(np.arange(top, height) - row, 0.5)
    strength = (1 / (1 + (distance / 22) ** 2)).astype(np.float32)[:, None]
    texture = (128 + strength * (asphalt.astype(np.float32) - 128)).astype(np.uint8)
    cv2.multiply(below, cv2.merge([texture] * 3), below, scale=1 / 128)


def _cast(canvas: Canvas, shadows: Iterable[Points]) -> None:
    """Takes the sun's part of the light from the shadows, with a soft edge."""
    light = canvas.light
    stencil = np.full(canvas.mask.shape, 255, np.uint8)
    lit = light.ambient / (light.ambient + light.direct * max(0.0, light.sun[1]))
    for outline in shadows:
        loops, _ = canvas.outlines(outline[None])
        cv2.fillPoly(stencil, loops, 255 * lit, cv2.LINE_8, 4)
    if stencil.min() < 255:
        side = 2 * round(canvas.focal / 400) + 1
        soft = cv2.blur(stencil, (side, side))
        cv2.multiply(canvas.image, cv2.merge([soft] * 3), canvas.image, scale=1 / 255)


def _fade(canvas: Canvas, top: int) -> None:
    """Sinks the far road into the haze, row by row."""
    height = len(canvas.mask)
    rows = np.arange(top, height) - canvas.centre[1]
    distance = canvas.focal * canvas.camera.eye[1] / np.maximum(rows, 0.25)
    clear = np.exp(-canvas.light.density * distance)[:, None, None]
    near = int(np.searchsorted(-distance, -12.0))  # nearer than 12 m there is nothing to see of it
    band, clear = canvas.image[top : top + near], clear[:near]
    band[:] = (clear * band + (1 - clear) * np.array(canvas.light.haze)).astype(np.uint8)
