"""Whatever a file holds: no traceback, and what the reader refuses is an error of its own code."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from segtron.data.checks.check import check
from segtron.data.checks.coco_file import CocoFile
from segtron.data.checks.codes import CODES, Severity
from segtron.data.checks.mend import mend, write_mended
from segtron.data.checks.report import as_json, as_text
from segtron.data.checks.sources import sets_of_paths
from segtron.data.coco import load_coco_instances
from segtron.data.coco_panoptic import load_coco_panoptic
from segtron.data.panoptic import read_pan_seg
from segtron.data.panoptic_png import write_panoptic_png
from segtron.errors import UserError

from .conftest import HEIGHT, WIDTH, good_content, picture
from .mutations import mutate

# In each of 6 parts: more than 500 files together.
SEEDS = 85
# What is mended without exception, so that a mended file has none of it.
ALWAYS_MENDED = {
    "annotation-id-repeated", "annotation-id-missing", "crowd-missing", "mask-empty",
    "object-repeated", "polygon-short", "polygon-outside", "crowd-polygons",
}  # fmt: skip
# What a file may have once empty objects are removed.
EMPTIER = {"class-unused", "image-empty", "no-annotations", "crowd-only"}


def is_refused(read, *args) -> bool:
    try:
        read(*args)
    except UserError:
        return True
    return False


def assert_reported(found, tmp_path: Path) -> None:
    as_text(found).encode()
    (tmp_path / "report.json").write_text(json.dumps(as_json(found)), encoding="utf-8")


@pytest.mark.parametrize("part", range(4))
def test_instances(folder, tmp_path, part):
    path, images = folder / "annotations.json", folder / "images"
    accepted = refused = mended_cleaner = 0
    for seed in range(part * SEEDS, (part + 1) * SEEDS):
        path.write_text(mutate(good_content(), random.Random(seed)))
        found = check(sets_of_paths([path], images))
        assert_reported(found, tmp_path)
        kinds = set(found.problems.counts)
        errors = {code for code in kinds if CODES[code].severity is Severity.ERROR}
        assert "reader-refuses" not in kinds, (seed, as_text(found))
        if is_refused(load_coco_instances, path, images):
            refused += 1
            assert errors, seed
        else:
            accepted += 1
        if not kinds & {"not-json", "not-coco"}:
            source = CocoFile(path, None, images)
            out = tmp_path / "mended.json"
            write_mended(out, mend(source, found.pictures))
            again = check(sets_of_paths([out], images))
            assert not set(again.problems.counts) & ALWAYS_MENDED, (seed, as_text(again))
            mended_cleaner += again.problems.counts.total() < found.problems.counts.total()
            new = set(again.problems.counts) - kinds - EMPTIER
            # What is not looked at in an image that has no size or no id comes to light.
            assert not new or kinds & {"id-type", "size-value", "image-size"}, (
                seed, as_text(found), as_text(again),
            )  # fmt: skip
            assert "id-repeated" not in new
    assert accepted >= 5 and refused > 20 and mended_cleaner > 5


@pytest.fixture
def panoptic_set(tmp_path) -> tuple[Path, dict]:
    """panoptic.json, panoptic/ and images/ of two images."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[5:20, 5:30], ids[20:] = 300, 7
    (tmp_path / "images").mkdir()
    annotations = []
    for number, name in ((1, "a"), (2, "b")):
        picture(number).save(tmp_path / "images" / f"{name}.png")
        write_panoptic_png(tmp_path / "panoptic" / f"{name}.png", ids)
        segments = [
            {"id": 300, "category_id": 1, "area": 375, "bbox": [5, 5, 25, 15], "iscrowd": 0},
            {"id": 7, "category_id": 4, "area": 1200, "bbox": [0, 20, 60, 20], "iscrowd": 0},
        ]
        annotations.append(
            {"image_id": number, "file_name": f"{name}.png", "segments_info": segments}
        )
    content = {
        "images": [
            {"id": i, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH}
            for i, n in ((1, "a"), (2, "b"))
        ],
        "annotations": annotations,
        "categories": [
            {"id": 1, "name": "dog", "isthing": 1},
            {"id": 4, "name": "grass", "isthing": 0},
        ],
    }
    return tmp_path / "panoptic.json", content


@pytest.mark.parametrize("part", range(2))
def test_panoptic(panoptic_set, tmp_path, part):
    path, content = panoptic_set
    images, pngs = tmp_path / "images", tmp_path / "panoptic"

    def read_all() -> None:
        for record in load_coco_panoptic(path, pngs, images):
            read_pan_seg(record)

    accepted = refused = 0
    for seed in range(part * SEEDS, (part + 1) * SEEDS):
        path.write_text(mutate(content, random.Random(1000 + seed)))
        found = check(sets_of_paths([path], images, pngs))
        assert_reported(found, tmp_path)
        kinds = set(found.problems.counts)
        assert "reader-refuses" not in kinds, (seed, as_text(found))
        if found.sets[0].kind != "panoptic":
            continue
        errors = {code for code in kinds if CODES[code].severity is Severity.ERROR}
        if is_refused(read_all):
            refused += 1
            assert errors, (seed, as_text(found))
        else:
            accepted += 1
        if not kinds & {"not-json", "not-coco"}:
            out = tmp_path / "mended.json"
            write_mended(out, mend(CocoFile(path, None, images, pngs), found.pictures))
            again = check(sets_of_paths([out], images, pngs))
            left = set(again.problems.counts)
            assert not left & {"segment-area", "segment-box", "segment-empty"}, seed
    assert accepted > 5 and refused > 20
