"""Sky, far skyline, ground and the light on it: all that lies behind whatever stands."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from segtron.data.toytown import noise
from segtron.data.toytown.camera import NEAR, Camera
from segtron.data.toytown.canvas import SUPERSAMPLING, Canvas
from segtron.data.toytown.layout import Street
from segtron.data.toytown.light import Light
from segtron.data.toytown.shapes import hull, rectangle

ASPHALT = np.array([112.0, 114.0, 120.0])
PAVEMENT = np.array([188.0, 181.0, 170.0])
KERB = np.array([204.0, 198.0, 190.0])
GRASS = np.array([116.0, 148.0, 78.0])
TRACK = np.array([134.0, 124.0, 114.0])
PARKING = np.array([140.0, 128.0, 126.0])
MARKING = np.array([232.0, 232.0, 226.0])
Area = Callable[[float, float, float, float], np.ndarray]  # x0, x1, z0, z1 to image points
FAR = 400.0  # metres: where streets meet the horizon


def paint_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Gradient, clouds and the sun's glow; annotates the whole image as sky."""
    camera, light = canvas.camera, canvas.light
    rows = int(np.ceil(camera.horizon)) + 2
    height, width = rows, camera.width
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 1.25
    sky = (1 - share) * light.zenith.astype(np.float32) + share * light.horizon.astype(np.float32)
    sky = np.repeat(sky, width, axis=1)
    field = noise.fractal(rng, height, width, (3, 4), octaves=5)
    edge = 0.62 - 0.3 * light.clouds
    body = np.clip((field - edge) / 0.16, 0, 1)
    body = body * body * (3 - 2 * body) * (0.35 + 0.65 * (1 - share[..., 0]))
    lifted = np.roll(field, max(1, height // 20), axis=0)
    relief = np.clip(0.5 + 3.0 * (field - lifted), 0, 1)[..., None]
    bright = 0.35 * light.horizon + 0.65 * np.array([255.0, 252.0, 246.0])
    if light.darkness > 0.4:
        bright = 0.8 * light.horizon + 0.2 * light.zenith
    shaded = 0.55 * light.zenith + 0.45 * light.horizon * 0.94
    cloud = relief * bright.astype(np.float32) + (1 - relief) * shaded.astype(np.float32)
    opacity = (0.85 * body)[..., None]
    sky = sky * (1 - opacity) + cloud * opacity
    if light.direction[2] > 0.15:  # the sun is ahead
        x = camera.center_x + camera.focal * light.direction[0] / light.direction[2]
        y = camera.horizon - camera.focal * light.direction[1] / light.direction[2]
        columns = (np.arange(width, dtype=np.float32) - x)[None]
        lines = (np.arange(height, dtype=np.float32) - y)[:, None]
        distance = np.hypot(columns, lines) / width
        glow = np.exp(-distance / 0.14)[..., None] * (0.75 - 0.5 * light.clouds)
        sky += glow * (np.array([255, 244, 214], dtype=np.float32) - sky)
    sky = np.clip(sky, 0, 255).astype(np.uint8)
    size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    canvas.image[: size[1]] = cv2.resize(sky, size, interpolation=cv2.INTER_LINEAR)
    sprite = canvas.everything()
    sprite.fill(rectangle(-1, -1, camera.width + 1, camera.height + 1), None)
    sprite.annotate("sky")


def paint_skyline(canvas: Canvas, rng: np.random.Generator, leafy: bool) -> None:
    """Far houses and treetops along the horizon, half lost in the haze."""
    camera, light = canvas.camera, canvas.light
    for depth, label in ((260.0, "building"), (170.0, "building"), (110.0, "vegetation")):
        if label == "building" and leafy and depth < 200:
            continue
        sprite = canvas.everything()
        scale = camera.scale(depth)
        if label == "building":
            x = -20.0
            tone = np.array([150.0, 148.0, 152.0]) * light.ambient
            while x < camera.width:
                width = rng.uniform(10, 26) * scale
                height = rng.uniform(10, 34) * scale
                top = camera.horizon - height
                color = tone * rng.uniform(0.85, 1.15)
                if rng.random() < 0.15:
                    spire = np.array(
                        [(x, top), (x + width / 2, top - 0.45 * width), (x + width, top)]
                    )
                    sprite.fill(spire, color)
                sprite.fill(rectangle(x, top, x + width, camera.horizon + 2), color)
                x += width * rng.uniform(0.8, 1.5)
        else:
            count = 60
            xs = np.linspace(-10, camera.width + 10, count)
            bumps = camera.horizon - scale * (rng.uniform(3.0, 7.5 if leafy else 5.5, count))
            points = np.concatenate(
                [
                    np.column_stack([xs, bumps]),
                    [(camera.width + 10, camera.horizon + 2), (-10, camera.horizon + 2)],
                ]
            )
            sprite.fill(points, np.array([92.0, 116.0, 72.0]) * light.ambient)
        sprite.fade(depth)
        sprite.annotate(label)


def paint_ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Everything flat, in the colours it has under white light (see `light_ground`)."""
    camera = canvas.camera
    near = max(NEAR, 0.9 * camera.near_edge())

    def area(x0: float, x1: float, z0: float, z1: float) -> np.ndarray:
        corners = np.array([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], dtype=np.float64)
        return camera.project(corners)

    def surface(label: str, color: np.ndarray, *areas: tuple[float, float, float, float]) -> None:
        sprite = canvas.everything()
        for bounds in areas:
            sprite.fill(area(*bounds), color)
        sprite.annotate(label)

    outside = GRASS if street.outside == "terrain" else PAVEMENT * 0.95
    surface(street.outside, outside, (-FAR, FAR, near, FAR * 4))
    left, right = street.left, street.right
    crossing = street.crossing
    walks = [
        (left - street.walk_left, left, near, FAR),
        (right, right + street.walk_right, near, FAR),
    ]
    sprite = canvas.everything()
    for walk in walks:
        sprite.fill(area(*walk), PAVEMENT)
    if crossing is not None:
        for z0, z1 in ((crossing - 7.5, crossing - 4), (crossing + 4, crossing + 7.5)):
            sprite.fill(area(-90, 90, z0, z1), PAVEMENT)
    sprite.annotate("sidewalk")
    slabs = canvas.everything()
    for x0, x1, _, _ in walks:
        for z in np.arange(np.ceil(near), 30, 1.5):
            slabs.fill(area(x0, x1, z, z + 0.04), PAVEMENT * 0.88)
        middle = 0.5 * (x0 + x1)
        slabs.fill(area(middle, middle + 0.04, near, 40), PAVEMENT * 0.88)
    if street.verge:
        verge = [(left - street.verge, left, near, FAR), (right, right + street.verge, near, FAR)]
        surface("terrain", GRASS, *verge)
    road = canvas.everything()
    for x0, x1 in ((left - 0.16, left), (right, right + 0.16)):
        road.fill(area(x0, x1, near, FAR), KERB, covers=False)
    road.fill(area(left, right, near, FAR), ASPHALT)
    if crossing is not None:
        road.fill(area(-90, 90, crossing - 4.15, crossing + 4.15), KERB, covers=False)
        road.fill(area(-90, 90, crossing - 4, crossing + 4), ASPHALT)
        road.fill(area(left, right, crossing - 5, crossing + 5), ASPHALT)
    for _ in range(int(rng.integers(2, 7))):  # mended patches and lids
        x, z = rng.uniform(left + 0.4, right - 1.6), near + rng.uniform(0.3, 18)
        if rng.random() < 0.6:
            shade = ASPHALT * rng.uniform(0.84, 1.1)
            patch = area(x, x + rng.uniform(0.6, 2), z, z + rng.uniform(0.6, 4))
            road.fill(patch, shade, covers=False)
        else:
            road.fill(area(x, x + 0.7, z, z + 0.7), ASPHALT * 0.7, covers=False)
    road.annotate("road")
    for x0, x1 in street.parking:
        strips = [(x0, x1, near, FAR)]
        if crossing is not None:
            strips = [(x0, x1, near, crossing - 9), (x0, x1, crossing + 9, FAR)]
        surface("parking", PARKING, *[s for s in strips if s[1] > s[0] and s[3] > s[2]])
    _paint_tracks(canvas, street, area, near)
    _paint_markings(canvas, street, area, near)


def _paint_tracks(canvas: Canvas, street: Street, area: Area, near: float) -> None:
    rail = np.array([86.0, 84.0, 88.0])
    if street.track is not None:
        x = street.track
        sprite = canvas.everything()
        sprite.fill(area(x - 1.35, x + 1.35, near, FAR), TRACK)
        sprite.annotate("rail track")
        for z in np.arange(np.ceil(near), 26, 1.1):
            sprite.fill(area(x - 1.15, x + 1.15, z, z + 0.3), TRACK * 0.82)
        for edge in (x - 0.75, x + 0.68):
            sprite.fill(area(edge, edge + 0.1, near, FAR), rail)
    if street.crossing is not None and street.crossing_track:
        z = street.crossing
        sprite = canvas.everything()
        sprite.fill(area(-90, 90, z - 1.35, z + 1.35), TRACK)
        sprite.annotate("rail track")
        for edge in (z - 0.76, z + 0.66):
            sprite.fill(area(-90, 90, edge, edge + 0.12), rail)


def _paint_markings(canvas: Canvas, street: Street, area: Area, near: float) -> None:
    sprite = canvas.everything()
    gap = (street.crossing - 9, street.crossing + 7) if street.crossing is not None else (-1, -1)
    dashes = []
    for z in np.arange(2.0, 120, 6.0):
        if z + 3 < near or (gap[0] < z + 3 and z < gap[1]):
            continue
        for x in street.lines:
            dashes.append(area(x - 0.07, x + 0.07, max(z, near), z + 3))
    if dashes:
        sprite.fill_all(np.array(dashes), MARKING)
    if street.crossing is not None:
        z = street.crossing - 8.2
        if z > near:
            bars = [
                area(x, x + 0.55, z, z + 2.6)
                for x in np.arange(street.left + 0.4, street.right - 0.4, 1.1)
            ]
            sprite.fill_all(np.array(bars), MARKING)
            if z - 1.2 > near:
                stop = area(street.lines[0] + 0.2, street.right - 0.2, z - 1.2, z - 0.8)
                sprite.fill(stop, MARKING)


def light_ground(
    canvas: Canvas, shadows: list[np.ndarray], contacts: list[np.ndarray], rng: np.random.Generator
) -> None:
    """Give the ground its texture, the sun, soft shadows and the haze.

    Args:
        shadows: convex outlines (n, 3) on the ground that the sun doesn't reach.
        contacts: outlines (n, 3) of what stands on the ground: darker right below it.
    """
    camera, light = canvas.camera, canvas.light
    first = int(np.floor(camera.horizon * SUPERSAMPLING))
    ground = canvas.image[first:]
    height, width = ground.shape[:2]
    rows = (first + np.arange(height) + 0.5) / SUPERSAMPLING
    depth = np.minimum(camera.ground_depth(rows), FAR * 4).astype(np.float32)
    half = (width // 2, (height + 1) // 2)  # enough for what is soft, at a quarter of the time
    texture = _ground_texture(camera, depth[::2], half[0], rng)
    shadow = _shadow_mask(camera, shadows, first, half, 0.004)
    contact = _shadow_mask(camera, contacts, first, half, 0.006)
    sun = (light.sun * max(0.12, light.direction[1]) * 1.25).astype(np.float32)
    exposure = light.ambient.astype(np.float32) * 0.98
    factor = (exposure + sun * (1 - shadow)[..., None]) * ((1 - 0.5 * contact) * texture)[..., None]
    lit = ground * cv2.resize(factor, (width, height), interpolation=cv2.INTER_LINEAR)
    fading = np.asarray(light.fading(depth), dtype=np.float32)[:, None, None]
    lit *= 1 - fading
    lit += fading * light.haze.astype(np.float32)
    ground[...] = np.clip(lit, 0, 255, out=lit)


def _ground_texture(
    camera: Camera, depth: np.ndarray, width: int, rng: np.random.Generator
) -> np.ndarray:
    columns = np.arange(width, dtype=np.float32) + 0.5 - camera.center_x
    x = depth[:, None] * columns[None] / np.float32(camera.focal)
    z = np.repeat(depth[:, None], width, axis=1)
    pattern = noise.tile(rng)
    size = np.float32(pattern.shape[0])
    grain = np.float32(24.0)  # texture pixels a metre
    sampled = cv2.remap(
        pattern,
        np.mod(x * grain, size),
        np.mod(z * grain * 0.5, size),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    strength = 0.05 * np.exp(-depth / 30)[:, None]
    return (1 + strength * sampled).astype(np.float32)


def _shadow_mask(
    camera: Camera, outlines: list[np.ndarray], first: int, size: tuple[int, int], blur: float
) -> np.ndarray:
    """What outlines on the ground cover, softened: float32 0 to 1.

    Args:
        first: the canvas row that the mask begins at; it has half the canvas's resolution.
        size: width and height of the mask.
        blur: radius as a share of the width.
    """
    mask = np.zeros(size[::-1], dtype=np.uint8)
    near = max(NEAR, 0.9 * camera.near_edge())
    for outline in outlines:
        points = np.array(outline, dtype=np.float64)
        points[:, 2] = np.maximum(points[:, 2], near)
        image = hull(camera.project(points)) - (0, first / SUPERSAMPLING)
        fixed = np.clip(np.rint(image * 8), -(1 << 20), 1 << 20).astype(np.int32)
        cv2.fillConvexPoly(mask, fixed, 255, cv2.LINE_AA, 3)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, blur * size[0]))
    return mask * np.float32(1 / 255)


def cast_shadow(light: Light, corners: np.ndarray, height: float) -> np.ndarray:
    """Ground outline (2n, 3) that a prism on these ground corners (n, 3) keeps from the sun."""
    slope = max(light.direction[1], 0.2)
    shift = -height / slope * np.array([light.direction[0], 0.0, light.direction[2]])
    return np.concatenate([corners, corners + shift])
