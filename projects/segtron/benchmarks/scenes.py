"""Made-up street frames with much in them, and what a middling model would predict of them.

`segtron.data.toytown` draws nicer streets, but with six or seven instances. What a scorer's time
depends on is how many segments there are, how large and how ragged, so here is no picture, only
labels: 20 to 60 visible things, drawn from far to near, groups, void, thin poles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from segtron.data.cityscapes import (
    FIRST_INSTANCE_ID,
    SEM_SEG_ID_TO_CONTIGUOUS,
    THING_ID_TO_CONTIGUOUS,
    label_ids_of,
)
from segtron.data.id_map import measure_segments
from segtron.data.panoptic import VOID

EGO_VEHICLE, RECTIFICATION_BORDER, OUT_OF_ROI, STATIC, DYNAMIC = 1, 2, 3, 4, 5
ROAD, SIDEWALK, PARKING, BUILDING, WALL, FENCE = 7, 8, 9, 11, 12, 13
POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY = 17, 19, 20, 21, 22, 23
CARAVAN, TRAILER = 29, 30

FEWEST_THINGS, MOST_THINGS = 35, 80  # as drawn; some are hidden by nearer ones
# Label id -> share of all things, height in metres, width / height.
_THINGS = {
    24: (0.26, 1.7, 0.35),  # person
    25: (0.06, 1.8, 0.5),  # rider
    26: (0.36, 1.5, 1.5),  # car
    27: (0.06, 3.0, 1.3),  # truck
    28: (0.05, 3.2, 1.6),  # bus
    31: (0.03, 3.4, 2.5),  # train
    32: (0.05, 1.2, 1.1),  # motorcycle
    33: (0.13, 1.1, 1.4),  # bicycle
}
_FOCAL_LENGTH = 2262.0  # of Cityscapes' camera, in pixels of a frame of 1024 rows
_NEAREST, _FARTHEST = 15.0, 250.0  # metres
_HORIZON = 0.42


class PredictedInstance(NamedTuple):
    """A predicted instance, cut out of its frame."""

    rows: slice
    columns: slice
    mask: np.ndarray  # bool, of the window, with at least one pixel
    label_id: int
    score: float


class Scene(NamedTuple):
    """The ground truth of a frame and what three models predicted of it."""

    instance_ids: np.ndarray  # (H, W) uint16, as in `*_instanceIds.png`
    instances: list[PredictedInstance]  # in no order: any part of them is a fair sample
    classes: np.ndarray  # (H, W) uint8, train ids
    segment_ids: np.ndarray  # (H, W) int32, `VOID` where nothing is predicted
    segments: list[dict[str, Any]]  # as models give them, classes as train ids


def draw_scene(seed: int, number: int, size: tuple[int, int], num_instances: int) -> Scene:
    """Draw a frame.

    Args:
        seed: the same seed gives the same frames.
        number: of the frame.
        size: height and width in pixels.
        num_instances: how many instances are predicted.
    """
    rng = np.random.default_rng((seed, number))
    instance_ids = _draw_street(rng, size)
    _draw_things(rng, instance_ids)
    _draw_borders(instance_ids)
    segment_ids, segments = _predict_segments(rng, instance_ids)
    return Scene(
        instance_ids,
        _predict_instances(rng, instance_ids, num_instances),
        _predict_classes(rng, instance_ids),
        segment_ids,
        segments,
    )


# ---- ground truth --------------------------------------------------------------------------------


def _draw_street(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    ids = np.full(size, SKY, dtype=np.uint16)
    horizon = _HORIZON * height
    left = 0.0
    while left < width:
        right = left + rng.uniform(0.05, 0.15) * width
        top = rng.uniform(0.02, 0.3) * height
        _fill(ids, [(left, top), (right, top), (right, horizon), (left, horizon)], BUILDING)
        left = right
    for _ in range(12):
        label = rng.choice([VEGETATION, VEGETATION, VEGETATION, FENCE, WALL])
        center = (rng.uniform(0, width), rng.uniform(0.7, 1) * horizon)
        _fill(ids, _outline(rng, center, 0.05 * width, 0.12 * height, roughness=0.3), label)
    ids[int(horizon) :] = rng.choice([SIDEWALK, TERRAIN, PARKING])
    middle = rng.uniform(0.4, 0.6) * width
    for reach, label in ((0.8, SIDEWALK), (0.6, ROAD)):
        edges = (middle - reach * width, middle + reach * width)
        _fill(ids, [(middle, horizon), (edges[1], height), (edges[0], height)], label)
    for _ in range(10):
        x, top = rng.uniform(0, width), rng.uniform(0.1, 0.3) * height
        bottom, thick = rng.uniform(0.45, 0.7) * height, rng.uniform(0.002, 0.006) * width
        _fill(ids, [(x, top), (x + thick, top), (x + thick, bottom), (x, bottom)], POLE)
        label = rng.choice([TRAFFIC_LIGHT, TRAFFIC_SIGN])
        _fill(ids, _outline(rng, (x, top), 3 * thick, 4 * thick, roughness=0.05), label)
    return ids


def _draw_things(rng: np.random.Generator, ids: np.ndarray) -> None:
    """Draw things over a street, the far ones first."""
    height, width = ids.shape
    labels = list(_THINGS)
    shares = [share for share, _, _ in _THINGS.values()]
    number = int(rng.integers(FEWEST_THINGS, MOST_THINGS + 1))
    distances = np.exp(rng.uniform(np.log(_NEAREST), np.log(_FARTHEST), number))
    for count, distance in enumerate(np.sort(distances)[::-1], start=1):
        label = int(rng.choice(labels, p=shares))
        _, metres, aspect = _THINGS[label]
        scale = _FOCAL_LENGTH * height / 1024 / distance  # pixels a metre
        radius_y = metres * scale * rng.uniform(0.4, 0.6)
        radius_x = radius_y * aspect * rng.uniform(0.7, 1.3)
        # On a hill: else most would hide each other.
        center = (rng.uniform(0, width), rng.uniform(_HORIZON - 0.15, _HORIZON + 0.25) * height)
        kind = rng.random()
        if kind < 0.08:  # a group, in several pieces
            for _ in range(3):
                beside = (center[0] + rng.normal(0, 2 * radius_x), center[1])
                _fill(ids, _outline(rng, beside, radius_x, radius_y), label)
            continue
        if kind < 0.12:
            value = rng.choice([STATIC, DYNAMIC])
        elif kind < 0.15:
            value = int(rng.choice([CARAVAN, TRAILER])) * FIRST_INSTANCE_ID + count
        else:
            value = label * FIRST_INSTANCE_ID + count
        _fill(ids, _outline(rng, center, radius_x, radius_y), value)


def _draw_borders(ids: np.ndarray) -> None:
    """Draw what is void in each frame of the data set: the car itself, and the frame's border."""
    height, width = ids.shape
    hood = (int(0.24 * width), int(0.1 * height))
    cv2.ellipse(ids, (width // 2, height), hood, 0, 0, 360, EGO_VEHICLE, -1)
    border = max(height // 200, 1)
    ids[:border], ids[-border:] = OUT_OF_ROI, OUT_OF_ROI
    ids[:, :border], ids[:, -border:] = RECTIFICATION_BORDER, RECTIFICATION_BORDER


def _outline(
    rng: np.random.Generator,
    center: tuple[float, float],
    radius_x: float,
    radius_y: float,
    roughness: float = 0.12,
) -> np.ndarray:
    """(40, 2) float64, the corners of a ragged ellipse."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = 1 + roughness * rng.normal(size=40).clip(-2, 2)
    corners = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1)
    return center + corners * radii[:, None]


def _fill(ids: np.ndarray, corners: np.ndarray | list[tuple[float, float]], value: int) -> None:
    cv2.fillPoly(ids, [np.round(corners).astype(np.int32)], int(value))


# ---- predictions ---------------------------------------------------------------------------------


def _predict_instances(
    rng: np.random.Generator, instance_ids: np.ndarray, number: int
) -> list[PredictedInstance]:
    """Instances of every quality: good, shifted, cut, of a wrong class, double, invented."""
    measures = measure_segments(instance_ids)
    labels = label_ids_of(measures.ids)
    is_thing = np.isin(labels, [*_THINGS, CARAVAN, TRAILER])
    things = list(
        zip(measures.ids[is_thing], labels[is_thing], measures.boxes[is_thing], strict=True)
    )
    predicted: list[PredictedInstance] = []
    while len(predicted) < number:
        if things and rng.random() < 0.8:
            guess = _disturbed(rng, instance_ids, *things[rng.integers(len(things))])
        else:
            guess = _invented(rng, instance_ids.shape)
        if guess.mask.any():
            predicted.append(guess)
    return predicted


def _disturbed(
    rng: np.random.Generator,
    instance_ids: np.ndarray,
    instance_id: int,
    label_id: int,
    box: np.ndarray,
) -> PredictedInstance:
    """What is predicted of an instance: the same mask, moved and scaled by more or less."""
    disturbance = rng.choice([0.01, 0.03, 0.08, 0.2])
    x0, y0, x1, y1 = box.tolist()
    size = np.array([x1 - x0, y1 - y0])
    margin = size // 3 + 2
    rows, columns = _window(instance_ids.shape, (x0, y0, x1, y1), margin)
    mask = (instance_ids[rows, columns] == instance_id).astype(np.uint8)
    zoom = 1 + rng.normal(0, disturbance)
    middle = np.array(mask.shape[::-1]) / 2
    shift = (1 - zoom) * middle + rng.normal(0, disturbance, 2) * size
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    moved = cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    is_wrong = label_id not in _THINGS or rng.random() < 0.08
    guess = int(rng.choice(list(_THINGS))) if is_wrong else int(label_id)
    score = np.clip(0.9 - 2 * disturbance + rng.normal(0, 0.15), 0.05, 0.999)
    return PredictedInstance(rows, columns, moved.astype(bool), guess, float(score))


def _invented(rng: np.random.Generator, size: tuple[int, int]) -> PredictedInstance:
    """An instance where none is."""
    height, width = size
    radius_y = height * np.exp(rng.uniform(np.log(0.01), np.log(0.1)))
    radius_x = radius_y * rng.uniform(0.4, 2)
    center = (rng.uniform(0, width), rng.uniform(0.4, 0.8) * height)
    corners = _outline(rng, center, radius_x, radius_y)
    box = (*corners.min(axis=0).astype(int), *corners.max(axis=0).astype(int) + 1)
    rows, columns = _window(size, box, np.array([1, 1]))
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    _fill(mask, corners - (columns.start, rows.start), 1)
    score = float(rng.uniform(0.05, 0.7))
    return PredictedInstance(
        rows, columns, mask.astype(bool), int(rng.choice(list(_THINGS))), score
    )


def _window(
    size: tuple[int, int], box: tuple[int, int, int, int], margin: np.ndarray
) -> tuple[slice, slice]:
    """A box [x0, y0, x1, y1] with a margin (x, y), as far as it is in the frame."""
    (height, width), (x0, y0, x1, y1), (margin_x, margin_y) = size, box, margin.tolist()
    return (
        slice(int(np.clip(y0 - margin_y, 0, height - 1)), int(np.clip(y1 + margin_y, 1, height))),
        slice(int(np.clip(x0 - margin_x, 0, width - 1)), int(np.clip(x1 + margin_x, 1, width))),
    )


def _predict_classes(rng: np.random.Generator, instance_ids: np.ndarray) -> np.ndarray:
    """Train ids of all pixels, most of them right; void gets a class as well."""
    label_ids = label_ids_of(_warped(rng, instance_ids))
    classes = np.array(list(SEM_SEG_ID_TO_CONTIGUOUS.values()), dtype=np.uint8)
    class_of_label = rng.choice(classes, size=256)
    for label_id, number in SEM_SEG_ID_TO_CONTIGUOUS.items():
        class_of_label[label_id] = number
    predicted = class_of_label[label_ids]
    present = np.unique(predicted)
    height, width = predicted.shape
    for _ in range(15):
        center = (rng.uniform(0, width), rng.uniform(0.3, 1) * height)
        _fill(
            predicted,
            _outline(rng, center, 0.02 * width, 0.02 * height, roughness=0.3),
            rng.choice(present),
        )
    return predicted


def _predict_segments(
    rng: np.random.Generator, instance_ids: np.ndarray
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Segments, most of them right; some things are lost, some get another class."""
    warped = _warped(rng, instance_ids)
    segment_of_id = np.full(2**16, VOID, dtype=np.int32)
    segments: list[dict[str, Any]] = []
    things = list(THING_ID_TO_CONTIGUOUS)
    for instance_id in np.unique(warped).tolist():
        label_id = int(label_ids_of(instance_id))
        if label_id not in SEM_SEG_ID_TO_CONTIGUOUS:
            # Void is left void, or joined with what came last, as by a model that knows no void.
            if segments and rng.random() < 0.5:
                segment_of_id[instance_id] = segments[-1]["id"]
            continue
        is_thing = label_id in THING_ID_TO_CONTIGUOUS
        fate = rng.random()
        if is_thing and fate < 0.15:
            continue
        if is_thing and fate < 0.25:
            label_id = int(rng.choice(things))
        segments.append(
            {
                "id": len(segments) + 1,
                "isthing": is_thing,
                "category_id": SEM_SEG_ID_TO_CONTIGUOUS[label_id],
            }
        )
        segment_of_id[instance_id] = len(segments)
    return segment_of_id[warped], segments


def _warped(rng: np.random.Generator, ids: np.ndarray) -> np.ndarray:
    """Ids whose outlines are off by some pixels, here more and there less."""
    height, width = ids.shape
    grid = (max(height // 32, 2), max(width // 32, 2))
    y, x = np.indices(ids.shape, dtype=np.float32)
    for coordinate in (y, x):
        off = rng.normal(0, 0.004 * height, grid).astype(np.float32)
        coordinate += cv2.resize(off, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.remap(ids, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
