"""Who is in a scene and where: things are drawn first, then given places where they can be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from segtron.data.toytown.camera import Camera, Pose
from segtron.data.toytown.canvas import Annotation, Canvas
from segtron.data.toytown.cars import Car, Caravan
from segtron.data.toytown.heavy_vehicles import Bus, Train, Truck
from segtron.data.toytown.layout import ONCOMING_LANE, OWN_LANE, Street
from segtron.data.toytown.people import Crowd, Cycle, Person, Rider

_TRIES = 40
TRAM_SHARE = 0.48  # of the scenes have a track, and so may have a tram


@dataclass(frozen=True)
class Actor:
    """Something that stands on the ground: its pose, its size, and how to paint it.

    Attributes:
        length, width, height: metres; length along the direction it faces.
    """

    pose: Pose
    length: float
    width: float
    height: float
    paint: Callable[[Canvas], None]
    casts_shadow: bool = True

    def corners(self) -> np.ndarray:
        """Its footprint's corners (4, 3) in the world."""
        a, b = self.width / 2, self.length / 2
        return self.pose.world(np.array([(-a, 0, -b), (a, 0, -b), (a, 0, b), (-a, 0, b)]))

    @cached_property
    def _bounds(self) -> tuple[float, float, float, float]:
        corners = self.corners()
        (x0, _, z0), (x1, _, z1) = corners.min(axis=0), corners.max(axis=0)
        return float(x0), float(z0), float(x1), float(z1)

    def bounds(self) -> tuple[float, float, float, float]:
        """Its footprint x0, z0, x1, z1."""
        return self._bounds

    def box(self) -> np.ndarray:
        """Its box x0, y0, x1, y1 in the image."""
        corners = self.corners()
        top = corners + (0, self.height, 0)
        points = self.pose.camera.project(np.concatenate([corners, top]))
        return np.concatenate([points.min(axis=0), points.max(axis=0)])


class Standing(Protocol):
    """Whatever has a place on the ground and can be painted."""

    def bounds(self) -> tuple[float, float, float, float]:
        """Its footprint x0, z0, x1, z1."""

    def paint(self, canvas: Canvas, /) -> None:
        """Paint and annotate it."""


def back_to_front(actors: Sequence[Standing]) -> list[Standing]:
    """Order by which footprint lies behind which, seen from the camera at X = 0, Z = 0."""
    bounds = [actor.bounds() for actor in actors]

    def behind(a: int, b: int) -> bool:
        ax0, az0, ax1, az1 = bounds[a]
        bx0, bz0, bx1, bz1 = bounds[b]
        if az0 >= bz1 or bz0 >= az1:
            return az0 >= bz1
        if ax0 >= bx1 or ax1 <= bx0:  # side by side: who is farther from the camera's axis
            return abs(ax0 + ax1) > abs(bx0 + bx1)
        return az0 + az1 > bz0 + bz1

    remaining = sorted(range(len(actors)), key=lambda i: -bounds[i][1] - bounds[i][3])
    ordered = []
    while remaining:
        first = next(
            (i for i in remaining if not any(j != i and behind(j, i) for j in remaining)),
            remaining[0],
        )
        remaining.remove(first)
        ordered.append(actors[first])
    return ordered


def sample_cast(rng: np.random.Generator, camera: Camera, street: Street) -> list[Actor]:
    """Draw the things of a scene and place them; what finds no place stays away."""
    placed: list[Actor] = []
    for design, slots, visible in _wanted(rng, street):
        for _ in range(_TRIES):
            x, z, yaw = slots(rng)
            actor = Actor(
                Pose(camera, x, z, yaw),
                design.length,
                design.width,
                design.height,
                _painter(design, Pose(camera, x, z, yaw)),
            )
            if _fits(actor, placed, camera, visible):
                placed.append(actor)
                placed += _towed(rng, design, actor, placed, camera)
                break
    return placed


def _painter(design: Any, pose: Pose) -> Callable[[Any], None]:
    return lambda canvas: design.paint(canvas, pose)


def _towed(
    rng: np.random.Generator, design: Any, actor: Actor, placed: list[Actor], camera: Camera
) -> list[Actor]:
    """Now and then a caravan or trailer behind a car."""
    if not isinstance(design, Car) or rng.random() > 0.2:
        return []
    load = Caravan.sample(rng)
    gap = design.length / 2 + load.length / 2 + 0.9
    behind = actor.pose.world(np.array([0.0, 0.0, -gap]))
    pose = Pose(camera, float(behind[0]), float(behind[2]), actor.pose.yaw)
    trailer = Actor(pose, load.length, load.width, load.height, _painter(load, pose))
    return [trailer] if _fits(trailer, placed, camera, 0.3) else []


Slots = Callable[[np.random.Generator], tuple[float, float, float]]


