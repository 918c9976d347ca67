"""The cases that scorers get wrong, each as scenes that every scorer can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pycocotools.mask as mask_util
from cityscapesscripts.helpers.labels import id2label

from segtron.data.category_ids import Category
from segtron.evaluation.cityscapes_instance import CLASSES

from . import panoptic_scenes
from .scenes import (
    BUILDING,
    CAR,
    CARAVAN,
    HEIGHT,
    PERSON,
    RIDER,
    ROAD,
    TRUCK,
    WIDTH,
    Scene,
    box,
    ellipse,
    labels_of,
    random_scene,
    shifted,
)

# Side of most instances [pixels]: their IoUs with boxes in them are twentieths, as the thresholds.
SIDE = 20


def corner(number: int) -> tuple[int, int]:
    """Top and left of one of twenty squares that don't touch."""
    row, column = divmod(number, 5)
    return (SIDE + 4) * row, (SIDE + 4) * column


def part(number: int, width: int = SIDE, start: int = 0) -> np.ndarray:
    """(HEIGHT, WIDTH) bool with some columns of a square."""
    top, left = corner(number)
    return box(top, top + SIDE, left + start, left + start + width)


def scene_of(
    *instances: tuple[np.ndarray, int], predictions: tuple[tuple[np.ndarray, int, float], ...] = ()
) -> Scene:
    """A scene from masks with their instance ids, and predictions."""
    scene = Scene()
    for mask, instance_id in instances:
        scene.instance_ids[mask] = instance_id
    for prediction in predictions:
        scene.predict(*prediction)
    return scene


def no_predictions() -> list[Scene]:
    scenes = two_random_images()
    for scene in scenes:
        scene.predictions.clear()
    return scenes


def no_ground_truth() -> list[Scene]:
    scenes = two_random_images()
    for scene in scenes:
        scene.instance_ids[scene.instance_ids >= PERSON] = BUILDING
    return scenes


def nothing_at_all() -> list[Scene]:
    return [Scene(), scene_of((box(0, HEIGHT, 0, WIDTH), 0))]


def only_groups() -> list[Scene]:
    scenes = two_random_images()
    return [Scene(labels_of(s.instance_ids).astype(np.uint16), s.predictions) for s in scenes]


def on_void_and_groups() -> list[Scene]:
    """Predictions from 9 to 19 twentieths of which lie on void, on groups, and on both."""
    scenes = []
    for void_part in (1.0, 0.0, 0.5):
        # The hit comes last, or what is wrong would cost nothing.
        scene = scene_of((part(19), CAR * 1000), predictions=((part(19, 18), CAR, 0.1),))
        for number, share in enumerate(range(9, 20)):
            num_void = int(void_part * share)
            scene.instance_ids[part(number, num_void)] = (0, 3, CARAVAN)[number % 3]
            scene.instance_ids[part(number, share - num_void, start=num_void)] = CAR
            scene.predict(part(number), CAR, 0.3 + number / 20)
        scenes.append(scene)
    half_and_half = scene_of((part(0), CAR * 1000), (part(1), CAR), (part(2), CAR * 1000 + 1))
    half_and_half.predict(part(0) | part(1), CAR, 0.9)
    half_and_half.predict(part(2), CAR, 0.2)
    return [*scenes, half_and_half]


def labels_that_are_not_scored() -> list[Scene]:
    """Vehicles are taken for caravans, and caravans, trailers and roads for vehicles."""
    scene = scene_of(
        (part(0), CAR * 1000),
        (part(1), TRUCK * 1000),
        (part(2), CARAVAN * 1000),
        (part(3), 30 * 1000 + 4),  # a trailer
        (part(4), 4 * 1000 + 1),  # things that nobody numbers
    )
    for number, label in ((0, CARAVAN), (1, TRUCK), (2, CAR), (3, TRUCK), (4, CAR), (5, CARAVAN)):
        scene.predict(part(number, 12 + number), label, 0.9 - number / 10)
    scene.predict(part(0, 5, start=15), CAR, 0.95)
    scene.predict(part(6), 0, 0.3)
    return [scene]


