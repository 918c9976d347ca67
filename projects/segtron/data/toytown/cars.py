"""Cars, and the caravans and trailers behind some of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segtron.data.toytown.camera import Pose
from segtron.data.toytown.canvas import Canvas, Sprite
from segtron.data.toytown.light import Light
from segtron.data.toytown.shapes import along, wheel
from segtron.data.toytown.solid import (
    GLASS,
    HEADLAMP,
    PLATE,
    TAILLAMP,
    UNDERSIDE,
    Solid,
    bounding_sprite,
    paint_glass,
    paint_undercarriage,
    paint_wheel,
    side_factor,
)

CAR_COLORS = np.array(
    [
        (226, 228, 230),
        (186, 190, 196),
        (52, 54, 60),
        (182, 34, 38),
        (40, 84, 156),
        (92, 150, 196),
        (228, 176, 52),
        (60, 112, 84),
        (128, 44, 70),
        (214, 106, 48),
        (128, 134, 142),
        (206, 196, 172),
    ],
    dtype=np.float64,
)


@dataclass
class Car:
    """A passenger car: hatchback, saloon, estate or van."""

    length: float
    width: float
    height: float
    hood: float
    trunk: float
    color: np.ndarray
    taxi: bool = False
    label: str = field(default="car", init=False)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Car:
        kind = rng.choice(["hatchback", "saloon", "estate", "suv", "van"])
        length, height, hood, trunk = {
            "hatchback": (4.0, 1.5, 0.95, 0.12),
            "saloon": (4.6, 1.45, 1.15, 0.85),
            "estate": (4.6, 1.5, 1.15, 0.1),
            "suv": (4.5, 1.72, 1.05, 0.12),
            "van": (4.6, 1.95, 0.65, 0.05),
        }[str(kind)]
        color = CAR_COLORS[rng.integers(len(CAR_COLORS))] + rng.normal(0, 8, 3)
        return cls(
            length=length * rng.uniform(0.95, 1.05),
            width=rng.uniform(1.72, 1.86),
            height=height * rng.uniform(0.97, 1.04),
            hood=hood,
            trunk=trunk,
            color=np.clip(color, 12, 240),
            taxi=bool(kind == "saloon" and rng.random() < 0.2),
        )

    def _solid(self) -> Solid:
        end, roof, belt = self.length / 2, self.height, self.height * 0.62
        deck = belt if self.trunk > 0.4 else belt * 1.02
        rear_roof = -end + self.trunk + (0.55 if self.trunk > 0.4 else 0.4)
        profile = np.array(
            [
                (-end + 0.05, 0.26),
                (-end, deck * 0.92),
                (-end + self.trunk, deck),
                (rear_roof, roof),
                (end - self.hood - 0.78, roof),
                (end - self.hood, belt),
                (end - 0.12, belt * 0.84),
                (end, 0.28),
            ]
        )
        half = self.width / 2
        return Solid(profile, half * np.array([0.97, 1, 1, 0.8, 0.8, 1, 0.94, 0.94]))

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint the car and annotate it."""
        sprite = bounding_sprite(canvas, pose, self.length, self.width, self.height + 0.2)
        if sprite is None:
            return
        light, solid = canvas.light, self._solid()
        radius = 0.33 if self.height < 1.6 else 0.37
        axles = [-self.length * 0.31, self.length * 0.32]
        paint_undercarriage(sprite, pose, self.length, self.width / 2, 0.3, axles, radius)
        glass = GLASS * 0.95
        side = solid.paint(sprite, pose, light, {-1: self.color, 2: glass, 4: glass})
        viewer = pose.viewer()
        seen = solid.visible_strips(viewer)
        detailed = pose.scale() > 5
        if 2 in seen:
            factor = light.shade(pose.direction(solid.normal(2)))
            paint_glass(
                sprite, pose.project(solid.strip(2, (-0.86, 0.86), (0.1, 0.9))), factor, light
            )
        if 4 in seen:
            factor = light.shade(pose.direction(solid.normal(4)))
            screen = solid.strip(4, (-0.9, 0.9), (0.08, 0.95))[[3, 2, 1, 0]]
            paint_glass(sprite, pose.project(screen), factor, light)
        if 0 in seen:
            self._paint_tail(sprite, pose, solid, light)
        if 6 in seen:
            self._paint_nose(sprite, pose, solid, light)
        if side:
            self._paint_side(sprite, pose, solid, light, side, radius, axles, detailed)
        if self.taxi:
            top = np.array(
                [
                    (-0.2, self.height, -0.1),
                    (0.2, self.height, -0.1),
                    (0.16, self.height + 0.14, -0.1),
                    (-0.16, self.height + 0.14, -0.1),
                ]
            )
            sprite.fill(pose.project(top), (244, 206, 66))
        sprite.model()
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)
        self._annotate_plate(canvas, pose, solid, seen)

    def _paint_tail(self, sprite: Sprite, pose: Pose, solid: Solid, light: Light) -> None:
        factor = light.shade(pose.direction(solid.normal(0)))
        dark = self.color * factor * 0.55
        sprite.fill(pose.project(solid.strip(0, (-0.98, 0.98), (0, 0.24))), dark, covers=False)
        lamp = TAILLAMP * (1.25 if light.lit else 0.85)
        for left, right in ((-0.97, -0.66), (0.66, 0.97)):
            sprite.fill(pose.project(solid.strip(0, (left, right), (0.6, 0.88))), lamp)
        sprite.fill(
            pose.project(solid.strip(0, (-0.26, 0.26), (0.34, 0.54))), PLATE * factor, covers=False
        )

    def _paint_nose(self, sprite: Sprite, pose: Pose, solid: Solid, light: Light) -> None:
        factor = light.shade(pose.direction(solid.normal(6)))
        sprite.fill(
            pose.project(solid.strip(6, (-0.98, 0.98), (0.8, 1))), self.color * factor * 0.5
        )
        grille = np.array([34.0, 36.0, 40.0])
        sprite.fill(pose.project(solid.strip(6, (-0.52, 0.52), (0.2, 0.5))), grille, covers=False)
        for left, right in ((-0.95, -0.58), (0.58, 0.95)):
            sprite.fill(
                pose.project(solid.strip(6, (left, right), (0.14, 0.42))), HEADLAMP, covers=False
            )
        sprite.fill(
            pose.project(solid.strip(6, (-0.26, 0.26), (0.58, 0.76))), PLATE * factor, covers=False
        )

    def _paint_side(
        self,
        sprite: Sprite,
        pose: Pose,
        solid: Solid,
        light: Light,
        side: int,
        radius: float,
        axles: list[float],
        detailed: bool,
    ) -> None:
        factor = side_factor(pose, light, side)
        profile = solid.profile
        belt = profile[5, 1]
        base_rear, roof_rear = profile[2], profile[3]
        roof_front, base_front = profile[4], profile[5]
        low, high = belt + 0.03, self.height - 0.1

        def at(start: np.ndarray, end: np.ndarray, level: float, inset: float) -> tuple:
            share = (level - start[1]) / max(end[1] - start[1], 1e-6)
            return (start[0] + share * (end[0] - start[0]) + inset, level)

        rear_low, rear_high = (
            at(base_rear, roof_rear, low, 0.14),
            at(base_rear, roof_rear, high, 0.1),
        )
        front_low, front_high = (
            at(base_front, roof_front, low, -0.16),
            at(base_front, roof_front, high, -0.1),
        )
        middle = 0.5 * (rear_high[0] + front_high[0]) - 0.05
        panes = (
            [rear_high, (middle - 0.05, high), (middle - 0.05, low), rear_low],
            [(middle + 0.05, high), front_high, front_low, (middle + 0.05, low)],
        )
        if detailed:
            dark = self.color * factor * 0.72
            sill = np.array(
                [
                    (-self.length * 0.48, 0.26),
                    (self.length * 0.48, 0.26),
                    (self.length * 0.47, 0.42),
                    (-self.length * 0.47, 0.42),
                ]
            )
            sprite.fill(pose.project(solid.side(sill, side)), dark, covers=False)
        for pane in panes:
            points = pose.project(solid.side(np.array(pane), side))
            paint_glass(sprite, points, factor, light)
        if detailed:
            seam = np.array([(middle, belt), (middle, 0.42)])
            thickness = 0.025 * pose.scale()
            sprite.line(
                pose.project(solid.side(seam, side)),
                self.color * factor * 0.7,
                thickness,
                covers=False,
            )
            ridge = np.array([(-self.length * 0.46, belt * 0.84), (self.length * 0.44, belt * 0.8)])
            light_line = np.clip(self.color * factor * 1.15 + 8, 0, 255)
            sprite.line(
                pose.project(solid.side(ridge, side)), light_line, thickness * 1.4, covers=False
            )
        for axle in axles:
            arch = wheel(radius * 1.18, axle, radius, side * self.width / 2 * 0.99)
            arch[:, 1] = np.maximum(arch[:, 1], 0.26)
            sprite.fill(pose.project(arch), UNDERSIDE, covers=False)
            paint_wheel(sprite, pose, factor, radius, axle, side * self.width / 2)

    def _annotate_plate(self, canvas: Canvas, pose: Pose, solid: Solid, seen: list[int]) -> None:
        """As annotators did: where a plate can be made out it has a polygon (id -1: not drawn)."""
        if pose.scale() < 0.04 * canvas.camera.width:
            return
        for index, spans in ((0, (0.34, 0.54)), (6, (0.58, 0.76))):
            if index in seen:
                plate = canvas.sprite(pose.project(solid.strip(index, (-0.26, 0.26), spans)))
                if plate is not None:
                    plate.fill(pose.project(solid.strip(index, (-0.26, 0.26), spans)), None)
                    plate.annotate("license plate", single=True)


