"""Buses, trucks and trams."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from segtron.data.toytown.camera import Pose
from segtron.data.toytown.canvas import Canvas, Sprite
from segtron.data.toytown.light import Light
from segtron.data.toytown.shapes import along, wheel
from segtron.data.toytown.solid import (
    GLASS,
    HEADLAMP,
    RIM,
    TAILLAMP,
    UNDERSIDE,
    Solid,
    bounding_sprite,
    paint_glass,
    paint_undercarriage,
    paint_wheel,
    side_factor,
)


@dataclass
class Bus:
    """A city bus, as a box with a band of windows, doors and a lit destination."""

    length: float
    width: float
    height: float
    color: np.ndarray
    stripe: np.ndarray
    label: str = field(default="bus", init=False)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Bus:
        liveries = np.array(
            [
                [(206, 44, 44), (240, 232, 222)],
                [(236, 184, 40), (60, 62, 70)],
                [(34, 120, 128), (232, 236, 232)],
                [(236, 236, 230), (32, 92, 160)],
                [(112, 160, 62), (240, 240, 228)],
            ],
            dtype=np.float64,
        )
        color, stripe = liveries[rng.integers(len(liveries))]
        return cls(
            length=rng.uniform(8.5, 11.0),
            width=2.5,
            height=rng.uniform(2.95, 3.25),
            color=np.clip(color + rng.normal(0, 6, 3), 0, 245),
            stripe=stripe,
        )

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint the bus and annotate it."""
        sprite = bounding_sprite(canvas, pose, self.length, self.width, self.height)
        if sprite is None:
            return
        light = canvas.light
        end, half = self.length / 2, self.width / 2
        profile = np.array(
            [
                (-end, 0.34),
                (-end, self.height - 0.12),
                (-end + 0.15, self.height),
                (end - 0.3, self.height),
                (end - 0.08, self.height - 0.15),
                (end, 1.1),
                (end - 0.04, 0.32),
            ]
        )
        solid = Solid(profile, half * np.array([1, 0.98, 0.94, 0.94, 0.97, 1, 0.98]))
        radius, axles = 0.48, [-self.length * 0.27, self.length * 0.3]
        paint_undercarriage(sprite, pose, self.length, half, 0.36, axles, radius)
        side = solid.paint(sprite, pose, light, {-1: self.color, 2: self.color * 0.9})
        seen = solid.visible_strips(pose.viewer())
        if 0 in seen:
            factor = light.shade(pose.direction(solid.normal(0)))
            self._band(sprite, pose, solid, 0, (0.02, 0.16), self.color * factor * 0.6)
            pane = solid.strip(0, (-0.84, 0.84), (0.56, 0.9))[[3, 2, 1, 0]]
            paint_glass(sprite, pose.project(pane), factor, light, lit=True)
            for left, right in ((-0.95, -0.78), (0.78, 0.95)):
                lamp = pose.project(solid.strip(0, (left, right), (0.2, 0.42)))
                sprite.fill(lamp, TAILLAMP * (1.25 if light.lit else 0.9), covers=False)
            self._band(sprite, pose, solid, 0, (0.455, 0.5), self.stripe * factor)
        if 4 in seen:
            factor = light.shade(pose.direction(solid.normal(4)))
            screen = solid.strip(4, (-0.93, 0.93), (0.2, 0.97))
            paint_glass(sprite, pose.project(screen), factor * 0.9, light)
            board = solid.strip(4, (-0.8, 0.8), (0.01, 0.16))
            sprite.fill(pose.project(board), (26, 26, 28), covers=False)
            text = solid.strip(4, (-0.55, 0.5), (0.05, 0.12))
            sprite.fill(pose.project(text), (255, 176, 48), covers=False)
            wiper = solid.strip(4, (-0.02, 0.02), (0.2, 0.97))
            sprite.fill(pose.project(wiper), GLASS * 0.5, covers=False)
            self._band(sprite, pose, solid, 5, (0.75, 1.0), self.color * factor * 0.5)
            for left, right in ((-0.92, -0.6), (0.6, 0.92)):
                lamp = pose.project(solid.strip(5, (left, right), (0.3, 0.6)))
                sprite.fill(lamp, HEADLAMP, covers=False)
        if side:
            self._paint_side(sprite, pose, solid, light, side, radius, axles)
        sprite.model(0.12)
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)

    @staticmethod
    def _band(
        sprite: Sprite,
        pose: Pose,
        solid: Solid,
        index: int,
        span: tuple[float, float],
        color: np.ndarray,
    ) -> None:
        sprite.fill(pose.project(solid.strip(index, (-1, 1), span)), color, covers=False)

    def _paint_side(
        self,
        sprite: Sprite,
        pose: Pose,
        solid: Solid,
        light: Light,
        side: int,
        radius: float,
        axles: list[float],
    ) -> None:
        factor = side_factor(pose, light, side)
        end = self.length / 2

        def panel(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
            corners = np.array([(x0, y1), (x1, y1), (x1, y0), (x0, y0)])
            return pose.project(solid.side(corners, side))

        sprite.fill(panel(-end, end, 0.34, 0.62), self.color * factor * 0.62, covers=False)
        sprite.fill(panel(-end, end, 0.98, 1.14), self.stripe * factor, covers=False)
        top = self.height - 0.5
        sprite.fill(panel(-end + 0.25, end - 0.15, 1.3, top), (28, 32, 38), covers=False)
        count = round(self.length / 1.35)
        edges = np.linspace(-end + 0.3, end - 0.2, count + 1)
        for left, right in pairwise(edges):
            paint_glass(
                sprite,
                panel(left + 0.05, right - 0.05, 1.36, top - 0.06),
                factor * 1.15,
                light,
                lit=True,
            )
        if side == 1:  # doors are at the kerb
            for door in (end - 1.3, -0.4):
                sprite.fill(panel(door, door + 1.05, 0.42, top + 0.05), (34, 38, 44), covers=False)
                for leaf in (door + 0.06, door + 0.56):
                    paint_glass(sprite, panel(leaf, leaf + 0.43, 0.5, top), factor * 1.2, light)
        for axle in axles:
            arch = wheel(radius * 1.2, axle, radius, side * self.width / 2)
            arch[:, 1] = np.maximum(arch[:, 1], 0.34)
            sprite.fill(pose.project(arch), UNDERSIDE, covers=False)
            paint_wheel(sprite, pose, factor, radius, axle, side * self.width / 2)


@dataclass
class Truck:
    """A lorry: a cabin, and behind it a box, a tarpaulin or an open bed with a load."""

    length: float
    width: float
    height: float
    cabin_height: float
    color: np.ndarray
    cargo_color: np.ndarray
    cargo: str
    label: str = field(default="truck", init=False)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Truck:
        cabins = np.array(
            [(196, 40, 40), (40, 86, 150), (234, 234, 230), (230, 140, 36), (60, 120, 76)]
        )
        cargo = str(rng.choice(["box", "tarpaulin", "bed"], p=[0.5, 0.3, 0.2]))
        boxes = np.array([(238, 238, 232), (206, 210, 214), (222, 200, 140), (150, 178, 196)])
        tarpaulins = np.array([(62, 100, 150), (80, 124, 84), (170, 64, 58), (196, 190, 176)])
        choices = boxes if cargo == "box" else tarpaulins
        return cls(
            length=rng.uniform(6.5, 9.0),
            width=2.4,
            height=rng.uniform(2.9, 3.5) if cargo != "bed" else 2.6,
            cabin_height=rng.uniform(2.35, 2.65),
            color=np.clip(cabins[rng.integers(len(cabins))] + rng.normal(0, 8, 3), 10, 242),
            cargo_color=np.clip(choices[rng.integers(len(choices))] + rng.normal(0, 6, 3), 0, 245),
            cargo=cargo,
        )

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint the lorry and annotate it."""
        sprite = bounding_sprite(canvas, pose, self.length, self.width, self.height)
        if sprite is None:
            return
        light, end, half = canvas.light, self.length / 2, self.width / 2
        radius = 0.46
        axles = [-end + 1.0, -end + 2.0, end - 1.1] if self.length > 7.5 else [-end + 1.3, end - 1]
        paint_undercarriage(sprite, pose, self.length, half, 0.62, axles, radius)
        for part in self._far_to_near(pose):
            part(sprite, pose, light)
        side = self._cabin().visible_side(pose.viewer())
        if side:
            factor = side_factor(pose, light, side)
            for axle in axles:
                paint_wheel(sprite, pose, factor, radius, axle, side * half)
        sprite.model(0.12)
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)

    def _far_to_near(self, pose: Pose) -> list:
        # The camera is behind the lorry where its forward coordinate is negative.
        behind = pose.viewer()[2] < self.length / 2 - 2.1
        parts = [self._paint_cabin, self._paint_cargo]
        return parts if behind else parts[::-1]

    def _cabin(self) -> Solid:
        end, half = self.length / 2, self.width / 2
        back = end - 1.9
        profile = np.array(
            [
                (back, 0.5),
                (back, self.cabin_height),
                (end - 0.5, self.cabin_height),
                (end - 0.06, self.cabin_height * 0.56),
                (end, 0.42),
            ]
        )
        return Solid(profile, half * np.array([0.95, 0.9, 0.88, 0.95, 0.95]))

    def _paint_cabin(self, sprite: Sprite, pose: Pose, light: Light) -> None:
        solid = self._cabin()
        side = solid.paint(sprite, pose, light, {-1: self.color, 2: GLASS})
        seen = solid.visible_strips(pose.viewer())
        if 2 in seen:
            factor = light.shade(pose.direction(solid.normal(2)))
            paint_glass(
                sprite, pose.project(solid.strip(2, (-0.9, 0.9), (0.08, 0.92))), factor, light
            )
        if 3 in seen:
            factor = light.shade(pose.direction(solid.normal(3)))
            dark = np.array([40.0, 42.0, 46.0])
            sprite.fill(
                pose.project(solid.strip(3, (-0.66, 0.66), (0.12, 0.55))), dark, covers=False
            )
            for t in (0.22, 0.36, 0.5):
                bar = solid.strip(3, (-0.6, 0.6), (t - 0.04, t + 0.01))
                sprite.fill(pose.project(bar), RIM * factor * 0.8, covers=False)
            sprite.fill(pose.project(solid.strip(3, (-1, 1), (0.72, 1))), dark * 1.4, covers=False)
            for left, right in ((-0.95, -0.7), (0.7, 0.95)):
                sprite.fill(
                    pose.project(solid.strip(3, (left, right), (0.6, 0.82))), HEADLAMP, covers=False
                )
        if side:
            factor = side_factor(pose, light, side)
            end = self.length / 2
            low, high = self.cabin_height * 0.6, self.cabin_height - 0.22
            pane = np.array(
                [(end - 1.5, high), (end - 0.62, high), (end - 0.3, low), (end - 1.5, low)]
            )
            paint_glass(sprite, pose.project(solid.side(pane, side)), factor, light)
            seam = np.array([(end - 1.6, high + 0.05), (end - 1.6, 0.7)])
            sprite.line(
                pose.project(solid.side(seam, side)),
                self.color * factor * 0.7,
                0.03 * pose.scale(),
                covers=False,
            )
            step = np.array([(end - 1.9, 0.72), (end - 0.04, 0.72), (end, 0.42), (end - 1.9, 0.42)])
            sprite.fill(
                pose.project(solid.side(step, side)), np.array([52, 54, 58]) * factor, covers=False
            )

    def _paint_cargo(self, sprite: Sprite, pose: Pose, light: Light) -> None:
        end, half = self.length / 2, self.width / 2
        front = end - 2.05
        floor = 0.78
        top = self.height if self.cargo != "bed" else 1.45
        profile = np.array([(-end, floor), (-end, top), (front, top), (front, floor)])
        if self.cargo == "tarpaulin":
            profile = np.array(
                [(-end, floor), (-end, top - 0.25), (-end + 0.1, top), (front - 0.1, top)]
                + [(front, top - 0.25), (front, floor)]
            )
        solid = Solid(profile, np.full(len(profile), half))
        if self.cargo == "bed":
            self._paint_load(sprite, pose, light, front, top)
        side = solid.paint(sprite, pose, light, {-1: self.cargo_color})
        seen = solid.visible_strips(pose.viewer())
        if 0 in seen:
            factor = light.shade(pose.direction(solid.normal(0)))
            edge = self.cargo_color * factor * 0.72
            for left, right in ((-1, -0.93), (-0.03, 0.03), (0.93, 1)):
                sprite.fill(pose.project(solid.strip(0, (left, right))), edge, covers=False)
            sprite.fill(pose.project(solid.strip(0, (-1, 1), (0.93, 1))), edge, covers=False)
            bumper = np.array(
                [(-half, 0.55, -end), (half, 0.55, -end), (half, 0.78, -end), (-half, 0.78, -end)]
            )
            sprite.fill(pose.project(bumper), np.array([48.0, 48.0, 52.0]) * factor)
            for lateral in (-half + 0.25, half - 0.25):
                lamp = np.array(
                    [(lateral - 0.2, 0.6, -end), (lateral + 0.2, 0.6, -end)]
                    + [(lateral + 0.2, 0.73, -end), (lateral - 0.2, 0.73, -end)]
                )
                sprite.fill(pose.project(lamp), TAILLAMP * (1.25 if light.lit else 1), covers=False)
        if side:
            factor = side_factor(pose, light, side)
            low_edge = np.array(
                [(-end, floor + 0.14), (front, floor + 0.14), (front, floor), (-end, floor)]
            )
            sprite.fill(
                pose.project(solid.side(low_edge, side)),
                self.cargo_color * factor * 0.6,
                covers=False,
            )
            thickness = max(0.4, 0.04 * pose.scale())
            if self.cargo == "tarpaulin":
                for s in np.linspace(-end, front, 7)[1:-1]:
                    fold = np.array([(s, floor + 0.15), (s + 0.08, top - 0.2)])
                    sprite.line(
                        pose.project(solid.side(fold, side)),
                        self.cargo_color * factor * 0.82,
                        thickness,
                        covers=False,
                    )
            elif self.cargo == "box":
                middle, span = (front - end) / 2, (front + end) * 0.5
                logo = np.array(
                    [
                        (middle - span * 0.5, floor + (top - floor) * 0.45),
                        (middle + span * 0.2, floor + (top - floor) * 0.45),
                        (middle + span * 0.4, floor + (top - floor) * 0.68),
                        (middle - span * 0.3, floor + (top - floor) * 0.68),
                    ]
                )
                sprite.fill(pose.project(solid.side(logo, side)), self.color * factor, covers=False)

    def _paint_load(
        self, sprite: Sprite, pose: Pose, light: Light, front: float, top: float
    ) -> None:
        end, half = self.length / 2, self.width / 2
        heap = np.array(
            [
                (-end + 0.2, top - 0.1),
                (-end * 0.5, self.height - 0.3),
                (0.1, self.height - 0.15),
                (front - 0.2, top - 0.1),
            ]
        )
        solid = Solid(heap, half * np.array([0.9, 0.45, 0.45, 0.9]))
        solid.paint(sprite, pose, light, {-1: np.array([150.0, 122.0, 88.0])})


@dataclass
class Train:
    """A tram: long, with raked ends, a band of windows, a stripe and a pantograph."""

    length: float
    width: float
    height: float
    color: np.ndarray
    stripe: np.ndarray
    label: str = field(default="train", init=False)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Train:
        liveries = np.array(
            [
                [(238, 234, 220), (178, 36, 48)],
                [(240, 206, 70), (242, 240, 232)],
                [(96, 142, 190), (240, 240, 236)],
                [(232, 232, 232), (44, 130, 94)],
                [(200, 54, 46), (240, 232, 214)],
            ],
            dtype=np.float64,
        )
        color, stripe = liveries[rng.integers(len(liveries))]
        return cls(
            length=rng.uniform(13.0, 18.0),
            width=2.5,
            height=3.5,
            color=np.clip(color + rng.normal(0, 5, 3), 0, 245),
            stripe=stripe,
        )

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint the tram and annotate it."""
        sprite = bounding_sprite(canvas, pose, self.length, self.width, self.height + 1.1)
        if sprite is None:
            return
        light, end, half = canvas.light, self.length / 2, self.width / 2
        roof = self.height - 0.25
        profile = np.array(
            [
                (-end + 0.3, 0.22),
                (-end, 1.15),
                (-end + 0.75, roof - 0.35),
                (-end + 1.3, roof),
                (end - 1.3, roof),
                (end - 0.75, roof - 0.35),
                (end, 1.15),
                (end - 0.3, 0.22),
            ]
        )
        solid = Solid(profile, half * np.array([0.8, 0.86, 0.86, 0.84, 0.84, 0.86, 0.86, 0.8]))
        solid.half_width[[3, 4]] *= 1.02
        self._paint_pantograph(sprite, pose, roof)
        grey = np.array([150.0, 152.0, 156.0])
        side = solid.paint(sprite, pose, light, {-1: self.color, 3: grey})
        seen = solid.visible_strips(pose.viewer())
        for lower, glass, lamp in ((0, 1, TAILLAMP * 1.2), (6, 5, HEADLAMP)):
            if glass in seen:
                factor = light.shade(pose.direction(solid.normal(glass)))
                t = (0.04, 0.92) if glass == 1 else (0.08, 0.96)
                pane = solid.strip(glass, (-0.86, 0.86), t)
                pane = pane[[3, 2, 1, 0]] if glass == 1 else pane
                paint_glass(sprite, pose.project(pane), factor * 0.85, light)
                cap = 2 if glass == 1 else 4
                board = solid.strip(cap, (-0.5, 0.5), (0.2, 0.8))
                sprite.fill(pose.project(board), (255, 180, 60), covers=False)
            if lower in seen:
                factor = light.shade(pose.direction(solid.normal(lower)))
                first = (0.55, 0.8) if lower == 0 else (0.2, 0.45)
                sprite.fill(
                    pose.project(solid.strip(lower, (-1, 1), first)),
                    self.stripe * factor,
                    covers=False,
                )
                for left, right in ((-0.8, -0.5), (0.5, 0.8)):
                    sprite.fill(
                        pose.project(solid.strip(lower, (left, right), first)), lamp, covers=False
                    )
        if side:
            self._paint_side(sprite, pose, solid, light, side, roof)
        sprite.model(0.12)
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)

    def _paint_pantograph(self, sprite: Sprite, pose: Pose, roof: float) -> None:
        arms = np.array([(-0.7, roof - 0.05), (0.5, roof + 0.5), (-0.1, roof + 0.95)])
        dark, thickness = (52, 54, 60), 0.07 * pose.scale()
        sprite.line(pose.project(along(arms, 0.0)), dark, thickness)
        bow = np.array([(-0.75, roof + 0.95, -0.1), (0.75, roof + 0.95, -0.1)])
        sprite.line(pose.project(bow), dark, thickness)
        for s in (-3.2, 2.4):
            box = along(
                np.array(
                    [
                        (s, roof - 0.05),
                        (s + 2.2, roof - 0.05),
                        (s + 2.1, roof + 0.22),
                        (s + 0.1, roof + 0.22),
                    ]
                ),
                0.0,
            )
            sprite.fill(pose.project(box), (128, 130, 134))

    def _paint_side(
        self, sprite: Sprite, pose: Pose, solid: Solid, light: Light, side: int, roof: float
    ) -> None:
        factor = side_factor(pose, light, side)
        end = self.length / 2

        def panel(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
            corners = np.array([(x0, y1), (x1, y1), (x1, y0), (x0, y0)])
            return pose.project(solid.side(corners, side))

        sprite.fill(
            panel(-end + 0.3, end - 0.3, 0.24, 0.55), self.color * factor * 0.5, covers=False
        )
        sprite.fill(panel(-end + 0.1, end - 0.1, 0.9, 1.2), self.stripe * factor, covers=False)
        top = roof - 0.45
        sprite.fill(panel(-end + 0.8, end - 0.8, 1.4, top), (30, 33, 40), covers=False)
        edges = np.linspace(-end + 0.95, end - 0.95, round(self.length / 1.7) + 1)
        for left, right in pairwise(edges):
            pane = panel(left + 0.06, right - 0.06, 1.46, top - 0.06)
            paint_glass(sprite, pane, factor * 1.2, light, lit=True)
        for door in (-end * 0.55, end * 0.08, end * 0.62):
            sprite.fill(
                panel(door, door + 1.3, 0.4, top + 0.1), self.stripe * factor * 0.85, covers=False
            )
            for leaf in (door + 0.1, door + 0.7):
                paint_glass(sprite, panel(leaf, leaf + 0.5, 0.75, top), factor * 1.2, light)
        for joint in (-self.length / 6, self.length / 6):
            sprite.fill(panel(joint - 0.25, joint + 0.25, 0.3, roof), (62, 64, 68), covers=False)
        for bogie in (-end * 0.72, -end * 0.02, end * 0.7):
            for axle in (bogie - 0.55, bogie + 0.55):
                disc = wheel(0.3, axle, 0.3, side * self.width / 2 * 0.86)
                sprite.fill(pose.project(disc), (40, 40, 44))
