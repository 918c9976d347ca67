"""COCO's files and predictions to LabelMe and CVAT, and back again without a loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import defusedxml.ElementTree
import numpy as np
import pytest

from segtron.data.converters.coco_files import write_coco
from segtron.data.converters.coco_source import open_coco
from segtron.data.converters.cvat import open_cvat
from segtron.data.converters.cvat_files import write_cvat
from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.labelme import open_labelme
from segtron.data.converters.labelme_files import write_labelme
from segtron.data.masks import encode_mask
from segtron.errors import UserError

H, W = 40, 50


def blobs(seed: int) -> list[np.ndarray]:
    """Masks with holes, several parts, pixels that touch at corners, at the border of the image."""
    random = np.random.default_rng(seed)
    noise = random.random((4, H, W)).astype(np.float32)
    masks = [
        cv2.GaussianBlur(n, (0, 0), sigma) > 0.5
        for sigma, n in zip((1, 2, 3, 5), noise, strict=True)
    ]
    checker = np.indices((H, W)).sum(axis=0) % 2 == 0
    checker[8:] = False
    single = np.zeros((H, W), bool)
    single[H - 1, W - 1] = True
    return [*masks, checker, single, np.ones((H, W), bool)]


@pytest.fixture
def dataset(tmp_path: Path, picture, save_json) -> Path:
    """A COCO data set of two images with objects of all kinds, its pictures beside it."""
    picture(tmp_path / "data" / "images" / "a ü.jpg", H, W)
    picture(tmp_path / "data" / "images" / "s" / "b.png", H, W)
    triangle = [[1.25, 2, 30.5, 3, 12, 20.75]]
    annotations: list[dict[str, Any]] = [
        {"category_id": 7, "segmentation": triangle, "attributes": {"old": True, "note": "x"}},
        {"category_id": 3, "segmentation": [*triangle, [32, 30, 40, 30, 40, 38]]},
        {"category_id": 3, "segmentation": encode_mask(blobs(9)[1]), "iscrowd": 1},
    ]
    annotations += [{"category_id": 7, "segmentation": encode_mask(m)} for m in blobs(0)]
    annotations += [{"category_id": 3, "segmentation": encode_mask(m)} for m in blobs(1)]
    for number, annotation in enumerate(annotations):
        annotation |= {"id": number, "image_id": 1 + number % 2, "bbox": [0, 0, 1, 1], "area": 1}
    images = [
        {"id": 1, "file_name": "a ü.jpg", "height": H, "width": W},
        {"id": 2, "file_name": "s/b.png", "height": H, "width": W},
    ]
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 3, "name": "Zebra"}, {"id": 7, "name": "apple tree"}]
    return save_json(tmp_path / "data" / "annotations.json", content)


WAYS = {"labelme": (write_labelme, open_labelme), "cvat": (write_cvat, open_cvat)}


@pytest.mark.parametrize("tool", WAYS)
def test_there_and_back_again_nothing_is_lost(tmp_path: Path, dataset, masks, tool) -> None:
    write, read = WAYS[tool]
    dropped = Dropped()
    written = write(open_coco(dataset, dropped), tmp_path / "out", dropped)
    assert written == (2, 17) and not dropped.entries
    before = {image.name: image for image in open_coco(dataset, dropped).images}
    after = {image.name: image for image in read(tmp_path / "out", dropped).images}
    assert {name.removeprefix("images/") for name in after} == set(before)
    for name, image in after.items():
        source = before[name.removeprefix("images/")]
        found = [(o.class_name, o.is_crowd) for o in image.objects]
        assert found == [(o.class_name, o.is_crowd) for o in source.objects]
        for mask, expected in zip(masks(image), masks(source), strict=True):
            assert (mask == expected).all()
    attributes = next(i for n, i in after.items() if "a ü" in n).objects[0].attributes
    assert attributes["old"] is True
    assert not dropped.entries


@pytest.mark.parametrize("tool", WAYS)
def test_what_the_tool_gets_opens_as_coco_again(tmp_path: Path, dataset, tool) -> None:
    """The whole circle, by the command's own steps."""
    write, read = WAYS[tool]
    dropped = Dropped()
    write(open_coco(dataset, dropped), tmp_path / "tool", dropped, link=True)
    classes = ["Zebra", "apple tree"]
    write_coco(read(tmp_path / "tool", dropped), tmp_path / "out", dropped, classes=classes)
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [c["name"] for c in content["categories"]] == classes
    assert len(content["annotations"]) == 17


