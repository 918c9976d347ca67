"""Images to time models with, and objects in them to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.structures import BoxMode

from segtron.data.toytown.scene import make_scene

_SPLIT = 1  # toytown's val
_CORNERS = 24  # of an outline; about as many as COCO's have


def draw_images(number: int, size: tuple[int, int], seed: int) -> list[np.ndarray]:
    """Streets of toytown.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    scenes = (make_scene(seed, _SPLIT, index, size) for index in range(number))
    return [np.ascontiguousarray(scene.image[..., ::-1]) for scene in scenes]


def write_records(
    folder: Path,
    number: int,
    size: tuple[int, int],
    seed: int,
    *,
    num_objects: int,
    num_classes: int,
) -> list[dict[str, Any]]:
    """Write images and make ground truth up for them.

    Training costs the same wherever objects are. These lie anywhere, and are of all sizes from an
    eighth of the image's height up to half of it.

    Args:
        folder: for the images, in PNG.
        number: of images.
        size: their height and width in pixels.
        seed: the same seed gives the same images and objects.
        num_objects: in each image.
        num_classes: from 0 on, of which objects are.

    Returns:
        Detectron2's standard dicts, with outlines as polygons.
    """
    rng = np.random.default_rng(seed)
    records = []
    for index, image in enumerate(draw_images(number, size, seed)):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), image)
        records.append(
            {
                "file_name": str(path),
                "image_id": index,
                "height": size[0],
                "width": size[1],
                "annotations": [
                    _draw_object(rng, size) | {"category_id": int(rng.integers(num_classes))}
                    for _ in range(num_objects)
                ],
            }
        )
    return records


def _draw_object(rng: np.random.Generator, size: tuple[int, int]) -> dict[str, Any]:
    """A ragged ellipse that lies in the image."""
    height, width = size
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = height * np.exp(rng.uniform(np.log(1 / 16), np.log(1 / 4), size=2))
    corners = directions * radii * rng.uniform(0.7, 1.0, size=(_CORNERS, 1))
    corners += [
        rng.uniform(radius, side - radius)
        for radius, side in zip(radii, (width, height), strict=True)
    ]
    return {
        "bbox": [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
        "bbox_mode": BoxMode.XYXY_ABS,
        "segmentation": [corners.flatten().tolist()],
        "iscrowd": 0,
    }
