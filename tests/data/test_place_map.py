"""Targets made of a map of numbers, by hand."""

import numpy as np
import pytest

from segtron.data.place_map import as_bytes, as_numbers, instances_of, look_up

PLACES = np.array([[1, 1, 2, 0, 3], [1, 2, 2, 4, 3], [2, 2, 4, 4, 1]])
CLASSES = np.array([-1, 1, -1, -1, 0])  # the first and the fourth are instances


def test_numbers_go_through_bytes() -> None:
    small = PLACES.astype(np.uint8)
    assert as_bytes(small) is small and as_numbers(small) is small
    numbers = np.array([[0, 255, 256], [65535, 65536, 2**24 - 1]], np.int32)
    places = as_bytes(numbers)
    assert (places.dtype, places.shape) == (np.uint8, (2, 3, 3))
    assert places[1, 1].tolist() == [0, 0, 1]  # lowest first
    np.testing.assert_array_equal(as_numbers(places), numbers)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_values_are_looked_up(dtype: type) -> None:
    values = np.array([255, 7, 0, 9, 3], np.uint8)
    found = look_up(PLACES.astype(dtype), values)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, values[PLACES])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_instances_by_place(dtype: type) -> None:
    instances, places = instances_of(PLACES.astype(dtype), CLASSES)
    assert places.tolist() == [1, 4]
    assert instances.image_size == (3, 5)
    assert instances.gt_classes.tolist() == [1, 0]
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 5, 3], [2, 1, 4, 3]]
    np.testing.assert_array_equal(instances.gt_masks.tensor, np.stack([PLACES == 1, PLACES == 4]))
    assert instances.gt_boxes.tensor.equal(instances.gt_masks.get_bounding_boxes().tensor)


def test_what_is_cut_off_is_no_instance() -> None:
    instances, places = instances_of(PLACES[:2, 2:].astype(np.uint8), CLASSES)
    assert places.tolist() == [4]  # nothing is left of the first
    assert instances.gt_classes.tolist() == [0]
    assert instances.gt_boxes.tensor.tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("places", "classes"),
    [
        (np.zeros((2, 3), np.uint8), np.array([-1])),
        (np.full((2, 3), 2, np.uint8), CLASSES),
        (PLACES[:2, 4:].astype(np.int32), CLASSES),
    ],
)
def test_no_instances(places: np.ndarray, classes: np.ndarray) -> None:
    instances, numbers = instances_of(places, classes)
    assert len(instances) == len(numbers) == 0
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_masks.tensor.shape == (0, *places.shape)
    assert instances.gt_classes.dtype.is_signed
