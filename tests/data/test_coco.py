"""Reading COCO JSON: what is accepted, and which entry a refusal names."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data.datasets import load_coco_json
from pycocotools import mask as mask_util

from segtron.data.coco import load_coco_instances
from segtron.errors import UserError

MASK = np.array([[0, 1, 1], [0, 1, 0]], np.uint8, order="F")
COMPRESSED = mask_util.encode(MASK)["counts"].decode()

CONTENT: dict[str, Any] = {
    "images": [
        {"id": 5, "file_name": "a.jpg", "height": 2, "width": 3},
        {"id": 2, "file_name": "b.jpg", "height": 2, "width": 3},
    ],
    "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 5,
            "category_id": 9,
            "bbox": [0, 0, 2, 2],
            "segmentation": [[0, 0, 2, 0, 2, 2], [1, 1, 2, 2]],
            "iscrowd": 0,
        },
        {
            "id": 2,
            "image_id": 5,
            "category_id": 3,
            "bbox": [1, 0, 2, 2],
            "segmentation": {"size": [2, 3], "counts": [2, 3, 1]},
            "iscrowd": 1,
        },
        {
            "id": 3,
            "image_id": 5,
            "category_id": 3,
            "bbox": [1, 0, 2, 2],
            "segmentation": {"size": [2, 3], "counts": COMPRESSED},
        },
    ],
}


def write(folder: Path, content: Any) -> Path:
    path = folder / "gt.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_as_standard_dicts(tmp_path: Path) -> None:
    first, second = load_coco_instances(write(tmp_path, CONTENT), tmp_path)
    assert (first["image_id"], second["image_id"], second["annotations"]) == (5, 2, [])
    polygons, crowd, compressed = first["annotations"]
    assert polygons["category_id"] == 1  # id 3 comes before id 9
    assert polygons["segmentation"] == [[0, 0, 2, 0, 2, 2]]  # two corners are no polygon
    assert (crowd["iscrowd"], compressed["iscrowd"], compressed["category_id"]) == (1, 0, 0)
    for annotation in (crowd, compressed):
        np.testing.assert_array_equal(mask_util.decode(annotation["segmentation"]), MASK)


def test_the_same_instances_as_detectron2s_loader(tmp_path: Path) -> None:
    path = write(tmp_path, CONTENT)
    ours = {r["image_id"]: r for r in load_coco_instances(path, tmp_path)}
    theirs = load_coco_json(str(path), str(tmp_path), "coco_reader_reference")
    assert len(theirs) == len(ours)
    for record in theirs:
        mine = ours[record["image_id"]]
        assert mine["file_name"] == record["file_name"]
        for a, b in zip(mine["annotations"], record["annotations"], strict=True):
            assert a["category_id"] == b["category_id"]
            assert a["bbox"] == b["bbox"]
            assert a["iscrowd"] == b.get("iscrowd", 0)
            if isinstance(b["segmentation"], dict):
                np.testing.assert_array_equal(
                    mask_util.decode(a["segmentation"]), mask_util.decode(b["segmentation"])
                )
            else:
                assert a["segmentation"] == b["segmentation"]


@pytest.mark.parametrize("seed", range(20))
def test_every_encoding_of_pycocotools_is_accepted(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 200, 2)
    mask = np.asfortranarray(generator.random((height, width)) < generator.random())
    rle = mask_util.encode(mask.astype(np.uint8))
    content = copy.deepcopy(CONTENT)
    content["images"][0] |= {"height": int(height), "width": int(width)}
    content["annotations"] = content["annotations"][2:]
    content["annotations"][0]["segmentation"] = {
        "size": [int(height), int(width)],
        "counts": rle["counts"].decode(),
    }
    record, _ = load_coco_instances(write(tmp_path, content), tmp_path)
    decoded = mask_util.decode(record["annotations"][0]["segmentation"])
    np.testing.assert_array_equal(decoded, mask)


def broken(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """CONTENT with one value replaced, or removed where `value` is ...."""
    content = copy.deepcopy(CONTENT)
    node: Any = content
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ([1], "not COCO"),
        ({"images": []}, "no list 'categories'"),
        (broken(("images", 1), 7), "images[1] is not an object"),
        (broken(("images", 1, "file_name"), ...), "images[1] has no 'file_name'"),
        (broken(("images", 1, "height"), "2"), "images[1]: 'height'"),
        (broken(("images", 1, "height"), 0), "images[1] has the size"),
        (broken(("images", 1, "height"), 2.5), "images[1] has the size"),
        (broken(("images", 1, "height"), 10**400), "images[1] has the size"),
        (
            broken(("images", 1, "height"), 10**6 + 1),
            "x 1000001; sides are whole numbers of pixels from 1 to 1,000,000",
        ),
        (broken(("images", 1, "id"), "b"), "images[1] has the id 'b', images[0] 5"),
        (broken(("images", 1, "id"), 5), "images[1] uses id 5 again"),
        (broken(("categories",), []), "has no categories"),
        (broken(("categories", 1, "id"), 9), "categories[1] uses id 9 again"),
        (broken(("annotations", 0, "image_id"), 77), "annotations[0]: no image has the id 77"),
        (broken(("annotations", 0, "category_id"), 4), "annotations[0]: no category"),
        (broken(("annotations", 1, "bbox"), [1, 2, 3]), "annotations[1]: 'bbox'"),
        (broken(("annotations", 1, "bbox"), [1, 2, 3, "4"]), "annotations[1]: 'bbox'"),
        (broken(("annotations", 1, "bbox"), [1, 2, 3, 10**400]), "annotations[1]: 'bbox'"),
        (broken(("annotations", 1, "iscrowd"), "no"), "annotations[1]: 'iscrowd' is 'no'"),
        (broken(("annotations", 1, "area"), "big"), "annotations[1]: 'area' is 'big'"),
        (broken(("annotations", 1, "area"), -1), "annotations[1]: 'area' is -1; it must be"),
        (broken(("annotations", 1, "area"), True), "annotations[1]: 'area' is True; it must be"),
        (broken(("annotations", 1, "area"), math.nan), "annotations[1]: 'area' is nan; it must be"),
        (broken(("annotations", 1, "area"), math.inf), "annotations[1]: 'area' is inf; it must be"),
        (broken(("annotations", 1, "area"), 10**400), "annotations[1]: 'area' is 1000"),
        (
            broken(("annotations", 0, "segmentation"), [[0, 0, 1e9, 0, 9, 9]]),
            "annotations[0]: 'segm",
        ),
        (
            # Six times a million pixels there and back again, which take memory to draw.
            broken(("annotations", 0, "segmentation"), [[0, 0, 10**6, 0] * 6]),
            "annotations[0]: the polygons of its 'segmentation' are 12,000,000 pixels long",
        ),
        (broken(("annotations", 1, "segmentation", "size"), None), "has the size None"),
        (broken(("annotations", 1, "segmentation", "size"), 3), "has the size 3"),
        (broken(("annotations", 0, "segmentation"), ...), "annotations[0] has no 'segmentation'"),
        (broken(("annotations", 0, "segmentation"), [[1, 2, 3]]), "annotations[0]: 'segm"),
        (broken(("annotations", 1, "segmentation", "size"), [3, 2]), "has the size [3, 2]"),
        (broken(("annotations", 1, "segmentation", "counts"), [2, 9]), "'counts'"),
        (broken(("annotations", 1, "segmentation", "counts"), [7, -1]), "'counts'"),
        (broken(("annotations", 1, "segmentation", "counts"), [2.5, 3.5]), "'counts'"),
        (broken(("annotations", 1, "segmentation", "counts"), [5, True]), "'counts'"),
        (broken(("annotations", 2, "segmentation", "counts"), "ooooooo"), "'counts'"),
        (broken(("annotations", 2, "segmentation", "counts"), "\u2603"), "'counts'"),
        (broken(("images", 0, "file_name"), "../../etc/passwd"), "outside of"),
        (broken(("images", 0, "file_name"), ""), "outside of"),
        (broken(("images", 0, "file_name"), "a\0b"), "outside of"),
        (broken(("images", 0, "file_name"), "/etc/passwd"), "outside of"),
        (broken(("images", 0, "file_name"), "\ud800.jpg"), "which no file can be called"),
        (broken(("images",), []) | {"annotations": []}, "lists no images"),
    ],
)
def test_a_refusal_names_the_entry(tmp_path: Path, content: Any, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_coco_instances(path, tmp_path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_what_tools_write_besides_the_standard_is_read(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["images"][0] |= {"height": 2.0, "width": 3.0}
    content["annotations"][0] |= {"iscrowd": None, "area": None}
    path = tmp_path / "gt.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    first, _ = load_coco_instances(path, tmp_path)
    assert (first["height"], first["width"]) == (2, 3)
    assert isinstance(first["height"], int)
    assert first["annotations"][0]["iscrowd"] == 0


def test_what_has_no_polygon_of_three_corners_is_counted(tmp_path: Path, caplog) -> None:
    content = copy.deepcopy(CONTENT)
    content["annotations"][0]["segmentation"] = [[0, 0, 2, 2]]
    content["annotations"][1]["segmentation"] = []
    first, _ = load_coco_instances(write(tmp_path, content), tmp_path)
    assert len(first["annotations"]) == 1
    (message,) = caplog.messages
    assert "2 annotations without a polygon of three corners left out" in message
    assert "such as annotations[0]" in message


def test_images_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "originals").mkdir()
    (tmp_path / "originals" / "a.jpg").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").symlink_to(tmp_path / "originals" / "a.jpg")
    first, _ = load_coco_instances(write(tmp_path, CONTENT), tmp_path / "images")
    assert first["file_name"] == str(tmp_path / "images" / "a.jpg")
