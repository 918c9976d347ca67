"""Fixtures for pictures of semantic and panoptic segmentation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segtron.data.panoptic_png import write_panoptic_png
from segtron.evaluation.label_files import label_file


@pytest.fixture
def semantic_run(tmp_path) -> Path:
    """A scored run on a set of two images, 96 x 64, with classes of the values 3 and 7.

    The left halves are 3, the right halves 7, the upper eight rows ignored. In b.png all is
    predicted right, in a.png all is taken for 3.
    """
    folder = tmp_path / "semantic_run"
    truth = np.full((64, 96), 3, np.uint8)
    truth[:, 48:] = 7
    truth[:8] = 255
    predicted = {"a": np.full((64, 96), 3, np.uint8), "b": np.where(truth == 255, 3, truth)}
    for name, labels in predicted.items():
        image = np.full((64, 96, 3), 100, np.uint8)
        for path, content in (
            (folder / "images" / f"{name}.png", image),
            (folder / "labels" / f"{name}.png", truth),
            (label_file(folder / "inference" / "fields", f"{name}.png"), labels),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
    entry = {"name": "fields", "type": "semantic", "images": "images", "labels": "labels"}
    entry |= {"classes": {3: "grass", 7: "cost in $"}, "palette": [[0, 200, 0], [0, 0, 200]]}
    config = {
        "DATASETS": {"REGISTER": [entry], "TRAIN": ["fields"], "TEST": ["fields"]},
        "INPUT": {"MIN_SIZE_TRAIN": [64], "MIN_SIZE_TEST": 64},
        "SEED": 1,
        "OUTPUT_DIR": str(folder),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


CATEGORIES = [
    {"id": 5, "name": "car", "isthing": 1, "color": [0, 0, 200]},
    {"id": 9, "name": "bus & $", "isthing": 1, "color": [200, 0, 0]},
    {"id": 11, "name": "road", "isthing": 0, "color": [0, 200, 0]},
]


def town(*segments):
    """A map of 64 rows and 96 columns, void in the upper eight rows and road below, and its list.

    Args:
        segments: id, category, x and y of the corner, width, and what else is in the list.
    """
    ids = np.full((64, 96), 11, np.int32)
    ids[:8] = 0
    infos = [{"id": 11, "category_id": 11}]
    for segment_id, category, x, y, width, more in segments:
        ids[y : y + 16, x : x + width] = segment_id
        infos.append({"id": segment_id, "category_id": category, **more})
    for info in infos:
        info["area"] = int((ids == info["id"]).sum())
    return ids, infos


TRUTH = town(
    (1, 5, 4, 12, 16, {}),
    (2, 5, 28, 12, 16, {}),
    (3, 5, 52, 12, 16, {}),
    (4, 5, 76, 12, 16, {}),
    (70000, 5, 4, 40, 16, {"iscrowd": 1}),
)
PREDICTION = town(
    (1, 5, 4, 12, 16, {"score": 0.9}),
    (2, 9, 52, 12, 16, {"score": 0.8}),
    (3, 5, 76, 12, 6, {"score": 0.7}),
    (4, 9, 52, 40, 16, {"score": 0.6}),
)


@pytest.fixture
def panoptic_run(tmp_path) -> Path:
    """A scored run on a set of two images, 96 x 64, whose predictions were saved.

    In a.png there are four cars in a row and a crowd. The first is found, the second missed, the
    third taken for a bus; of the fourth a part is found. Below the third a bus is invented. In
    b.png all is as it is there.
    """
    folder = tmp_path / "panoptic_run"
    for name, maps in (("truth", (TRUTH, TRUTH)), ("inference/town/panoptic", (PREDICTION, TRUTH))):
        annotations = []
        for image_id, stem, (ids, segments) in zip((31, 32), "ab", maps, strict=True):
            write_panoptic_png(folder / name / f"{stem}.png", ids)
            annotations.append(
                {"image_id": image_id, "file_name": f"{stem}.png", "segments_info": segments}
            )
        content = {
            "images": [
                {"id": 31 + i, "file_name": f"{stem}.png", "height": 64, "width": 96}
                for i, stem in enumerate("ab")
            ],
            "annotations": annotations,
            "categories": CATEGORIES,
        }
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "images").mkdir()
    for stem in "ab":
        Image.new("RGB", (96, 64), (100, 100, 100)).save(folder / "images" / f"{stem}.png")
    entry = {"name": "town", "type": "coco_panoptic", "json": "truth.json"}
    entry |= {"panoptic": "truth", "images": "images"}
    config = {
        "DATASETS": {"REGISTER": [entry], "TRAIN": ["town"], "TEST": ["town"]},
        "INPUT": {"MIN_SIZE_TRAIN": [64], "MIN_SIZE_TEST": 64},
        "SEED": 1,
        "OUTPUT_DIR": str(folder),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder
