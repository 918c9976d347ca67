from __future__ import annotations

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from segtron.evaluation.model_output import thing_category_ids


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
