"""The brush of the rendered streets.

Whatever is drawn goes into the image and the mask with the same outline, so the mask is
exact to the pixel; anti-aliasing is left to the lens blur at the very end.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from bisenetv2.data.streets.tiles import Tile, leaf_tile
from bisenetv2.data.streets.view import FACING, UP, Camera, Light, Points, Tint, Vector
from bisenetv2.images import Image
from bisenetv2.labels import CAMVID, Mask

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(
    len(CAMVID)
)
"""The classes of `CAMVID` by name."""

Outline = npt.NDArray[np.int32]
"""Column and row of each corner in OpenCV's fixed point: K, 2."""

_NEAR = 0.3  # metres: nothing closer to the lens is drawn
_SHIFT = 4  # OpenCV draws at 1/16 of a pixel
_ANGLES = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)  # 12, 2
_TONES = np.linspace(0.2, 1.9, 256)[:, None]  # of leaves, from shade to sun


class Patch(NamedTuple):
    """Polygons of one colour among the points handed to `Canvas.fill_all`."""

    polygons: int
    """How many there are; they do not overlap."""

    corners: int
    """Corners of each."""

    color: Tint
    normal: Vector = FACING


class Limb(NamedTuple):
    """A round limb between two places."""

    start: Vector
    end: Vector
    radii: tuple[float, float]
    """Metres at start and end."""

    color: Tint


