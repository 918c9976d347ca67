"""What has one right answer is mended, and nothing else."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from pycocotools import mask as mask_util

from segtron.data.checks.check import check
from segtron.data.checks.coco_file import CocoFile
from segtron.data.checks.mend import mend, mend_and_check
from segtron.data.checks.sources import sets_of_paths
from segtron.errors import UserError

from .conftest import DISC, HEIGHT, SQUARE, WIDTH, annotation, codes, run_lengths
from .test_geometry import BOW_TIE


@pytest.fixture
def mended(folder, run):
    """Check, mend, and check again: the changes, the new content and what is left."""

    def run_mend(content):
        found = run(content)
        path = folder / "annotations.json"
        before = path.read_bytes()
        [source] = sets_of_paths([path])
        again, changes = mend_and_check(source, found.pictures, folder / "mended.json")
        assert path.read_bytes() == before
        assert codes(check(sets_of_paths([folder / "mended.json"]))) == codes(again)
        new = json.loads((folder / "mended.json").read_text())
        return [change.code for change in changes], new, codes(again)

    return run_mend


def test_a_good_file_stays_as_it_is(mended, content):
    content["info"] = {"year": float("inf"), "name": "ä\ud800"}
    changes, new, left = mended(content)
    assert changes == [] and new == content and left == {}


@pytest.mark.parametrize(
    ("fields", "codes_mended", "bbox", "area"),
    [
        ({"bbox": [5, 5, 30, 30]}, ["box-off"], [10, 10, 10, 10], 100),
        ({"bbox": [10, 10, 20, 20]}, ["box-corners"], [10, 10, 10, 10], 100),
        ({"bbox": None}, ["box-value"], [10, 10, 10, 10], 100),
        ({"bbox": [10, 10, 0, 0]}, ["box-empty"], [10, 10, 10, 10], 100),
        ({"bbox": [10, 10, 70, 10]}, ["box-outside", "box-off"], [10, 10, 10, 10], 100),
        ({"area": 3}, ["area-wrong"], [10, 10, 10, 10], 100),
        ({"area": "much"}, ["area-value"], [10, 10, 10, 10], 100),
        ({"area": None}, ["area-missing"], [10, 10, 10, 10], 100),
    ],
)
def test_boxes_and_areas(mended, content, fields, codes_mended, bbox, area):
    content["annotations"][0] |= fields
    changes, new, left = mended(content)
    assert sorted(changes) == sorted(codes_mended)
    assert new["annotations"][0]["bbox"] == bbox and new["annotations"][0]["area"] == area
    assert left == {}
    assert new["annotations"][1:] == content["annotations"][1:]


@pytest.mark.parametrize(
    "polygons",
    [
        [[50, 10, 80, 10, 80, 20, 50, 20]],
        [[-20, -20, 90, -20, 90, 90, -20, 90]],
        # Clipped, it falls into two.
        [[70, 5, 50, 5, 50, 10, 65, 10, 65, 20, 50, 20, 50, 25, 70, 25]],
        [[40, 30, 80, 60, 80, 30, 40, 60]],  # crosses itself
        [SQUARE[0], [55, 30, 100, 30, 100, 39, 55, 39]],
    ],
)
def test_clipped_polygons_have_the_same_pixels(mended, content, polygons):
    content["annotations"][0]["segmentation"] = polygons
    changes, new, left = mended(content)
    assert "polygon-outside" in changes
    assert not {"polygon-outside", "box-off", "box-outside", "area-wrong"} & set(left)

    def draw(segmentation):
        rle = mask_util.frPyObjects(segmentation, HEIGHT, WIDTH)
        return mask_util.decode(mask_util.merge(rle) if isinstance(rle, list) else rle) > 0

    after = new["annotations"][0]["segmentation"]
    was = draw(polygons)
    now = draw(after) if isinstance(after, list) else mask_util.decode(after) > 0
    # pycocotools rounds new corners on the border anew.
    assert (was != now).sum() <= 0.02 * was.sum()
    x, y, width, height = new["annotations"][0]["bbox"]
    assert x >= 0 and y >= 0 and x + width <= WIDTH and y + height <= HEIGHT


def test_empty_repeated_and_short_ones(mended, content):
    content["annotations"] += [
        annotation(10, 7, 1),
        annotation(11, 7, 1, segmentation=[]),
        annotation(12, 7, 1, segmentation=[[70, 5, 80, 5, 80, 9]]),
        annotation(13, 8, 1, segmentation=[SQUARE[0], [3, 3, 4, 4]]),
    ]
    changes, new, left = mended(content)
    assert sorted(changes) == ["mask-empty"] * 2 + ["object-repeated", "polygon-short"]
    assert [entry["id"] for entry in new["annotations"]] == [1, 2, 3, 4, 13]
    assert new["annotations"][4]["segmentation"] == SQUARE
    assert left == {}


def test_crowds_become_run_lengths(mended, content):
    content["annotations"][2]["iscrowd"] = 1
    content["annotations"][1]["iscrowd"] = "0"
    del content["annotations"][0]["iscrowd"]
    changes, new, left = mended(content)
    assert sorted(changes) == ["crowd-missing", "crowd-polygons", "crowd-value"]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:20, 10:20] = True
    assert new["annotations"][2]["segmentation"] == run_lengths(mask)
    assert [entry["iscrowd"] for entry in new["annotations"]] == [0, 0, 1, 1]
    assert left == {"image-empty": 1}


def test_ids(mended, content):
    content["annotations"][1]["id"] = 1
    content["annotations"][2]["id"] = "x"
    content["annotations"][3]["image_id"] = "8"
    content["annotations"][0]["category_id"] = "1"
    content["categories"][1]["id"] = 2.0
    content["images"][1]["id"] = "8"
    _, new, left = mended(content)
    assert [entry["id"] for entry in new["annotations"]] == [1, 5, 6, 4]
    assert [entry["image_id"] for entry in new["annotations"]] == [7, 7, 8, 8]
    assert [entry["id"] for entry in new["images"]] == [7, 8]
    assert left == {}


def test_ids_of_images_that_are_no_numbers_become_text(mended, content):
    content["images"][0]["id"] = "seven"
    for entry in content["annotations"][:2]:
        entry["image_id"] = "seven"
    _, new, left = mended(content)
    assert [entry["id"] for entry in new["images"]] == ["seven", "8"]
    assert [entry["image_id"] for entry in new["annotations"]] == ["seven", "seven", "8", "8"]
    assert left == {}


def test_ids_that_would_become_one_stay_apart(mended, content):
    content["images"][1]["id"] = "7"
    for entry in content["annotations"][2:]:
        entry["image_id"] = "7"
    changes, new, left = mended(content)
    assert changes == [] and new == content and left == {"id-type": 1}


def test_sizes(mended, content):
    content["images"][0]["height"] = "tall"
    del content["images"][1]["width"]
    changes, new, left = mended(content)
    assert changes == ["size-value"] * 2 and left == {}
    assert [(i["height"], i["width"]) for i in new["images"]] == [(HEIGHT, WIDTH)] * 2


@pytest.mark.parametrize(
    ("size", "polygon", "is_mended"),
    [
        # Beyond the stated size, within the picture's.
        ((WIDTH, HEIGHT), [42, 5, 58, 5, 58, 20], True),
        # The picture may have been made larger since.
        ((20, 30), [10, 5, 20, 5, 20, 15], False),
        # It fits neither.
        ((20, 30), [10, 5, 90, 5, 90, 15], False),
    ],
)
def test_sizes_that_disagree(mended, content, size, polygon, is_mended):
    content["images"][0] |= {"height": size[0], "width": size[1]}
    content["annotations"] = [
        annotation(1, 7, 1, segmentation=[polygon]),
        *content["annotations"][2:],
    ]
    changes, new, left = mended(content)
    assert ("image-size" in changes) == is_mended
    assert ("image-size" in left) == (not is_mended)
    after = (HEIGHT, WIDTH) if is_mended else size
    assert (new["images"][0]["height"], new["images"][0]["width"]) == after


def test_run_lengths_speak_for_their_size(mended, content):
    wrong = copy.deepcopy(content)
    wrong["images"][0] |= {"height": 20, "width": 30}
    wrong["annotations"][0]["segmentation"] = run_lengths(DISC)
    _, new, left = mended(wrong)
    assert new["images"] == content["images"] and left == {}
    # Where they are for the stated size they stay.
    wrong = copy.deepcopy(content)
    wrong["images"][0] |= {"height": 20, "width": 30}
    small = np.zeros((20, 30), bool)
    small[5:10, 5:10] = True
    wrong["annotations"][1]["segmentation"] = run_lengths(small)
    _, new, left = mended(wrong)
    assert new["images"] == wrong["images"] and left == {"image-size": 1}


def test_what_has_no_one_answer_stays(mended, content):
    content["annotations"][0]["category_id"] = 99
    content["annotations"][2]["image_id"] = 99
    content["annotations"][1]["segmentation"]["counts"] = "@@"
    content["annotations"].append(annotation(9, 8, 1, segmentation=BOW_TIE, area=50))
    content["images"].append({"id": 9, "file_name": "gone.png", "height": 4, "width": 4})
    changes, new, left = mended(content)
    assert changes == [] and new == content
    assert set(left) == {
        "unknown-category", "unknown-image", "rle-counts", "polygon-crossing", "image-missing",
        "image-empty",
    }  # fmt: skip


def test_files_without_a_json_object(folder, run):
    run("[1, 2")
    with pytest.raises(UserError, match="nothing of it can be mended"):
        mend(CocoFile(folder / "annotations.json", None), {})
