from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from segtron.errors import UserError
from segtron.evaluation.model_output import (
    dataset_segments,
    decode_segments,
    is_panoptic,
    naming_ground_truth,
    panoptic_categories,
    predicted_panoptic,
    predicted_sem_seg,
    require_output,
    stuff_class_values,
    thing_category_ids,
)
from segtron.evaluation.panoptic_quality import Category


@pytest.fixture
def name(request):
    name = f"set_for_{request.node.name}"
    yield name
    MetadataCatalog.remove(name)
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)


def test_ids_in_the_order_of_the_model(name):
    MetadataCatalog.get(name).set(
        thing_classes=["a", "b", "c"], thing_dataset_id_to_contiguous_id={40: 1, 7: 2, 90: 0}
    )
    assert thing_category_ids(name).tolist() == [90, 40, 7]


def test_ids_are_the_models_own_where_nothing_maps_them(name):
    MetadataCatalog.get(name).set(thing_classes=["a", "b"])
    assert thing_category_ids(name).tolist() == [0, 1]


def test_classes_that_only_the_loader_names(name):
    def load():
        MetadataCatalog.get(name).set(thing_classes=["a"], thing_dataset_id_to_contiguous_id={5: 0})
        return []

    DatasetCatalog.register(name, load)
    assert thing_category_ids(name).tolist() == [5]


def test_stuff_has_ids_of_its_own(name):
    MetadataCatalog.get(name).set(
        thing_classes=["a"],
        thing_dataset_id_to_contiguous_id={40: 0},
        stuff_classes=["things", "b"],
        stuff_dataset_id_to_contiguous_id={92: 1, 0: 0},  # Detectron2's order for COCO
    )
    assert stuff_class_values(name).tolist() == [0, 92]


def test_the_likeliest_class_of_each_pixel():
    scores = torch.tensor([[[0.1, 0.9, 0.5]], [[0.8, -2.0, 0.5]], [[0.3, 0.2, -torch.inf]]])
    classes = predicted_sem_seg({"sem_seg": scores}, "a_set", 7)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[1, 0, 0]]  # of equals the first, as argmax has it


def test_semantic_scores_that_cannot_be_used():
    with pytest.raises(UserError, match="a_set is scored by its semantic .* predicts none"):
        predicted_sem_seg({"instances": None}, "a_set", 3)
    scores = torch.zeros(4, 2, 2)
    with pytest.raises(UserError, match="predicts 4 classes, but a_set has 3; set MODEL.SEM_SEG"):
        predicted_sem_seg({"sem_seg": scores}, "a_set", 3)
    for number in (torch.nan, torch.inf):
        scores[2, 1, 1] = number
        with pytest.raises(UserError, match="a_set: .* not finite"):
            predicted_sem_seg({"sem_seg": scores}, "a_set", 4)


def set_panoptic(name: str, **more) -> None:
    """Things and stuff in one numbering, the data set's ids in another order."""
    MetadataCatalog.get(name).set(
        thing_classes=["road", "car", "sky", "person"],
        stuff_classes=["road", "car", "sky", "person"],
        thing_dataset_id_to_contiguous_id={40: 1, 9: 3},
        stuff_dataset_id_to_contiguous_id={90: 0, 7: 2},
        label_divisor=1000,
        **more,
    )


def test_heads_of_panoptic_sets_have_their_own_numbers(name):
    set_panoptic(name)
    assert thing_category_ids(name).tolist() == [40, 9]
    assert stuff_class_values(name).tolist() == [90, 40, 7, 9]


def test_panoptic_sets_go_by_their_type(name):
    assert not is_panoptic(name)
    MetadataCatalog.get(name).set(evaluator_type="coco_panoptic_seg")
    assert is_panoptic(name)


def test_categories_of_panoptic_sets(name):
    def load():
        set_panoptic(name)
        return []

    DatasetCatalog.register(name, load)
    assert panoptic_categories(name) == [
        Category(7, "sky", False),
        Category(9, "person", True),
        Category(40, "car", True),
        Category(90, "road", False),
    ]


