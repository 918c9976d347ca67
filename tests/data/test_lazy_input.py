"""Augmentations that look, or not; nothing is decoded that is cut off."""

from __future__ import annotations

import random
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest
from detectron2.projects.point_rend import ColorAugSSDTransform

from segtron.data.lazy_input import LazyInput, LazyPicture, apply_segmentation
from segtron.data.pixels import ArrayPixels, Window


class Watched:
    """Pixels that note which windows are read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape[:2]
        self.windows: list[Window] = []

    def read(self, window: Window) -> np.ndarray:
        self.windows.append(window)
        return window.of(self.array)


class Looking(T.Augmentation):
    """Cuts at the first white row."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        top = int(np.argmax(image[:, :, 0].min(axis=1)))
        return T.CropTransform(0, top, image.shape[1], image.shape[0] - top)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (60, 90, 3), np.uint8)


@pytest.fixture
def classes() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3, (60, 90), np.uint8)


SHORT_EDGE = T.ResizeShortestEdge((20, 40, 70), 200, "choice")
AUGMENTATIONS: list[list[Any]] = [
    [T.RandomCrop("absolute", (20, 30)), T.RandomFlip(0.5)],
    [T.RandomCrop("relative_range", (0.3, 0.3)), SHORT_EDGE],
    [
        T.ResizeShortestEdge((40, 70), 200, "choice"),
        T.RandomCrop("absolute", (20, 30)),
        T.RandomFlip(0.5),
    ],
    [T.RandomFlip(0.5), T.RandomRotation([-20, 20]), T.RandomCrop("absolute", (20, 30))],
    [T.RandomCrop("absolute", (40, 50)), T.RandomExtent((0.5, 0.9), (0.2, 0.2))],
    [T.RandomApply(T.RandomFlip(0.5)), T.Resize((50, 70)), T.RandomCrop("absolute", (20, 30))],
    [T.FixedSizeCrop((70, 50)), T.RandomFlip(0.5, horizontal=False, vertical=True)],
    [T.RandomCrop_CategoryAreaConstraint("absolute", (20, 30), 0.36, 255), T.RandomFlip(0.5)],
    [T.ResizeScale(0.5, 1.5, 60, 90), T.RandomContrast(0.5, 1.5), T.RandomCrop("absolute", (9, 9))],
    [T.CropTransform(3, 4, 50, 40), T.HFlipTransform(50), T.RandomCrop("absolute", (20, 30))],
]


@pytest.mark.parametrize("augmentations", AUGMENTATIONS)
def test_draws_and_pictures_are_those_of_detectron2(
    image: np.ndarray, classes: np.ndarray, augmentations: list[Any]
) -> None:
    listed = T.AugmentationList(augmentations)
    for seed in range(15):
        np.random.seed(seed)
        expected = T.AugInput(image, sem_seg=classes)
        listed(expected)
        np.random.seed(seed)
        found = LazyInput(ArrayPixels(image), ArrayPixels(classes))
        transforms = found.augment(listed.augs)
        assert found.shape == expected.image.shape[:2]
        np.testing.assert_array_equal(found.sem_seg, expected.sem_seg)
        assert np.abs(found.image.astype(int) - expected.image).max() <= 2
        # The transforms are as good for all else.
        np.testing.assert_array_equal(transforms.apply_segmentation(classes), expected.sem_seg)
        picture = LazyPicture(ArrayPixels(classes), apply_segmentation)
        picture.transform(transforms)
        assert picture.shape == expected.sem_seg.shape
        np.testing.assert_array_equal(picture.read(), expected.sem_seg)


def test_only_what_is_left_is_read(image: np.ndarray, classes: np.ndarray) -> None:
    np.random.seed(3)
    random.seed(3)
    watched, labels = Watched(image), Watched(classes)
    augmented = LazyInput(watched, labels)
    colour = T.AugmentationList([ColorAugSSDTransform("BGR")]).augs[0]
    augmented.augment([colour, T.RandomCrop("absolute", (20, 30)), T.RandomFlip(1.0)])
    assert watched.windows == labels.windows == []
    assert augmented.image.shape == (20, 30, 3)
    assert augmented.sem_seg.shape == (20, 30)
    (window,), (label_window,) = watched.windows, labels.windows
    assert window.shape == (20, 30) and window == label_window
    # Flipped, by a seed for which nothing happens to the colours.
    np.testing.assert_array_equal(augmented.sem_seg, window.of(classes)[:, ::-1])
    assert augmented.image.shape == (20, 30, 3)
    assert len(watched.windows) == 1  # what was read stays


def test_who_looks_at_pixels_gets_them(image: np.ndarray) -> None:
    image[25] = 255
    watched = Watched(image)
    augmented = LazyInput(watched, None)
    flip = T.RandomFlip(1.0, horizontal=False, vertical=True)
    augmented.augment([flip, Looking(), T.RandomCrop("absolute", (1, 90))])
    assert len(watched.windows) == 1
    rows = image[::-1][34:]
    assert any((augmented.image[0] == row).all() for row in rows)
    assert (rows[0] == 255).all()


def test_a_crop_by_classes_reads_classes_not_shades(image: np.ndarray, classes: np.ndarray) -> None:
    watched = Watched(image)
    augmented = LazyInput(watched, ArrayPixels(classes))
    augmented.augment([T.RandomCrop_CategoryAreaConstraint("absolute", (9, 9), 0.5, 255)])
    assert watched.windows == []
    assert augmented.image.shape == (9, 9, 3)


def test_numbers_that_are_no_bytes_are_resized_as_detectron2_does(image: np.ndarray) -> None:
    floats = image / np.float32(255)
    listed = T.AugmentationList([T.Resize((90, 70)), T.CropTransform(5, 6, 30, 20)])
    expected = T.AugInput(floats)
    listed(expected)
    found = LazyInput(ArrayPixels(floats), None)
    found.augment(listed.augs)
    np.testing.assert_array_equal(found.image, expected.image)
    assert found.sem_seg is None
