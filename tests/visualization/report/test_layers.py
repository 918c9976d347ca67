"""What becomes of the regions of an image, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.catalog import Metadata

from segtron.config import load_config
from segtron.data.masks import encode_mask
from segtron.evaluation.image_quality import match_instances
from segtron.visualization.fates import FATES, NOT_SCORED
from segtron.visualization.panoptic_results import load_panoptic_results
from segtron.visualization.report.instance_layers import instance_layers
from segtron.visualization.report.layers import Tally, map_outlines
from segtron.visualization.report.semantic_layers import semantic_layers
from segtron.visualization.semantic_results import load_semantic_results

IMAGE = np.zeros((64, 96, 3), np.uint8)


def square(x: int, y: int, side: int = 20) -> dict:
    mask = np.zeros((64, 96), bool)
    mask[y : y + side, x : x + side] = True
    return encode_mask(mask)


def extents(region) -> tuple[int, ...]:
    box = region.outline.get_extents()
    return tuple(round(side) for side in (box.x0, box.y0, box.x1, box.y1))


def seen(regions) -> list[tuple]:
    return sorted(
        ((r.fate, r.category, r.is_category, extents(r)) for r in regions),
        key=lambda row: (row[0], row[-1]),
    )


@pytest.fixture
def instances():
    """At the top one that is found, one missed, one taken for the other class; below a crowd with a
    prediction in it, and one that is invented."""
    truth = [(0, square(0, 0), 0), (0, square(32, 0), 0), (0, square(64, 0), 0)]
    truth += [(1, square(0, 36, 28), 1)]
    found = [(0, square(0, 0), 0.9), (1, square(64, 0), 0.8), (1, square(4, 40, 16), 0.7)]
    found += [(0, square(40, 40), 0.6)]
    annotations = [
        {"category_id": c, "segmentation": mask, "iscrowd": crowd} for c, mask, crowd in truth
    ]
    predictions = [{"category_id": c, "segmentation": mask, "score": s} for c, mask, s in found]
    match = match_instances(
        [mask for _, mask, _ in truth],
        [c for c, _, _ in truth],
        [bool(crowd) for *_, crowd in truth],
        [mask for _, mask, _ in found],
        [c for c, _, _ in found],
    )
    metadata = Metadata(name="test", thing_classes=["fig", "date"])
    return instance_layers(IMAGE, annotations, predictions, match, metadata)


def test_each_instance_has_its_fate(instances) -> None:
    assert seen(instances.errors) == [
        ("found", 0, None, (0, 0, 20, 20)),
        ("invented", 0, None, (40, 40, 60, 60)),
        ("missed", 0, None, (32, 0, 52, 20)),
        (NOT_SCORED, 1, None, (0, 36, 28, 64)),
        (NOT_SCORED, 1, None, (4, 40, 20, 56)),
        ("wrong class", 1, 0, (64, 0, 84, 20)),
    ]
    colors = {r.fate: r.color for r in instances.errors if r.fate != NOT_SCORED}
    assert colors == {fate: FATES[fate] for fate in colors}
    assert [fate for fate, *_ in seen(instances.ground_truth)] == [
        "found",
        "missed",
        NOT_SCORED,
        "wrong class",
    ]
    assert sorted(r.score for r in instances.prediction) == [0.6, 0.7, 0.8, 0.9]
    (found,) = [r for r in instances.errors if r.fate == "found"]
    assert found.iou == 1.0


def test_instances_are_counted_without_crowds(instances) -> None:
    assert instances.numbers == {
        "quality": pytest.approx(100 / (1 + 0.5 * 4)),
        "found": 1,
        "missed": 1,
        "invented": 1,
        "wrong class": 1,
    }
    assert instances.tallies == {
        (0, None, "found"): Tally(1, 0.9),
        (0, None, "missed"): Tally(1),
        (0, None, "invented"): Tally(1, 0.6),
        (1, 0, "wrong class"): Tally(1, 0.8),
    }


def test_small_regions_are_drawn_last(instances) -> None:
    (crowd, *_, last) = instances.errors
    assert extents(crowd) == (0, 36, 28, 64) and extents(last) == (4, 40, 20, 56)


def test_an_image_without_anything() -> None:
    match = match_instances([], [], [], [], [])
    layers = instance_layers(IMAGE, [], [], match, Metadata(name="x", thing_classes=["fig"]))
    assert layers.errors == layers.prediction == layers.ground_truth == [] and not layers.tallies
    assert layers.numbers["quality"] == 100


def test_masks_without_a_pixel_count_but_are_not_drawn() -> None:
    empty = encode_mask(np.zeros((64, 96), bool))
    annotations = [{"category_id": 0, "segmentation": empty}]
    match = match_instances([empty], [0], [False], [], [])
    metadata = Metadata(name="x", thing_classes=["fig"])
    layers = instance_layers(IMAGE, annotations, [], match, metadata)
    assert layers.errors == [] and layers.numbers["missed"] == 1


def test_pixels_are_counted_by_pairs_of_classes(semantic_run: Path) -> None:
    load_config(semantic_run / "config.yaml")
    results = load_semantic_results("fields", semantic_run / "inference" / "fields")
    first, second = (result.layers() for result in results)
    # In a.png all of the right half is taken for the left one's class; eight rows don't count.
    assert seen(first.errors) == [
        (NOT_SCORED, None, None, (0, 0, 96, 8)),
        ("wrong class", 0, 1, (48, 8, 96, 64)),
    ]
    assert first.tallies == {(0, None, "found"): Tally(50), (0, 1, "wrong class"): Tally(50)}
    assert first.numbers == {"mean IoU": 25, "pixel accuracy": 50}
    wrong = next(r for r in first.errors if r.fate == "wrong class")
    assert wrong.color == pytest.approx((0, 200 / 255, 0))
    assert [extents(r) for r in first.prediction] == [(0, 0, 96, 64)]
    assert len(second.errors) == 1 and second.numbers["mean IoU"] == 100


def test_an_image_without_a_labelled_pixel_has_no_score() -> None:
    ignored = np.full((64, 96), 255, np.uint8)
    metadata = Metadata(name="x", stuff_classes=["a", "b"])
    layers = semantic_layers(IMAGE, ignored, np.zeros_like(ignored), metadata)
    assert layers.numbers == {"mean IoU": None, "pixel accuracy": None}
    assert not layers.tallies and [r.fate for r in layers.errors] == [NOT_SCORED]


def test_the_last_of_255_classes_has_its_errors() -> None:
    truth = np.full((64, 96), 254, np.uint8)
    prediction = truth.copy()
    prediction[:, 48:] = 253
    metadata = Metadata(name="x", stuff_classes=[str(i) for i in range(255)])
    (wrong,) = semantic_layers(IMAGE, truth, prediction, metadata).errors
    assert (wrong.category, wrong.is_category) == (253, 254)


def test_each_segment_has_its_fate(panoptic_run: Path) -> None:
    load_config(panoptic_run / "config.yaml")
    results = load_panoptic_results("town", panoptic_run / "inference" / "town")
    layers, perfect = (result.layers() for result in results)
    car, bus, road = 0, 1, 2
    assert seen(layers.errors) == [
        ("found", road, None, (0, 8, 96, 64)),
        ("found", car, None, (4, 12, 20, 28)),
        ("invented", bus, None, (52, 40, 68, 56)),
        ("missed", car, None, (28, 12, 44, 28)),
        (NOT_SCORED, None, None, (0, 0, 96, 8)),
        (NOT_SCORED, car, None, (4, 40, 20, 56)),
        ("poor mask", car, None, (76, 12, 82, 28)),
        ("wrong class", bus, car, (52, 12, 68, 28)),
    ]
    colors = {r.fate: r.color for r in layers.errors if r.fate != NOT_SCORED}
    assert colors == FATES
    poor = next(r for r in layers.errors if r.fate == "poor mask")
    assert poor.iou == pytest.approx(6 / 16) and poor.score == 0.7
    assert layers.numbers == {
        "PQ": pytest.approx(100 * (1 / 3 + 0 + 3840 / 4768) / 3),
        "found": 2,
        "missed": 1,
        "invented": 1,
        "wrong class": 1,
        "poor mask": 1,
    }
    assert layers.tallies[(bus, car, "wrong class")] == Tally(1, 0.8)
    assert {r.fate for r in perfect.errors} == {"found", NOT_SCORED}
    json.dumps({str(key): tally.amount for key, tally in layers.tallies.items()})


def test_outlines_of_a_large_map_are_in_its_own_pixels() -> None:
    numbers = np.zeros((1000, 3000), np.uint16)
    numbers[500:, 1500:] = 700
    box = map_outlines(numbers)[700].get_extents()
    assert [box.x0, box.y0, box.x1, box.y1] == pytest.approx([1500, 500, 3000, 1000], abs=3)