def test_labelme_finds_its_files(tmp_path: Path, dataset) -> None:
    out = tmp_path / "out"
    write_labelme(open_coco(dataset, Dropped()), out, Dropped())
    assert (out / "labels.txt").read_text().split("\n") == ["Zebra", "apple tree", ""]
    content = json.loads((out / "s" / "b.json").read_text())
    assert content["imagePath"] == "b.png" and (out / "s" / "b.png").is_file()
    assert (content["imageHeight"], content["imageWidth"]) == (H, W)
    kinds = {shape["shape_type"] for shape in content["shapes"]}
    assert kinds == {"polygon", "mask"}
    grouped = [s for s in content["shapes"] if s["group_id"] is not None]
    assert len(grouped) >= 2


def test_pictures_that_differ_in_the_suffix_have_json_files_of_their_own(
    tmp_path: Path, picture, save_json
) -> None:
    names = ["a.png.jpg", "a.jpg", "a.png"]
    images = [{"id": i, "file_name": name, "height": H, "width": W} for i, name in enumerate(names)]
    for image in images:
        picture(tmp_path / "images" / image["file_name"], H, W)
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    save_json(tmp_path / "c.json", content)
    write_labelme(open_coco(tmp_path / "c.json", Dropped()), tmp_path / "out", Dropped())
    found = open_labelme(tmp_path / "out", Dropped()).images
    assert sorted(image.name for image in found) == sorted(names)


def test_cvat_declares_labels_and_attributes(tmp_path: Path, dataset) -> None:
    write_cvat(open_coco(dataset, Dropped()), tmp_path / "out", Dropped())
    root = defusedxml.ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
    labels = {
        label.findtext("name"): [a.findtext("name") for a in label.iter("attribute")]
        for label in root.iter("label")
    }
    assert labels == {"Zebra": ["iscrowd"], "apple tree": ["old", "note"]}
    assert [image.get("name") for image in root.iter("image")] == ["a ü.jpg", "s/b.png"]
    for mask in root.iter("mask"):
        runs = list(map(int, mask.get("rle").split(", ")))
        assert sum(runs) == int(mask.get("width")) * int(mask.get("height"))


def result(mask: np.ndarray, **more: Any) -> dict[str, Any]:
    entry = {"image_id": 1, "category_id": 3, "score": 0.75, "bbox": [0, 0, 1, 1]}
    return entry | {"segmentation": encode_mask(mask)} | more


def test_predictions_that_name_files_need_no_data_set(tmp_path: Path, picture, save_json) -> None:
    """As tools/predict.py writes them."""
    picture(tmp_path / "photos" / "x" / "a.png", H, W)
    mask = blobs(2)[2]
    names = {"file_name": "x/a.png", "category_name": "cat"}
    results = [result(mask, **names), result(mask, score=0.25, **names)]
    file = save_json(tmp_path / "predictions.json", results)
    dropped = Dropped()
    labelling = open_coco(file, dropped, images=tmp_path / "photos", min_score=0.5)
    (image,) = labelling.images
    (found,) = image.objects
    assert labelling.classes == ["cat"]
    assert (found.class_name, found.attributes, image.name) == ("cat", {"score": 0.75}, "x/a.png")
    assert not dropped.entries


@pytest.mark.parametrize("score", [-0.1, 5, float("nan")])
def test_scores_that_nothing_has(dataset: Path, score: float) -> None:
    with pytest.raises(UserError, match=f"--min-score is {score}; it must be from 0 to 1"):
        open_coco(dataset, Dropped(), min_score=score)


def test_results_are_of_a_data_set(tmp_path: Path, dataset, save_json) -> None:
    file = save_json(tmp_path / "r.json", [result(blobs(2)[2], category_id=7)])
    labelling = open_coco(file, Dropped(), dataset=dataset)
    assert labelling.classes == ["Zebra", "apple tree"]
    # An image without results is there to be looked at, too.
    assert [len(image.objects) for image in labelling.images] == [1, 0]
    assert write_labelme(
        open_coco(file, Dropped(), dataset=dataset), tmp_path / "out", Dropped()
    ) == (2, 1)
    shapes = json.loads((tmp_path / "out" / "a ü.json").read_text())["shapes"]
    assert {shape["description"] for shape in shapes} == {"score 0.75"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"image_id": 9}, "no image has the id 9"),
        ({"category_id": 9}, "no category has the id 9"),
        ({"score": "high"}, "'score' is 'high'"),
        ({"score": float("nan")}, "'score' is nan"),
        ({"bbox": 5}, "'bbox' is 5"),
        ({"segmentation": None}, "'segmentation' is None"),
        ({"segmentation": {"size": [1, 1], "counts": "1"}}, "has the size"),
    ],
)
def test_results_that_fit_no_data_set(tmp_path: Path, dataset, save_json, changed, words) -> None:
    file = save_json(tmp_path / "r.json", [result(blobs(2)[2]) | changed])
    with pytest.raises(UserError, match=rf"r\.json: entry 0.*{words}"):
        open_coco(file, Dropped(), dataset=dataset)


