"""Panoptic JSON against its PNGs, on a map drawn by hand (tests/data/conftest.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.data.checks.check import check
from segtron.data.checks.coco_file import CocoFile
from segtron.data.checks.mend import mend, write_mended
from segtron.data.checks.sources import sets_of_paths

from .conftest import codes, entries

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def run_panoptic(panoptic_folder, panoptic_content):
    """Check the set with a changed content."""

    def run_check(change=None, with_pixels=True):
        if change is not None:
            change(panoptic_content, panoptic_content["annotations"][1]["segments_info"])
        path = panoptic_folder / "gt.json"
        path.write_text(json.dumps(panoptic_content))
        return check(sets_of_paths([path]), with_pixels=with_pixels)

    return run_check


# The set's ids have gaps, and its two pictures are one.
USUAL = {"class-gap", "file-repeated"}


def without_notes(found):
    return {code: n for code, n in codes(found).items() if code not in USUAL}


def test_nothing_is_wrong(run_panoptic):
    found = run_panoptic()
    assert found.sets[0].kind == "panoptic"
    assert found.sets[0].summary == "2 images, 5 segments, 4 classes"
    assert without_notes(found) == {}


def test_objects_are_the_segments(run_panoptic, panoptic_ids):
    objects = run_panoptic().sets[0].objects
    assert dict(zip(objects.areas, objects.boxes.tolist(), strict=True))[8] == [0, 2, 6, 4]
    for row in range(5):
        mask = objects.masks.read(row)
        assert mask.sum() == objects.areas[row]
        assert len(np.unique(panoptic_ids[mask])) == 1
    assert objects.is_crowd.sum() == 1


def set_segment(place, **fields):
    return lambda content, segments: segments[place].update(fields)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_segment(0, area=9), {"segment-area": 1}),
        (set_segment(0, area="8"), {"segment-area": 1}),
        (set_segment(0, area=None), {}),
        (set_segment(0, bbox=[0, 0, 6, 2]), {"segment-box": 1}),
        (set_segment(0, bbox="wide"), {"segment-box": 1}),
        (set_segment(0, id=10), {"segment-empty": 1, "segment-unlisted": 1}),
        (set_segment(0, id=0), {"segment-id": 1, "class-unused": 1}),
        (set_segment(0, id=2**24), {"segment-id": 1, "class-unused": 1}),
        (set_segment(3, id=1), {"segment-id": 1}),
        (set_segment(0, category_id=5), {"unknown-category": 1, "class-unused": 1}),
        (set_segment(0, iscrowd=1), {"crowd-stuff": 1}),
        (set_segment(1, iscrowd=2), {"crowd-value": 1}),
        (lambda c, s: s.pop(3), {"segment-unlisted": 1}),
        (lambda c, s: s.append(5), {"entry-type": 1}),
        (lambda c, s: c["annotations"].pop(0), {"annotation-missing": 1}),
        (lambda c, s: c["annotations"].append(c["annotations"][0]), {"annotation-repeated": 1}),
        (lambda c, s: c["categories"][0].update(isthing=2), {"isthing-value": 1}),
        (lambda c, s: c["categories"][0].pop("isthing"), {"field-missing": 1}),
        (lambda c, s: c["categories"][0].update(name="dog"), {"class-repeated": 1}),
        (lambda c, s: c["annotations"][1].update(file_name="x.png"), {"png-missing": 1}),
        (lambda c, s: c["annotations"][1].update(file_name="../images/a.jpg"), {"file-name": 1}),
        (lambda c, s: c["annotations"][1].pop("segments_info"), {"field-missing": 1, "unused": 0}),
        (lambda c, s: c["images"][0].update(height=5), {"png-size": 1, "image-size": 1}),
    ],
)
def test_each_mistake(run_panoptic, change, expected):
    found = without_notes(run_panoptic(change))
    if "unused" in expected:
        found.pop("class-unused")
    assert found == {code: n for code, n in expected.items() if n}


def test_pngs_that_are_none(run_panoptic, panoptic_folder):
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(panoptic_folder / "panoptic" / "a.png")
    assert without_notes(run_panoptic()) == {"png-unreadable": 1}
    (panoptic_folder / "panoptic" / "a.png").write_bytes(b"no picture")
    assert without_notes(run_panoptic()) == {"png-unreadable": 1}


def test_without_the_folder_of_pngs(run_panoptic, panoptic_folder):
    (panoptic_folder / "panoptic").rename(panoptic_folder / "elsewhere")
    assert without_notes(run_panoptic()) == {"png-folder": 1}
    assert without_notes(run_panoptic(with_pixels=False)) == {}


def test_more_classes_than_maps_hold(run_panoptic):
    def add(content, _):
        content["categories"] += [
            {"id": 1000 + i, "name": f"c{i}", "isthing": 1} for i in range(252)
        ]

    found = without_notes(run_panoptic(add))
    assert found == {"class-many": 1, "class-unused": 252}


def test_mending(run_panoptic, panoptic_folder):
    def change(content, segments):
        segments[0] |= {"area": 100, "bbox": [0, 0, 1, 1]}
        segments.append({"id": 55, "category_id": 3, "area": 4})
        segments[1]["category_id"] = "3"

    found = run_panoptic(change)
    path, out = panoptic_folder / "gt.json", panoptic_folder / "mended.json"
    before = path.read_bytes()
    folder = panoptic_folder / "panoptic"
    mended = mend(CocoFile(path, None, panoptic_dir=folder), found.pictures)
    write_mended(out, mended)
    assert path.read_bytes() == before
    assert [str(change) for change in mended.changes] == [
        "id-type: annotations[1]: segments_info[1]: 'category_id' '3' is now 3",
        "segment-area: annotations[1] (a.png): segment 9: 'area' 100 is now 8",
        "segment-box: annotations[1] (a.png): segment 9: 'bbox' [0, 0, 1, 1] is now [0, 2, 6, 2]",
        "segment-empty: annotations[1] (a.png): segment 55: removed",
    ]
    assert without_notes(check(sets_of_paths([out], None, folder))) == {}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the photographs in ../shared/data")
def test_real_sets_have_no_errors():
    pairs = [("coco_panoptic", "panoptic_train", "panoptic_val")]
    pairs += [("fruitsnuts", "train", "val"), ("nuclei", "val")]
    for name, *files in pairs:
        paths = [SHARED / name / f"{file}.json" for file in files]
        found = check(sets_of_paths(paths))
        kinds = {code for code in codes(found) if code not in ("class-unused", "class-untrained")}
        assert kinds <= {"class-gap"}, (name, entries(found, kinds.pop()))
