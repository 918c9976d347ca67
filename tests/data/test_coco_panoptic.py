"""Reading COCO's panoptic JSON: what is accepted, and which entry a refusal names."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data.datasets.coco_panoptic import load_coco_panoptic_json

from segtron.data.coco_panoptic import (
    load_coco_panoptic,
    panoptic_metadata,
    read_coco_panoptic,
)
from segtron.data.panoptic import annotations_of, read_pan_seg
from segtron.data.sem_seg import read_sem_seg
from segtron.errors import UserError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "coco_panoptic"
SEGMENTS = ("annotations", 1, "segments_info")


def load(folder: Path, content: Any = None) -> list[dict[str, Any]]:
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "gt.json").write_text(text)
    return load_coco_panoptic(folder / "gt.json", folder / "panoptic", folder / "images")


def test_a_file_as_standard_dicts(panoptic_folder: Path, panoptic_ids: np.ndarray) -> None:
    second, first = load(panoptic_folder)  # in the order of the annotations
    png = str(panoptic_folder / "panoptic" / "a.png")
    assert first["file_name"] == str(panoptic_folder / "images" / "a.jpg")
    assert (first["image_id"], first["height"], first["width"]) == (12, 4, 6)
    assert first["pan_seg_file_name"] == first["sem_seg_file_name"] == png
    thing, stuff = {"isthing": True}, {"isthing": False}
    # dog, tree, sky, cat are classes 0 to 3; dog and cat are things 0 and 1.
    assert first["segments_info"] == [
        {"id": 9, "category_id": 1, **stuff, "iscrowd": 0, "area": 8, "bbox": [0, 2, 6, 2]},
        {"id": 1, "category_id": 0, **thing, "iscrowd": 0, "area": 4, "bbox": [0, 0, 2, 2]}
        | {"thing_category_id": 0},
        {"id": 300, "category_id": 3, **thing, "iscrowd": 1, "area": 3, "bbox": [3, 1, 2, 2]}
        | {"thing_category_id": 1},
        {"id": 2, "category_id": 0, **thing, "iscrowd": 0, "area": 4, "bbox": [4, 0, 2, 2]}
        | {"thing_category_id": 0},
        {"id": 70000, "category_id": 2, **stuff, "iscrowd": 0, "area": 2, "bbox": [4, 3, 2, 1]},
    ]
    np.testing.assert_array_equal(read_pan_seg(first), panoptic_ids)
    assert read_sem_seg(first).tolist() == [
        [0, 0, 255, 255, 0, 0],
        [0, 0, 255, 3, 0, 0],
        [1, 1, 1, 3, 3, 1],
        [1, 1, 1, 1, 2, 2],
    ]
    found = [(a["category_id"], a["iscrowd"], a["bbox"]) for a in annotations_of(first)]
    assert found == [(0, 0, [0, 0, 2, 2]), (0, 0, [4, 0, 6, 2]), (1, 1, [3, 1, 5, 3])]
    assert (second["image_id"], second["segments_info"]) == (5, [])
    assert not read_pan_seg(second).any()
    assert "annotations" not in first


def test_the_same_segments_as_detectron2s_reader(
    panoptic_folder: Path, panoptic_content: dict[str, Any]
) -> None:
    theirs = load_coco_panoptic_json(
        str(panoptic_folder / "gt.json"),
        str(panoptic_folder / "images"),
        str(panoptic_folder / "panoptic"),
        panoptic_metadata(panoptic_content),
    )
    for ours, reference in zip(load(panoptic_folder), theirs, strict=True):
        for key in ("file_name", "image_id", "pan_seg_file_name"):
            assert ours[key] == reference[key]
        segments = [copy.copy(segment) for segment in ours["segments_info"]]
        for segment in segments:
            segment.pop("thing_category_id", None)
        assert segments == reference["segments_info"]


def test_metadata_in_detectron2s_form(panoptic_content: dict[str, Any]) -> None:
    names = ["dog", "tree", "sky", "cat"]
    colors = [(200, 0, 0), (0, 90, 0), (0, 0, 255), (9, 9, 9)]
    assert panoptic_metadata(panoptic_content) == {
        "thing_classes": names,
        "stuff_classes": names,
        "thing_colors": colors,
        "stuff_colors": colors,
        "thing_dataset_id_to_contiguous_id": {3: 0, 90: 3},
        "stuff_dataset_id_to_contiguous_id": {7: 1, 40: 2},
    }
    for color in (None, [0, 0], [0, 0, 256], "red"):
        panoptic_content["categories"][1]["color"] = color
        assert not {"thing_colors", "stuff_colors"} & set(panoptic_metadata(panoptic_content))


def test_what_tools_write_besides_the_standard_is_read(
    panoptic_folder: Path, panoptic_content: dict[str, Any]
) -> None:
    content = panoptic_content
    for image in content["images"]:
        image |= {"id": f"city {image['id']}", "height": 4.0, "width": 6.0}
    for annotation in content["annotations"]:
        annotation["image_id"] = f"city {annotation['image_id']}"
    for segment in content["annotations"][1]["segments_info"]:
        segment.pop("bbox")
        segment["area"] = float(segment["area"])
    content["annotations"][1]["segments_info"][0] |= {"area": None, "bbox": None, "iscrowd": None}
    content["annotations"][1]["segments_info"][1].pop("iscrowd")
    (panoptic_folder / "gt.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    second, first = load(panoptic_folder)
    assert (first["image_id"], second["image_id"]) == ("city 12", "city 5")
    assert [type(first[side]) for side in ("height", "width")] == [int, int]
    assert [s["iscrowd"] for s in first["segments_info"]] == [0, 0, 1, 0, 0]
    assert "area" not in first["segments_info"][0]
    read_pan_seg(first)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("images",), ..., "no list 'images'"),
        (("annotations",), {}, "no list 'annotations'"),
        (("categories",), None, "no list 'categories'"),
        (("images", 1), [7], "images[1] is not an object but a list"),
        (("images", 1, "id"), 12, "images[1] uses id 12 again"),
        (("images", 1, "id"), 1.5, "images[1]: 'id' is 1.5"),
        (("images", 1, "id"), "b", "images[1] has the id 'b', images[0] 12"),
        (("images", 1, "file_name"), None, "images[1]: 'file_name' is None"),
        (("images", 0, "height"), ..., "images[0] has no 'height'"),
        (("images", 0, "height"), 3.5, "images[0] has the size 6 x 3.5"),
        (("images", 0, "width"), 0, "images[0] has the size 0 x 4"),
        (("images", 0, "file_name"), "../../secret.jpg", "images[0] names '../../secret.jpg', out"),
        (("images", 0, "file_name"), "/etc/passwd", "images[0] names '/etc/passwd', outside"),
        (("categories",), [], "has no categories"),
        (("categories", 1, "id"), 7, "categories[1] uses id 7 again"),
        (("categories", 1, "id"), "7", "categories[1]: 'id' is '7'"),
        (("categories", 1, "name"), "tree", "2 categories are called 'tree'; rename one"),
        (("categories", 1, "name"), 5, "categories[1]: 'name' is 5"),
        (("categories", 1, "isthing"), ..., "categories[1] has no 'isthing'"),
        (("categories", 1, "isthing"), 2, "categories[1]: 'isthing' is 2; it must be 1"),
        (("categories", 1, "isthing"), "yes", "categories[1]: 'isthing' is 'yes'"),
        (("annotations", 0), "b.png", "annotations[0] is not an object but a str"),
        (("annotations", 0, "image_id"), ..., "annotations[0] has no 'image_id'"),
        (("annotations", 0, "image_id"), 77, "annotations[0]: no image has the id 77"),
        (("annotations", 0, "image_id"), "5", "annotations[0]: no image has the id '5'"),
        (("annotations", 0, "image_id"), 12, "annotations[1] is of the image 12, as annotations[0"),
        (("annotations", 0, "file_name"), ..., "annotations[0] has no 'file_name'"),
        (("annotations", 0, "file_name"), "../b.png", "annotations[0] names '../b.png', outside"),
        (("annotations", 0, "file_name"), "", "annotations[0] names '', outside"),
        (("annotations", 0, "segments_info"), ..., "annotations[0] has no 'segments_info'"),
        (("annotations", 0, "segments_info"), {}, "annotations[0]: 'segments_info' is {}"),
        ((*SEGMENTS, 2), 300, "annotations[1]: segments_info[2] is not an object but a int"),
        ((*SEGMENTS, 2, "id"), ..., "annotations[1]: segments_info[2] has no 'id'"),
        ((*SEGMENTS, 2, "id"), "300", "annotations[1]: segments_info[2]: 'id' is '300'"),
        ((*SEGMENTS, 2, "id"), True, "annotations[1]: segments_info[2]: 'id' is True"),
        ((*SEGMENTS, 2, "id"), 300.0, "annotations[1]: segments_info[2]: 'id' is 300.0"),
        ((*SEGMENTS, 2, "id"), 0, "annotations[1]: segment 0: ids must be from 1 to 16777215"),
        ((*SEGMENTS, 2, "id"), 2**24, "annotations[1]: segment 16777216: ids must be from 1"),
        ((*SEGMENTS, 2, "id"), -1, "annotations[1]: segment -1: ids must be"),
        ((*SEGMENTS, 2, "id"), 9, "annotations[1]: two segments have the id 9; give each"),
        ((*SEGMENTS, 2, "category_id"), ..., "segments_info[2] has no 'category_id'"),
        ((*SEGMENTS, 2, "category_id"), None, "segments_info[2]: 'category_id' is None"),
        ((*SEGMENTS, 2, "category_id"), 4, "annotations[1]: segment 300: no category has the id 4"),
        ((*SEGMENTS, 2, "iscrowd"), 2, "annotations[1]: segment 300: 'iscrowd' is 2; it must be"),
        ((*SEGMENTS, 2, "iscrowd"), "no", "annotations[1]: segment 300: 'iscrowd' is 'no'"),
    ],
)
def test_a_refusal_names_the_entry(
    panoptic_folder: Path,
    panoptic_content: dict[str, Any],
    path: tuple[Any, ...],
    value: Any,
    said: str,
) -> None:
    node: Any = panoptic_content
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    with pytest.raises(UserError) as error:
        load(panoptic_folder, panoptic_content)
    assert said in str(error.value)
    assert str(panoptic_folder / "gt.json") in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ([], "is not COCO's panoptic format: it holds a JSON list, not an object with 'images'"),
        ({"images": [], "categories": [], "annotations": []}, "has no categories"),
    ],
)
def test_other_files_are_refused(panoptic_folder: Path, content: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        load(panoptic_folder, content)
    assert said in str(error.value)
    assert str(panoptic_folder / "gt.json") in str(error.value)


def test_an_image_without_an_annotation_is_refused(
    panoptic_folder: Path, panoptic_content: dict[str, Any]
) -> None:
    content = panoptic_content | {"annotations": panoptic_content["annotations"][1:]}
    with pytest.raises(UserError, match=r"1 images have no annotation, .* images\[1\] \(b\.jpg\)"):
        load(panoptic_folder, content)
    with pytest.raises(UserError, match=r"2 images have no annotation, .* images\[0\] \(a\.jpg\)"):
        load(panoptic_folder, panoptic_content | {"annotations": []})
    with pytest.raises(UserError, match="lists no images"):
        load(panoptic_folder, panoptic_content | {"annotations": [], "images": []})


def test_no_more_categories_than_a_class_map_holds(
    panoptic_folder: Path, panoptic_content: dict[str, Any]
) -> None:
    more = [{"id": 1000 + i, "name": f"{i}", "isthing": 0} for i in range(251)]
    panoptic_content["categories"] += more
    assert len(load(panoptic_folder, panoptic_content)) == 2
    panoptic_content["categories"].append({"id": 5000, "name": "too many", "isthing": 0})
    with pytest.raises(UserError, match=r"has 256 categories; at most 255"):
        load(panoptic_folder, panoptic_content)


def test_missing_folders_and_files_are_named(panoptic_folder: Path, tmp_path: Path) -> None:
    json_file = panoptic_folder / "gt.json"
    for folders in ((tmp_path / "gone", tmp_path), (tmp_path, tmp_path / "gone")):
        with pytest.raises(UserError, match=r"folder .*/gone .*of .*gt\.json does not exist"):
            load_coco_panoptic(json_file, *folders)
    with pytest.raises(UserError, match=r"cannot read the annotations .*gone\.json"):
        read_coco_panoptic(tmp_path / "gone.json")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the photographs in ../shared/data")
@pytest.mark.parametrize(("split", "count"), [("train", 60), ("val", 40)])
def test_real_photographs_agree_with_their_segments(split: str, count: int) -> None:
    names = (f"panoptic_{split}.json", f"panoptic_{split}", split)
    records = load_coco_panoptic(*(SHARED / name for name in names))
    assert len(records) == count
    for record in records:
        assert Path(record["file_name"]).is_file()
        ids = read_pan_seg(record)
        assert ids.shape == (record["height"], record["width"])
        things = [s for s in record["segments_info"] if s["isthing"]]
        assert {s["id"] for s in things} <= set(np.unique(ids).tolist())
        # Their boxes and areas say where things are.
        boxes = {s["id"]: (s["area"], s["bbox"], s["iscrowd"]) for s in things}
        found = annotations_of(record)
        assert sorted(
            (a["area"], [x0, y0, x1 - x0, y1 - y0], a["iscrowd"])
            for a in found
            for x0, y0, x1, y1 in [a["bbox"]]
        ) == sorted(boxes.values())


def test_classes_are_numbered_as_the_metadata_say(panoptic_folder: Path) -> None:
    files = (panoptic_folder / "gt.json", panoptic_folder / "panoptic", panoptic_folder / "images")
    numbering = {
        "thing_dataset_id_to_contiguous_id": {3: 11, 90: 4},
        "stuff_dataset_id_to_contiguous_id": {7: 0, 40: 7},
    }
    _, record = load_coco_panoptic(*files, metadata=numbering)
    segments = record["segments_info"]
    found = {s["id"]: (s["category_id"], s.get("thing_category_id")) for s in segments}
    assert found == {9: (0, None), 1: (11, 1), 300: (4, 0), 2: (11, 1), 70000: (7, None)}
    del numbering["stuff_dataset_id_to_contiguous_id"][40]
    with pytest.raises(UserError, match=r"annotations\[1\]: segment 70000 is of the category 40"):
        load_coco_panoptic(*files, metadata=numbering)


def test_true_and_false_say_what_is_a_thing(
    panoptic_folder: Path, panoptic_content: dict[str, Any]
) -> None:
    for category in panoptic_content["categories"]:
        category["isthing"] = bool(category["isthing"])
    path = panoptic_folder / "flags.json"
    path.write_text(json.dumps(panoptic_content))
    files = (panoptic_folder / "panoptic", panoptic_folder / "images")
    assert load_coco_panoptic(path, *files) == load_coco_panoptic(
        panoptic_folder / "gt.json", *files
    )
