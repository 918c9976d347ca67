from __future__ import annotations

import numpy as np
import pytest

from segtron.visualization.class_maps import (
    BORDER_OPACITY,
    as_class_map,
    class_areas,
    paint_classes,
    region_borders,
    resize_classes,
    without_small_regions,
)


def test_what_is_no_class_is_ignored():
    given = np.array([[0, 254, 255], [-1, 300, 7]])
    assert as_class_map(given).tolist() == [[0, 254, 255], [255, 255, 7]]
    assert as_class_map(given).dtype == np.uint8


def test_areas_are_sorted_and_without_ignored_pixels():
    classes = np.array([[3, 3, 1], [1, 3, 255], [0, 255, 255]], np.uint8)
    assert list(class_areas(classes).items()) == [(3, 3), (1, 2), (0, 1)]
    assert class_areas(np.full((2, 2), 255, np.uint8)) == {}


def test_small_regions_are_found_by_area_and_class():
    classes = np.zeros((6, 8), np.uint8)
    classes[0, :3] = 1
    classes[4:, 4:6] = 1
    classes[5, 7] = 2
    kept = without_small_regions(classes, 4)
    expected = np.zeros((6, 8), np.uint8)
    expected[0, :3] = 255
    expected[4:, 4:6] = 1
    expected[5, 7] = 255
    assert kept.tolist() == expected.tolist()


def bilinear(mask, size):
    """A slow reference in float64, with pixel centres at halves."""
    height, width = mask.shape
    result = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            v = min(max((y + 0.5) * height / size[0] - 0.5, 0), height - 1)
            u = min(max((x + 0.5) * width / size[1] - 0.5, 0), width - 1)
            y0, x0 = int(v), int(u)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            a, b = v - y0, u - x0
            result[y, x] = (1 - a) * ((1 - b) * mask[y0, x0] + b * mask[y0, x1]) + a * (
                (1 - b) * mask[y1, x0] + b * mask[y1, x1]
            )
    return result


def test_enlarged_maps_have_the_class_with_the_largest_part():
    classes = np.random.default_rng(0).choice([0, 3, 255], (6, 7)).astype(np.uint8)
    size = (19, 30)
    parts = np.stack([bilinear(classes == index, size) for index in (0, 3, 255)])
    ordered = np.sort(parts, axis=0)
    clear = ordered[-1] - ordered[-2] > 0.02
    assert clear.mean() > 0.8
    expected = np.array([0, 3, 255])[parts.argmax(axis=0)]
    assert (resize_classes(classes, size) == expected)[clear].all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shrunk_maps_have_no_new_values(dtype):
    classes = np.repeat(np.repeat(np.array([[1, 200], [0, 255]], dtype), 4, axis=0), 4, axis=1)
    shrunk = resize_classes(classes, (4, 2))
    assert shrunk.dtype == dtype
    assert shrunk.tolist() == [[1, 200], [1, 200], [0, 255], [0, 255]]
    assert resize_classes(classes, (8, 8)) is classes


@pytest.mark.parametrize("size", [(19, 30), (6, 30), (64, 7)])
def test_numbers_of_segments_are_enlarged_as_classes_are(size):
    classes = np.random.default_rng(0).choice([0, 3, 255], (6, 7)).astype(np.uint8)
    numbers = np.array([0, 0, 0, 700] + [0] * 251 + [60000], np.uint16)
    enlarged = resize_classes(numbers[classes], size)
    assert enlarged.dtype == np.uint16
    np.testing.assert_array_equal(enlarged, numbers[resize_classes(classes, size)])


def test_numbers_of_segments_are_painted():
    numbers = np.full((8, 8), 300, np.uint16)
    numbers[:, 4:] = 301
    picture = paint_classes(numbers, (8, 8), {301: (0.0, 1.0, 0.0)}, opacity=1, border_width=1)
    assert picture[4, 1, 3] == 0
    assert picture[4, 6].tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_borders_are_as_wide_as_asked_for(width):
    classes = np.zeros((20, 30), np.uint8)
    classes[:, 15:] = 1
    borders = region_borders(classes, width)
    assert (borders.sum(axis=1) == width).all()
    assert borders[:, 14:16].any(axis=1).all()
    assert not region_borders(np.full((20, 30), 7, np.uint8), width).any()


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_paint_has_colours_borders_and_nothing_elsewhere(scale):
    classes = np.zeros((40, 60), np.uint8)
    classes[:, 20:] = 4
    classes[:, 40:] = 255
    size = (round(40 * scale), round(60 * scale))
    picture = paint_classes(
        classes,
        size,
        {0: (1.0, 0.0, 0.2), 4: (0.0, 0.4, 0.0)},
        opacity=0.6,
        border_width=2,
    )
    assert picture.shape == (*size, 4)

    def at(x):
        return picture[size[0] // 2, int(x * scale)].tolist()

    assert at(10) == [255, 0, 51, 153]
    assert at(30) == [0, 102, 0, 153]
    assert at(50)[3] == 0
    border = [255, 255, 255, round(255 * BORDER_OPACITY)]
    for x in (20, 40):
        near = picture[size[0] // 2, int(x * scale) - 2 : int(x * scale) + 2]
        assert border in near.tolist()


def test_large_pictures_are_painted_at_their_own_size(monkeypatch):
    classes = np.zeros((8, 8), np.uint8)
    classes[:, 4:] = 1
    colors = {0: (1.0, 0.0, 0.0), 1: (0.0, 1.0, 0.0)}
    for most in (64, 63):
        monkeypatch.setattr("segtron.visualization.class_maps.MOST_SMOOTHED_PIXELS", most)
        picture = paint_classes(classes, (8, 8), colors, opacity=1, border_width=1)
        white = (picture[0, :, 2] / 255).tolist()
        # At twice the size a line of two pixels lies half in each of the two in the middle.
        middle = [0.5, 0.5] if most == 64 else [0, 1]
        assert white == pytest.approx([0, 0, 0, *middle, 0, 0, 0], abs=0.01)
