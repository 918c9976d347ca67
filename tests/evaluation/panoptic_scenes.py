"""Panoptic images in which everything occurs that a scorer has to get right, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from cityscapesscripts.evaluation import evalPanopticSemanticLabeling as official

from segtron.data.category_ids import Category
from segtron.data.panoptic_png import write_panoptic_png
from segtron.evaluation.scores import PanopticScores

HEIGHT, WIDTH = 60, 90
CATEGORIES = [
    Category(7, "road", False),
    Category(21, "tree", False),
    Category(23, "sky", False),
    Category(24, "person", True),
    Category(26, "car", True),
    Category(33, "bicycle", True),
]


class Scene(NamedTuple):
    """One image: ids (H, W) int32 with 0 in void, and the list of segments, of both sides."""

    gt_ids: np.ndarray
    gt_segments: list[dict[str, Any]]
    pred_ids: np.ndarray
    pred_segments: list[dict[str, Any]]


def segments(ids: np.ndarray, categories: dict[int, int], crowds: set[int] = frozenset()) -> list:
    """The list of the segments that a map shows."""
    return [
        {
            "id": int(i),
            "category_id": categories[int(i)],
            "area": int(np.count_nonzero(ids == i)),
            "bbox": [0, 0, 1, 1],
            "iscrowd": int(int(i) in crowds),
        }
        for i in np.unique(ids)
        if i
    ]


def random_scene(
    rng: np.random.Generator,
    categories: list[Category],
    *,
    crowds: float = 0.1,
    void: float = 0.15,
    wrong: float = 0.1,
    most: int = 3,
) -> Scene:
    """Ellipses over each other, and the same moved, some of another class, and some invented.

    Args:
        rng: draws everything.
        categories: of the segments.
        crowds: share of crowds, of which a class may have several.
        void: share of void.
        wrong: share of predictions of another class.
        most: how far [pixels] predictions are moved.
    """
    numbers = [category.id for category in categories]
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    pool = rng.choice(2**24 - 1, size=60, replace=False) + 1  # ids of all sizes
    category_of = {int(i): int(rng.choice(numbers)) for i in pool}
    for i in pool[:16]:
        ids[_ellipse(rng)] = 0 if rng.random() < void else i
    crowd_ids = {int(i) for i in pool[:16] if rng.random() < crowds}
    pred = np.zeros_like(ids)
    guess_of = {int(i): int(rng.choice(numbers)) for i in pool}
    for number, i in enumerate(np.unique(ids[ids > 0])):
        shift = rng.integers(-most, most + 1, size=2)
        guess = int(pool[20 + number])
        pred[np.roll(ids == i, shift, (0, 1))] = guess
        if rng.random() >= wrong:
            guess_of[guess] = category_of[int(i)]
    for guess in pool[40:44]:
        pred[_ellipse(rng, largest=9)] = guess
    return Scene(ids, segments(ids, category_of, crowd_ids), pred, segments(pred, guess_of))


def _ellipse(rng: np.random.Generator, largest: int = 25) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    center = (int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT)))
    axes = (int(rng.integers(3, largest)), int(rng.integers(3, largest)))
    cv2.ellipse(mask, center, axes, float(rng.integers(0, 180)), 0, 360, 1, -1)
    return mask.astype(bool)


def write_files(folder: Path, case: list[Scene], categories: list[Category]) -> tuple[Path, Path]:
    """Write a case as `gt.json`, `gt/`, `pred.json` and `pred/`; returns the two JSONs."""
    described = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in categories]
    images, annotations = [], {"gt": [], "pred": []}
    for number, scene in enumerate(case):
        height, width = scene.gt_ids.shape
        images.append(
            {"id": number, "file_name": f"{number}.jpg", "height": height, "width": width}
        )
        for side, ids, listed in (("gt", *scene[:2]), ("pred", *scene[2:])):
            write_panoptic_png(folder / side / f"{side}_{number}.png", ids)
            annotations[side].append(
                {"image_id": number, "file_name": f"{side}_{number}.png", "segments_info": listed}
            )
    gt = {"images": images, "annotations": annotations["gt"], "categories": described}
    (folder / "gt.json").write_text(json.dumps(gt))
    (folder / "pred.json").write_text(json.dumps({"annotations": annotations["pred"][::-1]}))
    return folder / "gt.json", folder / "pred.json"


def official_scores(
    gt_json: Path, pred_json: Path, gt_folder: Path | None = None, pred_folder: Path | None = None
) -> dict[str, Any]:
    """What the official scorer says of files, in percent and under Segtron's names; nan where it
    divides by zero."""
    truth, predictions = json.loads(gt_json.read_text()), json.loads(pred_json.read_text())
    categories = {category["id"]: category for category in truth["categories"]}
    by_image = {annotation["image_id"]: annotation for annotation in predictions["annotations"]}
    pairs = [(a, by_image[a["image_id"]]) for a in truth["annotations"]]
    stat = official.pq_compute_single_core(
        0,
        pairs,
        str(gt_folder or gt_json.with_suffix("")),
        str(pred_folder or pred_json.with_suffix("")),
        categories,
    )
    overall, per_class = {}, {}
    for suffix, is_thing in (("", None), ("_th", True), ("_st", False)):
        try:
            means, _ = stat.pq_average(categories, isthing=is_thing)
        except ZeroDivisionError:
            means = dict.fromkeys(("pq", "sq", "rq"), np.nan)
        overall |= {f"{m.upper()}{suffix}": 100 * means[m] for m in ("pq", "sq", "rq")}
    for number, category in categories.items():
        counts = stat[number]
        present = counts.tp + counts.fp + counts.fn > 0
        # Of one class alone the official mean is that class.
        row = stat.pq_average({number: category}, None)[0] if present else {}
        per_class[category["name"]] = {
            m.upper(): 100 * row.get(m, np.nan) for m in ("pq", "sq", "rq")
        }
    return {"overall": overall, "per_class": per_class}


def assert_equal_scores(scores: PanopticScores, expected: dict) -> None:
    """Of Segtron and of `official_scores`."""
    assert list(scores.overall) == list(expected["overall"])
    assert list(scores.per_class) == list(expected["per_class"])
    for ours, theirs in (
        (scores.overall, expected["overall"]),
        *((row, expected["per_class"][name]) for name, row in scores.per_class.items()),
    ):
        for metric, value in ours.items():
            np.testing.assert_allclose(value, theirs[metric], rtol=0, atol=1e-9)
