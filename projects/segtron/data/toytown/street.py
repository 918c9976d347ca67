"""What stands along a street and isn't a thing: houses, trees, fences, lamps, lights, signs."""

from __future__ import annotations

import numpy as np

from segtron.data.toytown.camera import Pose
from segtron.data.toytown.canvas import Canvas, Sprite
from segtron.data.toytown.layout import BUILDING_DEPTH, Side
from segtron.data.toytown.light import Light
from segtron.data.toytown.shapes import circle, rectangle

WALLS = np.array(
    [
        (222, 204, 172),
        (202, 150, 118),
        (176, 104, 84),
        (206, 206, 200),
        (168, 178, 186),
        (214, 178, 128),
        (150, 134, 124),
        (188, 196, 172),
        (226, 186, 166),
    ],
    dtype=np.float64,
)
ROOFS = np.array([(136, 72, 56), (84, 82, 92), (104, 88, 78)], dtype=np.float64)
AWNINGS = np.array([(180, 58, 52), (46, 104, 90), (52, 86, 140), (214, 160, 60)], dtype=np.float64)
GREENS = np.array([(104, 152, 70), (124, 164, 80), (88, 138, 80), (152, 172, 82), (84, 132, 66)])
AUTUMN = np.array([(214, 152, 62), (192, 110, 58), (222, 184, 84)])
METAL = np.array([112.0, 116.0, 122.0])
BRICK = np.array([168.0, 118.0, 96.0])


Metres = np.ndarray | float


class _Face:
    """A wall seen flat: `u` metres along it and `v` metres up, to image points."""

    def __init__(self, canvas: Canvas, origin: np.ndarray, direction: np.ndarray) -> None:
        self._camera = canvas.camera
        self._origin = origin
        self._direction = direction

    def quads(self, u0: Metres, u1: Metres, v0: Metres, v1: Metres) -> np.ndarray:
        """Rectangles given by arrays that broadcast: image points (..., 4, 2)."""
        u = np.stack(np.broadcast_arrays(u0, u1, u1, u0), axis=-1)[..., None]
        v = np.stack(np.broadcast_arrays(v0, v0, v1, v1), axis=-1)
        points = self._origin + u * self._direction
        points[..., 1] = v
        return self._camera.project(points)


def paint_building(canvas: Canvas, side: Side, rng: np.random.Generator) -> None:
    """A house as its front along the street and its gable towards the camera; annotates it."""
    light = canvas.light
    wall = np.clip(WALLS[rng.integers(len(WALLS))] * rng.uniform(0.9, 1.08), 0, 250)
    roof = ROOFS[rng.integers(len(ROOFS))]
    floor = rng.uniform(2.9, 3.4)
    shop = bool(rng.random() < 0.55 and side.height > 9)
    style = int(rng.integers(3))
    depth = BUILDING_DEPTH
    x, out = side.x, float(side.sign)
    corners = np.array(
        [
            (x, 0, side.z0),
            (x, side.height + 3.5, side.z0),
            (x, side.height + 3.5, side.z1),
            (x + out * depth, side.height + 3.5, side.z0),
            (x + out * depth, 0, side.z0),
            (x, 0, side.z1),
        ]
    )
    sprite = canvas.sprite(canvas.camera.project(corners))
    if sprite is None:
        return
    look = {"wall": wall, "floor": floor, "shop": shop, "style": style, "roof": roof}
    gable_normal, front_normal = np.array([0, 0, -1.0]), np.array([-out, 0, 0])
    gable = _Face(canvas, np.array([x, 0.0, side.z0]), np.array([out, 0.0, 0.0]))
    front = _Face(canvas, np.array([x, 0.0, side.z0]), np.array([0.0, 0.0, 1.0]))
    if side.height < 10:  # a pitched roof: the gable has a point, the front a slope
        peak = canvas.camera.project(
            np.array(
                [
                    (x - 0.3 * out, side.height - 0.2, side.z0),
                    (x + out * depth / 2, side.height + 3.4, side.z0),
                    (x + out * (depth + 0.3), side.height - 0.2, side.z0),
                ]
            )
        )
        sprite.fill(peak, wall * light.shade(gable_normal) * 0.95)
        sprite.line(peak, roof * light.shade(gable_normal), 0.35 * canvas.camera.scale(side.z0))
    _paint_wall(sprite, gable, depth, side.height, light, gable_normal, look, rng)
    _paint_wall(sprite, front, side.z1 - side.z0, side.height, light, front_normal, look, rng)
    if side.height >= 10:
        attic = rng.random() < 0.5
        top = side.height + (2.4 if attic else 0.5)
        lean = 1.0 if attic else -0.15
        color = roof if attic else wall * 0.85
        for origin, direction, normal, span, lateral in (
            (np.array([x, 0, side.z0]), np.array([out, 0, 0]), gable_normal, depth, 0.0),
            (
                np.array([x, 0, side.z0]),
                np.array([0, 0, 1.0]),
                front_normal,
                side.z1 - side.z0,
                out,
            ),
        ):
            low0, low1 = (
                origin + [0, side.height, 0],
                origin + direction * span + [0, side.height, 0],
            )
            shift = np.array([lean * lateral, top - side.height, 0])
            slope = canvas.camera.project(np.array([low0, low1, low1 + shift, low0 + shift]))
            factor = light.shade((normal + [0, 0.6, 0]) / np.hypot(1, 0.6))
            sprite.fill(slope, color * factor)
            edge = np.array([low0, low1])
            sprite.line(
                canvas.camera.project(edge),
                wall * factor * 1.08,
                min(3.0, 0.3 * canvas.camera.scale(side.z0)),
                covers=False,
            )
    _fade_along(sprite, canvas, x, side.z0)
    sprite.annotate("building")


