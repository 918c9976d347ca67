"""Drawn shapes as COCO segmentations, against masks painted by hand and pycocotools."""

import math

import numpy as np
import pytest
import shapely

from segtron.data.converters.shapes import (
    NoAreaError,
    ellipse,
    is_closed,
    numbers,
    polygon,
    rectangle,
    segmentation_of,
    union,
)
from segtron.errors import UserError

H, W = 12, 16


def box_mask(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((H, W), np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def test_a_polygon_inside_stays_as_it_is() -> None:
    corners = [[1, 2], [9.25, 2], [9.25, 7.5], [1, 7.5]]
    assert segmentation_of([np.array(corners)], H, W) == [[c for pair in corners for c in pair]]


def test_a_last_corner_that_repeats_the_first_goes(pixels) -> None:
    closed = np.array([[1, 2], [9, 2], [9, 7], [1, 7], [1, 2]], float)
    (found,) = segmentation_of([closed], H, W)
    assert found == [1, 2, 9, 2, 9, 7, 1, 7]


def test_corners_have_two_decimals() -> None:
    assert segmentation_of([np.array([[1.23456, 2], [9, 2.71828], [9, 7]])], H, W) == [
        [1.23, 2, 9, 2.72, 9, 7]
    ]


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((-5, -4, 3, 6), (0, 0, 3, 6)),
        ((10, 8, 99, 99), (10, 8, 16, 12)),
        ((-1, -1, 17, 13), (0, 0, 16, 12)),
        ((5, -3, 2, 4), (2, 0, 5, 4)),
    ],
)
def test_what_lies_outside_is_cut_off(corners, expected, pixels) -> None:
    found = segmentation_of([rectangle(*corners)], H, W)
    assert (pixels(found, H, W) == box_mask(*expected)).all()
    xs, ys = found[0][::2], found[0][1::2]
    assert min(xs) >= 0 and min(ys) >= 0 and max(xs) <= W and max(ys) <= H


def test_an_image_cuts_a_horseshoe_in_two(pixels) -> None:
    shoe = [[-4, 1], [6, 1], [6, 3], [-2, 3], [-2, 6], [6, 6], [6, 8], [-4, 8]]
    found = segmentation_of([np.array(shoe, float)], H, W)
    assert len(found) == 2
    assert (pixels(found, H, W) == box_mask(0, 1, 6, 3) + box_mask(0, 6, 6, 8)).all()


def test_a_crossing_makes_two_parts_without() -> None:
    found = segmentation_of([np.array([[0, 0], [8, 8], [8, 0], [0, 8]], float)], H, W)
    assert len(found) == 2
    polygons = [shapely.Polygon(np.reshape(part, (-1, 2))) for part in found]
    assert all(part.is_valid for part in polygons)
    assert sum(part.area for part in polygons) == 32


def test_a_ring_around_a_hole_becomes_rle(pixels) -> None:
    ring = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0], [3, 3], [3, 6], [6, 6], [6, 3], [3, 3]]
    found = segmentation_of([np.array(ring, float)], H, W)
    assert isinstance(found, dict) and isinstance(found["counts"], str)
    assert (pixels(found, H, W) == box_mask(0, 0, 10, 10) - box_mask(3, 3, 6, 6)).all()


def test_two_holes_and_a_part_apart(pixels) -> None:
    ring = [[0, 0], [10, 0], [10, 5], [0, 5], [0, 0]]
    holes = [[1, 1], [1, 3], [3, 3], [3, 1], [1, 1], [0, 0], [5, 1], [5, 4], [8, 4], [8, 1], [5, 1]]
    whole = np.array(ring + holes + [[0, 0]], float)
    found = segmentation_of([whole, rectangle(11, 7, 15, 11)], H, W)
    expected = box_mask(0, 0, 10, 5) - box_mask(1, 1, 3, 3) - box_mask(5, 1, 8, 4)
    assert (pixels(found, H, W) == expected + box_mask(11, 7, 15, 11)).all()


def test_parts_that_overlap_are_one_object(pixels) -> None:
    found = segmentation_of([rectangle(1, 1, 6, 6), rectangle(4, 4, 9, 9)], H, W)
    assert (pixels(found, H, W) == (box_mask(1, 1, 6, 6) | box_mask(4, 4, 9, 9))).all()


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ([], "fewer than 3"),
        ([[1, 1], [5, 5]], "fewer than 3"),
        ([[1, 1], [5, 5], [3, 3]], "no area"),
        ([[2, 2]] * 5, "no area"),
        ([[1, 1], [1.001, 1], [1.001, 1.001]], "no area"),
        ([[20, 1], [30, 1], [30, 9]], "outside"),
        ([[16, 1], [30, 1], [30, 9], [16, 9]], "outside"),
    ],
)
def test_what_has_no_area_says_why(outline, reason) -> None:
    with pytest.raises(NoAreaError, match=reason):
        segmentation_of([np.array(outline, float).reshape(-1, 2)], H, W)


