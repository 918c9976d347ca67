"""Each mistake in a JSON gives its own code, at its own entry, and hides no other."""

from __future__ import annotations

import json

import pytest

from segtron.data.checks.check import check
from segtron.data.checks.fields import whole_number
from segtron.data.checks.problems import MOST_KEPT, Problems, shown
from segtron.data.checks.sources import sets_of_paths
from segtron.errors import UserError

from .conftest import annotation, codes, entries


def test_nothing_is_found_where_nothing_is_wrong(run, content):
    found = run(content)
    assert codes(found) == {}
    assert found.sets[0].summary == "2 images, 4 objects, 2 classes"
    assert found.sets[0].classes.objects == [1, 3]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "not-json"),
        ("{", "not-json"),
        ("\ud800", "not-json"),
        ("[" * 100_000, "not-json"),
        ('{"images": ' + "9" * 5000 + "}", "not-json"),
        ("[]", "not-coco"),
        ("null", "not-coco"),
        ("{}", "not-coco"),
    ],
)
def test_files_that_are_something_else(folder, run, text, code):
    path = folder / "annotations.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert set(codes(run())) == {code}


def put(*path, value):
    """A change of the content at a path; `...` as the value takes the entry out."""

    def change(content):
        *way, last = path
        for step in way:
            content = content[step]
        if value is ...:
            del content[last]
        else:
            content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("images", 1, value=5), {"entry-type", "unknown-image", "image-unlisted"}),
        (put("annotations", 0, value=None), {"entry-type", "class-unused"}),
        (put("images", 0, "file_name", value=...), {"field-missing", "image-unlisted"}),
        (put("images", 0, "file_name", value=3), {"field-type", "image-unlisted"}),
        (put("images", 0, "file_name", value="../a.png"), {"file-name", "image-unlisted"}),
        (put("images", 0, "file_name", value="\0"), {"file-name", "image-unlisted"}),
        (put("images", 0, "file_name", value="\ud800"), {"file-name", "image-unlisted"}),
        (put("images", 1, "id", value=7), {"id-repeated", "unknown-image", "image-unlisted"}),
        (put("images", 1, "id", value="8"), {"id-type", "image-empty"}),
        (put("images", 1, "id", value=True), {"field-type", "unknown-image", "image-unlisted"}),
        (put("images", 1, "id", value=2**63), {"field-type", "unknown-image", "image-unlisted"}),
        (put("images", 0, "height", value=0), {"size-value"}),
        (put("images", 0, "height", value=1e300), {"size-value"}),
        (put("images", 0, "height", value=float("nan")), {"size-value"}),
        (put("images", 0, "width", value=...), {"size-value"}),
        (put("images", value=[]), {"no-images", "unknown-image"}),
        (put("categories", value=[]), {"no-categories", "unknown-category"}),
        (put("categories", 0, "name", value=...), {"field-missing"}),
        (put("categories", 0, "id", value="1"), {"id-type", "unknown-category", "class-gap"}),
        (put("categories", 1, "id", value=1), {"id-repeated", "unknown-category"}),
        (put("annotations", value={}), {"not-coco", "class-unused", "image-empty"}),
        (put("annotations", value=[]), {"no-annotations", "class-unused", "image-empty"}),
        (put("annotations", 0, "image_id", value="7"), {"id-type"}),
        (put("annotations", 0, "image_id", value=9), {"unknown-image"}),
        (put("annotations", 0, "image_id", value=[7]), {"field-type"}),
        (put("annotations", 0, "category_id", value=1.0), {"id-type", "class-unused"}),
        (put("annotations", 0, "category_id", value=5), {"unknown-category", "class-unused"}),
        (put("annotations", 2, "id", value=1), {"annotation-id-repeated"}),
        (put("annotations", 2, "id", value=0), {"annotation-id-missing"}),
        (put("annotations", 2, "iscrowd", value=...), {"crowd-missing"}),
        (put("annotations", 2, "iscrowd", value="1"), {"crowd-value"}),
        (put("annotations", 2, "area", value=...), {"area-missing"}),
        (put("annotations", 2, "area", value=-1), {"area-value"}),
        (put("annotations", 2, "area", value=10**400), {"area-value"}),
        (put("annotations", 2, "area", value=float("inf")), {"area-value"}),
        (put("annotations", 2, "bbox", value=...), {"box-value"}),
        (put("annotations", 2, "bbox", value=[1, 2, 3]), {"box-value"}),
        (put("annotations", 2, "bbox", value=[1, 2, 3, True]), {"box-value"}),
        (put("annotations", 2, "bbox", value=[1, 2, 3, float("nan")]), {"box-value"}),
        (put("annotations", 2, "segmentation", value=...), {"segmentation-value"}),
        (put("annotations", 2, "segmentation", value="RLE"), {"segmentation-value"}),
        (put("annotations", 2, "segmentation", value=[[1, 2, 3]]), {"segmentation-value"}),
        (put("annotations", 2, "segmentation", value=[1, 2]), {"segmentation-value"}),
        (put("annotations", 2, "segmentation", value=[[10**400] * 6]), {"segmentation-value"}),
        (put("annotations", 2, "segmentation", value=[[1e7] * 6]), {"segmentation-value"}),
        (
            put("annotations", 2, "segmentation", value=[[1, 1, float("nan"), 2, 3, 3]]),
            {"segmentation-value"},
        ),
        (put("annotations", 1, "segmentation", "size", value=[60, 40]), {"rle-size"}),
        (put("annotations", 1, "segmentation", "counts", value="@"), {"rle-counts"}),
        (put("annotations", 1, "segmentation", "counts", value="ä"), {"rle-counts"}),
        (put("annotations", 1, "segmentation", "counts", value=None), {"rle-counts"}),
        (put("annotations", 3, "segmentation", "counts", value=[5, 6]), {"rle-counts"}),
        (put("annotations", 3, "segmentation", "counts", value=[-400, 2800]), {"rle-counts"}),
    ],
)
def test_each_mistake(run, content, change, expected):
    change(content)
    assert set(codes(run(content))) == expected


