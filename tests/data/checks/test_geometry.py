"""Boxes, polygons, run lengths and areas, with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as mask_util

from segtron.data.checks.instances import Polygons, read_instances
from segtron.data.checks.problems import Problems
from segtron.data.checks.shapes import corners_of, measure
from segtron.data.checks.structure import read_categories, read_images

from .conftest import HEIGHT, SQUARE, WIDTH, annotation, codes, entries, run_lengths

# A bow tie: two triangles of 25 pixels, run through in opposite senses.
BOW_TIE = [[10, 10, 20, 20, 20, 10, 10, 20]]


def shapes_of(content, tmp_path):
    problems = Problems()
    images = read_images(content, tmp_path, problems)
    categories = read_categories(content, tmp_path, problems)
    return measure(read_instances(content, images, categories, tmp_path, problems))


def set_of(content, *annotations):
    """The content with these annotations, numbered from 1, of both classes and both images."""
    content["annotations"] = [
        annotation(i + 1, 7 + i % 2, 1 + i % 2, **fields) for i, fields in enumerate(annotations)
    ]
    return content


def test_measures_of_polygons_and_run_lengths(content, tmp_path):
    frame = np.zeros((HEIGHT, WIDTH), bool)
    frame[3:10, 5:25] = True
    frame[5:8, 7:20] = False
    shapes = shapes_of(
        set_of(
            content,
            {"segmentation": [[1, 2, 5, 2, 5, 8], [10, 10, 12, 10, 12, 14, 10, 14], [3, 3, 4, 4]]},
            {"segmentation": run_lengths(frame)},
            {"segmentation": []},
            {"segmentation": [[5, 5, 6, 6]]},
        ),
        tmp_path,
    )
    np.testing.assert_array_equal(shapes.boxes[:2], [[1, 2, 12, 14], [5, 3, 25, 10]])
    np.testing.assert_array_equal(shapes.areas, [12 + 8, 20 * 7 - 13 * 3, np.nan, np.nan])
    np.testing.assert_allclose(shapes.outlines[:2], [4 + 6 + np.hypot(4, 6) + 12, 0])
    assert shapes.parts.tolist() == [2, 0, 0, 0]
    assert [len(corners) for corners in corners_of(shapes.polygons, 0)] == [3, 4]
    assert corners_of(shapes.polygons, 3) == []


def test_areas_of_small_polygons_far_out_keep_their_digits(content, tmp_path):
    far = [[999_990.0, 999_990.0, 999_991.0, 999_990.0, 999_991.0, 999_990.5]]
    assert shapes_of(set_of(content, {"segmentation": far}), tmp_path).areas[0] == 0.25


def test_areas_of_random_polygons_are_about_their_pixels(content, tmp_path):
    rng = np.random.default_rng(0)
    stars = []
    for _ in range(40):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(8, 18, 12)
        x, y = 30 + radii * np.cos(angles), 20 + radii * np.sin(angles)
        stars.append({"segmentation": [np.stack([x, y], axis=1).ravel().tolist()]})
    shapes = shapes_of(set_of(content, *stars), tmp_path)
    assert not shapes.crossing
    for star, area, outline in zip(stars, shapes.areas, shapes.outlines, strict=True):
        drawn = mask_util.area(mask_util.frPyObjects(star["segmentation"], HEIGHT, WIDTH))[0]
        assert abs(area - drawn) <= outline / 2


@pytest.mark.parametrize(
    ("polygon", "crosses"),
    [
        (BOW_TIE, True),
        # Twice around: inside by one rule, outside by the other.
        ([[10, 10, 20, 10, 20, 20, 10, 20] * 2], True),
        # Touches itself in a corner.
        ([[10, 10, 15, 15, 20, 10, 20, 20, 15, 15, 10, 20]], False),
        # A bridge without width leads to a second part.
        ([[10, 10, 14, 10, 14, 14, 30, 14, 30, 10, 34, 10, 34, 18, 30, 18, 30, 14, 14, 14, 14, 18,
           10, 18]], False),
        ([[10, 10, 10, 10, 20, 10, 20, 20, 10, 20]], False),
    ],
)  # fmt: skip
def test_crossing_polygons(content, tmp_path, polygon, crosses):
    shapes = shapes_of(set_of(content, {"segmentation": polygon}), tmp_path)
    assert bool(shapes.crossing) == crosses
    drawn = mask_util.area(mask_util.frPyObjects(polygon, HEIGHT, WIDTH))[0]
    assert abs(shapes.areas[0] - drawn) <= shapes.outlines[0] / 2 or not drawn


def test_a_polygon_that_crosses_itself_too_often_to_be_resolved(content, tmp_path):
    index = np.arange(3000)
    zigzag = np.stack([index % 2 * 20, index * 7919 % 20.5], axis=1)
    shapes = shapes_of(set_of(content, {"segmentation": [zigzag.ravel().tolist()]}), tmp_path)
    assert list(shapes.crossing) == [0]


def test_selected_polygons():
    polygons = Polygons(np.array([0, 0, 2]), np.array([0, 1, 3, 6]), np.arange(12.0).reshape(6, 2))
    chosen = polygons.select(np.array([True, False, True]))
    assert chosen.owner.tolist() == [0, 2] and chosen.starts.tolist() == [0, 1, 4]
    np.testing.assert_array_equal(chosen.corners[:, 0], [0, 6, 8, 10])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bbox": [8.5, 10, 12, 11]}, {}),  # within 2 pixels
        ({"bbox": [5, 10, 15, 10]}, {"box-off": 1}),
        ({"bbox": [10, 10, 20, 20]}, {"box-corners": 1}),
        ({"bbox": [10, 10, 0, 10]}, {"box-empty": 1}),
        ({"bbox": [10, 10, -5, 10]}, {"box-empty": 1}),
        ({"bbox": [10, 10, 60, 10]}, {"box-outside": 1, "box-off": 1}),
        ({"area": 104}, {}),
        ({"area": 50}, {"area-wrong": 1}),
        ({"area": 0}, {"area-wrong": 1}),
        ({"segmentation": []}, {"mask-empty": 1}),
        ({"segmentation": [[10, 10, 20, 20]]}, {"mask-empty": 1, "polygon-short": 1}),
        ({"segmentation": [[10, 10, 20, 20, 15, 15]]}, {"mask-empty": 1}),
        ({"segmentation": [[10, 10.1, 20, 10.1, 20, 10.2]]}, {"mask-empty": 1}),
        ({"segmentation": [[-30, 5, -10, 5, -10, 20]]}, {"mask-empty": 1}),
        ({"segmentation": run_lengths(np.zeros((HEIGHT, WIDTH)))}, {"mask-empty": 1}),
        (
            {"segmentation": [[10, 10, 20, 10, 20, 20, 10, 20], [1, 1], []]},
            {"polygon-short": 1},
        ),
        # Each time around takes away what the time before has added.
        (
            {"segmentation": [SQUARE[0] * 2]},
            {"polygon-crossing": 1, "mask-empty": 1},
        ),
        (
            {"segmentation": BOW_TIE, "area": 50},
            {"polygon-crossing": 1},
        ),
        (
            {"segmentation": [[50, 10, 60.9, 10, 60.9, 20, 50, 20]], "bbox": [50, 10, 10, 10]},
            {},
        ),
        (
            {"segmentation": [[50, 10, 65, 10, 65, 20, 50, 20]], "bbox": [50, 10, 10, 10]},
            {"polygon-outside": 1},
        ),
        (
            {"segmentation": [[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]], "bbox": [0.1, 0.1, 0.8, 0.8]},
            {"coordinates-normalised": 1},
        ),
    ],
)
def test_each_shape(run, content, fields, expected):
    content["annotations"][0] |= fields
    assert codes(run(content, with_pixels=False)) == expected


def test_areas_of_thin_and_of_many_part_objects_may_be_either_count(run, content):
    # What the polygon encloses is 6, the pixels that pycocotools covers are others; two parts of
    # 100 that lie over each other cover 100.
    thin = [[10, 10, 50, 10.1, 50, 10.3, 10, 10.1]]
    square = [10, 10, 20, 10, 20, 20, 10, 20]
    pixels = int(mask_util.area(mask_util.frPyObjects(thin, HEIGHT, WIDTH))[0])
    thin_fields = {"segmentation": thin, "bbox": [10, 10, 40, 1]}
    double = {"segmentation": [square, square]}
    content = set_of(
        content,
        thin_fields | {"area": 6},
        double,
        thin_fields | {"area": pixels},
        double | {"area": 200},
    )
    # Or they would be the first two again.
    content["annotations"][2]["image_id"], content["annotations"][3]["image_id"] = 8, 7
    assert codes(run(content, with_pixels=False)) == {}


def test_the_right_box_and_area_are_named(run, content):
    content["annotations"][0] |= {"bbox": [0, 0, 30, 30], "area": 7}
    found = run(content, with_pixels=False)
    (box,) = found.problems.kept["box-off"]
    assert box.message == "'bbox' is [0, 0, 30, 30], the mask's [10, 10, 10, 10]"
    (area,) = found.problems.kept["area-wrong"]
    assert area.message == "'area' is 7, the mask has 100 pixels"


def test_masks_too_long_to_be_drawn_cost_nothing(run, content):
    huge = [[-1e6, -1e6, 1e6, -1e6, 1e6, 1e6, -1e6, 1e6]]
    content["annotations"][0] |= {"segmentation": huge, "area": 5}
    found = run(content, with_pixels=False)
    assert entries(found, "polygon-outside") == ["annotations[0]"]
