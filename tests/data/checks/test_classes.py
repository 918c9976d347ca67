"""Classes of one set and of two, and crowds."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from .conftest import codes, entries


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["dog", "dog"], {"class-repeated": 1}),
        (["dog", "Dog "], {"class-similar": 1}),
        (["traffic light", "traffic  Light"], {"class-similar": 1}),
        (["dog", " "], {"class-unnamed": 1}),
        (["dog", ""], {"class-unnamed": 1}),
        (["straße", "STRASSE"], {"class-similar": 1}),
    ],
)
def test_names(run, content, names, expected):
    for category, name in zip(content["categories"], names, strict=True):
        category["name"] = name
    assert codes(run(content, with_pixels=False)) == expected


@pytest.mark.parametrize(
    ("ids", "gap"), [((1, 2), False), ((0, 1), False), ((1, 3), True), ((2, 3), True)]
)
def test_gaps_in_ids(run, content, ids, gap):
    new = dict(zip((1, 2), ids, strict=True))
    for entry in content["categories"]:
        entry["id"] = new[entry["id"]]
    for entry in content["annotations"]:
        entry["category_id"] = new[entry["category_id"]]
    assert codes(run(content, with_pixels=False)) == ({"class-gap": 1} if gap else {})


def test_unused_classes(run, content):
    content["categories"].append({"id": 3, "name": "ox"})
    found = run(content, with_pixels=False)
    assert entries(found, "class-unused") == ["categories[2] ('ox')"]


def test_crowds(run, content):
    content["annotations"][0]["iscrowd"] = 1  # a polygon, and the only dog
    parts = [[x, 2, x + 2, 2, x + 2, 4, x, 4] for x in range(2, 53, 3)]
    content["annotations"][2] |= {"segmentation": parts, "bbox": [2, 2, 50, 2], "area": 68}
    found = run(content, with_pixels=False)
    assert codes(found) == {"crowd-polygons": 1, "crowd-only": 1, "parts-many": 1}
    assert len(parts) == 17 and entries(found, "parts-many") == ["annotations[2]"]
    assert entries(found, "crowd-only") == ["categories[0] ('dog')"]


def other_file(folder, content):
    path = folder / "other.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("change", ["name", "fewer", "order"])
def test_sets_with_different_classes(folder, run, content, change):
    other = copy.deepcopy(content)
    if change == "name":
        other["categories"][1]["name"] = "ox"
    elif change == "fewer":
        del other["categories"][1]
        other["annotations"] = [a for a in other["annotations"] if a["category_id"] == 1]
    else:
        for category in other["categories"]:
            category["id"] = 3 - category["id"]
    found = run(content, other_file(folder, other), with_pixels=False)
    assert found.problems.counts["class-differs"] == 1
    (problem,) = found.problems.kept["class-differs"]
    assert problem.file.endswith("other.json")


def test_classes_that_are_tested_and_not_learnt(folder, run, content):
    other = copy.deepcopy(content)
    content["annotations"][0]["category_id"] = 2  # no dog to learn from
    found = run(content, other_file(folder, other), with_pixels=False)
    assert entries(found, "class-untrained") == ["class 'dog'"]
    # It does no harm the other way round.
    found = run(other, other_file(folder, content), with_pixels=False)
    assert set(codes(found)) == {"class-unused"}


def test_the_order_of_the_list_of_categories_does_not_matter(folder, run, content):
    other = copy.deepcopy(content)
    other["categories"].reverse()
    found = run(content, other_file(folder, other), with_pixels=False)
    assert codes(found) == {}
    assert found.sets[1].classes.names == ["dog", "cat"]
    assert np.sum(found.sets[1].classes.objects) == 4