def test_all_mistakes_are_found_at_once(run, content):
    content["images"].append({"id": 9, "file_name": "../../etc/passwd", "height": 1, "width": 1})
    content["annotations"][0]["category_id"] = 77
    content["annotations"][1]["segmentation"]["counts"] = "@"
    content["annotations"][2]["bbox"] = "wide"
    content["annotations"][3]["iscrowd"] = 2
    found = run(content)
    assert entries(found, "file-name") == ["images[2] (../../etc/passwd)"]
    assert entries(found, "unknown-category") == ["annotations[0]"]
    assert entries(found, "rle-counts") == ["annotations[1]"]
    assert entries(found, "box-value") == ["annotations[2]"]
    assert entries(found, "crowd-value") == ["annotations[3]"]


def test_one_broken_encoding_among_many(run, content):
    disc = content["annotations"][1]
    content["annotations"] += [disc | {"id": 10 + i, "category_id": 1} for i in range(300)]
    broken = disc | {"id": 5, "segmentation": disc["segmentation"] | {"counts": "~~~"}}
    content["annotations"][150] = broken
    found = run(content, with_pixels=False)
    assert entries(found, "rle-counts") == ["annotations[150]"]
    assert codes(found)["object-repeated"] == 298


def test_a_missing_file_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"gone\.json does not exist"):
        check(sets_of_paths([tmp_path / "gone.json"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has neither annotations\.json nor train\.json"):
        check(sets_of_paths([tmp_path / "empty"]))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3), (3.0, 3), ("3", 3), ("-3", -3), ("0", 0),
        ("-0", None), ("03", None), ("²", None), ("3.0", None), (3.5, None), (True, None),
        (2**63, None), (1e300, None), ("9" * 30, None), (None, None), ([3], None),
    ],
)  # fmt: skip
def test_numbers_that_ids_stand_for(value, number):
    assert whole_number(value) == number


def test_more_of_a_kind_are_counted_but_not_kept():
    problems = Problems()
    for number in range(MOST_KEPT + 5):
        problems.add("box-value", "a.json", f"annotations[{number}]", "")
    assert problems.counts["box-value"] == MOST_KEPT + 5
    assert len(problems.kept["box-value"]) == MOST_KEPT


def test_values_are_shown_short_and_printable():
    deep = json.loads("[" * 500 + "]" * 500)
    for value in ("x" * 10**6, list(range(10**5)), deep, "\ud800", 10**4000, {"a": {"b": [1]}}):
        text = shown(value)
        assert len(text) < 200
        text.encode()


def test_an_annotation_twice(run, content):
    content["annotations"].append(annotation(5, 7, 1))
    content["annotations"].append(annotation(6, 7, 2))  # of another class
    found = run(content)
    assert entries(found, "object-repeated") == ["annotations[4]"]