def equal_scores_in_an_image() -> list[Scene]:
    """Hits, misses, and hits of two kinds on one instance, in no order."""
    scene = scene_of(*((part(n), CAR * 1000 + n) for n in range(6)))
    for width, number in ((11, 0), (20, 0), (20, 1), (20, 12), (15, 2), (18, 2), (20, 14), (9, 3)):
        scene.predict(part(number, width), CAR, 0.5)
    scene.predict(part(4), CAR, 0.25)
    scene.predict(part(15), CAR, 0.25)
    return [scene]


def equal_scores_across_images() -> list[Scene]:
    scenes = []
    for number in range(6):
        scene = scene_of((part(0), CAR * 1000), (part(1), PERSON * 1000))
        scene.predict(part(number % 3), CAR, 0.5)
        scene.predict(part(1 + number % 2, 17), PERSON, 0.5 if number < 4 else 0.75)
        scenes.append(scene)
    return scenes


def instances_of_several_parts() -> list[Scene]:
    left, right = part(0), part(2, 16)
    both = scene_of((left | right, CAR * 1000 + 5), (part(10), CAR * 1000 + 6))
    both.predict(left, CAR, 0.9)
    both.predict(right, CAR, 0.8)
    both.predict(left | part(2, 10), CAR, 0.95)
    both.predict(part(10, 8) | part(10, 8, start=12), CAR, 0.7)
    both.predict(part(10, 6) | part(12, 6), CAR, 0.6)
    one_of_two = scene_of((part(0), CAR * 1000), (part(1), CAR * 1000 + 1))
    one_of_two.predict(part(0) | part(1), CAR, 0.9)  # as near to the one as to the other
    one_of_two.predict(part(1), CAR, 0.8)
    return [both, one_of_two]


def ground_truth_below_the_minimum_size() -> list[Scene]:
    """99, 100 and 101 pixels, and a few less; found exactly, roughly, and by far too much."""
    scene = Scene()
    for number, area in enumerate((1, 40, 99, 100, 101)):
        mask = first_pixels(number, area, height=10)
        scene.instance_ids[mask] = PERSON * 1000 + number
        scene.predict(mask, PERSON, 0.1 + number / 10)
        scene.predict(np.roll(mask, 2, axis=1), PERSON, 0.95)
        scene.predict(part(number), PERSON, 0.15 + number / 10)
    scene.instance_ids[box(90, 95, 0, 10)] = PERSON  # a small group, whose pixels count twice
    for width in (10, 14, 18, 26, 40):
        scene.predict(box(90, 95, 0, width), PERSON, 0.65 + width / 1000)
    return [scene]


def predictions_below_the_minimum_size() -> list[Scene]:
    scene = Scene()
    for number, area in enumerate((1, 40, 99, 100, 101)):
        scene.instance_ids[first_pixels(number, 140, height=10)] = CAR * 1000 + number
        scene.predict(first_pixels(number, area, height=10), CAR, 0.1 + number / 10)
        scene.predict(first_pixels(number + 10, area, height=10), CAR, 0.55 + number / 10)
    return [scene]


def first_pixels(number: int, area: int, height: int) -> np.ndarray:
    """(HEIGHT, WIDTH) bool with so many pixels, column by column from a square's corner on."""
    top, left = corner(number)
    mask = np.zeros((WIDTH, HEIGHT), dtype=bool)
    columns, rest = divmod(area, height)
    mask[left : left + columns, top : top + height] = True
    mask[left + columns : left + columns + 1, top : top + rest] = True
    return mask.T


def areas_at_the_limits() -> list[Scene]:
    """COCO's 32**2 and 96**2, one less and one more, in the ground truth and predicted."""
    scenes = []
    for height in (32, 96):
        areas = [height**2 - 1, height**2, height**2 + 1]
        for area in areas:
            scene = scene_of((first_pixels(0, area, height), CAR * 1000))
            for number, predicted in enumerate(areas):
                mask = np.roll(first_pixels(0, predicted, height), 2, axis=1)
                scene.predict(mask, CAR if predicted == area else TRUCK, 0.3 + number / 10)
            scene.predict(first_pixels(0, area, height), CAR, 0.4)
            scenes.append(scene)
    return scenes


