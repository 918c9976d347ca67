"""Targets made of a map of segments, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segtron.data.panoptic_targets import as_numbers, instances_of, read_places, sem_seg_of
from segtron.errors import UserError

STUFF = {"id": 5, "category_id": 0, "isthing": False, "iscrowd": 0}
CROWD = {"id": 9, "category_id": 2, "isthing": True, "iscrowd": 1, "thing_category_id": 0}
FIRST = {"id": 8, "category_id": 4, "isthing": True, "iscrowd": 0, "thing_category_id": 1}
SECOND = {"id": 7, "category_id": 2, "isthing": True, "iscrowd": 0, "thing_category_id": 0}
SEGMENTS = [FIRST, STUFF, CROWD, SECOND]
PLACES = np.array([[1, 1, 2, 0, 3], [1, 2, 2, 4, 3], [2, 2, 4, 4, 1]])


def record_of(path: Path, ids: np.ndarray, segments: list[dict[str, Any]]) -> dict[str, Any]:
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2)
    Image.fromarray(colors.astype(np.uint8)).save(path)
    height, width = ids.shape
    return {
        "file_name": "image.png",
        "pan_seg_file_name": str(path),
        "height": height,
        "width": width,
        "segments_info": segments,
    }


def test_a_segment_goes_by_its_place(tmp_path: Path) -> None:
    ids = np.array([0, 8, 5, 9, 7])[PLACES]
    places = read_places(record_of(tmp_path / "a.png", ids, SEGMENTS))
    assert places.dtype == np.uint8
    np.testing.assert_array_equal(places, PLACES)
    numbers = as_numbers(places)
    assert numbers.dtype == np.int64
    np.testing.assert_array_equal(numbers, PLACES)


@pytest.mark.parametrize(("count", "shape"), [(255, (17, 19)), (256, (17, 19, 3))])
def test_more_than_255_segments_take_three_bytes(
    tmp_path: Path, count: int, shape: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(0)
    listed = generator.permutation(np.arange(1, count + 1)) * 65003 % 2**24  # a prime: distinct
    expected = np.zeros(17 * 19, np.int64)
    expected[:count] = np.arange(1, count + 1)
    expected = generator.permutation(expected).reshape(17, 19)
    ids = np.concatenate([[0], listed])[expected]
    places = read_places(
        record_of(tmp_path / "a.png", ids, [STUFF | {"id": int(i)} for i in listed])
    )
    assert (places.dtype, places.shape) == (np.uint8, shape)
    np.testing.assert_array_equal(as_numbers(places), expected)


def test_three_bytes_are_lowest_first() -> None:
    assert as_numbers(np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)).tolist() == [
        [1 + 2 * 256 + 3 * 65536, 2**24 - 1]
    ]


def test_a_file_that_disagrees_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the segment 6"):
        read_places(record_of(tmp_path / "a.png", np.full((2, 2), 6), SEGMENTS))


def test_classes_of_pixels() -> None:
    classes = sem_seg_of(PLACES, SEGMENTS)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[4, 4, 0, 255, 2], [4, 0, 0, 2, 2], [0, 0, 2, 2, 4]]
    assert (sem_seg_of(np.zeros((2, 3), np.int64), []) == 255).all()


def test_things_without_crowds_are_instances() -> None:
    instances = instances_of(PLACES, SEGMENTS)
    assert instances.image_size == (3, 5)
    assert instances.gt_classes.tolist() == [1, 0]
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 5, 3], [2, 1, 4, 3]]
    np.testing.assert_array_equal(instances.gt_masks.tensor, np.stack([PLACES == 1, PLACES == 4]))
    assert instances.gt_boxes.tensor.equal(instances.gt_masks.get_bounding_boxes().tensor)


def test_what_is_cut_off_is_no_instance() -> None:
    instances = instances_of(PLACES[:2, 2:], SEGMENTS)  # nothing is left of the first
    assert instances.gt_classes.tolist() == [0]
    assert instances.gt_boxes.tensor.tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("places", "segments"),
    [(np.zeros((2, 3), np.int64), []), (np.full((2, 3), 2), SEGMENTS), (PLACES[:2, 4:], SEGMENTS)],
)
def test_no_instances(places: np.ndarray, segments: list[dict[str, Any]]) -> None:
    instances = instances_of(places, segments)
    assert len(instances) == 0
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_masks.tensor.shape == (0, *places.shape)
    assert instances.gt_classes.dtype.is_signed
