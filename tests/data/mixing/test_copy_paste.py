"""Copy-paste by hand: what is hidden, what is left, and of which labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from segtron.data.mixing.copy_paste import copy_paste
from segtron.data.panoptic_targets import panoptic_targets

SIZE = (4, 6)
SKY = {"id": 5, "category_id": 0, "isthing": False, "iscrowd": 0, "area": 9, "bbox": [0, 0, 1, 1]}
DOG = {"id": 7, "category_id": 1, "isthing": True, "iscrowd": 0, "thing_category_id": 0}
CROWD = {"id": 8, "category_id": 1, "isthing": True, "iscrowd": 1, "thing_category_id": 0}
CAT = {"id": 9, "category_id": 2, "isthing": True, "iscrowd": 0, "thing_category_id": 1}
TARGET = [SKY, DOG, CROWD]
SOURCE = [CAT, SKY, CROWD]
TARGET_PLACES = np.array([[1, 1, 1, 1, 3, 3], [2, 2, 2, 1, 3, 3], [2, 2, 2, 1, 0, 0], [0] * 6])
SOURCE_PLACES = np.array([[2, 2, 2, 2, 2, 3], [2, 1, 1, 1, 1, 3], [2, 1, 1, 1, 1, 3], [2] * 6])


def image(shade: int) -> torch.Tensor:
    return torch.full((3, *SIZE), shade, dtype=torch.uint8)


def panoptic(places: np.ndarray, segments: list[dict[str, Any]], shade: int) -> dict[str, Any]:
    mapped = {"file_name": f"{shade}.png", "image": image(shade), "segments_info": segments}
    return mapped | panoptic_targets(places.astype(np.uint8), segments)


def instances(masks: list[np.ndarray], classes: list[int]) -> Instances:
    masks = np.array(masks, bool).reshape(-1, *SIZE)
    bitmaps = BitMasks(torch.from_numpy(masks))
    return Instances(
        SIZE,
        gt_boxes=bitmaps.get_bounding_boxes() if len(masks) else Boxes(torch.zeros(0, 4)),
        gt_classes=torch.tensor(classes, dtype=torch.int64),
        gt_masks=bitmaps,
    )


def paste(target: Any, source: Any, share: float = 1.0, visible: float = 0.1) -> dict[str, Any]:
    return copy_paste(target, source, object_prob=share, min_visible=visible)


def test_segments_by_hand() -> None:
    target, source = panoptic(TARGET_PLACES, TARGET, 10), panoptic(SOURCE_PLACES, SOURCE, 200)
    mixed = paste(target, source)
    # The cat alone is pasted: the rest of the source is stuff and a crowd.
    expected = TARGET_PLACES.copy()
    expected[1:3, 1:5] = 4
    np.testing.assert_array_equal(mixed["pan_seg"], expected)
    assert [s["category_id"] for s in mixed["segments_info"]] == [0, 1, 1, 2, 0, 1]
    assert [s["id"] for s in mixed["segments_info"]] == [1, 2, 3, 4, 5, 6]
    assert "area" not in mixed["segments_info"][0]
    np.testing.assert_array_equal(mixed["sem_seg"], np.array([255, 0, 1, 1, 2])[expected])
    assert mixed["instances"].gt_classes.tolist() == [0, 1]
    assert mixed["instances"].gt_boxes.tensor.tolist() == [[0, 1, 1, 3], [1, 1, 5, 3]]
    np.testing.assert_array_equal(mixed["image"][1], np.where(expected == 4, 200, 10))
    assert mixed["file_name"] == "10.png"
    # What came in is as it was.
    np.testing.assert_array_equal(target["pan_seg"], TARGET_PLACES)
    assert (target["image"] == 10).all() and target["segments_info"] == TARGET


def test_a_segment_of_which_too_little_is_left_becomes_void() -> None:
    target, source = panoptic(TARGET_PLACES, TARGET, 10), panoptic(SOURCE_PLACES, SOURCE, 200)
    # Two of six pixels of the dog stay, and four of the crowd's, which has no least share.
    assert paste(target, source, visible=0.33)["instances"].gt_classes.tolist() == [0, 1]
    mixed = paste(target, source, visible=0.34)
    expected = TARGET_PLACES.copy()
    expected[1:3, 1:5], expected[1:3, 0] = 4, 0
    np.testing.assert_array_equal(mixed["pan_seg"], expected)
    assert (mixed["sem_seg"][1:3, 0] == 255).all()
    assert mixed["instances"].gt_classes.tolist() == [1]
    assert (mixed["image"][:, 1:3, 0] == 10).all()


def test_nothing_is_chosen_or_there_is_nothing() -> None:
    target, source = panoptic(TARGET_PLACES, TARGET, 10), panoptic(SOURCE_PLACES, SOURCE, 200)
    for mixed in (
        paste(target, source, share=0.0),
        paste(target, panoptic(np.zeros(SIZE), [], 200)),
        paste(target, panoptic(np.full(SIZE, 1), [CROWD], 200)),
    ):
        np.testing.assert_array_equal(mixed["pan_seg"], TARGET_PLACES)
        assert (mixed["image"] == 10).all()
        assert len(mixed["instances"]) == 1
    empty = panoptic(np.zeros(SIZE), [], 10)
    assert paste(empty, source)["instances"].gt_classes.tolist() == [1]


def test_each_object_has_its_own_chance() -> None:
    places = np.repeat(np.arange(1, 7), 4).reshape(SIZE)
    source = panoptic(places, [CAT] * 6, 200)
    target = panoptic(np.zeros(SIZE), [], 10)
    np.random.seed(0)
    counts = [len(paste(target, source, share=0.5)["instances"]) for _ in range(200)]
    assert set(counts) == set(range(7)) and 2.7 < np.mean(counts) < 3.3


def test_instances_by_hand() -> None:
    dog, hidden, far, cat = np.zeros((4, *SIZE), bool)
    dog[0:2, 0:4] = hidden[1, 2:4] = far[3, 5] = True
    cat[1:3, 1:5] = True
    target = {"image": image(10), "instances": instances([dog, hidden, far], [0, 3, 4])}
    source = {"image": image(200), "instances": instances([cat], [1])}
    mixed = paste(target, source)["instances"]
    assert mixed.gt_classes.tolist() == [0, 4, 1]  # nothing of one is left
    assert mixed.gt_boxes.tensor.tolist() == [[0, 0, 4, 2], [5, 3, 6, 4], [1, 1, 5, 3]]
    np.testing.assert_array_equal(mixed.gt_masks.tensor[0], dog & ~cat)
    np.testing.assert_array_equal(mixed.gt_masks.tensor[2], cat)
    # 5 of 8 pixels of the dog stay.
    assert paste(target, source, visible=0.625)["instances"].gt_classes.tolist() == [0, 4, 1]
    assert paste(target, source, visible=0.63)["instances"].gt_classes.tolist() == [4, 1]
    assert target["instances"].gt_masks.tensor[0].sum() == 8


@pytest.mark.parametrize("first", [True, False])
def test_images_without_instances_have_no_masks(first: bool) -> None:
    none = Instances(SIZE, gt_boxes=Boxes(torch.zeros(0, 4)), gt_classes=torch.zeros(0).long())
    cat = np.zeros(SIZE, bool)
    cat[1:3, 1:5] = True
    empty = {"image": image(10), "instances": none}
    full = {"image": image(200), "instances": instances([cat], [1])}
    mixed = paste(empty, full) if first else paste(full, empty)
    assert mixed["instances"].gt_classes.tolist() == [1]
    assert mixed["image"][0, 1, 1] == 200 and mixed["image"][0, 0, 0] == (10 if first else 200)
    assert len(paste(empty, empty)["instances"]) == 0


def test_classes_that_go_with_instances_are_pasted_with_them() -> None:
    cat = np.zeros(SIZE, bool)
    cat[1:3, 1:5] = True
    dog = np.zeros(SIZE, bool)
    dog[1, 0:2] = True
    target = {"image": image(10), "instances": instances([dog], [0]), "sem_seg": torch.zeros(SIZE)}
    source = {"image": image(200), "instances": instances([cat], [1])}
    source["sem_seg"] = torch.full(SIZE, 5.0)
    mixed = paste(target, source, visible=0.9)
    np.testing.assert_array_equal(mixed["sem_seg"], np.where(cat, 5, 0))
    assert mixed["instances"].gt_classes.tolist() == [1]


def test_of_semantic_labels_alone_classes_are_pasted() -> None:
    classes = torch.tensor([[0, 0, 1, 1, 255, 255]] * 4)
    target = {"image": image(10), "sem_seg": torch.full(SIZE, 7)}
    mixed = paste(target, {"image": image(200), "sem_seg": classes})
    assert mixed["sem_seg"].tolist() == [[0, 0, 1, 1, 7, 7]] * 4  # not what is ignored
    assert mixed["image"][0].tolist() == [[200, 200, 200, 200, 10, 10]] * 4
    np.random.seed(0)
    found = set()
    for _ in range(40):
        mixed = paste(target, {"image": image(200), "sem_seg": classes}, share=0.5)
        found.add(tuple(mixed["sem_seg"][0].tolist()))
    assert found == {(0, 0, 1, 1, 7, 7), (0, 0, 7, 7, 7, 7), (7, 7, 1, 1, 7, 7), (7,) * 6}
