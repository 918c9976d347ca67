"""One view of classes for sets of every convention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from detectron2.data import MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES, COCO_CATEGORIES

from segtron.data.classes import class_metadata, is_panoptic, is_unified_panoptic, things_in_sem_seg

NAMES = ["a", "b", "c", "d", "e"]
COLORS = [(i, i, i) for i in range(5)]


@pytest.fixture
def register() -> Callable[..., Metadata]:
    """Puts metadata into the catalog for one test; gives its view."""
    name = "classes_test"

    def register(**metadata: Any) -> Metadata:
        MetadataCatalog.pop(name, None)
        MetadataCatalog.get(name).set(**metadata)
        return class_metadata(name)

    yield register
    MetadataCatalog.pop(name, None)


def unified(things: dict[int, int], stuff: dict[int, int], **extra: Any) -> dict[str, Any]:
    return {
        "thing_classes": NAMES,
        "stuff_classes": NAMES,
        "thing_dataset_id_to_contiguous_id": things,
        "stuff_dataset_id_to_contiguous_id": stuff,
    } | extra


def test_cityscapes() -> None:
    view = class_metadata("cityscapes_fine_panoptic_val")
    raw = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    instances = MetadataCatalog.get("cityscapes_fine_instance_seg_val")
    semantic = MetadataCatalog.get("cityscapes_fine_sem_seg_val")
    for key in ("thing_classes", "thing_colors", "thing_dataset_id_to_contiguous_id"):
        assert view.get(key) == instances.get(key), key
    for key in ("stuff_classes", "stuff_colors", "stuff_dataset_id_to_contiguous_id"):
        assert view.get(key) == semantic.get(key), key
    assert view.panoptic_classes == [c["name"] for c in CITYSCAPES_CATEGORIES]
    assert view.panoptic_colors == [tuple(c["color"]) for c in CITYSCAPES_CATEGORIES]
    assert things_in_sem_seg(view) == list(range(11, 19))
    for key in ("name", "evaluator_type", "label_divisor", "ignore_label", "gt_dir"):
        assert view.get(key) == raw.get(key), key
    # The catalog's own stays in Detectron2's form.
    assert len(raw.thing_classes) == 19
    assert raw.thing_dataset_id_to_contiguous_id[24] == 11
    assert raw.get("panoptic_classes") is None


def test_cocos_standard_form() -> None:
    view = class_metadata("coco_2017_val_panoptic")
    assert view.thing_classes == MetadataCatalog.get("coco_2017_val").thing_classes
    assert view.thing_dataset_id_to_contiguous_id == (
        MetadataCatalog.get("coco_2017_val").thing_dataset_id_to_contiguous_id
    )
    assert view.stuff_classes == view.panoptic_classes == [c["name"] for c in COCO_CATEGORIES]
    assert len(view.stuff_dataset_id_to_contiguous_id) == 133
    assert len(view.thing_colors) == 80
    assert things_in_sem_seg(view) == list(range(80))


@pytest.mark.parametrize(
    "name",
    [
        "coco_2017_val_panoptic_separated",
        "coco_2017_val",
        "cityscapes_fine_instance_seg_val",
        "cityscapes_fine_sem_seg_val",
    ],
)
def test_other_sets_are_as_they_are(name: str) -> None:
    view = class_metadata(name)
    assert view is MetadataCatalog.get(name)
    assert not is_unified_panoptic(view)
    assert things_in_sem_seg(view) == []


def test_things_keep_the_order_of_their_classes(register: Callable[..., Metadata]) -> None:
    # Things are b, c and e; their ids are in another order than their classes.
    things, stuff = {3: 4, 90: 1, 17: 2}, {8: 3, 200: 0}
    view = register(**unified(things, stuff, thing_colors=COLORS, stuff_colors=COLORS))
    assert view.thing_classes == ["b", "c", "e"]
    assert view.thing_colors == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert view.thing_dataset_id_to_contiguous_id == {90: 0, 17: 1, 3: 2}
    assert view.stuff_classes == view.panoptic_classes == NAMES
    assert view.stuff_dataset_id_to_contiguous_id == {200: 0, 90: 1, 17: 2, 8: 3, 3: 4}
    assert list(view.stuff_dataset_id_to_contiguous_id) == [200, 90, 17, 8, 3]
    assert view.panoptic_colors == COLORS
    assert things_in_sem_seg(view) == [1, 2, 4]


def test_colours_may_be_missing(register: Callable[..., Metadata]) -> None:
    view = register(**unified({1: 0, 2: 1}, {3: 2, 4: 3, 5: 4}))
    assert view.get("thing_colors") is None
    assert view.get("panoptic_colors") is None


def test_all_things(register: Callable[..., Metadata]) -> None:
    view = register(**unified({i + 1: i for i in range(5)}, {}))
    assert view.thing_classes == view.panoptic_classes == NAMES
    assert view.stuff_dataset_id_to_contiguous_id == view.thing_dataset_id_to_contiguous_id
    assert things_in_sem_seg(view) == [0, 1, 2, 3, 4]


def test_all_stuff(register: Callable[..., Metadata]) -> None:
    view = register(**unified({}, {i + 1: i for i in range(5)}))
    assert view.thing_classes == []
    assert view.stuff_classes == view.panoptic_classes == NAMES
    assert things_in_sem_seg(view) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"thing_classes": NAMES},
        {"thing_classes": [], "stuff_classes": []},
        # Two numberings that both begin at 0, though the names are the same.
        unified({i: i for i in range(5)}, {i: i for i in range(5)}),
        unified({1: 0}, {2: 1}),
        unified({}, {}),
    ],
)
def test_what_is_no_single_numbering(
    register: Callable[..., Metadata], metadata: dict[str, Any]
) -> None:
    assert register(**metadata).get("panoptic_classes") is None


def test_panoptic_sets_go_by_their_type(register: Callable[..., Metadata]) -> None:
    assert not is_panoptic(register().name)
    assert is_panoptic(register(evaluator_type="coco_panoptic_seg").name)
