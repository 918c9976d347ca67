"""One toytown scene: sampled, painted, annotated. It depends on nothing but its seed and size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import name2label
from PIL import Image, ImageDraw

from segtron.data.toytown import backdrop, street
from segtron.data.toytown.camera import Camera, Pose
from segtron.data.toytown.canvas import Annotation, Canvas
from segtron.data.toytown.cast import (
    TRAM_SHARE,
    Actor,
    Standing,
    back_to_front,
    sample_cast,
)
from segtron.data.toytown.layout import Side, Street, sample_street
from segtron.data.toytown.light import Light, sample_light
from segtron.data.toytown.shapes import rectangle

Paint = Callable[[Canvas, Pose], None]
SMALLEST_INSTANCE = 1e-4  # share of the image's pixels below which a thing counts as 'dynamic'


@dataclass(frozen=True)
class Scene:
    """A picture with its labels.

    Attributes:
        image: RGB uint8 (height, width, 3).
        instance_ids: uint16 (height, width): label id, or label id * 1000 + number for a thing.
        annotations: polygons in painter's order; they give `instance_ids` exactly.
    """

    image: np.ndarray
    instance_ids: np.ndarray
    annotations: list[Annotation]


def make_scene(seed: int, split: int, index: int, size: tuple[int, int]) -> Scene:
    """Scene `index` of a split (by number), of `size` (height, width): always alike."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, split, index]))
    height, width = size
    light = sample_light(rng)
    camera = Camera(
        width=width,
        height=height,
        focal=0.86 * float(np.sqrt(2 * width * height)) * rng.uniform(0.92, 1.08),
        center_x=width * rng.uniform(0.4, 0.6),
        horizon=height * rng.uniform(0.36, 0.46),
        elevation=rng.uniform(1.7, 2.5),
    )
    plan = sample_street(rng, tram=bool(rng.random() < TRAM_SHARE))
    cast = sample_cast(rng, camera, plan)
    furniture = _sample_furniture(rng, camera, plan, cast)
    canvas = Canvas(camera, light)
    backdrop.paint_sky(canvas, rng)
    backdrop.paint_skyline(canvas, rng, leafy=plan.style == "park")
    backdrop.paint_ground(canvas, plan, rng)
    backdrop.light_ground(
        canvas,
        _shadows(light, plan, cast + furniture),
        [_contact(actor) for actor in cast + furniture],
        rng,
    )
    for actor in back_to_front(cast + furniture + _sides(camera, plan, rng)):
        actor.paint(canvas)
    if rng.random() < 0.75:
        _paint_hood(canvas, rng)
    if rng.random() < 0.4:
        _paint_border(canvas)
    image = _develop(canvas.finished_image(), light, rng)
    annotations = _tidy(canvas.annotations, size)
    instance_ids, _ = render_instance_ids(annotations, size)
    return Scene(image, instance_ids, annotations)


def render_instance_ids(
    annotations: list[Annotation], size: tuple[int, int]
) -> tuple[np.ndarray, list[int | None]]:
    """Draw polygons as Cityscapes' own json2instanceImg does.

    Returns:
        The id map, uint16 (height, width); and the id that each annotation was drawn with, None
        for labels that are never drawn.
    """
    image = Image.new("I", (size[1], size[0]), 0)
    drawer = ImageDraw.Draw(image)
    counts: dict[str, int] = {}
    drawn: list[int | None] = []
    for annotation in annotations:
        name = annotation.label
        group = name not in name2label
        label = name2label[name.removesuffix("group") if group else name]
        value = label.id
        if value < 0:
            drawn.append(None)
            continue
        if label.hasInstances and not group:
            value = value * 1000 + counts.get(name, 0)
            counts[name] = counts.get(name, 0) + 1
        drawer.polygon([tuple(point) for point in annotation.polygon.tolist()], fill=value)
        drawn.append(value)
    return np.array(image, dtype=np.uint16), drawn