def test_segments_by_the_ids_of_the_data_set(name):
    set_panoptic(name)
    things = [{"id": 5, "isthing": True, "category_id": 3, "score": 0.5}]
    stuff = [{"id": 6, "isthing": False, "category_id": 0}]
    assert dataset_segments(things + stuff, name) == [
        things[0] | {"category_id": 9},
        stuff[0] | {"category_id": 90},
    ]
    assert things[0]["category_id"] == 3, "the model's own list is left as it is"
    with pytest.raises(UserError, match=f"stuff class number 3, which {name} doesn't have"):
        dataset_segments([things[0] | {"isthing": False}], name)


def test_segments_of_sets_with_two_numberings(name):
    MetadataCatalog.get(name).set(
        thing_classes=["car", "person"],
        stuff_classes=["things", "road"],
        thing_dataset_id_to_contiguous_id={40: 0, 9: 1},
        stuff_dataset_id_to_contiguous_id={90: 1, 0: 0},
    )
    listed = [
        {"id": 1, "isthing": True, "category_id": 1},
        {"id": 2, "isthing": False, "category_id": 1},
    ]
    assert [s["category_id"] for s in dataset_segments(listed, name)] == [9, 90]


def test_segments_in_both_of_detectron2s_forms(name):
    set_panoptic(name)
    ids = torch.tensor([[0, 1, 2], [2, 2, 1]], dtype=torch.int64)
    listed = [
        {"id": 1, "isthing": True, "category_id": 1, "score": torch.tensor(0.5), "instance_id": 7},
        {"id": 2, "isthing": False, "category_id": 0, "area": 3},
    ]
    found, segments = predicted_panoptic({"panoptic_seg": (ids, listed)}, name)
    assert found.dtype == np.int32
    assert found.tolist() == ids.tolist()
    assert segments == [
        {"id": 1, "category_id": 40, "isthing": True, "score": 0.5},
        {"id": 2, "category_id": 90, "isthing": False},
    ]

    codes = torch.tensor([[-1, 1001, 0], [0, 0, 1001]], dtype=torch.int32)
    found, segments = predicted_panoptic({"panoptic_seg": (codes, None)}, name)
    assert found.tolist() == [[0, 1002, 1], [1, 1, 1002]]
    assert segments == [
        {"id": 1, "category_id": 90, "isthing": False},
        {"id": 1002, "category_id": 40, "isthing": True},
    ]
    assert codes[0, 0] == -1, "the model's own map is left as it is"


def test_segments_without_pixels_are_left_out(name):
    # Detectron2's merging lists stuff that things cover wholly, where its area limit is 0.
    set_panoptic(name)
    listed = [
        {"id": 2, "isthing": False, "category_id": 0, "area": 0},
        {"id": 1, "isthing": True, "category_id": 1},
    ]
    ids = torch.tensor([[0, 1], [1, 1]])
    _, segments = predicted_panoptic({"panoptic_seg": (ids, listed)}, name)
    assert segments == [{"id": 1, "category_id": 40, "isthing": True}]


@pytest.mark.parametrize("unified", [False, True])
def test_codes_of_classes_and_numbers(unified):
    names = {"thing_classes": ["fig"], "label_divisor": 10}
    names |= (
        {"panoptic_classes": ["fig", "sky"]}
        if unified
        else {"thing_dataset_id_to_contiguous_id": {7: 0}}
    )
    codes = np.array([[-1, 3, 10], [0, 3, -1]])
    ids, segments = decode_segments(codes, Metadata(name="codes", **names))
    assert ids.tolist() == [[0, 4, 11], [1, 4, 0]]
    assert segments == [
        {"id": 1, "category_id": 0, "isthing": True},
        {"id": 4, "category_id": 0, "isthing": True},
        {"id": 11, "category_id": 1, "isthing": False},
    ]


def test_refusals_name_the_ground_truth():
    with (
        pytest.raises(UserError, match="^a.png: too large; do this file, the classes of a_set and"),
        naming_ground_truth("a.png", "a_set"),
    ):
        raise ValueError("too large")


def test_what_is_needed_is_named():
    for needed in ("instances", "sem_seg", "panoptic_seg"):
        require_output(needed, {needed}, "a_set")
    with pytest.raises(UserError, match="a_set .* panoptic segmentation .* take a panoptic model"):
        require_output("panoptic_seg", {"instances", "sem_seg"}, "a_set")