def _fade_along(sprite: Sprite, canvas: Canvas, x: float, nearest: float) -> None:
    """Haze by the distance of a wall in the plane X = x, column by column."""
    offset = sprite.columns() - canvas.camera.center_x
    with np.errstate(divide="ignore"):
        depth = np.where(offset * x > 0, canvas.camera.focal * x / offset, 300.0)
    sprite.fade_along(np.clip(depth, nearest, 300.0))


def _paint_wall(
    sprite: Sprite,
    face: _Face,
    length: float,
    height: float,
    light: Light,
    normal: np.ndarray,
    look: dict,
    rng: np.random.Generator,
) -> None:
    outline = face.quads(0.0, length, 0.0, height)
    factor = light.shade(normal)
    wall = look["wall"]
    sprite.fill(outline, wall * factor)
    if np.ptp(outline[:, 0]) < 3 or np.ptp(outline[:, 1]) < 4:
        return
    floor = look["floor"]
    base = floor if look["shop"] else 0.6
    plinth = wall * factor * (0.72 if look["shop"] else 0.8)
    sprite.fill(face.quads(0.0, length, 0.0, base), plinth, covers=False)
    floors = max(1, int((height - base - 0.4) / floor))
    columns = max(1, int(length / 2.3))
    pitch = length / columns
    u = (np.arange(columns) + 0.5) * pitch
    v = base + np.arange(floors) * floor + 0.9
    u, v = np.meshgrid(u, v)
    u, v = u.ravel(), v.ravel()
    half = [0.5, 0.62, 0.45][look["style"]] * (pitch / 2.3) ** 0.5
    tall = [1.55, 1.45, 1.8][look["style"]]
    frame = np.clip(wall * 1.18 + 14, 0, 250) * factor
    sprite.fill_all(
        face.quads(u - half - 0.12, u + half + 0.12, v - 0.14, v + tall + 0.12), frame, covers=False
    )
    glass = (np.array([70.0, 88.0, 104.0]) * 0.75 + 0.25 * light.horizon) * (0.45 + 0.5 * factor)
    panes = face.quads(u - half, u + half, v, v + tall)
    sprite.fill_all(panes, glass, covers=False)
    coarse = 0.6 * np.ptp(outline[:, 0]) < columns  # windows of less than a pixel
    if coarse and not light.lit:
        return
    upper = face.quads(u - half, u + half, v + 0.55 * tall, v + tall)
    sprite.fill_all(upper, 0.75 * glass + 0.25 * light.zenith, covers=False)
    lit = rng.random(len(u)) < (0.45 if light.lit else 0.04)
    if lit.any():
        glow = np.array([255.0, 214, 136]) if light.lit else np.array([222.0, 206, 170]) * factor
        sprite.fill_all(panes[lit], glow, covers=False)
    thin = face.quads(u - 0.035, u + 0.035, v, v + tall)
    sprite.fill_all(thin, frame, covers=False)
    if look["shop"]:
        shops = max(1, int(length / 4.5))
        width = length / shops
        starts = np.arange(shops) * width
        bright = np.array([255.0, 226, 164]) if light.lit else glass * 1.15
        sprite.fill_all(
            face.quads(starts + 0.4, starts + width - 1.5, 0.5, base - 0.75), bright, covers=False
        )
        sprite.fill_all(
            face.quads(starts + width - 1.2, starts + width - 0.4, 0.05, base - 0.75),
            wall * factor * 0.4,
            covers=False,
        )
        for start in starts:
            color = AWNINGS[rng.integers(len(AWNINGS))] * factor
            sprite.fill(
                face.quads(start + 0.3, start + width - 0.3, base - 0.7, base - 0.15),
                color,
                covers=False,
            )
    else:
        sprite.fill(
            face.quads(length * 0.45, length * 0.45 + 1.1, 0.0, 2.2),
            wall * factor * 0.42,
            covers=False,
        )


