from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from segtron.errors import UserError
from segtron.evaluation.model_output import (
    predicted_sem_seg,
    stuff_class_values,
    thing_category_ids,
)


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
