"""Scenes whose images say which segment each pixel belongs to, with labels of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.panoptic import segment_classes

HEIGHT, WIDTH = 60, 80
KINDS = ("panoptic", "instances", "polygons", "semantic", "instances and classes")
# Of segments by turns: class 0 to 4 of pixels, and of a thing (2, 3) its class among things.
_KINDS = [
    {"category_id": 2, "isthing": True, "iscrowd": 0, "thing_category_id": 0},
    {"category_id": 0, "isthing": False, "iscrowd": 0},
    {"category_id": 3, "isthing": True, "iscrowd": 0, "thing_category_id": 1},
    {"category_id": 3, "isthing": True, "iscrowd": 1, "thing_category_id": 1},
    {"category_id": 2, "isthing": True, "iscrowd": 0, "thing_category_id": 0},
]
_BACKGROUND = {"category_id": 4, "isthing": False, "iscrowd": 0}


@dataclass(frozen=True)
class Scene:
    """Rectangles, one upon the other.

    Attributes:
        segments: in the order of `places`, which counts them from 1.
        places: (H, W), 0 in void.
        colors: (S + 1, 3) uint8, of void first; no two of all scenes are the same.
        records: a standard dict for each of `KINDS`.
    """

    segments: list[dict[str, Any]]
    places: np.ndarray
    colors: np.ndarray
    records: dict[str, dict[str, Any]]


def paint_scenes(folder: Path, number: int, *, many: int = 7) -> list[Scene]:
    """Make scenes and write their files."""
    generator = np.random.default_rng(number)
    # Far from each other and from the fill, which is grey.
    codes = generator.choice(6**3, number * (many + 2), replace=False)
    colors = np.stack([codes % 6, codes // 6 % 6, codes // 36], axis=1) * 47 + 5
    return [
        _paint(folder, index, generator, colors[index::number].astype(np.uint8), many)
        for index in range(number)
    ]


def _paint(
    folder: Path, index: int, generator: np.random.Generator, colors: np.ndarray, many: int
) -> Scene:
    places = np.ones((HEIGHT, WIDTH), np.int64)
    segments = [_BACKGROUND | {"id": 1}]
    rectangles = {}
    for place in range(2, many + 2):
        y, x = generator.integers(0, (HEIGHT - 12, WIDTH - 12))
        h, w = generator.integers(6, (30, 34))
        rectangles[place] = (x, y, min(x + w, WIDTH), min(y + h, HEIGHT))
        places[y : y + h, x : x + w] = place
        segments.append(_KINDS[(place + index) % len(_KINDS)] | {"id": 3 * place})
    y, x = generator.integers(0, (HEIGHT - 20, WIDTH - 20))
    places[y : y + 14, x : x + 9] = 0
    present = [p for p in range(1, many + 2) if (places == p).any()]
    segments = [segments[p - 1] for p in present]
    rectangles = {new: rectangles.get(old) for new, old in enumerate(present, start=1)}
    places = np.searchsorted([0, *present], places)
    colors = colors[: len(present) + 1]
    image = folder / f"scene {index}.png"
    Image.fromarray(colors[places]).save(image)
    records = _records(folder, image, segments, places, rectangles)
    return Scene(segments, places, colors, records)


def _records(
    folder: Path,
    image: Path,
    segments: list[dict[str, Any]],
    places: np.ndarray,
    rectangles: dict[int, Any],
) -> dict[str, dict[str, Any]]:
    ids = np.array([0, *(s["id"] for s in segments)])[places]
    classes = np.array([255, *(s["category_id"] for s in segments)])[places]
    pan_seg, sem_seg = (image.with_suffix(f".{kind}.png") for kind in ("pan", "sem"))
    Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], axis=2).astype(np.uint8)).save(pan_seg)
    Image.fromarray(classes.astype(np.uint8)).save(sem_seg)
    base = {"file_name": str(image), "image_id": image.stem, "height": HEIGHT, "width": WIDTH}
    masks, polygons = [], []
    for place, segment in enumerate(segments, start=1):
        if not segment["isthing"]:
            continue
        x0, y0, x1, y1 = (int(side) for side in rectangles[place])
        annotation = {
            "bbox": [x0, y0, x1, y1],
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": segment["thing_category_id"],
            "iscrowd": segment["iscrowd"],
        }
        mask = np.asfortranarray((places == place).astype(np.uint8))
        masks.append(annotation | {"segmentation": mask_util.encode(mask)})
        polygons.append(annotation | {"segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]})
    classes_of = {"sem_seg_file_name": str(sem_seg)}
    return {
        "panoptic": base
        | {"pan_seg_file_name": str(pan_seg), "segments_info": segments}
        | {"sem_seg_file_name": str(pan_seg), "sem_seg_encoding": segment_classes(segments)},
        "instances": base | {"annotations": masks},
        "polygons": base | {"annotations": polygons},
        "semantic": base | classes_of,
        "instances and classes": base | classes_of | {"annotations": masks},
    }