def three_hundred_predictions() -> list[Scene]:
    rng = np.random.default_rng(6)
    scenes = [random_scene(rng, num_segments=25) for _ in range(2)]
    for scene in scenes:
        truth = [scene.instance_ids == i for i in np.unique(scene.instance_ids) if i >= 1000]
        while len(scene.predictions) < 300:
            mask = shifted(rng, truth[rng.integers(len(truth))])
            if rng.random() < 0.5:
                mask = ellipse(rng, low=2, high=6)
            scene.predict(mask, int(rng.choice([PERSON, CAR])), rng.random())
    # The hundredth and the next are hits.
    last = scene_of((part(0), CAR * 1000), (part(1), CAR * 1000 + 1), (part(2), CAR * 1000 + 2))
    for place in range(300):
        top, left = divmod(place, 100)
        mask = box(50 + 3 * top, 52 + 3 * top, left, left + 1)
        if place in (0, 99, 100):
            mask = part((0, 99, 100).index(place))
        last.predict(mask, CAR, 1 - place / 300)
    return [*scenes, last]


def absent_classes() -> list[Scene]:
    """Cars aren't predicted, persons aren't there, and of buses there is nothing."""
    return [
        scene_of(
            (part(0), CAR * 1000 + n),
            (part(1), RIDER * 1000),
            predictions=((part(0), PERSON, 0.9), (part(1, 15 + n), RIDER, 0.8)),
        )
        for n in range(2)
    ]


def single_image() -> list[Scene]:
    return [random_scene(np.random.default_rng(3))]


def image_without_anything() -> list[Scene]:
    return [*single_image(), *nothing_at_all()]


def overlapping_predictions() -> list[Scene]:
    scene = scene_of((part(0), CAR * 1000), (part(1), CAR * 1000 + 1), (part(5), PERSON * 1000))
    for width, score in ((20, 0.5), (18, 0.9), (15, 0.7), (19, 0.9), (13, 0.95)):
        scene.predict(part(0, width), CAR, score)
        scene.predict(part(5, width), PERSON, 1 - score)
    scene.predict(box(0, 45, 0, 45), CAR, 0.85)
    scene.predict(part(0) | part(1), CAR, 0.6)
    scene.predict(part(0), TRUCK, 0.8)
    return [scene]