def _tidy(annotations: list[Annotation], size: tuple[int, int]) -> list[Annotation]:
    """Drop things that nothing is seen of; what is left of a few pixels is 'dynamic'."""
    ids, drawn = render_instance_ids(annotations, size)
    areas = np.bincount(ids.ravel(), minlength=34000)
    smallest = max(10.0, SMALLEST_INSTANCE * ids.size)
    kept = []
    for annotation, value in zip(annotations, drawn, strict=True):
        if value is not None and value >= 1000 and areas[value] < smallest:
            if areas[value]:
                kept.append(Annotation("dynamic", annotation.polygon))
        else:
            kept.append(annotation)
    return kept


@dataclass(frozen=True)
class _Frontage:
    """A house, or the border of a garden, as something that stands on the ground."""

    side: Side
    rng: np.random.Generator

    def bounds(self) -> tuple[float, float, float, float]:
        return self.side.bounds()

    def paint(self, canvas: Canvas) -> None:
        if self.side.kind == "building":
            street.paint_building(canvas, self.side, self.rng)
        else:
            street.paint_garden(canvas, self.side, self.rng)


def _sides(camera: Camera, plan: Street, rng: np.random.Generator) -> list[Standing]:
    """Houses and gardens along the street, with trees in gardens that have no house."""
    standing: list[Standing] = []
    built = {(side.sign, side.z0) for side in plan.sides if side.kind == "building"}
    for side in plan.sides:
        standing.append(_Frontage(side, _child(rng)))
        if side.kind == "building" or (side.sign, side.z0) in built:
            continue
        for z in np.linspace(max(side.z0 + 1, 10.0), side.z1 - 1, 3):
            pose = Pose(camera, side.x + side.sign * rng.uniform(2.0, 6.0), float(z))
            paint = partial(street.paint_tree, pose=pose, height=rng.uniform(5, 9), rng=_child(rng))
            if z < side.z1:
                standing.append(Actor(pose, 0.5, 0.5, 6.0, paint))
    return standing


def _child(rng: np.random.Generator) -> np.random.Generator:
    return np.random.default_rng(rng.integers(2**63))


def _sample_furniture(
    rng: np.random.Generator, camera: Camera, plan: Street, cast: list[Actor]
) -> list[Actor]:
    """Trees, lamps, traffic lights, signs, benches: along the kerbs, where nothing stands."""
    standing: list[Actor] = []

    def place(x: float, z: float, radius: float, height: float, paint: Paint) -> None:
        pose = Pose(camera, float(x), float(z))
        actor = Actor(pose, 2 * radius, 2 * radius, height, lambda c: paint(c, pose))
        x0, z0, x1, z1 = actor.bounds()
        for other in [*cast, *standing]:
            ox0, oz0, ox1, oz1 = other.bounds()
            if x0 < ox1 + 0.3 and ox0 < x1 + 0.3 and z0 < oz1 + 0.3 and oz0 < z1 + 0.3:
                return
        if plan.crossing is not None and abs(z - plan.crossing) < 4.5:
            return
        standing.append(actor)

    for sign, kerb, walk in ((-1, plan.left, plan.walk_left), (1, plan.right, plan.walk_right)):
        if rng.random() < {"town": 0.5, "suburb": 0.8, "park": 1.0}[plan.style]:
            pitch = rng.uniform(8, 14)
            for z in np.arange(rng.uniform(11, 17), 75, pitch):
                x = kerb + sign * (0.9 if walk > 3 else 0.6)
                place(
                    x,
                    z,
                    0.25,
                    6,
                    partial(street.paint_tree, height=rng.uniform(4.6, 7.0), rng=_child(rng)),
                )
        if rng.random() < 0.75:
            for z in np.arange(rng.uniform(7, 20), 70, rng.uniform(16, 22)):
                place(
                    kerb + sign * 0.45, z, 0.1, 6.5, partial(street.paint_lamp, reach=-sign * 1.4)
                )
        for _ in range(int(rng.integers(0, 3))):
            z = rng.uniform(7, 30)
            place(
                kerb + sign * 0.5,
                z,
                0.1,
                2.9,
                partial(street.paint_sign, kind=int(rng.integers(5))),
            )
        for _ in range(int(rng.integers(0, 3))):
            kind = str(
                rng.choice(
                    ["bench", "bin", "planter", "suitcase", "pram"], p=[0.2, 0.25, 0.25, 0.15, 0.15]
                )
            )
            x = kerb + sign * rng.uniform(0.8, max(1.0, walk - 0.6))
            place(
                x,
                rng.uniform(6.5, 22),
                0.5,
                1.0,
                partial(street.paint_clutter, kind=kind, rng=_child(rng)),
            )
    if plan.crossing is not None or rng.random() < 0.3:
        z = plan.crossing - 8.0 if plan.crossing is not None else rng.uniform(14, 30)
        state = int(rng.integers(3))
        for x in (plan.left - 0.5, plan.right + 0.5):
            place(x, z, 0.1, 3.6, partial(street.paint_traffic_light, state=state))
    return standing


