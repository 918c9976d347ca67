"""Panoptic data that several of these modules read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segtron.data.toytown import make_toytown

# Two dogs, a crowd of cats, trees, sky and void; ids that need one, two and three bytes.
PANOPTIC_IDS = np.array(
    [
        [1, 1, 0, 0, 2, 2],
        [1, 1, 0, 300, 2, 2],
        [9, 9, 9, 300, 300, 9],
        [9, 9, 9, 9, 70000, 70000],
    ]
)
# Ids neither in order nor contiguous, things and stuff mixed.
PANOPTIC_CONTENT: dict[str, Any] = {
    "images": [
        {"id": 12, "file_name": "a.jpg", "height": 4, "width": 6},
        {"id": 5, "file_name": "b.jpg", "height": 4, "width": 6},
    ],
    "annotations": [
        {"image_id": 5, "file_name": "b.png", "segments_info": []},
        {
            "image_id": 12,
            "file_name": "a.png",
            "segments_info": [
                {"id": 9, "category_id": 7, "area": 8, "bbox": [0, 2, 6, 2], "iscrowd": 0},
                {"id": 1, "category_id": 3, "area": 4, "bbox": [0, 0, 2, 2], "iscrowd": 0},
                {"id": 300, "category_id": 90, "area": 3, "bbox": [3, 1, 2, 2], "iscrowd": 1},
                {"id": 2, "category_id": 3, "area": 4, "bbox": [4, 0, 2, 2], "iscrowd": 0},
                {"id": 70000, "category_id": 40, "area": 2, "bbox": [4, 3, 2, 1], "iscrowd": 0},
            ],
        },
    ],
    "categories": [
        {"id": 7, "name": "tree", "isthing": 0, "color": [0, 90, 0]},
        {"id": 90, "name": "cat", "isthing": 1, "color": [9, 9, 9]},
        {"id": 3, "name": "dog", "isthing": 1, "color": [200, 0, 0]},
        {"id": 40, "name": "sky", "isthing": 0, "color": [0, 0, 255]},
    ],
}


def save_colors(path: Path, ids: np.ndarray) -> Path:
    """A panoptic PNG, written byte by byte as the format says."""
    colors = [[[i % 256, i // 256 % 256, i // 65536] for i in row] for row in ids.tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(colors, np.uint8)).save(path)
    return path


@pytest.fixture
def panoptic_content() -> dict[str, Any]:
    """The JSON of `panoptic_folder`."""
    return copy.deepcopy(PANOPTIC_CONTENT)


@pytest.fixture
def panoptic_ids() -> np.ndarray:
    """The segments of a.jpg in `panoptic_folder`."""
    return PANOPTIC_IDS.copy()


@pytest.fixture
def panoptic_folder(tmp_path: Path, panoptic_content: dict[str, Any]) -> Path:
    """A small set in COCO's panoptic format: gt.json, `panoptic` and `images`."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    for name, ids in (("a", PANOPTIC_IDS), ("b", np.zeros_like(PANOPTIC_IDS))):
        save_colors(folder / "panoptic" / f"{name}.png", ids)
        Image.fromarray(np.full((*ids.shape, 3), 50, np.uint8)).save(folder / f"images/{name}.jpg")
    (folder / "gt.json").write_text(json.dumps(panoptic_content))
    return folder


@pytest.fixture(scope="session")
def small_toytown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toytown that no test changes."""
    root = tmp_path_factory.mktemp("panoptic") / "toytown"
    make_toytown(root, train=4, val=4, size=(96, 192), seed=3, workers=1, progress=False)
    return root