def paint_tree(canvas: Canvas, pose: Pose, height: float, rng: np.random.Generator) -> None:
    """A trunk under a crown of leafy clumps, lit from the sun's side; annotates vegetation."""
    light, scale = canvas.light, pose.scale()
    foot = pose.project(np.zeros(3))
    crown = height * rng.uniform(0.3, 0.38)
    middle = foot + (0, -(height - crown) * scale)
    box = np.array(
        [foot + (-crown * 1.5 * scale, 0), middle + (crown * 1.5 * scale, -crown * 1.4 * scale)]
    )
    sprite = canvas.sprite(box)
    if sprite is None:
        return
    factor = light.ambient + 0.5 * light.sun
    bark = np.array([92.0, 74, 58]) * factor
    thick = 0.035 * height * scale
    trunk = np.array(
        [
            foot + (-thick, 0),
            foot + (thick, 0),
            middle + (thick * 0.5, 0),
            middle + (-thick * 0.5, 0),
        ]
    )
    sprite.fill(trunk, bark)
    lighter = np.array(
        [
            foot,
            foot + (np.sign(light.side) * thick, 0),
            middle + (np.sign(light.side) * thick * 0.5, 0),
            middle,
        ]
    )
    sprite.fill(lighter, bark * 1.25, covers=False)
    palette = AUTUMN if rng.random() < 0.1 else GREENS
    green = palette[rng.integers(len(palette))] * rng.uniform(0.9, 1.1)
    pixel = scale * crown
    lobes = int(np.clip(pixel / 2, 5, 14))
    _paint_foliage(sprite, middle, pixel, 1.1, green * factor, light, lobes, rng)
    sprite.model(0.1)
    sprite.fade(pose.z)
    sprite.annotate("vegetation")