@dataclass
class Caravan:
    """A caravan, or (`trailer`) a small cargo trailer: both are ignored in evaluation."""

    length: float
    width: float
    height: float
    color: np.ndarray
    label: str

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Caravan:
        if rng.random() < 0.5:
            color = np.array([236.0, 232.0, 220.0])
            return cls(rng.uniform(4.6, 5.6), 2.1, 2.5, color, "caravan")
        color = np.array([(150, 154, 158), (70, 96, 140), (120, 96, 70)])[rng.integers(3)]
        return cls(rng.uniform(2.6, 3.2), 1.6, 1.5, color.astype(np.float64), "trailer")

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint it and annotate it."""
        sprite = bounding_sprite(canvas, pose, self.length + 2, self.width, self.height)
        if sprite is None:
            return
        light, end, half = canvas.light, self.length / 2, self.width / 2
        floor, top = 0.42, self.height
        bulge = 0.35 if self.label == "caravan" else 0.02
        profile = np.array(
            [
                (-end + 0.1, floor),
                (-end, top * 0.7),
                (-end + bulge, top),
                (end - bulge, top),
                (end, top * 0.62),
                (end - 0.1, floor),
            ]
        )
        solid = Solid(profile, np.full(len(profile), half))
        paint_undercarriage(sprite, pose, self.length * 0.4, half, 0.5, [0.0], 0.3)
        bar = np.array([(end - 0.2, 0.45), (end + 0.9, 0.45)])
        sprite.line(pose.project(along(bar, 0.0)), (44, 44, 48), 0.1 * pose.scale())
        side = solid.paint(sprite, pose, light, {-1: self.color})
        if 0 in solid.visible_strips(pose.viewer()):
            factor = light.shade(pose.direction(solid.normal(0)))
            if self.label == "caravan":
                pane = solid.strip(0, (-0.7, 0.7), (0.62, 0.98))[[3, 2, 1, 0]]
                paint_glass(sprite, pose.project(pane), factor, light)
            for left, right in ((-0.95, -0.75), (0.75, 0.95)):
                lamp = solid.strip(0, (left, right), (0.1, 0.3))
                sprite.fill(pose.project(lamp), TAILLAMP, covers=False)
        if side:
            factor = side_factor(pose, light, side)
            stripe = np.array([(-end, 0.95), (end, 0.95), (end, 0.78), (-end, 0.78)])
            sprite.fill(
                pose.project(solid.side(stripe, side)),
                np.array([176, 120, 70]) * factor,
                covers=False,
            )
            if self.label == "caravan":
                for s in (-1.2, 0.7):
                    pane = np.array([(s, 1.9), (s + 0.9, 1.9), (s + 0.9, 1.35), (s, 1.35)])
                    paint_glass(sprite, pose.project(solid.side(pane, side)), factor, light)
            paint_wheel(sprite, pose, factor, 0.3, 0.0, side * half)
        sprite.model(0.12)
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)