def _wanted(rng: np.random.Generator, street: Street) -> Iterator[tuple[Any, Slots, float]]:
    """Designs, where they may be, and which share of them must stay visible; big ones first."""

    def often(share: float) -> bool:
        return bool(rng.random() < share)

    road = _RoadSlots(street)
    if (street.track is not None or street.crossing_track) and often(0.9):
        yield Train.sample(rng), road.tram, 0.5
    if often(0.5):
        yield Bus.sample(rng), road.large, 0.5
    if often(0.5):
        yield Truck.sample(rng), road.large, 0.5
    if often(0.25):
        yield Crowd.of_people(rng), road.crowd, 0.5
    for _ in range(int(often(0.62)) + int(often(0.15))):
        vehicle = "bicycle" if often(0.52) else "motorcycle"
        yield Rider.sample(rng, vehicle), road.riding, 0.6
    for _ in range(int(often(0.9)) + min(3, int(rng.poisson(0.9)))):
        yield Car.sample(rng), road.car, 0.5
    if often(0.12):
        for design, slot in _parked_row(rng, street):
            yield design, slot, 0.1
    if often(0.32):
        yield Cycle.sample(rng, "motorcycle"), road.parked_cycle, 0.6
    if often(0.32):
        yield Cycle.sample(rng, "bicycle"), road.parked_cycle, 0.6
    if often(0.12):
        yield Crowd.of_bicycles(rng), road.parked_cycle, 0.5
    for _ in range(int(often(0.85)) + min(3, int(rng.poisson(0.9)))):
        yield Person.sample(rng), road.walking, 0.6