def _paint_foliage(
    sprite: Sprite,
    center: np.ndarray,
    radius: float,
    stretch: float,
    green: np.ndarray,
    light: Light,
    lobes: int,
    rng: np.random.Generator,
) -> None:
    angle = rng.uniform(0, 2 * np.pi, lobes)
    distance = np.sqrt(rng.uniform(0.05, 1, lobes)) * 0.75
    spots = (
        center
        + radius * np.column_stack([np.cos(angle), np.sin(angle) * stretch]) * distance[:, None]
    )
    sizes = radius * rng.uniform(0.34, 0.52, lobes)
    leaf = np.linspace(0, 2 * np.pi, 28 if radius > 12 else 14, endpoint=False)
    ray = np.column_stack([np.cos(leaf), np.sin(leaf)])

    def clumps(shift: float, share: float) -> np.ndarray:
        """Ragged outlines (lobes, n, 2), moved towards the sun by a share of their size."""
        size = sizes * share * (1 + 0.1 * rng.standard_normal((len(leaf), lobes)))
        middle = spots + towards_sun * (sizes * shift)[:, None]
        return middle[:, None] + size.T[..., None] * ray

    towards_sun = np.array([light.side, -0.7]) / np.hypot(light.side, 0.7)
    height = (spots - center) @ towards_sun / max(radius, 1e-6)
    sprite.fill(circle(center, radius * 0.7, stretch), green * 0.66)
    for clump in clumps(0.0, 1.0):
        sprite.fill(clump, green * 0.7)
    tones = 0.84 + 0.26 * np.clip(height + 0.3, -0.5, 1)
    bodies, highlights = clumps(0.22, 0.78), clumps(0.42, 0.45)
    for index in np.argsort(height):
        sprite.fill(bodies[index], green * tones[index], covers=False)
        if radius > 6:
            sprite.fill(highlights[index], green * (tones[index] + 0.14), covers=False)
    if radius > 9:  # single leaves catch the light
        count = int(min(160, radius * 3))
        where = spots[rng.integers(lobes, size=count)]
        where = where + rng.normal(0, 0.3, (count, 2)) * radius * 0.8
        where = where[np.hypot(*((where - center) / (1, stretch)).T) < radius * 0.95]
        size = max(0.5, radius * 0.035)
        dab = np.array([(-1, 0), (0, -0.7), (1, 0), (0, 0.7)]) * size
        for part, tone in ((where[::2], 1.2), (where[1::2], 0.72)):
            sprite.fill_all(part[:, None] + dab, green * tone, covers=False)


def paint_garden(canvas: Canvas, side: Side, rng: np.random.Generator) -> None:
    """The border of a garden: a picket fence, a brick wall or a hedge, by `side.border`."""
    light = canvas.light
    if side.border == "none":
        return
    z0, z1 = max(side.z0, 0.9 * canvas.camera.near_edge(), 1.5), side.z1
    if z1 <= z0 + 0.5:
        return
    height = {"fence": 1.25, "wall": 1.5, "hedge": 1.4}[side.border]
    face = _Face(canvas, np.array([side.x, 0.0, z0]), np.array([0.0, 0.0, 1.0]))
    length = z1 - z0
    outline = face.quads(0.0, length, 0.0, height)
    sprite = canvas.sprite(outline, margin=4)
    if sprite is None:
        return
    factor = light.shade(np.array([-float(side.sign), 0.0, 0.0]))
    if side.border == "fence":
        color = [
            np.array([214.0, 204, 184]),
            np.array([104.0, 116, 108]),
            np.array([140.0, 104, 76]),
        ][rng.integers(3)] * factor
        sprite.fill(outline, None)
        posts = np.arange(0.0, length, 0.32)
        sprite.fill_all(face.quads(posts, posts + 0.14, 0.0, height), color, covers=False)
        for level in (0.3, 0.9):
            sprite.fill(face.quads(0.0, length, level, level + 0.12), color * 0.88, covers=False)
        label = "fence"
    elif side.border == "wall":
        brick = (
            BRICK * rng.uniform(0.85, 1.15) if rng.random() < 0.6 else np.array([188.0, 184, 176])
        )
        sprite.fill(outline, brick * factor)
        for level in np.arange(0.25, height - 0.15, 0.25):
            sprite.fill(
                face.quads(0.0, length, level, level + 0.03), brick * factor * 0.82, covers=False
            )
        sprite.fill(
            face.quads(0.0, length, height - 0.14, height), np.array([206.0, 200, 190]) * factor
        )
        label = "wall"
    else:
        green = GREENS[rng.integers(len(GREENS))] * factor
        sprite.fill(outline, green * 0.82)
        spots = np.arange(0.0, length, 0.6)
        tops = face.quads(spots, spots + 0.5, 0.0, height)[:, 2]
        sizes = canvas.camera.scale(1.0) * 0.42 / (z0 + spots)
        for spot, size in zip(tops[::-1], sizes[::-1], strict=True):
            if size > 0.7:
                sprite.fill(circle(spot + (0, size * 0.4), size), green)
        leaves = rng.uniform(0, 1, (140, 2)) * (length, height)
        quads = face.quads(leaves[:, 0], leaves[:, 0] + 0.14, leaves[:, 1], leaves[:, 1] + 0.12)
        sprite.fill_all(quads[::2], green * 1.2, covers=False)
        sprite.fill_all(quads[1::2], green * 0.66, covers=False)
        label = "vegetation"
    _fade_along(sprite, canvas, side.x, z0)
    sprite.annotate(label)