@pytest.mark.parametrize("score", ["high", True, [1], float("nan"), 10**400])
def test_scores_of_a_data_set_that_are_no_numbers(dataset, save_json, score) -> None:
    content = json.loads(dataset.read_bytes())
    content["annotations"][2]["score"] = score
    save_json(dataset, content)
    with pytest.raises(
        UserError, match=r"annotations\[2\]: 'score' is .*; it must be a finite number"
    ):
        open_coco(dataset, Dropped())


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\0", "\ud800"])
def test_names_that_a_tool_could_not_give_back(dataset, save_json, name) -> None:
    content = json.loads(dataset.read_bytes())
    content["categories"][1]["name"] = name
    save_json(dataset, content)
    with pytest.raises(UserError, match=r"annotations\.json: '.*' can't be the name of a class"):
        open_coco(dataset, Dropped())


@pytest.mark.parametrize("tool", WAYS)
def test_attributes_that_no_text_can_hold(tmp_path: Path, dataset, save_json, tool) -> None:
    content = json.loads(dataset.read_bytes())
    content["annotations"][0]["attributes"] = {"note": "\ud800", "size": float("inf")}
    save_json(dataset, content)
    write, read = WAYS[tool]
    write(open_coco(dataset, Dropped()), tmp_path / "out", Dropped())
    images = list(read(tmp_path / "out", Dropped()).images)
    assert sum(len(image.objects) for image in images) == 17
    values = [v for i in images for o in i.objects for v in o.attributes.values()]
    assert any("inf" in str(value) for value in values)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "--dataset"),
        ({"file_name": "a", "category_name": None}, "'category_name' is None"),
        ({"file_name": "a", "category_name": "x", "segmentation": {}}, "'size'"),
    ],
)
def test_results_that_name_nothing(tmp_path: Path, save_json, changed, words) -> None:
    file = save_json(tmp_path / "r.json", [result(blobs(2)[2]) | changed])
    with pytest.raises(UserError, match=words):
        open_coco(file, Dropped(), images=tmp_path)


def test_one_category_of_two_names(tmp_path: Path, save_json) -> None:
    names = [{"file_name": "a.png", "category_name": name} for name in ("cat", "dog")]
    file = save_json(tmp_path / "r.json", [result(blobs(2)[2], **n) for n in names])
    with pytest.raises(UserError, match="category 3 is 'dog' here, 'cat' before"):
        open_coco(file, Dropped(), images=tmp_path)


def test_objects_without_a_mask_and_missing_pictures_are_listed(
    tmp_path: Path, picture, save_json
) -> None:
    picture(tmp_path / "images" / "a.png", H, W)
    images = [
        {"id": i, "file_name": f"{n}.png", "height": H, "width": W} for i, n in enumerate("ab")
    ]
    base = {"image_id": 0, "category_id": 1, "bbox": [0, 0, 1, 1]}
    outlines = [[], [[1, 1, 2, 2]], [[60, 1, 70, 1, 70, 9]], [[1, 1, 9, 1, 9, 9]]]
    annotations = [base | {"id": i, "segmentation": s} for i, s in enumerate(outlines)]
    annotations.append(base | {"id": 9, "image_id": 1, "segmentation": outlines[3]})
    content = {"images": images, "annotations": annotations}
    file = save_json(tmp_path / "c.json", content | {"categories": [{"id": 1, "name": "x"}]})
    dropped = Dropped()
    (image,) = open_coco(file, dropped).images
    assert len(image.objects) == 1
    assert [why.split(";")[0] for _, why in dropped.entries[:3]] == [
        "has no mask",
        "has no mask",
        "lies outside of the image",
    ]
    assert dropped.entries[3][0].endswith("'b.png' with 1 object")