class _CarGroup:
    """A far row of parked cars that no annotator would tell apart: 'cargroup'."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.cars = [Car.sample(rng) for _ in range(count)]
        self.length = 5.6 * count
        self.width = 1.9
        self.height = 1.8

    def paint(self, canvas: Any, pose: Pose) -> None:
        before = len(canvas.annotations)
        for index in reversed(range(len(self.cars))):
            shift = (index - (len(self.cars) - 1) / 2) * 5.6
            spot = Pose(pose.camera, pose.x, pose.z + shift, pose.yaw)
            self.cars[index].paint(canvas, spot)
        canvas.annotations[before:] = [
            Annotation("cargroup", annotation.polygon)
            for annotation in canvas.annotations[before:]
            if annotation.label == "car"
        ]


def _parked_row(rng: np.random.Generator, street: Street) -> Iterator[tuple[Any, Slots]]:
    if street.parking:
        strip = street.parking[int(rng.integers(len(street.parking)))]
        count = int(rng.integers(3, 6))
        x = 0.5 * (strip[0] + strip[1])
        yield _CarGroup(rng, count), lambda r: (x, r.uniform(34, 60), 0.0 if x > 0 else np.pi)


class _RoadSlots:
    """Places (x, z, yaw) for each kind of thing on a given street."""

    def __init__(self, street: Street) -> None:
        self.street = street

    def _depth(self, rng: np.random.Generator, near: float, far: float) -> float:
        return float(np.exp(rng.uniform(np.log(near), np.log(far))))

    def _crossing(self, rng: np.random.Generator, reach: float) -> tuple[float, float, float]:
        assert self.street.crossing is not None
        street, sign = self.street, 1 if rng.random() < 0.5 else -1
        z = self.street.crossing - 1.9 * sign
        # No further than can be seen between the houses before the crossing.
        opening = z / max(street.crossing - 8, 3.0)
        x = rng.uniform(
            max(-reach * z, (street.left - street.walk_left) * opening),
            min(reach * z, (street.right + street.walk_right) * opening),
        )
        return float(x), z, sign * np.pi / 2

    def tram(self, rng: np.random.Generator) -> tuple[float, float, float]:
        if self.street.track is not None:
            return self.street.track, self._depth(rng, 14, 34), np.pi * float(rng.random() < 0.7)
        assert self.street.crossing is not None
        yaw = np.pi / 2 * (1 if rng.random() < 0.5 else -1)
        return float(rng.uniform(-9, 9)), self.street.crossing, yaw

    def large(self, rng: np.random.Generator) -> tuple[float, float, float]:
        street, roll = self.street, rng.random()
        if street.crossing is not None and not street.crossing_track and roll < 0.4:
            return self._crossing(rng, 0.42)
        turn = rng.normal(0, 0.04)
        if roll < 0.6:
            return OWN_LANE + rng.normal(0, 0.15), self._depth(rng, 15, 40), turn
        return ONCOMING_LANE + rng.normal(0, 0.15), self._depth(rng, 12, 34), np.pi + turn

    def car(self, rng: np.random.Generator) -> tuple[float, float, float]:
        street, roll = self.street, rng.random()
        if street.crossing is not None and roll < 0.35:
            return self._crossing(rng, 0.5)
        if street.parking and roll < 0.65:
            strip = street.parking[int(rng.integers(len(street.parking)))]
            x = 0.5 * (strip[0] + strip[1])
            return x, self._depth(rng, 8, 40), (0.0 if x > 0 else np.pi) + rng.normal(0, 0.04)
        turn = rng.normal(0, 0.08)
        if roll < 0.8:
            return OWN_LANE + rng.normal(0, 0.2), self._depth(rng, 8, 45), turn
        return ONCOMING_LANE + rng.normal(0, 0.2), self._depth(rng, 7.5, 45), np.pi + turn

    def _walk(self, rng: np.random.Generator, margin: float) -> tuple[float, float]:
        """x on a pavement, and the sign of its side."""
        street = self.street
        if rng.random() < 0.5:
            return float(
                street.left - rng.uniform(margin, max(margin + 0.1, street.walk_left - margin))
            ), -1.0
        return float(
            street.right + rng.uniform(margin, max(margin + 0.1, street.walk_right - margin))
        ), 1.0

    def walking(self, rng: np.random.Generator) -> tuple[float, float, float]:
        street = self.street
        if rng.random() < 0.35:  # crossing the street
            z = self._depth(rng, 7, 22)
            if street.crossing is not None and street.crossing > 14 and rng.random() < 0.7:
                z = street.crossing - 6.9 + rng.uniform(-1, 1)
            x = rng.uniform(street.left, street.right)
            return float(x), z, np.pi / 2 * (1 if rng.random() < 0.5 else -1) + rng.normal(0, 0.2)
        x, _ = self._walk(rng, 0.5)
        yaw = rng.choice([0.0, np.pi]) + rng.normal(0, 0.5)
        return x, self._depth(rng, 7, 34), float(yaw)

    def crowd(self, rng: np.random.Generator) -> tuple[float, float, float]:
        x, sign = self._walk(rng, 1.0)
        if self.street.style != "park" and rng.random() < 0.4:
            x += sign * 0.5
        return x, self._depth(rng, 16, 40), float(rng.normal(0, 0.3))

    def riding(self, rng: np.random.Generator) -> tuple[float, float, float]:
        street, roll = self.street, rng.random()
        if roll < 0.35:  # from the side
            sign = 1 if rng.random() < 0.5 else -1
            z = self._depth(rng, 7.5, 20)
            if street.crossing is not None and rng.random() < 0.6:
                z = street.crossing - 3.4 * sign
            x = rng.uniform(max(-0.42 * z, street.left), min(0.42 * z, street.right))
            return float(x), z, sign * np.pi / 2 + rng.normal(0, 0.12)
        turn = rng.normal(0, 0.25)
        if roll < 0.7:
            return float(rng.uniform(0.3, street.right - 0.4)), self._depth(rng, 6.5, 24), turn
        x = rng.uniform(ONCOMING_LANE - 1.0, ONCOMING_LANE + 0.6)
        return float(x), self._depth(rng, 6.5, 24), np.pi + turn

    def parked_cycle(self, rng: np.random.Generator) -> tuple[float, float, float]:
        x, _ = self._walk(rng, 0.7)
        yaw = np.pi / 2 * (1 if rng.random() < 0.5 else -1) + rng.normal(0, 0.5)
        return x, self._depth(rng, 6.5, 19), float(yaw)


def _fits(actor: Actor, placed: list[Actor], camera: Camera, visible: float) -> bool:
    """Whether it stands free, is seen, and hides nobody too much."""
    x0, z0, x1, z1 = actor.bounds()
    if z0 < max(4.2, 0.75 * camera.near_edge()):
        return False
    for other in placed:
        ox0, oz0, ox1, oz1 = other.bounds()
        if x0 < ox1 + 0.25 and ox0 < x1 + 0.25 and z0 < oz1 + 0.4 and oz0 < z1 + 0.4:
            return False
    box = actor.box()
    area = float(np.prod(box[2:] - box[:2]))
    low = np.maximum(box[:2], 0)
    high = np.minimum(box[2:], (camera.width, camera.height))
    inside = float(np.prod(np.maximum(high - low, 0)))
    if inside < 0.4 * area or box[3] - box[1] < 0.045 * camera.height:
        return False
    return _all_visible([*placed, actor], visible, camera)


def _all_visible(actors: list[Actor], wanted: float, camera: Camera) -> bool:
    """Whether each box keeps its share free of nearer boxes, on a coarse map."""
    step = max(1.0, camera.height / 64)
    rows, columns = int(camera.height / step), int(camera.width / step)
    owner = np.full((rows, columns), -1, dtype=np.int16)
    totals = []
    index_of = {id(actor): index for index, actor in enumerate(actors)}
    sizes = np.zeros(len(actors))
    for actor in sorted(actors, key=lambda a: -a.pose.z):
        box = actor.box()
        shrink = 0.08 * (box[2:] - box[:2])
        x0, y0 = np.maximum(np.floor((box[:2] + shrink) / step), 0).astype(int)
        x1, y1 = np.ceil((box[2:] - shrink) / step).astype(int)
        region = owner[y0:y1, x0:x1]
        sizes[index_of[id(actor)]] = region.size
        region[...] = index_of[id(actor)]
    seen = np.bincount(owner[owner >= 0].ravel(), minlength=len(actors))
    totals = seen / np.maximum(sizes, 1)
    return bool(totals[-1] >= wanted and (totals[:-1] >= 0.45).all() and sizes[-1] > 0)