def paint_lamp(canvas: Canvas, pose: Pose, reach: float) -> None:
    """A street lamp; `reach` is the arm's length, towards the road (signed)."""
    scale, height = pose.scale(), 6.2
    points = pose.project(np.array([(0, 0, 0), (0, height, 0), (reach, height + 0.35, 0)]))
    sprite = canvas.sprite(points, margin=6)
    if sprite is None:
        return
    color = METAL * 0.62 * (canvas.light.ambient + 0.4 * canvas.light.sun)
    thick = max(1.0, 0.13 * scale)
    sprite.line(points, color, thick)
    sprite.line(points[:2], color * 1.3, max(0.5, thick * 0.35), covers=False)
    head = pose.project(
        np.array([(reach * 0.75, height + 0.28, 0), (reach * 1.15, height + 0.3, 0)])
    )
    lamp = np.array([255, 232, 170]) if canvas.light.lit else color * 1.5
    sprite.line(head, lamp, max(1.0, 0.2 * scale))
    sprite.fade(pose.z)
    sprite.annotate("pole")


def paint_traffic_light(canvas: Canvas, pose: Pose, state: int) -> None:
    """A pole with a traffic light facing the camera; `state` 0 red, 1 amber, 2 green."""
    scale = pose.scale()
    ends = pose.project(np.array([(0, 0, 0), (0, 2.7, 0)]))
    pole = canvas.sprite(ends, margin=4)
    head_points = pose.project(np.array([(-0.24, 2.5, 0), (0.24, 3.6, 0)]))
    head = canvas.sprite(head_points, margin=4)
    factor = canvas.light.ambient + 0.4 * canvas.light.sun
    if pole is not None:
        pole.line(ends, METAL * 0.8 * factor, max(1.0, 0.12 * scale))
        pole.fade(pose.z)
        pole.annotate("pole")
    if head is None:
        return
    (x0, y1), (x1, y0) = head_points
    head.fill(rectangle(x0, y0, x1, y1), np.array([38.0, 42, 40]) * factor)
    colors = np.array([(240, 64, 48), (250, 190, 50), (70, 220, 120)], dtype=np.float64)
    for index in range(3):
        on = 1.0 if index == state else 0.28
        spot = (0.5 * (x0 + x1), y0 + (index + 0.5) * (y1 - y0) / 3)
        head.fill(circle(np.array(spot), 0.135 * scale), colors[index] * on, covers=False)
    head.fade(pose.z)
    head.annotate("traffic light")


