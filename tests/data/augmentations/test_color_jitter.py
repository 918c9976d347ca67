"""Colours change as torchvision changes them; labels don't."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from segtron.data.augmentations.color_jitter import AdjustColors, ColorJitter

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "enhancer"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.4, 1.7])
def test_a_factor_is_that_of_pillow(name: str, enhancer: type, factor: float) -> None:
    expected = np.asarray(enhancer(Image.fromarray(IMAGE)).enhance(factor)).astype(int)
    found = AdjustColors([(name, factor)], is_rgb=True).apply_image(IMAGE)
    assert found.dtype == np.uint8 and np.abs(found - expected).max() <= 2
    bgr = AdjustColors([(name, factor)], is_rgb=False).apply_image(IMAGE[:, :, ::-1])
    np.testing.assert_array_equal(bgr[:, :, ::-1], found)


def test_a_third_of_a_turn_makes_green_of_red() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[:, :, 0] = 200
    green = AdjustColors([("hue", 1 / 3)], is_rgb=True).apply_image(red)
    assert np.abs(green.astype(int) - [0, 200, 0]).max() <= 2


def test_labels_and_coordinates_stay() -> None:
    adjust = AdjustColors([("brightness", 0.1)], is_rgb=True)
    np.testing.assert_array_equal(adjust.apply_segmentation(IMAGE[:, :, 0]), IMAGE[:, :, 0])
    np.testing.assert_array_equal(adjust.apply_coords(np.ones((2, 2))), np.ones((2, 2)))


def test_draws() -> None:
    np.random.seed(0)
    jitter = ColorJitter(0.5, 0.2, 0.0, 0.1, "RGB")
    drawn = [jitter.get_transform(IMAGE)._adjustments for _ in range(300)]
    assert len({tuple(name for name, _ in one) for one in drawn}) == 6
    factors = {name: [dict(one)[name] for one in drawn] for name in ("brightness", "hue")}
    assert 0.5 <= min(factors["brightness"]) < 0.55 and 1.45 < max(factors["brightness"]) <= 1.5
    assert -0.1 <= min(factors["hue"]) < -0.09 and 0.09 < max(factors["hue"]) <= 0.1
    assert all("saturation" not in dict(one) for one in drawn)


def test_a_picture_that_is_a_view() -> None:
    flipped = IMAGE[::-1, ::-1]
    found = AdjustColors([("brightness", 0.5)], is_rgb=True).apply_image(flipped)
    again = AdjustColors([("brightness", 0.5)], is_rgb=True).apply_image(flipped.copy())
    np.testing.assert_array_equal(found, again)