def test_a_part_without_area_goes_with_others_left() -> None:
    line = np.array([[1, 1], [5, 5], [3, 3]], float)
    assert len(segmentation_of([line, rectangle(1, 1, 3, 3)], H, W)) == 1
    with pytest.raises(NoAreaError, match="no points"):
        segmentation_of([], H, W)


def test_random_outlines_cover_what_pycocotools_says_of_them(pixels) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        outline = random.integers(-10, 26, (random.integers(3, 9), 2)).astype(float)
        try:
            found = pixels(segmentation_of([outline], H, W), H, W)
        except NoAreaError:
            found = np.zeros((H, W), np.uint8)
        # The same on a canvas that has room for all of it.
        canvas = pixels([(outline + 20).ravel().tolist()], 60, 60)[20 : 20 + H, 20 : 20 + W]
        # New corners at crossings move an edge by less than pycocotools' fifth of a pixel.
        assert (found != canvas).sum() <= 10


def test_an_ellipse_lies_within_a_fiftieth_of_a_pixel() -> None:
    for rx, ry in ((0.5, 0.5), (30, 12), (500, 500)):
        shape = shapely.Polygon(ellipse(7, 9, rx, ry))
        exact = math.pi * rx * ry
        assert exact - 0.021 * shape.length <= shape.area <= exact


def test_a_turned_ellipse() -> None:
    turned = ellipse(10, 10, 8, 2, math.pi / 2)
    assert np.allclose(turned.min(axis=0), (8, 2), atol=0.05)
    assert np.allclose(turned.max(axis=0), (12, 18), atol=0.05)
    tilted = shapely.Polygon(ellipse(0, 0, 8, 1, math.pi / 6))
    # y goes down, so from the x axis towards the y axis.
    assert tilted.contains(shapely.Point(7 * math.cos(math.pi / 6), 7 * math.sin(math.pi / 6)))


def test_union_of_polygons_and_masks(pixels) -> None:
    first, second = [[1, 1, 4, 1, 4, 4, 1, 4]], [[3, 3, 8, 3, 8, 8, 3, 8]]
    assert union([first, second], H, W) == first + second
    rle = segmentation_of(
        [np.array([[0, 0], [9, 0], [9, 9], [0, 9], [0, 0], [4, 4], [4, 6], [6, 6], [4, 4]], float)],
        H,
        W,
    )
    both = union([rle, first], H, W)
    assert isinstance(both["counts"], str)
    assert (pixels(both, H, W) == (pixels(rle, H, W) | pixels(first, H, W))).all()


def test_closed_lines() -> None:
    assert is_closed(np.array([[0, 0], [1, 0], [1, 1], [0, 0]]))
    assert not is_closed(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]))
    assert not is_closed(np.array([[0, 0], [1, 0], [0, 0]]))


@pytest.mark.parametrize(
    "points",
    [
        None,
        3,
        "ab",
        {"x": 1},
        [1, 2, 3],
        [[1, 2], [3]],
        [[1, 2, 3]],
        [[1, "2"]],
        [[1, None]],
        [[1, float("nan")]],
        [[1, float("inf")]],
        [[1, 1e7]],
        [[1, 10**400]],
        [[[1, 2]]],
    ],
)
def test_malformed_points_are_named(points) -> None:
    if points is None:
        assert polygon(points, "x").shape == (0, 2)
        return
    with pytest.raises(UserError, match="shapes\\[3\\]"):
        polygon(points, "a.json: shapes[3]")


def test_lengths_are_numbers() -> None:
    assert numbers([1, 2.5], "x") == [1.0, 2.5]
    for value in (None, "1", True, float("nan"), 1e9, []):
        with pytest.raises(UserError, match="a.json"):
            numbers([1, value], "a.json")


def test_what_crosses_itself_too_often_to_be_resolved() -> None:
    index = np.arange(3000)
    zigzag = np.stack([index % 2 * 1000, index * 7919 % 1000], axis=1).astype(float)
    with pytest.raises(NoAreaError, match="too often"):
        segmentation_of([zigzag], 1000, 1000)
