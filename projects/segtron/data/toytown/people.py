"""People and what they ride: figures of limbs around joints in space, so that any view works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from segtron.data.toytown.camera import Pose
from segtron.data.toytown.canvas import Canvas, Sprite
from segtron.data.toytown.light import Light
from segtron.data.toytown.shapes import along, circle, hull, limb, wheel

SKINS = np.array([(244, 208, 180), (226, 180, 148), (186, 134, 100), (140, 94, 68), (98, 66, 50)])
HAIRS = np.array([(40, 32, 28), (84, 56, 36), (150, 108, 60), (206, 176, 112), (150, 150, 152)])
TOPS = np.array(
    [
        (206, 62, 58),
        (236, 180, 62),
        (66, 120, 180),
        (84, 152, 120),
        (238, 234, 224),
        (60, 62, 74),
        (168, 92, 150),
        (120, 166, 204),
        (232, 132, 90),
        (110, 120, 66),
    ]
)
BOTTOMS = np.array([(46, 58, 88), (62, 62, 66), (122, 104, 82), (88, 96, 104), (34, 36, 44)])
SHOE = np.array([44.0, 38.0, 36.0])
DARK = np.array([36.0, 36.0, 40.0])


@dataclass
class Clothes:
    """What a figure looks like; colours are RGB."""

    skin: np.ndarray
    hair: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    skirt: bool
    long_hair: bool
    bag: np.ndarray | None
    helmet: np.ndarray | None

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Clothes:
        def pick(colors: np.ndarray) -> np.ndarray:
            return np.clip(colors[rng.integers(len(colors))] + rng.normal(0, 8, 3), 8, 247)

        return cls(
            skin=pick(SKINS),
            hair=pick(HAIRS),
            top=pick(TOPS),
            bottom=pick(BOTTOMS),
            skirt=bool(rng.random() < 0.22),
            long_hair=bool(rng.random() < 0.4),
            bag=pick(TOPS) * 0.8 if rng.random() < 0.35 else None,
            helmet=None,
        )


def _limb(
    sprite: Sprite,
    pose: Pose,
    joints: list[tuple[float, float, float]],
    radii: tuple[float, ...],
    color: np.ndarray,
) -> None:
    """A chain of tapered strokes through joints (right, up, forward)."""
    points = pose.project(np.array(joints))
    scale = pose.scale()
    for index in range(len(points) - 1):
        sprite.fill(
            limb(
                points[index],
                points[index + 1],
                radii[index] * scale,
                radii[index + 1] * scale,
            ),
            color,
        )


def _torso(
    sprite: Sprite,
    pose: Pose,
    shoulders: np.ndarray,
    hips: np.ndarray,
    radii: tuple[float, float],
    color: np.ndarray,
    light: Light,
) -> None:
    """The hull of shoulders (2, 3) and hips (2, 3), its sunny half a little lighter."""
    scale = pose.scale()
    top, low = pose.project(shoulders), pose.project(hips)
    outline = [circle(point, radii[0] * scale) for point in top]
    outline += [circle(point, radii[1] * scale) for point in low]
    shape = hull(np.concatenate(outline))
    sprite.fill(shape, color)
    if scale * radii[0] > 1:
        center = shape.mean(axis=0) + (np.sign(light.side) * radii[0] * 0.45 * scale, 0)
        inner = (shape - shape.mean(axis=0)) * (0.55, 0.88) + center
        sprite.fill(inner, np.clip(color * 1.1 + 5, 0, 255), covers=False)


def _head(
    sprite: Sprite,
    pose: Pose,
    center: tuple[float, float, float],
    radius: float,
    clothes: Clothes,
    factor: np.ndarray,
) -> None:
    point = pose.project(np.array(center))
    r = radius * pose.scale()
    # Where the face looks: 1 towards the camera, -1 away from it; sideways in image x.
    ahead = pose.direction(np.array([0.0, 0.0, 1.0]))
    towards, sideways = -ahead[2], ahead[0]
    hair = clothes.hair * factor
    if clothes.helmet is not None:
        sprite.fill(circle(point, r * 1.02, 1.12), clothes.skin * factor)
        shell = circle(point + (-0.12 * sideways * r, -0.28 * r), r * 1.2, 0.98)
        shell[:, 1] = np.minimum(shell[:, 1], point[1] + (0.05 if towards > 0 else 0.4) * r)
        sprite.fill(shell, clothes.helmet * factor)
        return
    if clothes.long_hair:
        mane = circle(point + (-0.3 * sideways * r, 0.35 * r), r * 1.08, 1.45)
        if towards > 0.3:  # seen from the front it falls behind the shoulders
            mane[:, 1] = np.minimum(mane[:, 1], point[1] + 0.8 * r)
        sprite.fill(mane, hair * 0.92)
    sprite.fill(circle(point, r, 1.12), hair if towards < -0.3 else clothes.skin * factor)
    cap = circle(point + (-0.28 * sideways * r, -0.22 * r), r * 1.06, 1.0)
    floor = point[1] + (-0.22 if towards > 0.3 else 0.15) * r
    cap[:, 1] = np.minimum(cap[:, 1], floor if towards > -0.3 else point[1] + 0.9 * r)
    sprite.fill(cap, hair)


@dataclass
class Person:
    """Somebody on foot: walking or standing, with clothes, perhaps a bag or an umbrella."""

    height: float
    stride: float
    clothes: Clothes
    umbrella: np.ndarray | None
    length: float = field(default=0.6, init=False)
    width: float = field(default=0.6, init=False)
    label: str = field(default="person", init=False)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Person:
        child = rng.random() < 0.14
        return cls(
            height=rng.uniform(1.1, 1.4) if child else rng.uniform(1.6, 1.9),
            stride=float(rng.choice([0.0, rng.uniform(0.5, 1.0)], p=[0.3, 0.7])),
            clothes=Clothes.sample(rng),
            umbrella=TOPS[rng.integers(len(TOPS))].astype(float) if rng.random() < 0.06 else None,
        )

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint the person and annotate them."""
        sprite = self._sprite(canvas, pose)
        if sprite is None:
            return
        self.draw(sprite, pose, canvas.light)
        sprite.model(0.14)
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)

    def _sprite(self, canvas: Canvas, pose: Pose) -> Sprite | None:
        reach = 0.75
        corners = np.array([(a, b, c) for a in (-1, 1) for b in (0, 1) for c in (-1, 1)])
        top = self.height + (0.5 if self.umbrella is not None else 0.05)
        return canvas.sprite(pose.project(corners * (reach, top, reach)))

    def draw(self, sprite: Sprite, pose: Pose, light: Light) -> None:
        """Paint the figure, without annotating it."""
        h, swing, wear = self.height, self.stride, self.clothes
        factor = 0.6 * light.shade(pose.direction(np.array([0.0, 0.0, 1.0]))) + 0.4 * (
            light.ambient + 0.5 * light.sun
        )
        near = 1.0 if pose.viewer()[0] > 0 else -1.0
        legs = (wear.skin if wear.skirt else wear.bottom) * factor
        reach = 0.15 * h * swing
        for side, dim in ((-near, 0.78), (near, 1.0)):
            step = reach * side
            knee = (side * 0.05 * h, 0.27 * h, step * 0.62 + 0.03 * h * swing)
            foot = (side * 0.05 * h, 0.035 * h, step)
            hip = (side * 0.045 * h, 0.5 * h, 0.0)
            _limb(sprite, pose, [hip, knee, foot], (0.062 * h, 0.046 * h, 0.034 * h), legs * dim)
            toe = (side * 0.055 * h, 0.025 * h, step + 0.075 * h)
            _limb(sprite, pose, [foot, toe], (0.032 * h, 0.024 * h), SHOE * factor)
            if side == -near:
                self._arm(sprite, pose, side, -reach * side, wear.top * factor * 0.8, factor)
        if wear.skirt:
            scale = pose.scale()
            waist = pose.project(np.array([(-0.06 * h, 0.58 * h, 0), (0.06 * h, 0.58 * h, 0)]))
            hem = pose.project(
                np.array([(-0.1 * h, 0.34 * h, reach * 0.6), (0.1 * h, 0.34 * h, -reach * 0.6)])
            )
            shape = [circle(point, 0.04 * h * scale) for point in (*waist, *hem)]
            sprite.fill(hull(np.concatenate(shape)), wear.bottom * factor)
        shoulders = np.array([(-0.1 * h, 0.775 * h, 0.0), (0.1 * h, 0.775 * h, 0.0)])
        hips = np.array([(-0.06 * h, 0.52 * h, 0.0), (0.06 * h, 0.52 * h, 0.0)])
        if wear.bag is not None and pose.viewer()[2] > 0:
            self._backpack(sprite, pose, wear.bag * factor)
        _limb(
            sprite,
            pose,
            [(0, 0.8 * h, 0), (0, 0.87 * h, 0.01)],
            (0.035 * h,) * 2,
            wear.skin * factor * 0.9,
        )
        _torso(sprite, pose, shoulders, hips, (0.052 * h, 0.06 * h), wear.top * factor, light)
        if wear.bag is not None and pose.viewer()[2] <= 0:
            self._backpack(sprite, pose, wear.bag * factor)
        _head(sprite, pose, (0.0, 0.915 * h, 0.015 * h), 0.066 * h, wear, factor)
        if self.umbrella is None:
            self._arm(sprite, pose, near, -reach * near, wear.top * factor * 0.93, factor)
        else:
            self._hold_umbrella(sprite, pose, near, factor)

    def _arm(
        self,
        sprite: Sprite,
        pose: Pose,
        side: float,
        forward: float,
        sleeve: np.ndarray,
        factor: np.ndarray,
    ) -> None:
        h = self.height
        shoulder = (side * 0.125 * h, 0.78 * h, 0.0)
        elbow = (side * 0.15 * h, 0.62 * h, forward * 0.35 - 0.01 * h)
        hand = (side * 0.145 * h, 0.47 * h, forward * 0.9 + 0.03 * h)
        _limb(sprite, pose, [shoulder, elbow, hand], (0.038 * h, 0.03 * h, 0.024 * h), sleeve)
        palm = circle(pose.project(np.array(hand)), 0.027 * h * pose.scale())
        sprite.fill(palm, self.clothes.skin * factor)

    def _backpack(self, sprite: Sprite, pose: Pose, color: np.ndarray) -> None:
        h = self.height
        _limb(
            sprite,
            pose,
            [(0, 0.76 * h, -0.09 * h), (0, 0.58 * h, -0.1 * h)],
            (0.07 * h, 0.085 * h),
            color,
        )

    def _hold_umbrella(self, sprite: Sprite, pose: Pose, near: float, factor: np.ndarray) -> None:
        h, scale = self.height, pose.scale()
        assert self.umbrella is not None
        hand = (near * 0.1 * h, 0.66 * h, 0.12 * h)
        _limb(
            sprite,
            pose,
            [(near * 0.12 * h, 0.78 * h, 0), (near * 0.15 * h, 0.62 * h, 0.03 * h), hand],
            (0.038 * h, 0.03 * h, 0.025 * h),
            self.clothes.top * factor * 0.93,
        )
        top = np.array([near * 0.06 * h, 1.12 * h, 0.06 * h])
        stick = pose.project(np.array([hand, tuple(top)]))
        sprite.line(stick, DARK, 0.025 * scale)
        dome = circle(pose.project(top), 0.36 * h * scale, 0.62)
        center = pose.project(top)[1]
        dome[:, 1] = np.minimum(dome[:, 1], center + 0.02 * scale)
        sprite.fill(dome, self.umbrella * factor)
        half = dome.copy()
        half[:, 0] = np.minimum(half[:, 0], pose.project(top)[0])
        sprite.fill(half, self.umbrella * factor * 0.86, covers=False)


