from __future__ import annotations

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from segtron.data.category_ids import (
    Category,
    dataset_segments,
    panoptic_categories,
    thing_category_ids,
)
from segtron.errors import UserError

from ..panoptic_metadata import set_panoptic


def test_ids_in_the_order_of_the_model(set_name):
    MetadataCatalog.get(set_name).set(
        thing_classes=["a", "b", "c"], thing_dataset_id_to_contiguous_id={40: 1, 7: 2, 90: 0}
    )
    assert thing_category_ids(set_name).tolist() == [90, 40, 7]


def test_ids_are_the_models_own_where_nothing_maps_them(set_name):
    MetadataCatalog.get(set_name).set(thing_classes=["a", "b"])
    assert thing_category_ids(set_name).tolist() == [0, 1]


def test_classes_that_only_the_loader_names(set_name):
    def load():
        MetadataCatalog.get(set_name).set(
            thing_classes=["a"], thing_dataset_id_to_contiguous_id={5: 0}
        )
        return []

    DatasetCatalog.register(set_name, load)
    assert thing_category_ids(set_name).tolist() == [5]


def test_things_of_panoptic_sets(set_name):
    set_panoptic(set_name)
    assert thing_category_ids(set_name).tolist() == [40, 9]


def test_categories_of_panoptic_sets(set_name):
    def load():
        set_panoptic(set_name)
        return []

    DatasetCatalog.register(set_name, load)
    assert panoptic_categories(set_name) == [
        Category(7, "sky", False),
        Category(9, "person", True),
        Category(40, "car", True),
        Category(90, "road", False),
    ]


def test_several_ids_of_one_class(set_name):
    MetadataCatalog.get(set_name).set(
        thing_classes=["car"],
        stuff_classes=["things", "road"],
        thing_dataset_id_to_contiguous_id={3: 0, 4: 0},
        stuff_dataset_id_to_contiguous_id={8: 1, 7: 1},
    )
    assert panoptic_categories(set_name) == [
        Category(3, "car", True),
        Category(4, "car", True),
        Category(7, "road", False),
        Category(8, "road", False),
    ]


def test_segments_by_the_ids_of_the_data_set(set_name):
    set_panoptic(set_name)
    things = [{"id": 5, "isthing": True, "category_id": 3, "score": 0.5}]
    stuff = [{"id": 6, "isthing": False, "category_id": 0}]
    assert dataset_segments(things + stuff, set_name) == [
        things[0] | {"category_id": 9},
        stuff[0] | {"category_id": 90},
    ]
    assert things[0]["category_id"] == 3, "the model's own list is left as it is"
    with pytest.raises(UserError, match=f"stuff class number 3, which {set_name} doesn't have"):
        dataset_segments([things[0] | {"isthing": False}], set_name)


def test_segments_of_sets_with_two_numberings(set_name):
    MetadataCatalog.get(set_name).set(
        thing_classes=["car", "person"],
        stuff_classes=["things", "road"],
        thing_dataset_id_to_contiguous_id={40: 0, 9: 1},
        stuff_dataset_id_to_contiguous_id={90: 1, 0: 0},
    )
    listed = [
        {"id": 1, "isthing": True, "category_id": 1},
        {"id": 2, "isthing": False, "category_id": 1},
    ]
    assert [s["category_id"] for s in dataset_segments(listed, set_name)] == [9, 90]