def test_annotations_of_a_picture_as_it_is_stored(
    tmp_path: Path, picture, save_json, masks
) -> None:
    """Polygons and masks are turned by the same quarter."""
    picture(tmp_path / "images" / "a.jpg", H, W, orientation=6)
    mask = np.zeros((H, W), bool)
    mask[3:8, 2:6] = True
    base = {"image_id": 0, "category_id": 1, "bbox": [0, 0, 1, 1]}
    square = [[2, 3, 6, 3, 6, 8, 2, 8]]
    annotations = [base | {"segmentation": s} for s in (square, encode_mask(mask))]
    images = [{"id": 0, "file_name": "a.jpg", "height": H, "width": W}]
    content = {"images": images, "annotations": annotations}
    file = save_json(tmp_path / "c.json", content | {"categories": [{"id": 1, "name": "x"}]})
    (image,) = open_coco(file, Dropped()).images
    first, second = masks(image)
    assert (image.height, image.width) == (W, H) and (first == second).all()
    assert first.sum() == 20 and first[2:6, H - 8 : H - 3].all()


def test_a_data_set_is_no_list_of_results(dataset) -> None:
    with pytest.raises(UserError, match="leave --dataset out"):
        open_coco(dataset, Dropped(), dataset=dataset)


def test_fewer_corners_on_request(tmp_path: Path, picture, save_json) -> None:
    picture(tmp_path / "photos" / "a.png", H, W)
    disc = np.zeros((H, W), np.uint8)
    cv2.circle(disc, (20, 20), 15, 1, -1)
    names = {"file_name": "a.png", "category_name": "disc"}
    file = save_json(tmp_path / "r.json", [result(disc > 0, **names)])
    corners = []
    for name, tolerance in (("exact", 0.0), ("coarse", 1.5)):
        labelling = open_coco(file, Dropped(), images=tmp_path / "photos")
        write_labelme(labelling, tmp_path / name, Dropped(), tolerance=tolerance)
        (shape,) = json.loads((tmp_path / name / "a.json").read_text())["shapes"]
        corners.append(len(shape["points"]))
    assert corners[1] < corners[0] / 3


@pytest.mark.parametrize("tool", WAYS)
def test_values_that_no_json_or_utf_8_holds(tmp_path: Path, picture, save_json, tool) -> None:
    picture(tmp_path / "images" / "a.png", H, W)
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    annotation |= {"segmentation": [[1, 1, 9, 1, 9, 9]]}
    annotation |= {"attributes": {"x": float("inf"), "y": "\ud800"}}
    image = {"id": 1, "file_name": "a.png", "height": H, "width": W}
    content = {"images": [image], "categories": [{"id": 1, "name": "x"}]}
    file = save_json(tmp_path / "c.json", content | {"annotations": [annotation]})
    write, read = WAYS[tool]
    assert write(open_coco(file, Dropped()), tmp_path / "out", Dropped()) == (1, 1)
    (found,) = read(tmp_path / "out", Dropped()).images
    assert "inf" in str(found.objects[0].attributes)
    write_coco(open_coco(file, Dropped()), tmp_path / "coco", Dropped())
    content = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert content["annotations"][0]["attributes"] == {"x": "inf", "y": "\ud800"}
    annotation["score"] = "0.9"
    save_json(file, content | {"images": [image], "annotations": [annotation]})
    with pytest.raises(UserError, match=r"annotations\[0\]: 'score' is '0\.9'"):
        open_coco(file, Dropped())


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("tool", WAYS)
def test_two_images_of_one_name_would_lose_one(
    tmp_path: Path, picture, save_json, tool, link
) -> None:
    picture(tmp_path / "images" / "a.png", H, W)
    images = [{"id": i, "file_name": "a.png", "height": H, "width": W} for i in range(2)]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    file = save_json(tmp_path / "c.json", content)
    with pytest.raises(UserError, match=r"there are two images 'a\.png'"):
        WAYS[tool][0](open_coco(file, Dropped()), tmp_path / "out", Dropped(), link=link)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [[H, W], [float(H), float(W)]])
def test_run_lengths_that_are_not_compressed(
    tmp_path: Path, picture, save_json, masks, size
) -> None:
    """As COCO itself has crowds."""
    picture(tmp_path / "images" / "a.png", H, W)
    mask = np.zeros((H, W), bool)
    mask[2:5, 1] = True
    counts = [H + 2, 3, H * W - H - 5]
    annotations = [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "iscrowd": 1}
        | {"segmentation": {"size": size, "counts": c}}
        for c in (counts, encode_mask(mask)["counts"])
    ]
    image = {"id": 1, "file_name": "a.png", "height": H, "width": W}
    content = {"images": [image], "categories": [{"id": 1, "name": "x"}]}
    file = save_json(tmp_path / "c.json", content | {"annotations": annotations})
    write_coco(open_coco(file, Dropped()), tmp_path / "out", Dropped())
    (again,) = open_coco(tmp_path / "out" / "annotations.json", Dropped()).images
    for found in masks(again):
        assert (found == mask).all()