def _shadows(light: Light, plan: Street, actors: list[Actor]) -> list[np.ndarray]:
    shadows = [
        backdrop.cast_shadow(light, actor.corners(), actor.height)
        for actor in actors
        if actor.casts_shadow
    ]
    for side in plan.sides:
        if side.kind == "building":
            far = side.x + side.sign * 10
            corners = np.array(
                [(side.x, 0, side.z0), (side.x, 0, side.z1), (far, 0, side.z1), (far, 0, side.z0)]
            )
            # Half the height: the street's far half stays in the sun, which pleases the eye.
            shadows.append(backdrop.cast_shadow(light, corners, 0.4 * side.height))
    return shadows


def _contact(actor: Actor) -> np.ndarray:
    corners = actor.corners()
    middle = corners.mean(axis=0)
    return middle + (corners - middle) * 1.06


def _paint_hood(canvas: Canvas, rng: np.random.Generator) -> None:
    """The car that carries the camera: 'ego vehicle'."""
    width, height = canvas.camera.width, canvas.camera.height
    top = height * rng.uniform(0.915, 0.955)
    xs = np.linspace(-0.02, 1.02, 40)
    bulge = (np.abs(xs - 0.5) / 0.5) ** 3 * height * 0.055
    points = np.concatenate(
        [
            np.column_stack([xs * width, top + bulge]),
            [(width * 1.02, height + 4), (-0.02 * width, height + 4)],
        ]
    )
    light = canvas.light
    color = np.array([(58, 62, 70), (150, 36, 40), (196, 200, 204), (44, 74, 118)])[rng.integers(4)]
    sprite = canvas.everything()
    sprite.fill(points, color * (light.ambient + 0.4 * light.sun))
    glint = points.copy()
    glint[:40, 1] += height * 0.008
    shine = np.column_stack([xs * width, top + bulge])
    sprite.line(shine, 0.45 * color + 0.55 * light.zenith, height * 0.008, covers=False)
    sprite.model(0.2)
    sprite.annotate("ego vehicle")


def _paint_border(canvas: Canvas) -> None:
    """What rectifying leaves dark at the sides, and the frame outside the region of interest."""
    width, height = canvas.camera.width, canvas.camera.height
    ys = np.linspace(0, height, 24)
    bow = width * (0.0035 + 0.006 * (2 * ys / height - 1) ** 2)
    for xs in (bow, width - bow):
        edge = 0 if xs is bow else width
        sprite = canvas.everything()
        points = np.concatenate([np.column_stack([xs, ys]), [(edge, height), (edge, 0)]])
        sprite.fill(points, (12, 12, 14))
        sprite.annotate("rectification border")
    thick = max(1, round(height * 0.004))
    frame = canvas.everything()
    frame.fill(rectangle(0, 0, width, thick), None)
    frame.fill(rectangle(0, height - thick, width, height), None)
    frame.annotate("out of roi")


def _develop(image: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Glow, corners a little darker, and the grain of a sensor: RGB uint8 in and out."""
    height, width = image.shape[:2]
    picture = image.astype(np.float32)
    small = cv2.resize(
        picture, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA
    )
    bright = np.clip(small - 190, 0, None)
    glow = cv2.GaussianBlur(bright, (0, 0), max(1.0, width / 90))
    picture += (0.5 if light.lit else 0.3) * cv2.resize(glow, (width, height))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    picture *= (1.08 - 0.11 * (0.6 * x * x + 0.4 * y * y))[..., None]
    grain = rng.standard_normal((height, width), dtype=np.float32) * rng.uniform(1.2, 3.5)
    tint = rng.standard_normal((height, width, 3), dtype=np.float32)
    picture += grain[..., None] + 0.8 * tint
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