class Canvas:
    """An image and its mask, painted together from far to near."""

    def __init__(self, camera: Camera, light: Light, size: tuple[int, int]) -> None:
        height, width = size
        self.camera = camera
        self.light = light
        self.image: Image = np.zeros((height, width, 3), np.uint8)  # H, W, 3
        self.mask: Mask = np.zeros((height, width), np.uint8)  # H, W
        self.focal = camera.focal * sqrt(height * width)
        # OpenCV's integer coordinates are pixel centres.
        self.centre = (width / 2 - 0.5, camera.horizon * height - 0.5)

    def pixels(self, view: Points) -> npt.NDArray[np.float64]:
        """Projects camera coordinates (..., 3) in front of the lens to column and row (..., 2)."""
        return self.focal * view[..., :2] / view[..., 2:] + self.centre

    def outlines(self, points: Points) -> tuple[list[Outline], float]:
        """Projects polygons to OpenCV's fixed-point outlines, cut off at the lens.

        Args:
            points: N, K, 3: N polygons of K corners.

        Returns:
            The outlines still in view and their mean distance in metres.
        """
        view = self.camera.view(points)
        if (view[..., 2] >= _NEAR).all() and len(view):
            return list(fixed_point(self.pixels(view))), float(view[..., 2].mean())
        loops = [loop for loop in map(_cut_at_lens, view) if len(loop) >= 3]
        distance = float(np.mean([loop[:, 2].mean() for loop in loops])) if loops else 0.0
        return [fixed_point(self.pixels(loop)) for loop in loops], distance

    def fill(self, points: Points, color: Tint, label: int, normal: Vector = FACING) -> None:
        """Fills one polygon (K, 3) or several that do not overlap (N, K, 3)."""
        outlines, distance = self.outlines(points if points.ndim == 3 else points[None])
        if outlines:
            self.paint(outlines, self.light.shade(color, normal, distance), label)

    def fill_all(self, points: Points, patches: Sequence[Patch], label: int) -> None:
        """Fills many polygons with a single projection.

        Args:
            points: N, 3: the corners of all patches, one patch after the other.
            patches: How to cut and colour them, in the order of painting.
            label: Class of all of them.
        """
        view = self.camera.view(points)
        cut = bool(view[:, 2].min() < _NEAR)
        places: npt.NDArray[Any] = points if cut else fixed_point(self.pixels(view))
        first = 0
        for polygons, corners, color, normal in patches:
            last = first + polygons * corners
            loops = places[first:last].reshape(polygons, corners, places.shape[1])
            if cut:
                self.fill(loops, color, label, normal)
            elif polygons:
                shaded = self.light.shade(color, normal, float(view[first, 2]))
                self.paint(list(loops), shaded, label)
            first = last

    def paint(self, outlines: Sequence[Outline], color: Tint, label: int) -> None:
        """Fills outlines in the image and in the mask."""
        cv2.fillPoly(self.image, outlines, color, cv2.LINE_8, _SHIFT)
        cv2.fillPoly(self.mask, outlines, label, cv2.LINE_8, _SHIFT)

    def limbs(self, limbs: Sequence[Limb], label: int) -> None:
        """Fills round limbs, one over the other."""
        ends = np.array([(limb.start, limb.end) for limb in limbs])  # N, 2, 3
        view = self.camera.view(ends)
        if view[..., 2].min() < _NEAR:
            return
        reach = self.focal * np.array([limb.radii for limb in limbs]) / view[..., 2]  # N, 2
        rims = self.pixels(view)[:, :, None] + reach[..., None, None] * _CIRCLE  # N, 2, 12, 2
        for limb, rim, distance in zip(limbs, fixed_point(rims), view[:, 0, 2], strict=True):
            hull = cv2.convexHull(rim.reshape(-1, 2))
            shaded = self.light.shade(limb.color, FACING, float(distance))
            cv2.fillConvexPoly(self.image, hull, shaded, cv2.LINE_8, _SHIFT)
            cv2.fillConvexPoly(self.mask, hull, label, cv2.LINE_8, _SHIFT)

    def resolves(self, metres: float, distance: float) -> bool:
        """Whether something of that size is worth drawing at that distance."""
        return self.focal * metres > 0.8 * max(distance, _NEAR)

    def strokes(self, points: Points, width: float, color: Tint, label: int) -> None:
        """Draws open lines (N, K, 3), `width` metres thick and at least one pixel."""
        view = self.camera.view(points)
        if view[..., 2].min() < _NEAR:
            return
        lines = list(fixed_point(self.pixels(view)))
        distance = float(view[..., 2].mean())
        thickness = max(1, round(self.focal * width / distance))
        shaded = self.light.shade(color, FACING, distance)
        cv2.polylines(self.image, lines, False, shaded, thickness, cv2.LINE_8, _SHIFT)
        cv2.polylines(self.mask, lines, False, label, thickness, cv2.LINE_8, _SHIFT)

    def grain(self, corners: Points, tile: Tile, texels: Points, strength: float) -> None:
        """Multiplies a painted quad with a surface's texture.

        Args:
            corners: 4, 3: the quad.
            tile: Texture, 128 leaves a colour as it is.
            texels: 4, 2: column and row of the tile at each corner; the tile repeats.
            strength: 1 for the tile's full contrast, 0 for none.
        """
        view = self.camera.view(corners)
        if view[:, 2].min() < _NEAR:
            return
        quad = self.pixels(view)  # 4, 2
        window = self._window(quad.min(axis=0), quad.max(axis=0))
        if window is None:
            return
        rows, columns = window
        quad -= (columns.start, rows.start)
        patch = self.image[window]  # h, w, 3
        height, width = patch.shape[:2]
        to_pixels = cv2.getPerspectiveTransform(texels.astype(np.float32), quad.astype(np.float32))
        texture = cv2.warpPerspective(
            tile, to_pixels, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )  # h, w
        stencil = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(stencil, fixed_point(quad), 255, cv2.LINE_8, _SHIFT)
        cv2.convertScaleAbs(texture, texture, strength, 128 * (1 - strength))
        grained = cv2.multiply(patch, cv2.merge([texture] * 3), scale=1 / 128)
        cv2.copyTo(grained, stencil, patch)

    def foliage(
        self, centre: Vector, radii: tuple[float, float], color: Tint, seed: tuple[float, float]
    ) -> None:
        """Paints a clump of leaves, ragged and lit from above.

        Args:
            centre: Middle of the clump.
            radii: Half its width and half its height, metres.
            color: Mean colour of the leaves.
            seed: Place in the leaf tile, in texels; decides the clump's shape.
        """
        view = self.camera.view(np.array(centre))
        if view[2] < _NEAR:
            return
        middle = self.pixels(view)
        reach = self.focal * np.array(radii) / view[2] + 1e-6
        window = self._window(middle - 1.3 * reach, middle + 1.3 * reach)
        if window is None:
            return
        rows, columns = window
        x = _steps(columns, middle[0], reach[0])
        y = _steps(rows, middle[1], reach[1])[:, None]
        looks = []
        for texels in (9.0, 38.0):  # at one tile: coarse for the boughs, fine for the leaves
            scale = texels * np.array(radii)  # texels a radius is long, across and down
            corner = np.array(seed) + scale * np.array((x[0], y[0, 0]))
            to_tile = np.column_stack([np.diag(scale / reach), corner])  # 2, 3
            flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (len(x), len(y))
            looks.append(cv2.warpAffine(leaf_tile(), to_tile, size, None, flags, cv2.BORDER_WRAP))
        boughs, leaves = looks  # h, w
        outside = np.square(x) + np.square(y)  # h, w
        stencil = cv2.addWeighted(boughs, 1.3, leaves, 0.6, -115) > 128 * outside
        tones = cv2.addWeighted(leaves, 0.55, boughs, 0.35, 12)
        tones = cv2.subtract(tones, np.broadcast_to(30 * y, tones.shape), dtype=cv2.CV_8U)
        table = np.array(self.light.shade(color, UP, float(view[2])))
        palette = (_TONES * table).clip(0, 255).astype(np.uint8)  # 256, 3
        self.image[window][stencil] = palette[tones[stencil]]
        self.mask[window][stencil] = TREE

    def darken(self, points: Points, factor: float) -> None:
        """Dims what is already painted inside one polygon (K, 3); the mask stays."""
        outlines, _ = self.outlines(points[None])
        if not outlines:
            return
        corners = outlines[0] / (1 << _SHIFT)
        window = self._window(corners.min(axis=0), corners.max(axis=0))
        if window is None:
            return
        rows, columns = window
        patch = self.image[window]
        stencil = np.zeros(patch.shape[:2], np.uint8)
        offset = np.array([columns.start, rows.start], np.int32) << _SHIFT
        cv2.fillPoly(stencil, [outlines[0] - offset], 255, cv2.LINE_8, _SHIFT)
        cv2.copyTo(cv2.convertScaleAbs(patch, alpha=factor), stencil, patch)

    def _window(
        self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
    ) -> tuple[slice, slice] | None:
        """Rows and columns of the image around a box of pixels; `None` if it lies outside."""
        height, width = self.mask.shape
        left, top = (max(0, int(v)) for v in np.floor(low).clip(-1, 1 << 20))
        right = min(width, int(min(high[0], 1 << 20)) + 2)
        bottom = min(height, int(min(high[1], 1 << 20)) + 2)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)


