from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.data.catalog import Metadata

from segtron.errors import UserError
from segtron.evaluation.model_output import (
    decode_segments,
    naming_ground_truth,
    predicted_panoptic,
    predicted_sem_seg,
    require_output,
    stuff_class_values,
)

from ..panoptic_metadata import set_panoptic


def test_stuff_has_ids_of_its_own(set_name):
    MetadataCatalog.get(set_name).set(
        thing_classes=["a"],
        thing_dataset_id_to_contiguous_id={40: 0},
        stuff_classes=["things", "b"],
        stuff_dataset_id_to_contiguous_id={92: 1, 0: 0},  # Detectron2's order for COCO
    )
    assert stuff_class_values(set_name).tolist() == [0, 92]


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


def test_semantic_heads_of_panoptic_sets_have_a_number_for_each_class(set_name):
    set_panoptic(set_name)
    assert stuff_class_values(set_name).tolist() == [90, 40, 7, 9]


def test_segments_in_both_of_detectron2s_forms(set_name):
    set_panoptic(set_name)
    ids = torch.tensor([[0, 1, 2], [2, 2, 1]], dtype=torch.int64)
    listed = [
        {"id": 1, "isthing": True, "category_id": 1, "score": torch.tensor(0.5), "instance_id": 7},
        {"id": 2, "isthing": False, "category_id": 0, "area": 3},
    ]
    found, segments = predicted_panoptic({"panoptic_seg": (ids, listed)}, set_name)
    assert found.dtype == np.int32
    assert found.tolist() == ids.tolist()
    assert segments == [
        {"id": 1, "category_id": 40, "isthing": True, "score": 0.5},
        {"id": 2, "category_id": 90, "isthing": False},
    ]

    codes = torch.tensor([[-1, 1001, 0], [0, 0, 1001]], dtype=torch.int32)
    found, segments = predicted_panoptic({"panoptic_seg": (codes, None)}, set_name)
    assert found.tolist() == [[0, 1002, 1], [1, 1, 1002]]
    assert segments == [
        {"id": 1, "category_id": 90, "isthing": False},
        {"id": 1002, "category_id": 40, "isthing": True},
    ]
    assert codes[0, 0] == -1, "the model's own map is left as it is"


def test_segments_without_pixels_are_left_out(set_name):
    # Detectron2's merging lists stuff that things cover wholly, where its area limit is 0.
    set_panoptic(set_name)
    listed = [
        {"id": 2, "isthing": False, "category_id": 0, "area": 0},
        {"id": 1, "isthing": True, "category_id": 1},
    ]
    ids = torch.tensor([[0, 1], [1, 1]])
    _, segments = predicted_panoptic({"panoptic_seg": (ids, listed)}, set_name)
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
