"""Vehicles as solids: a profile drawn out to a width, with wheels and windows.

The profile (forward, up) is known at both sides; seen from the camera some strips between the
sides are visible (tail, roof, windscreen, ...) and at most one side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segtron.data.toytown.camera import Pose
from segtron.data.toytown.canvas import Canvas, Sprite
from segtron.data.toytown.light import Light
from segtron.data.toytown.shapes import along, hull, wheel

GLASS = np.array([58.0, 76.0, 92.0])
TYRE = np.array([30.0, 30.0, 33.0])
RIM = np.array([168.0, 170.0, 174.0])
UNDERSIDE = np.array([24.0, 24.0, 27.0])
HEADLAMP = np.array([250.0, 246.0, 224.0])
TAILLAMP = np.array([196.0, 28.0, 30.0])
PLATE = np.array([236.0, 236.0, 230.0])


@dataclass
class Solid:
    """A profile with a half width at every vertex.

    Attributes:
        profile: (n, 2) of (forward, up), from the tail's foot over the roof to the front's foot.
        half_width: (n,) metres.
    """

    profile: np.ndarray
    half_width: np.ndarray

    def strip(
        self, index: int, u: tuple[float, float] = (-1, 1), t: tuple[float, float] = (0, 1)
    ) -> np.ndarray:
        """A part (4, 3) of the strip between vertices `index` and `index + 1`.

        Args:
            u: from -1 at the left side to 1 at the right.
            t: from 0 at vertex `index` to 1 at the next.
        """
        low, high = (
            (1 - share) * np.array([1.0, *self.profile[index], self.half_width[index]])
            + share * np.array([1.0, *self.profile[index + 1], self.half_width[index + 1]])
            for share in t
        )
        return np.array(
            [
                (u[0] * low[3], low[2], low[1]),
                (u[1] * low[3], low[2], low[1]),
                (u[1] * high[3], high[2], high[1]),
                (u[0] * high[3], high[2], high[1]),
            ]
        )

    def normal(self, index: int) -> np.ndarray:
        """Outward unit normal (right, up, forward) of a strip."""
        forward, up = self.profile[index + 1] - self.profile[index]
        normal = np.array([0.0, forward, -up])
        return normal / max(float(np.hypot(forward, up)), 1e-6)

    def visible_strips(self, viewer: np.ndarray) -> list[int]:
        """Indices of the strips that face the viewer, farthest first."""
        indices = []
        for index in range(len(self.profile) - 1):
            forward, up = self.profile[index]
            to_viewer = viewer - np.array([viewer[0], up, forward])
            if float(np.dot(self.normal(index), to_viewer)) > 0.02:
                indices.append(index)
        middle = 0.5 * (self.profile[:-1] + self.profile[1:])
        distance = np.hypot(middle[:, 0] - viewer[2], middle[:, 1] - viewer[1])
        return sorted(indices, key=lambda index: -distance[index])

    def visible_side(self, viewer: np.ndarray) -> int:
        """-1 for the left side, 1 for the right, 0 where neither is seen."""
        widest = float(self.half_width.max())
        if abs(viewer[0]) <= widest * 1.02:
            return 0
        return 1 if viewer[0] > 0 else -1

    def side(self, points: np.ndarray, side: float) -> np.ndarray:
        """Points (n, 2) of (forward, up) on the given side's surface: (n, 3)."""
        points = np.asarray(points, dtype=np.float64)
        order = np.argsort(self.profile[:, 1], kind="stable")
        half = np.interp(points[:, 1], self.profile[order, 1], self.half_width[order])
        return along(points, side * half * 1.002)

    def paint(self, sprite: Sprite, pose: Pose, light: Light, colors: dict[int, np.ndarray]) -> int:
        """Paint the visible strips and the side; returns which side is seen.

        Args:
            colors: of each strip by its index, and of the sides at -1.
        """
        viewer = pose.viewer()
        for index in self.visible_strips(viewer):
            color = colors.get(index, colors[-1])
            factor = light.shade(pose.direction(self.normal(index)))
            sprite.fill(pose.project(self.strip(index)), color * factor)
        side = self.visible_side(viewer)
        if side:
            factor = light.shade(pose.direction(np.array([float(side), 0.0, 0.0])))
            outline = along(self.profile, side * self.half_width)
            sprite.fill(pose.project(outline), colors[-1] * factor)
        return side


def side_factor(pose: Pose, light: Light, side: int) -> np.ndarray:
    return light.shade(pose.direction(np.array([float(side), 0.0, 0.0])))


def bounding_sprite(
    canvas: Canvas, pose: Pose, length: float, width: float, height: float
) -> Sprite | None:
    half = np.array([width / 2 + 0.15, 0.0, length / 2 + 0.15])
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (0, 1) for c in (-1, 1)])
    corners = signs * np.array([half[0], height + 0.1, half[2]])
    return canvas.sprite(pose.project(corners))


def paint_wheel(
    sprite: Sprite, pose: Pose, factor: np.ndarray, radius: float, center: float, lateral: float
) -> None:
    sprite.fill(pose.project(wheel(radius, center, radius, lateral)), TYRE)
    if pose.scale() * radius > 2:
        sprite.fill(pose.project(wheel(radius * 0.62, center, radius, lateral)), RIM * factor)
        sprite.fill(
            pose.project(wheel(radius * 0.42, center, radius, lateral)), RIM * factor * 0.62
        )
        sprite.fill(pose.project(wheel(radius * 0.16, center, radius, lateral)), RIM * factor)


def paint_undercarriage(
    sprite: Sprite,
    pose: Pose,
    length: float,
    half_width: float,
    clearance: float,
    axles: list[float],
    radius: float,
) -> None:
    """The dark below the body, and the tyres seen from the front or behind."""
    low = clearance * 0.45
    half = half_width * 0.92
    for end in (-1, 1):
        box = np.array(
            [
                (-half, low, end * length * 0.46),
                (half, low, end * length * 0.46),
                (half, clearance + 0.1, end * length * 0.46),
                (-half, clearance + 0.1, end * length * 0.46),
            ]
        )
        sprite.fill(pose.project(box), UNDERSIDE)
    for side in (-1, 1):
        skirt = along(
            np.array(
                [
                    (-length * 0.46, low),
                    (length * 0.46, low),
                    (length * 0.46, clearance + 0.1),
                    (-length * 0.46, clearance + 0.1),
                ]
            ),
            side * half,
        )
        sprite.fill(pose.project(skirt), UNDERSIDE)
        for axle in axles:
            tread = np.concatenate(
                [
                    wheel(radius, axle, radius, side * half_width * 0.97),
                    wheel(radius, axle, radius, side * (half_width - 0.24)),
                ]
            )
            sprite.fill(hull(pose.project(tread)), TYRE * 0.9)


def paint_glass(
    sprite: Sprite, points: np.ndarray, factor: np.ndarray, light: Light, lit: bool = False
) -> None:
    """A pane with the sky's reflection across its upper part."""
    glass = np.array([250.0, 220.0, 150.0]) if lit and light.lit else GLASS * (0.5 + 0.5 * factor)
    sprite.fill(points, glass, covers=False)
    if len(points) == 4:
        sheen = 0.68 * glass + 0.32 * light.zenith
        a, b, c, d = points
        left = np.array([a + 0.55 * (d - a), b + 0.15 * (c - b), c, d])
        sprite.fill(left, sheen, covers=False)