@dataclass
class Crowd:
    """Several of a kind too close together to be told apart: one 'group' polygon."""

    members: list
    offsets: list[tuple[float, float, float]]
    label: str
    length: float
    width: float
    height: float

    @classmethod
    def of_people(cls, rng: np.random.Generator) -> Crowd:
        count = int(rng.integers(7, 14))
        members = [Person.sample(rng) for _ in range(count)]
        for member in members:
            member.umbrella = None
        across = np.linspace(-0.22 * count, 0.22 * count, count)
        offsets = [
            (float(x + rng.normal(0, 0.1)), float(rng.uniform(-0.7, 0.7)), float(rng.uniform(0, 6)))
            for x in across
        ]
        return cls(members, offsets, "persongroup", 1.8, 0.44 * count + 0.6, 1.9)

    @classmethod
    def of_bicycles(cls, rng: np.random.Generator) -> Crowd:
        count = int(rng.integers(4, 8))
        members = [Cycle.sample(rng, "bicycle") for _ in range(count)]
        offsets = [
            (
                float((i - count / 2) * 0.42),
                float(rng.normal(0, 0.06)),
                float(rng.normal(0.9, 0.05)),
            )
            for i in range(count)
        ]
        return cls(members, offsets, "bicyclegroup", 1.8, 0.42 * count + 1.4, 1.1)

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint all members and annotate them as one group."""
        half = np.array([self.width / 2 + 0.9, self.height + 0.1, self.length / 2 + 0.6])
        corners = np.array([(a, b, c) for a in (-1, 1) for b in (0, 1) for c in (-1, 1)]) * half
        sprite = canvas.sprite(pose.project(corners))
        if sprite is None:
            return
        order = sorted(
            range(len(self.members)),
            key=lambda i: -pose.world(np.array([self.offsets[i][0], 0, self.offsets[i][1]]))[2],
        )
        for index in order:
            x, s, yaw = self.offsets[index]
            place = pose.world(np.array([x, 0.0, s]))
            own = Pose(pose.camera, float(place[0]), float(place[2]), pose.yaw + yaw)
            self.members[index].draw(sprite, own, canvas.light)
        sprite.model(0.1)
        sprite.fade(pose.z)
        sprite.annotate(self.label)


def _ring(radius: float, center: float, thickness: float) -> np.ndarray:
    """A tyre's outer and inner edge (2, 28, 3)."""
    return np.stack(
        [wheel(radius, center, radius, 0.0), wheel(radius - thickness, center, radius, 0.0)]
    )