def fixed_point(pixels: npt.NDArray[np.float64]) -> Outline:
    """Rounds pixels to 1/16; far outside they are clamped to keep OpenCV's integers whole."""
    rounded = np.rint(pixels.clip(-1e6, 1e6) * (1 << _SHIFT))
    return np.asarray(rounded, np.int32)


def _cut_at_lens(loop: Points) -> Points:
    """Clips one polygon in camera coordinates (K, 3) to what lies ahead of the lens."""
    following = np.roll(loop, -1, axis=0)
    inside = loop[:, 2] >= _NEAR
    crosses = inside != (following[:, 2] >= _NEAR)
    step = np.where(crosses, following[:, 2] - loop[:, 2], 1.0)
    cuts = loop + (following - loop) * ((_NEAR - loop[:, 2]) / step)[:, None]
    # Each corner is followed by the cut on its edge, should there be one.
    candidates = np.stack([loop, cuts], axis=1).reshape(-1, 3)
    return np.asarray(candidates[np.stack([inside, crosses], axis=1).ravel()])


def _steps(pixels: slice, middle: float, reach: float) -> npt.NDArray[np.float32]:
    """Where rows or columns lie in units of `reach` around `middle`."""
    return ((np.arange(pixels.start, pixels.stop) - middle) / reach).astype(np.float32)