def paint_sign(canvas: Canvas, pose: Pose, kind: int) -> None:
    """A pole with a traffic sign: 0 no entry, 1 warning, 2 parking, 3 priority, 4 speed limit."""
    scale = pose.scale()
    ends = pose.project(np.array([(0, 0, 0), (0, 2.5, 0)]))
    center, r = pose.project(np.array([0, 2.55, 0])), 0.42 * scale
    factor = canvas.light.ambient + 0.5 * canvas.light.sun
    pole = canvas.sprite(ends, margin=4)
    if pole is not None:
        pole.line(ends, METAL * factor, max(1.0, 0.09 * scale))
        pole.fade(pose.z)
        pole.annotate("pole")
    sprite = canvas.sprite(np.array([center - 1.3 * r, center + 1.3 * r]))
    if sprite is None:
        return
    white, red = np.array([238.0, 238, 234]) * factor, np.array([204.0, 36, 40]) * factor
    if kind == 0:
        sprite.fill(circle(center, r), red)
        sprite.fill(
            rectangle(
                center[0] - 0.7 * r, center[1] - 0.18 * r, center[0] + 0.7 * r, center[1] + 0.18 * r
            ),
            white,
            covers=False,
        )
    elif kind == 1:
        triangle = np.array([(0, -1.15), (1.1, 0.8), (-1.1, 0.8)])
        sprite.fill(center + triangle * r, red)
        sprite.fill(center + (0, 0.1 * r) + triangle * r * 0.62, white, covers=False)
    elif kind == 2:
        blue = np.array([40.0, 92, 176]) * factor
        sprite.fill(rectangle(*(center - 0.9 * r), *(center + 0.9 * r)), blue)
        sprite.fill(
            rectangle(
                center[0] - 0.35 * r, center[1] - 0.55 * r, center[0] - 0.1 * r, center[1] + 0.6 * r
            ),
            white,
            covers=False,
        )
        sprite.fill(circle(center + (0.1 * r, -0.22 * r), 0.34 * r), white, covers=False)
    elif kind == 3:
        diamond = np.array([(0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)])
        sprite.fill(center + diamond * r, white)
        sprite.fill(center + diamond * r * 0.68, np.array([240.0, 190, 44]) * factor, covers=False)
    else:
        sprite.fill(circle(center, r), red)
        sprite.fill(circle(center, r * 0.72), white, covers=False)
        for dx in (-0.22, 0.22):
            sprite.fill(
                rectangle(
                    center[0] + (dx - 0.12) * r,
                    center[1] - 0.35 * r,
                    center[0] + (dx + 0.12) * r,
                    center[1] + 0.35 * r,
                ),
                (40, 40, 44),
                covers=False,
            )
    sprite.fade(pose.z)
    sprite.annotate("traffic sign")


def paint_clutter(canvas: Canvas, pose: Pose, kind: str, rng: np.random.Generator) -> None:
    """A small thing of no class: bench, bin, planter ('static'); suitcase, pram ('dynamic')."""
    factor = canvas.light.ambient + 0.5 * canvas.light.sun
    sprite = canvas.sprite(pose.project(np.array([(-1.1, 0, 0), (1.1, 1.4, 0)])))
    if sprite is None:
        return

    def box(x0: float, x1: float, y0: float, y1: float, color: np.ndarray) -> None:
        corners = np.array([(x0, y0, 0), (x1, y0, 0), (x1, y1, 0), (x0, y1, 0)], dtype=np.float64)
        sprite.fill(pose.project(corners), color * factor)

    wood, dark = np.array([158.0, 112, 74]), np.array([56.0, 60, 64])
    if kind == "bench":
        for x in (-0.75, 0.65):
            box(x, x + 0.1, 0, 0.85, dark)
        for level in (0.42, 0.6, 0.74):
            box(-0.9, 0.9, level, level + 0.11, wood)
    elif kind == "bin":
        box(-0.28, 0.28, 0.05, 0.92, np.array([74.0, 104, 84]))
        box(-0.32, 0.32, 0.84, 0.98, dark)
        box(-0.15, 0.15, 0.6, 0.68, dark)
    elif kind == "planter":
        for x in np.linspace(-0.5, 0.5, 5):
            spot = pose.project(np.array([x, 0.62, 0]))
            sprite.fill(
                circle(spot, 0.24 * pose.scale()), GREENS[rng.integers(len(GREENS))] * factor
            )
        box(-0.62, 0.62, 0, 0.5, np.array([178.0, 108, 80]))
    elif kind == "suitcase":
        box(-0.05, 0.05, 0.5, 0.85, dark)
        box(-0.24, 0.24, 0.04, 0.6, AWNINGS[rng.integers(len(AWNINGS))])
    else:  # pram
        for x in (-0.35, 0.35):
            sprite.fill(circle(pose.project(np.array([x, 0.16, 0])), 0.16 * pose.scale()), dark)
        color = AWNINGS[rng.integers(len(AWNINGS))]
        box(-0.45, 0.4, 0.3, 0.7, color)
        sprite.fill(
            circle(pose.project(np.array([-0.12, 0.72, 0])), 0.34 * pose.scale()),
            color * factor * 0.85,
        )
        handle = np.array([(0.4, 0.65, 0), (0.68, 1.0, 0)])
        sprite.line(pose.project(handle), dark, 0.05 * pose.scale())
    sprite.model(0.12)
    sprite.fade(pose.z)
    sprite.annotate("static" if kind in ("bench", "bin", "planter") else "dynamic")