@dataclass
class Cycle:
    """A bicycle, or a motorcycle (with engine, tank, fat tyres)."""

    label: str
    color: np.ndarray
    scooter: bool
    length: float
    width: float
    height: float

    @classmethod
    def sample(cls, rng: np.random.Generator, label: str) -> Cycle:
        colors = np.array(
            [
                (40, 44, 52),
                (190, 48, 44),
                (42, 104, 168),
                (226, 166, 50),
                (72, 140, 96),
                (222, 222, 220),
            ]
        )
        color = np.clip(colors[rng.integers(len(colors))] + rng.normal(0, 8, 3), 8, 245)
        if label == "bicycle":
            return cls(label, color, False, 1.8, 0.6, 1.1)
        return cls(label, color, bool(rng.random() < 0.3), 2.1, 0.8, 1.2)

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint it and annotate it."""
        sprite = self._sprite(canvas, pose)
        if sprite is None:
            return
        self.draw(sprite, pose, canvas.light)
        sprite.model(0.1)
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)

    def _sprite(self, canvas: Canvas, pose: Pose) -> Sprite | None:
        half = np.array([self.width / 2, self.height + 0.1, self.length / 2])
        corners = np.array([(a, b, c) for a in (-1, 1) for b in (0, 1) for c in (-1, 1)]) * half
        return canvas.sprite(pose.project(corners), margin=3)

    def draw(self, sprite: Sprite, pose: Pose, light: Light) -> None:
        """Paint it, without annotating it."""
        factor = light.ambient + 0.55 * light.sun
        if self.label == "bicycle":
            self._draw_bicycle(sprite, pose, factor)
        else:
            self._draw_motorcycle(sprite, pose, factor)

    def _draw_bicycle(self, sprite: Sprite, pose: Pose, factor: np.ndarray) -> None:
        scale, radius = pose.scale(), 0.34
        color = self.color * factor
        tube = max(0.6, 0.045 * scale)
        for center in (-0.53, 0.53):
            tread = np.concatenate(
                [wheel(radius, center, radius, lateral) for lateral in (-0.03, 0.03)]
            )
            outline = hull(pose.project(tread))
            narrow = np.ptp(outline[:, 0]) < 0.45 * np.ptp(outline[:, 1])
            sprite.fill(outline, DARK if narrow else None)
            if narrow:
                continue
            spokes = np.linspace(0, np.pi, 5)[:-1]
            if radius * scale > 8:
                for angle in spokes:
                    reach = 0.3 * np.array([np.cos(angle), np.sin(angle)])
                    ends = np.array([(center, radius) - reach, (center, radius) + reach])
                    sprite.line(
                        pose.project(along(ends, 0.0)), (150, 152, 156), 0.008 * scale, covers=False
                    )
            sprite.fill_all(pose.project(_ring(radius, center, 0.055)), DARK)
        crank, seat, head, hub = (-0.06, 0.3), (-0.2, 0.86), (0.38, 0.84), (-0.53, 0.34)
        area = pose.project(along(np.array([crank, head, seat]), 0.0))
        sprite.fill(area, None)
        sprite.fill(pose.project(along(np.array([crank, seat, hub]), 0.0)), None)
        for joints in (
            [crank, seat, hub, crank, head, seat],
            [head, (0.53, 0.34)],
            [head, (0.35, 1.0)],
        ):
            sprite.line(pose.project(along(np.array(joints), 0.0)), color, tube)
        sprite.line(pose.project(along(np.array([(-0.2, 0.86), (-0.22, 0.96)]), 0.0)), DARK, tube)
        saddle = along(np.array([(-0.36, 0.97), (-0.08, 0.96)]), 0.0)
        sprite.line(pose.project(saddle), DARK, 1.6 * tube)
        bars = np.array([(-0.28, 1.02, 0.36), (0.28, 1.02, 0.36)])
        sprite.line(pose.project(bars), DARK, tube)
        if scale > 12:
            lamp = -np.sign(pose.viewer()[2])
            spot = np.array([0.0, 0.82, 0.44]) if lamp < 0 else np.array([0.0, 0.75, -0.42])
            shade = np.array([250, 240, 200]) if lamp < 0 else np.array([200, 30, 30])
            sprite.fill(circle(pose.project(spot), 0.05 * scale), shade)

    def _draw_motorcycle(self, sprite: Sprite, pose: Pose, factor: np.ndarray) -> None:
        radius = 0.26 if self.scooter else 0.33
        color = self.color * factor
        reach = 0.6 if self.scooter else 0.72
        for center in (-reach, reach):
            tread = np.concatenate(
                [wheel(radius, center, radius, lateral) for lateral in (-0.08, 0.08)]
            )
            sprite.fill(hull(pose.project(tread)), DARK * 0.85)
            disc = wheel(radius * 0.55, center, radius, 0.08 * np.sign(pose.viewer()[0]))
            sprite.fill(pose.project(disc), np.array([150, 152, 158]) * factor, covers=False)

        def body(points: list, half: float, shade: np.ndarray) -> None:
            both = [along(np.array(points), side * half) for side in (-1, 1)]
            sprite.fill(hull(pose.project(np.concatenate(both))), shade)

        metal = np.array([120, 122, 128]) * factor
        away = pose.viewer()[2] < 0
        front = [
            lambda: body(
                [(0.42, 0.98), (reach + 0.02, radius), (reach - 0.08, radius)], 0.08, metal
            ),
            lambda: self._draw_front(sprite, pose, body, color),
        ]
        rear = [
            lambda: body([(-0.3, 0.3), (0.3, 0.28), (0.34, 0.62), (-0.34, 0.62)], 0.18, DARK * 1.5),
            lambda: body([(-0.2, 0.36), (0.12, 0.34), (0.2, 0.55), (-0.2, 0.58)], 0.2, metal * 0.9),
            lambda: body([(-0.95, 0.72), (-0.3, 0.6), (-0.1, 0.78), (-0.9, 0.86)], 0.12, color),
            lambda: body([(-0.78, 0.84), (-0.1, 0.76), (-0.1, 0.82), (-0.72, 0.93)], 0.15, DARK),
            lambda: body(
                [(-0.12, 0.7), (0.4, 0.66), (0.42, 0.94), (0.1, 1.0), (-0.1, 0.86)], 0.17, color
            ),
            lambda: body([(-0.9, 0.34), (-0.1, 0.3), (-0.1, 0.37), (-0.95, 0.44)], 0.22, metal),
        ]
        if self.scooter:
            rear = [
                lambda: body([(-0.7, 0.3), (0.4, 0.22), (0.4, 0.3), (-0.2, 0.4)], 0.16, DARK * 1.6),
                lambda: body([(-0.85, 0.4), (-0.2, 0.3), (-0.1, 0.72), (-0.75, 0.76)], 0.2, color),
                lambda: body([(-0.8, 0.74), (-0.1, 0.7), (-0.1, 0.8), (-0.75, 0.84)], 0.17, DARK),
                lambda: body([(0.32, 0.28), (0.46, 0.28), (0.56, 0.9), (0.44, 0.92)], 0.22, color),
            ]
        for part in (front + rear) if away else (rear + front):
            part()
        if away:
            tail = np.array([0.0, 0.78, -0.95])
            sprite.fill(
                hull(
                    pose.project(
                        tail
                        + np.array(
                            [(-0.14, -0.05, 0), (0.14, -0.05, 0), (0.14, 0.05, 0), (-0.14, 0.05, 0)]
                        )
                    )
                ),
                (214, 34, 34),
            )

    def _draw_front(
        self, sprite: Sprite, pose: Pose, body: Callable[..., None], color: np.ndarray
    ) -> None:
        scale = pose.scale()
        body([(0.4, 0.8), (0.62, 0.78), (0.56, 1.08), (0.42, 1.04)], 0.16, color)
        bars = np.array([(-0.38, 1.06, 0.36), (0.38, 1.06, 0.36)])
        sprite.line(pose.project(bars), DARK, max(0.6, 0.06 * scale))
        for side in (-1, 1):
            mirror = np.array([side * 0.34, 1.18, 0.38])
            sprite.fill(circle(pose.project(mirror), 0.07 * scale, 0.7), DARK)
            arm = np.array([(side * 0.28, 1.06, 0.36), mirror])
            sprite.line(pose.project(arm), DARK, max(0.5, 0.03 * scale))
        if pose.viewer()[2] > 0:
            sprite.fill(
                circle(pose.project(np.array([0.0, 0.9, 0.62])), 0.12 * scale), (252, 246, 220)
            )


@dataclass
class Rider:
    """Somebody on a bicycle or motorcycle: two annotations, the vehicle first."""

    cycle: Cycle
    clothes: Clothes
    pedal: float
    length: float
    width: float = 0.8
    height: float = 1.75
    label: str = field(default="rider", init=False)

    @classmethod
    def sample(cls, rng: np.random.Generator, vehicle: str) -> Rider:
        clothes = Clothes.sample(rng)
        clothes.skirt = False
        if vehicle == "motorcycle" or rng.random() < 0.5:
            shells = np.array(
                [(236, 236, 232), (40, 42, 48), (206, 52, 46), (60, 120, 190), (240, 196, 60)]
            )
            clothes.helmet = shells[rng.integers(len(shells))].astype(np.float64)
        cycle = Cycle.sample(rng, vehicle)
        return cls(cycle, clothes, float(rng.uniform(0, 2 * np.pi)), cycle.length)

    def paint(self, canvas: Canvas, pose: Pose) -> None:
        """Paint vehicle and rider, and annotate both."""
        corners = np.array([(a, b, c) for a in (-1, 1) for b in (0, 1) for c in (-1, 1)])
        box = pose.project(corners * (self.width / 2, 1.95, self.length / 2))
        sprite = canvas.sprite(box, margin=3)
        if sprite is None:
            return
        towards = pose.viewer()[2] > abs(pose.viewer()[0]) * 1.2
        if towards:  # the body is behind the bars; its annotation still lies in front of the cycle
            self._draw(sprite, pose, canvas.light)
            sprite.model(0.14)
            sprite.fade(pose.z)
            front = canvas.sprite(box, margin=3)
            assert front is not None
            self.cycle.draw(front, pose, canvas.light)
            front.fade(pose.z)
            sprite.annotate(self.label, single=True)
            front.annotate(self.cycle.label, single=True)
            return
        self.cycle.paint(canvas, pose)
        self._draw(sprite, pose, canvas.light)
        sprite.model(0.14)
        sprite.fade(pose.z)
        sprite.annotate(self.label, single=True)

    def _draw(self, sprite: Sprite, pose: Pose, light: Light) -> None:
        factor = light.ambient + 0.55 * light.sun
        wear, bicycle = self.clothes, self.cycle.label == "bicycle"
        seat = (0.98, -0.2) if bicycle else (0.9, -0.3)  # up, forward
        chest = (1.42, 0.08) if bicycle else (1.42, -0.14)
        grip = (1.04, 0.34) if bicycle else (1.08, 0.34)
        near = 1.0 if pose.viewer()[0] > 0 else -1.0
        lower = wear.bottom * factor
        for side in (-near, near):
            dim = 0.8 if side == -near else 1.0
            if bicycle:
                turn = self.pedal + (np.pi if side > 0 else 0)
                foot = (side * 0.1, 0.3 + 0.17 * np.sin(turn), -0.06 + 0.17 * np.cos(turn))
                knee = (side * 0.11, 0.5 * (foot[1] + seat[0]) + 0.06, 0.2 + 0.3 * (foot[2] + 0.06))
            else:
                foot = (side * 0.24, 0.32, 0.02)
                knee = (side * 0.26, 0.72, 0.26)
            hip = (side * 0.09, seat[0], seat[1])
            _limb(sprite, pose, [hip, knee, foot], (0.11, 0.08, 0.06), lower * dim)
            toe = (foot[0], foot[1] - 0.02, foot[2] + 0.12)
            _limb(sprite, pose, [foot, toe], (0.055, 0.045), SHOE * factor)
            if side == -near:
                self._arm(sprite, pose, side, chest, grip, wear.top * factor * 0.82, factor)
        shoulders = np.array([(-0.18, chest[0], chest[1]), (0.18, chest[0], chest[1])])
        hips = np.array([(-0.1, seat[0] + 0.04, seat[1]), (0.1, seat[0] + 0.04, seat[1])])
        _torso(sprite, pose, shoulders, hips, (0.09, 0.11), wear.top * factor, light)
        if wear.bag is not None and pose.viewer()[2] <= 0.5:
            up = 0.5 * (seat[0] + chest[0])
            _limb(
                sprite,
                pose,
                [(0, up + 0.16, chest[1] - 0.17), (0, up - 0.08, seat[1] - 0.06)],
                (0.12, 0.14),
                wear.bag * factor,
            )
        head = (0.0, chest[0] + 0.25, chest[1] + 0.08)
        _limb(
            sprite,
            pose,
            [(0, chest[0] + 0.04, chest[1]), head],
            (0.065, 0.06),
            wear.skin * factor * 0.9,
        )
        _head(sprite, pose, head, 0.12, wear, factor)
        self._arm(sprite, pose, near, chest, grip, wear.top * factor * 0.93, factor)

    def _arm(
        self,
        sprite: Sprite,
        pose: Pose,
        side: float,
        chest: tuple[float, float],
        grip: tuple[float, float],
        color: np.ndarray,
        factor: np.ndarray,
    ) -> None:
        shoulder = (side * 0.2, chest[0], chest[1])
        hand = (side * 0.25, grip[0] + 0.02, grip[1])
        elbow = (
            side * 0.28,
            0.5 * (chest[0] + grip[0]) - 0.04,
            0.5 * (chest[1] + grip[1]) - 0.02,
        )
        _limb(sprite, pose, [shoulder, elbow, hand], (0.07, 0.058, 0.045), color)
        palm = circle(pose.project(np.array(hand)), 0.05 * pose.scale())
        sprite.fill(palm, self.clothes.skin * factor)
