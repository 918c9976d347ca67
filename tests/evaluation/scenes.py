"""Small scenes with ground truth and predictions, for the tests of the evaluators."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

ROAD, BUILDING, PERSON, RIDER, CAR, TRUCK, CARAVAN, BICYCLE = 7, 11, 24, 25, 26, 27, 29, 33
PARKING, POLE, VEGETATION, SKY = 9, 17, 21, 23
HEIGHT, WIDTH = 96, 128


@dataclass
class Scene:
    """Ids as in *_instanceIds.png, and predictions as (mask, label id, score)."""

    instance_ids: np.ndarray = field(
        default_factory=lambda: np.full((HEIGHT, WIDTH), ROAD, dtype=np.uint16)
    )
    predictions: list[tuple[np.ndarray, int, float]] = field(default_factory=list)

    def predict(self, mask: np.ndarray, label_id: int, score: float) -> None:
        self.predictions.append((mask, label_id, float(score)))

    @property
    def masks(self) -> np.ndarray:
        """(P, H, W) bool."""
        shape = (len(self.predictions), *self.instance_ids.shape)
        return np.array([mask for mask, _, _ in self.predictions], dtype=bool).reshape(shape)

    @property
    def label_ids(self) -> np.ndarray:
        return np.array([label_id for _, label_id, _ in self.predictions], dtype=np.int64)

    @property
    def scores(self) -> np.ndarray:
        return np.array([score for _, _, score in self.predictions])


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """(HEIGHT, WIDTH) bool with one rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def ellipse(rng: np.random.Generator, low: int = 4, high: int = 24) -> np.ndarray:
    """(HEIGHT, WIDTH) bool with one ellipse, perhaps cut off by the border."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    center = (int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT)))
    axes = (int(rng.integers(low, high)), int(rng.integers(low, high)))
    cv2.ellipse(mask, center, axes, float(rng.integers(0, 180)), 0, 360, 1, -1)
    return mask.astype(bool)


def shifted(rng: np.random.Generator, mask: np.ndarray, most: int = 4) -> np.ndarray:
    """A mask moved by some pixels, as an imperfect detector would predict it."""
    down, right = rng.integers(-most, most + 1, size=2)
    return np.roll(mask, (down, right), axis=(0, 1))


def random_scene(
    rng: np.random.Generator, num_segments: int = 14, digits: int | None = None
) -> Scene:
    """Overlapping things of all kinds with groups and void, and predictions of every quality.

    Args:
        rng: draws everything.
        num_segments: segments of the ground truth, before occlusion.
        digits: scores are rounded to so many digits, which makes them equal.
    """
    scene = Scene()
    labels = [PERSON, RIDER, CAR, TRUCK, BICYCLE]
    for number in range(num_segments):
        mask, label = ellipse(rng), int(rng.choice(labels))
        kind = rng.random()
        if kind < 0.15:
            scene.instance_ids[mask] = rng.choice([0, 1, 3, 4, 5, 9, CARAVAN])
        elif kind < 0.3:
            scene.instance_ids[mask] = label
        elif kind < 0.35:
            scene.instance_ids[mask] = CARAVAN * 1000 + number
        else:
            scene.instance_ids[mask] = label * 1000 + number
    for instance_id in np.unique(scene.instance_ids):
        mask = scene.instance_ids == instance_id
        label = int(instance_id if instance_id < 1000 else instance_id // 1000)
        if label not in labels:
            continue
        for _ in range(rng.integers(0, 3)):
            guess = int(rng.choice(labels)) if rng.random() < 0.15 else label
            scene.predict(shifted(rng, mask), guess, rng.random())
    for _ in range(4):
        scene.predict(ellipse(rng), int(rng.choice([*labels, BUILDING])), rng.random())
    rng.shuffle(scene.predictions)
    if digits is not None:
        scene.predictions = [(m, label, round(s, digits)) for m, label, s in scene.predictions]
    return scene


def labels_of(instance_ids: np.ndarray) -> np.ndarray:
    """(H, W) uint8, the label ids that go with instance ids, as in *_labelIds.png."""
    return np.where(instance_ids < 1000, instance_ids, instance_ids // 1000).astype(np.uint8)


def random_labelled_scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Stuff, things, groups and void, and what a model might say of them.

    Returns:
        Ids as in *_instanceIds.png, (HEIGHT, WIDTH) uint16; and predicted label ids, (HEIGHT,
        WIDTH) uint8, which are right for the most part, and among them labels that aren't scored.
    """
    instance_ids = random_scene(rng).instance_ids
    for label in (BUILDING, POLE, VEGETATION, SKY, PARKING):
        stuff = ellipse(rng) & (instance_ids == ROAD)
        instance_ids[stuff] = label
    prediction = labels_of(shifted(rng, instance_ids, most=2))
    present = np.unique(prediction)
    for _ in range(6):
        prediction[ellipse(rng, high=12)] = rng.choice(present)
    for label in rng.choice(34, size=3):
        prediction[ellipse(rng, high=8)] = label
    noise = rng.random(prediction.shape) < 0.02
    prediction[noise] = rng.choice(present, size=np.count_nonzero(noise))
    return instance_ids, prediction
