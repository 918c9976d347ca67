"""Cutting first gives what cutting later gives."""

from __future__ import annotations

import random

import detectron2.data.transforms as T
import numpy as np
import pytest
from detectron2.projects.point_rend import ColorAugSSDTransform
from PIL import Image

from segtron.data.crop_first import crop_first, flatten, is_movable, shape_after
from segtron.data.pixels import Window, whole


def draw_transforms(
    rng: np.random.Generator, shape: tuple[int, int], kinds: str
) -> list[T.Transform]:
    """Transforms as augmentations give them: c(rop), r(esize), h(orizontal), v(ertical), n(othing),
    s(hades)."""
    transforms: list[T.Transform] = []
    for kind in rng.choice(list(kinds), rng.integers(1, 7)):
        height, width = shape
        if kind == "c":
            h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
            y0, x0 = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
            transforms.append(T.CropTransform(int(x0), int(y0), int(w), int(h)))
        elif kind == "r":
            new = rng.integers(1, 90, 2).tolist()
            transforms.append(T.ResizeTransform(height, width, *new))
        elif kind == "h":
            transforms.append(T.HFlipTransform(width))
        elif kind == "v":
            transforms.append(T.VFlipTransform(height))
        elif kind == "s":
            transforms.append(ColorAugSSDTransform("BGR"))
        else:
            transforms.append(T.NoOpTransform())
        shape = shape_after(transforms[-1], shape)
    return transforms


@pytest.mark.parametrize("seed", range(150))
def test_numbers_are_the_same_and_shades_nearly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 80, 2).tolist())
    numbers = rng.integers(0, 256, shape, np.uint8)
    shades = rng.integers(0, 256, (*shape, 3), np.uint8)
    transforms = draw_transforms(rng, shape, "crhvn" if seed % 2 else "chvn")
    window, steps = crop_first(transforms, shape)
    found_numbers, found_shades = window.of(numbers), window.of(shades)
    for step in steps:
        found_numbers = step.apply_segmentation(found_numbers)
        found_shades = step.apply_image(found_shades)
    for transform in transforms:
        numbers = transform.apply_segmentation(numbers)
        shades = transform.apply_image(shades)
    np.testing.assert_array_equal(found_numbers, numbers)
    difference = np.abs(found_shades.astype(int) - shades)
    # A rounding may go the other way where a window is resized, and then again.
    assert difference.max() <= (
        3 if any(isinstance(t, T.ResizeTransform) for t in transforms) else 0
    )
    assert difference.mean() < 0.25


def test_one_resize_differs_by_rounding_alone() -> None:
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 256, (120, 200, 3), np.uint8)
    differences = []
    for _ in range(50):
        new_height, new_width = rng.integers(60, 400, 2).tolist()
        resize = T.ResizeTransform(120, 200, new_height, new_width)
        window = Window(7, 11, new_width - 20, new_height - 9)
        cut = T.CropTransform(*window[:2], window.shape[1], window.shape[0])
        source, (step,) = crop_first([resize, cut], (120, 200))
        found = step.apply_image(source.of(shades)).astype(int)
        differences.append(np.abs(found - cut.apply_image(resize.apply_image(shades))))
    assert max(d.max() for d in differences) <= 2  # Pillow rounds rows, then columns
    assert np.mean([(d > 0).mean() for d in differences]) < 0.03


def test_colours_may_change_before_or_after_the_cut() -> None:
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 256, (60, 90, 3), np.uint8)
    transforms = [ColorAugSSDTransform("BGR"), T.CropTransform(11, 7, 50, 40)]
    window, steps = crop_first(transforms, (60, 90))
    assert window == Window(11, 7, 61, 47)
    assert steps == transforms[:1]
    for seed in range(20):
        random.seed(seed)
        expected = transforms[0].apply_image(shades)[7:47, 11:61].astype(int)
        random.seed(seed)
        difference = np.abs(steps[0].apply_image(window.of(shades)) - expected)
        # OpenCV rounds the last pixels of a row in another way.
        assert difference.max() <= 4 and difference.mean() < 0.5


def test_a_window_of_a_resized_picture_needs_a_window() -> None:
    transforms = [T.ResizeTransform(100, 200, 200, 400), T.CropTransform(100, 50, 80, 40)]
    window, (step,) = crop_first(transforms, (100, 200))
    # Pixels 50 to 90 of 200, and 25 to 45 of 100, and some to both sides.
    assert 46 <= window.left <= 49 and 91 <= window.right <= 94
    assert 21 <= window.top <= 24 and 46 <= window.bottom <= 49
    assert step.apply_image(np.zeros((*window.shape, 3), np.uint8)).shape == (40, 80, 3)
    assert step.apply_image(np.zeros((*window.shape, 1), np.uint8)).shape == (40, 80, 1)


def test_without_a_crop_all_is_left_as_it_is() -> None:
    transforms = [T.ResizeTransform(10, 20, 30, 40), T.HFlipTransform(40)]
    window, steps = crop_first(transforms, (10, 20))
    assert window == whole((10, 20))
    assert steps[0] is transforms[0]


def test_a_resize_to_the_same_size_is_left_out() -> None:
    transforms = [T.ResizeTransform(10, 20, 10, 20), T.CropTransform(1, 2, 3, 4)]
    assert crop_first(transforms, (10, 20)) == (Window(1, 2, 4, 6), [])


def test_a_crop_that_reaches_beyond_the_picture() -> None:
    crop = T.CropTransform(15, 5, 50, 60)
    assert shape_after(crop, (10, 20)) == (5, 5)
    window, _ = crop_first([T.HFlipTransform(20), crop], (10, 20))
    assert window == Window(0, 5, 5, 10)


def test_what_a_crop_passes() -> None:
    class Mine(T.CropTransform):
        pass

    assert is_movable(T.CropTransform(0, 0, 1, 1)) and is_movable(T.VFlipTransform(3))
    assert is_movable(T.ResizeTransform(1, 1, 2, 2))
    assert not is_movable(T.ResizeTransform(1, 1, 2, 2, Image.BICUBIC))
    assert not is_movable(T.CropTransform(-1, 0, 1, 1))
    assert not is_movable(Mine(0, 0, 1, 1))
    assert not is_movable(T.RotationTransform(4, 4, 30))


def test_lists_of_lists_are_flattened() -> None:
    a, b, c = T.HFlipTransform(3), T.NoOpTransform(), T.VFlipTransform(4)
    assert list(flatten(T.TransformList([a, T.TransformList([b, c])]))) == [a, b, c]
    assert list(flatten(a)) == [a]
