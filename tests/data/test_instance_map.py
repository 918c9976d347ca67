"""One map of all instances, against masks painted one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_util

from segtron.data.instance_map import map_instances
from segtron.data.pixels import Window, read_all
from segtron.data.place_map import as_numbers


def annotation_of(mask: np.ndarray) -> dict[str, Any]:
    return {"segmentation": mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))}


def annotations_of(places: np.ndarray, count: int) -> list[dict[str, Any]]:
    return [annotation_of(places == place) for place in range(1, count + 1)]


@pytest.mark.parametrize("seed", range(20))
def test_windows_are_those_of_the_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2).tolist()
    count = int(rng.integers(1, 9))
    # Blocks of random pixels, so that runs of all lengths come up; some instances have no pixel.
    small = rng.integers(0, count + 1, (-(-height // 3), -(-width // 2)))
    places = np.kron(small, np.ones((3, 2), int))[:height, :width]
    places[rng.random((height, width)) < 0.1] = 0
    pixels = map_instances(annotations_of(places, count), (height, width))
    assert pixels.shape == (height, width)
    found = read_all(pixels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, places)
    for _ in range(10):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        right, bottom = int(rng.integers(left, width)) + 1, int(rng.integers(top, height)) + 1
        window = Window(left, top, right, bottom)
        np.testing.assert_array_equal(pixels.read(window), window.of(places))


def test_more_than_255_instances() -> None:
    places = np.random.default_rng(0).permutation(np.arange(400) % 301).reshape(20, 20)
    pixels = map_instances(annotations_of(places, 300), (20, 20))
    window = Window(3, 4, 15, 11)
    found = pixels.read(window)
    assert (found.shape, found.dtype) == ((7, 12, 3), np.uint8)
    np.testing.assert_array_equal(as_numbers(found), window.of(places))


def test_whole_and_empty_masks_and_texts() -> None:
    full, none = np.ones((3, 5)), np.zeros((3, 5))
    assert (read_all(map_instances([annotation_of(full)], (3, 5))) == 1).all()
    assert not read_all(map_instances([annotation_of(none)] * 2, (3, 5))).any()
    assert not read_all(map_instances([], (3, 5))).any()
    both = map_instances([annotation_of(none), annotation_of(full)], (3, 5))
    assert (read_all(both) == 2).all()
    as_text = annotation_of(full)["segmentation"]
    as_text["counts"] = as_text["counts"].decode()
    assert (read_all(map_instances([{"segmentation": as_text}], (3, 5))) == 1).all()


def test_no_map_holds_a_pixel_of_two_instances() -> None:
    first, second = np.zeros((2, 4, 6), bool)
    first[1:3, 1:3] = second[2:4, 2:5] = True
    assert map_instances([annotation_of(first), annotation_of(second)], (4, 6)) is None
    second[2, 2] = False
    assert map_instances([annotation_of(first), annotation_of(second)], (4, 6)) is not None


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [[0, 0, 3, 0, 3, 3]],
        {"size": [4, 6], "counts": [3, 4, 17]},  # not compressed
        {"size": [6, 4], "counts": b"34A0"},
        {"size": [4, 6], "counts": b"3 4"},  # a space is no number
        {"size": [4, 6], "counts": mask_util.encode(np.ones((9, 9), np.uint8, "F"))["counts"]},
        {"size": [4, 6], "counts": b"3J4"},  # a run of less than nothing
    ],
)
def test_what_is_no_encoding_of_the_image(segmentation: Any) -> None:
    annotations = [annotation_of(np.eye(4, 6)), {"segmentation": segmentation}]
    assert map_instances(annotations, (4, 6)) is None
    assert map_instances(annotations[1:], (4, 6)) is None
