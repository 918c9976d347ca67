"""Panoptic sets under Detectron2's names: its metadata, read by Segtron."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import cityscapes_panoptic
from detectron2.data.datasets.builtin_meta import (
    CITYSCAPES_CATEGORIES,
    COCO_CATEGORIES,
    _get_builtin_metadata,
)
from PIL import Image

from segtron.data.catalog import datasets_root
from segtron.data.panoptic import read_pan_seg


@pytest.fixture
def detectron2_metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What Detectron2's own registration says of its two sets."""
    said: dict[str, dict[str, Any]] = {}

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def set(self, **metadata: Any) -> None:
            said[self.name] = metadata

    class Catalog:
        register = staticmethod(lambda name, load: None)
        get = staticmethod(Recorder)

    monkeypatch.setattr(cityscapes_panoptic, "MetadataCatalog", Catalog)
    monkeypatch.setattr(cityscapes_panoptic, "DatasetCatalog", Catalog)
    cityscapes_panoptic.register_all_cityscapes_panoptic(str(datasets_root()))
    return said


@pytest.mark.parametrize("split", ["train", "val"])
def test_cityscapes_metadata_is_detectron2s(
    detectron2_metadata: dict[str, dict[str, Any]], split: str
) -> None:
    ours = MetadataCatalog.get(f"cityscapes_fine_panoptic_{split}").as_dict()
    theirs = detectron2_metadata[f"cityscapes_fine_panoptic_{split}"]
    for key in ("thing_colors", "stuff_colors"):
        theirs[key] = [tuple(color) for color in theirs[key]]
    assert {key: ours.get(key) for key in theirs} == theirs
    names = [category["name"] for category in CITYSCAPES_CATEGORIES]
    assert ours["thing_classes"] == ours["stuff_classes"] == names
    assert ours["stuff_dataset_id_to_contiguous_id"][7] == 0
    assert ours["thing_dataset_id_to_contiguous_id"][33] == 18
    toytown = MetadataCatalog.get(f"toytown_panoptic_{split}").as_dict()
    for key in ("evaluator_type", "thing_classes", "thing_dataset_id_to_contiguous_id"):
        assert toytown[key] == ours[key]


def test_there_is_no_panoptic_test_set() -> None:
    assert not [name for name in DatasetCatalog.list() if name.endswith("panoptic_test")]


def test_toytown_is_read_below_the_root(
    small_toytown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(small_toytown.parent))
    records = DatasetCatalog.get("toytown_panoptic_val")
    assert len(records) == 4
    assert all(read_pan_seg(record).any() for record in records)


def test_cocos_metadata_is_detectron2s() -> None:
    expected = _get_builtin_metadata("coco_panoptic_standard")
    for name in ("coco_2017_train_panoptic", "coco_2017_val_panoptic"):
        metadata = MetadataCatalog.get(name).as_dict()
        assert {key: metadata[key] for key in expected} == expected
        assert metadata["evaluator_type"] == "coco_panoptic_seg"
        assert (metadata["label_divisor"], metadata["ignore_label"]) == (1000, 255)


READ_COCO = """
import segtron
from detectron2.data import DatasetCatalog
from segtron.data.panoptic import read_pan_seg
(record,) = DatasetCatalog.get("coco_2017_val_panoptic")
print([(s["category_id"], s.get("thing_category_id")) for s in record["segments_info"]])
print(record["image_id"], record["file_name"], read_pan_seg(record).tolist())
"""


def test_cocos_files_are_read_below_the_root(tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    for folder in ("annotations", "panoptic_val2017", "val2017"):
        (coco / folder).mkdir(parents=True)
    segments = [
        {"id": 258, "category_id": 90, "area": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0},
        {"id": 3, "category_id": 92, "area": 1, "bbox": [1, 0, 1, 1], "iscrowd": 0},
    ]
    content = {
        "images": [{"id": 139, "file_name": "000000000139.jpg", "height": 1, "width": 3}],
        "annotations": [
            {"image_id": 139, "file_name": "000000000139.png", "segments_info": segments}
        ],
        "categories": COCO_CATEGORIES,
    }
    (coco / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))
    pixels = np.array([[[2, 1, 0], [3, 0, 0], [0, 0, 0]]], np.uint8)
    Image.fromarray(pixels).save(coco / "panoptic_val2017" / "000000000139.png")
    Image.fromarray(pixels).save(coco / "val2017" / "000000000139.jpg")
    # Detectron2 asks for the root when it is imported.
    done = subprocess.run(
        [sys.executable, "-c", READ_COCO],
        env=os.environ | {"DETECTRON2_DATASETS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    classes, record = done.stdout.splitlines()
    # Of 80 things the last, the toothbrush; of the stuff that follows them the first, the banner.
    assert classes == "[(79, 79), (80, None)]"
    assert record == f"139 {coco / 'val2017' / '000000000139.jpg'} [[258, 3, 0]]"
