"""The picture under the brush, and the polygons that annotate it.

Everything is painted back to front straight into an image of twice the final size, anti-aliased.
Each annotated object keeps its own coverage meanwhile; its outline on the final pixel grid becomes
the polygon of the annotation. So picture and labels can't drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segtron.data.toytown.camera import Camera
from segtron.data.toytown.light import Light

SUPERSAMPLING = 2
_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV
_UNITS = SUPERSAMPLING << _SHIFT  # of those coordinates, a pixel of the final image
_LIMIT = 1 << 24  # of those coordinates: OpenCV's fixed-point lines overflow far beyond

Color = np.ndarray | Sequence[float]


@dataclass(frozen=True)
class Annotation:
    """One object of a polygons.json, in painter's order.

    Attributes:
        label: a Cityscapes label name, or that with 'group' after it.
        polygon: (n, 2) int32 pixels, x before y; the outline's pixels belong to the object.
    """

    label: str
    polygon: np.ndarray


class Canvas:
    """An image in the making: RGB uint8 (2 height, 2 width, 3), with its annotations so far."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self.camera = camera
        self.light = light
        shape = (camera.height * SUPERSAMPLING, camera.width * SUPERSAMPLING)
        self.image = np.zeros((*shape, 3), dtype=np.uint8)
        self.annotations: list[Annotation] = []

    def sprite(self, points: np.ndarray, margin: float = 2.0) -> Sprite | None:
        """A brush for one object that lies within these image points (..., 2).

        Returns:
            None where nothing of it is in the image.
        """
        points = np.asarray(points).reshape(-1, 2)
        low = np.floor(points.min(axis=0) - margin).astype(int)
        high = np.ceil(points.max(axis=0) + margin).astype(int)
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, (self.camera.width, self.camera.height))
        if x0 >= x1 or y0 >= y1:
            return None
        return Sprite(self, int(x0), int(y0), int(x1), int(y1))

    def everything(self) -> Sprite:
        """A brush for an object anywhere in the image."""
        return Sprite(self, 0, 0, self.camera.width, self.camera.height)

    def finished_image(self) -> np.ndarray:
        """The picture at its final size: RGB uint8 (height, width, 3)."""
        size = (self.camera.width, self.camera.height)
        return cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)


def _bounded(color: Color) -> tuple[float, ...]:
    return tuple(np.minimum(np.maximum(color, 0), 255).tolist())


