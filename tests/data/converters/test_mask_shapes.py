"""Id maps as run lengths, against pycocotools; regions by hand."""

import numpy as np
import pytest
from pycocotools import mask as mask_util

from segtron.data.converters.mask_shapes import (
    connected_regions,
    count_ids,
    id_segmentations,
)


def encoded(mask: np.ndarray) -> dict:
    """The encoding of pycocotools itself."""
    rle = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_all_ids_of_a_map(dtype: type) -> None:
    ids = np.random.default_rng(1).integers(0, 5, (9, 8)).astype(dtype)
    found = id_segmentations(ids)
    assert [object_id for object_id, _ in found] == [1, 2, 3, 4]
    for object_id, segmentation in found:
        assert segmentation == encoded(ids == object_id)


def test_other_ids_can_be_background() -> None:
    ids = np.array([[0, 255, 3]], np.uint8)
    assert id_segmentations(ids, (255, 0)) == [(3, encoded(ids == 3))]
    assert [i for i, _ in id_segmentations(ids, ())] == [0, 3, 255]
    assert count_ids(ids) == 3


def test_regions_of_classes_touch_at_corners() -> None:
    labels = np.array(
        [
            [1, 0, 1, 1],
            [0, 1, 0, 0],
            [2, 2, 0, 1],
        ],
        np.uint8,
    )
    regions, classes = connected_regions(labels, apart_from={0})
    # The first and the middle 1 touch, and the latter and those at the top right.
    np.testing.assert_array_equal(regions, [[1, 0, 1, 1], [0, 1, 0, 0], [3, 3, 0, 2]])
    assert classes[1:].tolist() == [1, 1, 2]


def test_regions_in_the_box_of_another_class_are_kept_apart() -> None:
    labels = np.array([[7, 7, 7, 7, 7], [7, 5, 7, 5, 7], [7, 7, 7, 7, 7]], np.uint8)
    regions, classes = connected_regions(labels, apart_from=set())
    assert classes[regions].tolist() == labels.tolist()
    assert regions[1].tolist() == [3, 1, 3, 2, 3]


def test_no_region_is_left() -> None:
    regions, classes = connected_regions(np.full((2, 2), 255, np.uint8), {255})
    assert not regions.any()
    assert len(classes) == 1
