"""Targets made of a map of segments, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segtron.data.panoptic_targets import open_classes, open_places, panoptic_targets, sem_seg_of
from segtron.data.pixels import Window, read_all
from segtron.data.place_map import as_numbers
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
    pixels = open_places(record_of(tmp_path / "a.png", ids, SEGMENTS))
    assert pixels.shape == PLACES.shape
    places = read_all(pixels)
    assert places.dtype == np.uint8
    np.testing.assert_array_equal(places, PLACES)
    np.testing.assert_array_equal(as_numbers(places), PLACES)
    np.testing.assert_array_equal(pixels.read(Window(1, 1, 4, 3)), PLACES[1:3, 1:4])
    classes = open_classes(pixels, SEGMENTS).read(Window(1, 1, 4, 3))
    assert classes.tolist() == [[0, 0, 2], [0, 2, 2]]


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
    segments = [STUFF | {"id": int(i)} for i in listed]
    places = read_all(open_places(record_of(tmp_path / "a.png", ids, segments)))
    assert (places.dtype, places.shape) == (np.uint8, shape)
    np.testing.assert_array_equal(as_numbers(places), expected)


def test_a_file_that_disagrees_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the segment 6"):
        read_all(open_places(record_of(tmp_path / "a.png", np.full((2, 2), 6), SEGMENTS)))


def test_a_window_is_checked_as_far_as_it_shows(tmp_path: Path) -> None:
    ids = np.array([0, 8, 5, 9, 7])[PLACES]
    sizes = [4, 5, 2, 3]
    segments = [s | {"area": size} for s, size in zip(SEGMENTS, sizes, strict=True)]
    left = Window(0, 0, 2, 3)
    pixels = open_places(record_of(tmp_path / "a.png", ids, segments))
    np.testing.assert_array_equal(pixels.read(left), PLACES[:, :2])
    np.testing.assert_array_equal(read_all(pixels), PLACES)
    # Only in the window to the right is anything of the fourth.
    unlisted = open_places(record_of(tmp_path / "a.png", ids, segments[:3]))
    np.testing.assert_array_equal(unlisted.read(left), PLACES[:, :2])
    with pytest.raises(UserError, match="has the segment 7, which"):
        unlisted.read(Window(2, 0, 4, 3))
    segments[1] = segments[1] | {"area": 2}
    with pytest.raises(UserError, match="segment 5 has 3 pixels, but the area 2"):
        open_places(record_of(tmp_path / "a.png", ids, segments)).read(left)


def test_classes_of_pixels() -> None:
    for places in (PLACES.astype(np.uint8), PLACES.astype(np.int32)):
        classes = sem_seg_of(places, SEGMENTS)
        assert classes.dtype == np.uint8
        assert classes.tolist() == [[4, 4, 0, 255, 2], [4, 0, 0, 2, 2], [0, 0, 2, 2, 4]]
        assert (sem_seg_of(np.zeros_like(places), []) == 255).all()


def test_targets_by_hand() -> None:
    targets = panoptic_targets(PLACES.astype(np.uint8), SEGMENTS)
    assert targets["pan_seg"].dtype == targets["sem_seg"].dtype == torch.int64
    np.testing.assert_array_equal(targets["pan_seg"], PLACES)
    np.testing.assert_array_equal(targets["sem_seg"], sem_seg_of(PLACES.astype("u1"), SEGMENTS))
    instances = targets["instances"]
    assert instances.image_size == (3, 5)
    assert instances.gt_classes.tolist() == [1, 0]
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 5, 3], [2, 1, 4, 3]]
    np.testing.assert_array_equal(instances.gt_masks.tensor, np.stack([PLACES == 1, PLACES == 4]))