class Sprite:
    """The brush for one object: paints into the canvas and remembers what it covered.

    Points are image pixels, float (n, 2); colours RGB 0 to 255.
    """

    def __init__(self, canvas: Canvas, x0: int, y0: int, x1: int, y1: int) -> None:
        self.canvas = canvas
        self._origin = np.array([x0, y0])
        # OpenCV's whole coordinates are pixel centres, ours pixel edges: hence half a pixel; and
        # half a unit to round.
        self._offset = self._origin * _UNITS + ((1 << _SHIFT) / 2 - 0.5)
        k = SUPERSAMPLING
        self.pixels = canvas.image[y0 * k : y1 * k, x0 * k : x1 * k]
        self.coverage = np.zeros(self.pixels.shape[:2], dtype=np.uint8)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        fixed = np.asarray(points) * _UNITS - self._offset
        return np.minimum(np.maximum(fixed, -_LIMIT), _LIMIT).astype(np.int32)

    def fill(self, points: np.ndarray, color: Color | None, *, covers: bool = True) -> None:
        """Fill a polygon.

        Args:
            color: None to count the area as the object's without painting it (between spokes).
            covers: whether it belongs to the object's outline; details inside it needn't.
        """
        self.fill_all(np.asarray(points)[None], color, covers=covers)

    def fill_all(self, polygons: np.ndarray, color: Color | None, *, covers: bool = True) -> None:
        """Fill polygons (m, n, 2) in one colour; what two share stays as it was (even-odd rule)."""
        fixed = list(self._fixed(polygons))
        if not fixed:
            return
        if color is not None:
            rgb = _bounded(color)
            cv2.fillPoly(self.pixels, fixed, rgb, cv2.LINE_AA, _SHIFT)
        if covers:
            cv2.fillPoly(self.coverage, fixed, 255, cv2.LINE_AA, _SHIFT)

    def line(
        self, points: np.ndarray, color: Color | None, thickness: float, *, covers: bool = True
    ) -> None:
        """An open line through points; thickness in image pixels, at least half a pixel."""
        fixed = [self._fixed(points)]
        width = max(1, round(thickness * SUPERSAMPLING))
        if color is not None:
            rgb = _bounded(color)
            cv2.polylines(self.pixels, fixed, False, rgb, width, cv2.LINE_AA, _SHIFT)
        if covers:
            cv2.polylines(self.coverage, fixed, False, 255, width, cv2.LINE_AA, _SHIFT)

    def _touched(self) -> tuple[slice, slice]:
        """Rows and columns within which anything was covered."""
        x, y, width, height = cv2.boundingRect(self.coverage)
        return slice(y, y + height), slice(x, x + width)

    def model(self, strength: float = 0.16) -> None:
        """Round the object: lighter towards the sun, darker away from it and near the ground."""
        rows, columns = self._touched()
        pixels, coverage = self.pixels[rows, columns], self.coverage[rows, columns]
        if not coverage.size:
            return
        side = np.sign(self.canvas.light.side) * min(1.0, abs(self.canvas.light.side) * 1.5)
        across = np.linspace(-1, 1, coverage.shape[1], dtype=np.float32)[None] * np.float32(side)
        down = np.linspace(-1, 1, coverage.shape[0], dtype=np.float32)[:, None]
        change = coverage * np.float32(strength / 255) * (across - np.float32(0.6) * down)
        lit = pixels * (1 + change)[..., None]
        pixels[...] = np.clip(lit, 0, 255, out=lit)

    def fade(self, depth: float) -> None:
        """Put the haze of this distance in front."""
        amount = float(self.canvas.light.fading(depth))
        if amount < 0.02:
            return
        rows, columns = self._touched()
        pixels, coverage = self.pixels[rows, columns], self.coverage[rows, columns]
        if not coverage.size:
            return
        levels = np.arange(256)[:, None] * (1 - amount) + self.canvas.light.haze * amount
        table = np.rint(levels).astype(np.uint8)[:, None]
        cv2.copyTo(cv2.LUT(pixels, table), coverage, pixels)

    def fade_along(self, depths: np.ndarray) -> None:
        """Put haze in front by the distance (columns,) seen in each of `columns()`."""
        rows, columns = self._touched()
        pixels, coverage = self.pixels[rows, columns], self.coverage[rows, columns]
        amount = np.asarray(self.canvas.light.fading(depths[columns]), dtype=np.float32)
        weight = (coverage * (np.float32(1 / 255) * amount))[..., None]
        haze = self.canvas.light.haze.astype(np.float32)
        pixels[...] = pixels + weight * (haze - pixels)

    def columns(self) -> np.ndarray:
        """Image x of this brush's pixel columns."""
        return (np.arange(self.coverage.shape[1]) + 0.5) / SUPERSAMPLING + self._origin[0]

    def outlines(self) -> list[np.ndarray]:
        """Outer outlines of what was covered, largest first, holes filled: each (n, 2) int32."""
        height, width = self.coverage.shape
        size = (width // SUPERSAMPLING, height // SUPERSAMPLING)
        share = cv2.resize(self.coverage, size, interpolation=cv2.INTER_AREA)
        mask = (share >= 112).astype(np.uint8)
        contours, _ = cv2.findContours(
            mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=tuple(map(int, self._origin))
        )
        polygons = [contour[:, 0].astype(np.int32) for contour in contours if len(contour) > 2]
        return sorted(polygons, key=cv2.contourArea, reverse=True)

    def annotate(self, label: str, *, single: bool = False) -> None:
        """Put what was covered into the annotations, behind none of the earlier ones.

        Args:
            single: an instance: one polygon only, the largest piece.
        """
        polygons = self.outlines()
        for polygon in polygons[:1] if single else polygons:
            self.canvas.annotations.append(Annotation(label, polygon))