def whole_images() -> list[Scene]:
    whole, half = box(0, HEIGHT, 0, WIDTH), box(0, HEIGHT, 0, WIDTH // 2)
    predictions = (
        (whole, CAR, 0.7),
        (half, CAR, 0.9),
        (~half, CAR, 0.6),
        (whole, PERSON, 0.5),
        (box(0, HEIGHT // 2, 0, WIDTH), PERSON, 0.8),
    )
    ids = (CAR * 1000, CAR, 0, ROAD, CARAVAN * 1000)
    return [scene_of((whole, i), predictions=predictions) for i in ids]


def ious_at_the_thresholds() -> list[Scene]:
    """10/20, 11/20, ..., 20/20: with too small a prediction, and with one too large."""
    small, large = Scene(), Scene()
    for number, width in enumerate(range(10, 21)):
        for scene, truth, guess in (
            (small, part(number), part(number, width)),
            (large, part(number, width), part(number)),
        ):
            scene.instance_ids[truth] = CAR * 1000 + number
            scene.predict(guess, CAR, 0.3 + (7 * number % 11) / 20)
    return [small, large]


def empty_masks() -> list[Scene]:
    scenes = two_random_images()
    for scene in scenes:
        for label in (CAR, PERSON):
            scene.predict(np.zeros((HEIGHT, WIDTH), dtype=bool), label, 0.99)
    scenes.append(scene_of((part(0), CAR * 1000)))
    scenes[-1].predict(np.zeros((HEIGHT, WIDTH), dtype=bool), CAR, 0.5)
    return scenes


def two_random_images() -> list[Scene]:
    rng = np.random.default_rng(8)
    return [random_scene(rng, digits=1) for _ in range(2)]


CASES: list[Callable[[], list[Scene]]] = [
    no_predictions,
    no_ground_truth,
    nothing_at_all,
    only_groups,
    on_void_and_groups,
    labels_that_are_not_scored,
    equal_scores_in_an_image,
    equal_scores_across_images,
    instances_of_several_parts,
    ground_truth_below_the_minimum_size,
    predictions_below_the_minimum_size,
    areas_at_the_limits,
    three_hundred_predictions,
    absent_classes,
    single_image,
    image_without_anything,
    overlapping_predictions,
    whole_images,
    ious_at_the_thresholds,
    empty_masks,
    two_random_images,
]

# A scene as each scorer takes it ------------------------------------------------------------------


def painted(scene: Scene, values: list[int], background: int) -> np.ndarray:
    """(HEIGHT, WIDTH) int32: the predicted masks over each other, the most confident one on top;
    without any, all is 0."""
    canvas = np.full(scene.instance_ids.shape, background if values else 0, dtype=np.int32)
    for place in np.argsort(scene.scores, kind="stable"):
        canvas[scene.predictions[place][0]] = values[place]
    return canvas


def semantic_view(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Instance ids, and predicted label ids."""
    labels = painted(scene, scene.label_ids.tolist(), background=ROAD)
    return scene.instance_ids, labels.astype(np.uint8)


CATEGORIES = [
    Category(label_id, id2label[label_id].name, id2label[label_id].hasInstances)
    for label_id in (ROAD, BUILDING, *CLASSES)
]


def panoptic_view(scene: Scene) -> panoptic_scenes.Scene:
    """Maps and lists of segments: groups are crowds, and what isn't scored is void."""
    labels = labels_of(scene.instance_ids)
    scored = [category.id for category in CATEGORIES]
    truth = np.where(np.isin(labels, scored), scene.instance_ids, 0).astype(np.int32)
    gt_labels = {int(i): int(labels_of(i)) for i in np.unique(truth)}
    crowds = {i for i, label in gt_labels.items() if i == label and label in CLASSES}
    ids = [
        100 + place if label in scored else 0
        for place, label in enumerate(scene.label_ids.tolist())
    ]
    guess = painted(scene, ids, background=ROAD)
    return panoptic_scenes.Scene(
        truth,
        panoptic_scenes.segments(truth, gt_labels, crowds),
        guess,
        panoptic_scenes.segments(
            guess, {ROAD: ROAD} | dict(zip(ids, scene.label_ids.tolist(), strict=True))
        ),
    )


class CocoCase(NamedTuple):
    """A data set and results in COCO's form."""

    ground_truth: dict[str, Any]  # as a file has it
    results: list[dict[str, Any]]


def coco_view(scenes: list[Scene]) -> CocoCase:
    """Groups are crowds; labels other than Cityscapes' things are left out."""
    images, annotations, results = [], [], []
    for number, scene in enumerate(scenes):
        image_id = 10 * number + 3
        images.append({"id": image_id, "height": HEIGHT, "width": WIDTH})
        # Downwards, so that groups come after the instances of their class.
        for instance_id in np.unique(scene.instance_ids)[::-1].tolist():
            label = int(labels_of(np.array(instance_id)))
            if label in CLASSES:
                mask = scene.instance_ids == instance_id
                more = {"iscrowd": int(instance_id == label), "area": float(mask.sum())}
                annotations.append(
                    {"id": len(annotations) + 1} | coco_entry(mask, image_id, label) | more
                )
        for mask, label, score in scene.predictions:
            if label in CLASSES:
                results.append(coco_entry(mask, image_id, label) | {"score": score})
    categories = [{"id": label, "name": name} for label, name in CLASSES.items()]
    return CocoCase(
        {"images": images, "annotations": annotations, "categories": categories}, results
    )


def coco_entry(mask: np.ndarray, image_id: int, category_id: int) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": mask_util.toBbox(rle).tolist(),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }
