"""VIA 1 and 2, written as the annotator writes them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.via import open_via
from segtron.errors import UserError

VIA = Path(__file__).parents[4] / "shared" / "data" / "formats" / "via"
H, W = 20, 30
SQUARE = {"name": "polygon", "all_points_x": [2, 6, 6, 2], "all_points_y": [3, 3, 8, 8]}
RECT = {"name": "rect", "x": 10, "y": 4, "width": 5, "height": 6}


def region(shape: dict[str, Any] = SQUARE, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(name: str, *regions: Any, size: int = -1, **more: Any) -> dict[str, Any]:
    return {"filename": name, "size": size, "file_attributes": {}, "regions": list(regions), **more}


def project(*entries: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {
        "_via_settings": {"core": {"default_filepath": ""}},
        "_via_img_metadata": {f"{e['filename']}{e['size']}": e for e in entries},
        "_via_attributes": {"region": attributes, "file": {}},
    }


@pytest.fixture
def open_project(tmp_path: Path, picture, save_json):
    """Opens a project of these entries, whose pictures exist."""

    def read(*entries: dict[str, Any], **options: Any):
        for listed in entries:
            picture(tmp_path / listed["filename"], H, W)
        dropped = Dropped()
        labelling = open_via(
            save_json(tmp_path / "via.json", project(*entries)), dropped, **options
        )
        return list(labelling.images), dropped.entries

    return read


def test_version_1_has_regions_in_an_object(tmp_path: Path, picture, save_json, masks) -> None:
    picture(tmp_path / "ä 1.jpg", H, W)
    listed = entry("ä 1.jpg") | {"regions": {"0": region(), "1": region(RECT)}}
    save_json(tmp_path / "via_region_data.json", {"ä 1.jpg1234": listed})
    labelling = open_via(tmp_path, Dropped())
    (image,) = labelling.images
    assert (image.name, image.height, image.width, labelling.number) == ("ä 1.jpg", H, W, 1)
    assert [o.class_name for o in image.objects] == ["object", "object"]
    square, rect = masks(image)
    assert square.sum() == 20 and square[3:8, 2:6].all()
    assert rect.sum() == 30 and rect[4:10, 10:15].all()


def test_version_2_as_a_project_and_as_an_export(tmp_path: Path, picture, save_json) -> None:
    picture(tmp_path / "a.jpg", H, W)
    whole = project(entry("a.jpg", region(type="cat")))
    for content in (whole, whole["_via_img_metadata"]):
        (image,) = open_via(save_json(tmp_path / "v.json", content), Dropped()).images
        assert [o.class_name for o in image.objects] == ["cat"]


def test_circles_and_ellipses(open_project, masks) -> None:
    circle = {"name": "circle", "cx": 10, "cy": 10, "r": 6}
    oval = {"name": "ellipse", "cx": 15, "cy": 10, "rx": 10, "ry": 3, "theta": np.pi / 2}
    (image,), dropped = open_project(entry("a.jpg", region(circle), region(oval)))
    ys, xs = np.mgrid[:H, :W] + 0.5
    for mask, inside in zip(
        masks(image),
        [
            (xs - 10) ** 2 + (ys - 10) ** 2 <= 36,
            ((ys - 10) / 10) ** 2 + ((xs - 15) / 3) ** 2 <= 1,
        ],
        strict=True,
    ):
        assert (mask != inside).sum() <= 0.1 * inside.sum()
    assert not dropped


def test_points_and_open_lines_are_listed(open_project, masks) -> None:
    line = {"name": "polyline", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]}
    closed = {"name": "polyline", "all_points_x": [1, 9, 9, 1], "all_points_y": [1, 1, 9, 1]}
    point = {"name": "point", "cx": 3, "cy": 3}
    outside = SQUARE | {"all_points_x": [40, 50, 50, 40]}
    (image,), dropped = open_project(
        entry("a.jpg", region(point), region(line), region(closed), region(outside))
    )
    assert len(image.objects) == 1
    assert [(where.rsplit(": ", 1)[1], why) for where, why in dropped] == [
        ("regions[0]", "is a point, which has no area"),
        ("regions[1]", "is an open line, which has no area"),
        ("regions[3]", "lies outside of the image"),
    ]


def test_attributes_of_every_kind(open_project) -> None:
    regions = [
        region(species="cat", note="asleep", visible={"head": True, "tail": False}),  # check boxes
        region(species={"dog": True, "cat": False}),
        region(species={"dog": True, "cat": True}),
        region(species=""),
        region(),
        region(species=7),
    ]
    options = {"class_attribute": "species"}
    (image,), dropped = open_project(entry("a.jpg", *regions), **options)
    assert [o.class_name for o in image.objects] == ["cat", "dog", "7"]
    assert image.objects[0].attributes == {"note": "asleep", "visible: head": True}
    assert [why for _, why in dropped] == [
        "is of several classes: dog, cat",
        "has no class in its attribute 'species'",
        "has no class in its attribute 'species'",
    ]
    (image,), dropped = open_project(entry("a.jpg", *regions), **options, class_name="animal")
    assert [o.class_name for o in image.objects] == ["cat", "dog", "animal", "animal", "7"]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"kind": "a"}, "a"),
        ({"colour": "red", "Label": "a"}, "a"),
        ({"name": "x", "colour": "red", "class": "a"}, "a"),
    ],
)
def test_the_attribute_of_the_class_is_found(open_project, attributes, expected) -> None:
    (image,), _ = open_project(entry("a.jpg", region(**attributes)))
    assert image.objects[0].class_name == expected


def test_the_class_may_be_the_files(open_project) -> None:
    listed = entry("a.jpg", region(note="x"), file_attributes={"species": "cat"})
    (image,), _ = open_project(listed, class_attribute="species")
    assert image.objects[0].class_name == "cat"
    assert image.objects[0].attributes == {"note": "x"}


def test_what_is_unclear_is_asked(open_project) -> None:
    two = entry("a.jpg", region(colour="red", form="round"))
    with pytest.raises(UserError, match=r"'colour', 'form'.*--class-attribute"):
        open_project(two)
    with pytest.raises(UserError, match=r"no attribute 'size'; there are: 'colour', 'form'"):
        open_project(two, class_attribute="size")


def test_a_class_that_no_region_has_yet_is_still_the_attribute(
    tmp_path: Path, picture, save_json
) -> None:
    picture(tmp_path / "a.jpg", H, W)
    content = project(entry("a.jpg", region()), class_={"type": "dropdown", "options": {}})
    dropped = Dropped()
    (image,) = open_via(save_json(tmp_path / "v.json", content), dropped).images
    assert not image.objects and len(dropped.entries) == 1


def test_folders_of_several_projects(tmp_path: Path, picture, save_json) -> None:
    for folder in ("train", "val"):
        picture(tmp_path / folder / "1.jpg", H, W)
        save_json(tmp_path / folder / "via.json", project(entry("1.jpg", region(c="x"))))
    save_json(tmp_path / "other.json", [1])
    save_json(tmp_path / "three.json", {"project": {}, "view": {}, "metadata": {}})
    dropped = Dropped()
    labelling = open_via(tmp_path, dropped)
    assert [image.name for image in labelling.images] == ["train/1.jpg", "val/1.jpg"]
    assert [why for _, why in dropped.entries] == [
        "is not VIA's format",
        "is not VIA's format of version 1 or 2 but of version 3",
    ]


def test_pictures_elsewhere_and_missing(tmp_path: Path, picture, save_json) -> None:
    picture(tmp_path / "photos" / "a.jpg", H, W)
    file = save_json(
        tmp_path / "via.json", project(entry("a.jpg", region()), entry("b.jpg", region(), region()))
    )
    dropped = Dropped()
    (image,) = open_via(file, dropped, images=tmp_path / "photos").images
    assert image.name == "a.jpg"
    ((where, why),) = dropped.entries
    assert where.endswith("'b.jpg-1' with 2 regions") and "'b.jpg' is not in" in why


def test_pictures_that_changed_are_told(open_project, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        images, _ = open_project(entry("a.jpg", region(), size=7), entry("b.jpg", size=-1))
    assert len(images) == 2
    assert "1 picture changed since it was labelled, such as a.jpg" in caplog.text


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({}, "shape None is unknown"),
        ({"name": ["rect"]}, "is unknown"),
        ({"name": "rect", "x": 1, "y": 2, "width": "3", "height": 4}, "'3' is no coordinate"),
        ({"name": "rect", "x": 1, "y": 2, "width": 3}, "None is no coordinate"),
        (SQUARE | {"all_points_x": [1, 2]}, "not two lists of one length"),
        (SQUARE | {"all_points_x": [1, 2, None, 4]}, "no list of pairs"),
        ({"name": "circle", "cx": 1, "cy": 1, "r": float("inf")}, "inf is no coordinate"),
    ],
)
def test_malformed_shapes_are_named(open_project, shape, words) -> None:
    with pytest.raises(UserError, match=words) as error:
        open_project(entry("a.jpg", region(), region(shape)))
    assert "via.json: 'a.jpg-1': regions[1]" in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "is not VIA's format"),
        ([], "is not VIA's format"),
        ({"a": {"regions": []}}, "has no 'filename'"),
        ({"a": entry("a.jpg") | {"regions": "x"}}, "neither a list nor an object"),
        ({"a": entry("a.jpg", 3)}, r"regions\[0\] is not an object"),
        ({"a": entry("a.jpg", {"shape_attributes": SQUARE, "region_attributes": []})}, None),
        ({"a": entry("a.jpg", {"shape_attributes": SQUARE, "region_attributes": [1]})}, "no obj"),
        ({"_via_img_metadata": []}, "is no object"),
    ],
)
def test_what_is_not_via_is_named(tmp_path: Path, picture, save_json, content, words) -> None:
    picture(tmp_path / "a.jpg", H, W)
    file = save_json(tmp_path / "v.json", content)
    if words is None:  # as some versions write no attributes
        assert len(next(iter(open_via(file, Dropped()).images)).objects) == 1
        return
    with pytest.raises(UserError, match=words):
        list(open_via(file, Dropped()).images)


def test_a_folder_without_projects(tmp_path: Path, save_json) -> None:
    with pytest.raises(UserError, match="no JSON file"):
        open_via(tmp_path, Dropped())
    save_json(tmp_path / "a.json", {})
    with pytest.raises(UserError, match=r"a\.json is not VIA's format"):
        open_via(tmp_path, Dropped())
    with pytest.raises(UserError, match="cannot read"):
        open_via(tmp_path / "no.json", Dropped())


@pytest.mark.skipif(not VIA.is_dir(), reason="needs the photographs in ../shared/data")
def test_the_balloons(masks) -> None:
    dropped = Dropped()
    images = list(open_via(VIA, dropped, class_name="balloon").images)
    assert len(images) == 4 and not dropped.entries
    objects = [o for image in images for o in image.objects]
    assert {o.class_name for o in objects} == {"balloon"} and len(objects) == 12
    assert all(mask.sum() > 50 for image in images for mask in masks(image))
