"""A small set with nothing wrong, to be broken in one place at a time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.checks.check import Check, check
from segtron.data.checks.sources import sets_of_paths

HEIGHT, WIDTH = 40, 60
DISC = np.hypot(*np.mgrid[-20:20, -30:30]) < 8
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def annotation(number: int, image: int, category: int, **fields: Any) -> dict[str, Any]:
    """A square of 10 x 10 pixels, unless fields say otherwise."""
    square = {"bbox": [10, 10, 10, 10], "area": 100, "iscrowd": 0, "segmentation": SQUARE}
    return copy.deepcopy(
        {"id": number, "image_id": image, "category_id": category} | square | fields
    )


def good_content() -> dict[str, Any]:
    """Two images; two squares, a disc as run lengths, and a crowd."""
    disc = {"bbox": [23, 13, 15, 15], "area": int(DISC.sum()), "segmentation": run_lengths(DISC)}
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[:, 50:] = True
    runs = {"size": [HEIGHT, WIDTH], "counts": [50 * HEIGHT, 10 * HEIGHT]}
    group = {"bbox": [50, 0, 10, 40], "area": 400, "iscrowd": 1, "segmentation": runs}
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
            {"id": 8, "file_name": "sub dir/ä.png", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": [
            annotation(1, 7, 1),
            annotation(2, 7, 2, **disc),
            annotation(3, 8, 2),
            annotation(4, 8, 2, **group),
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A picture with something to see in it."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def content() -> dict[str, Any]:
    """`good_content`, to be changed."""
    return good_content()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What datasets/convert.py writes: annotations.json and images."""
    root = tmp_path / "set"
    (root / "images" / "sub dir").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "sub dir/ä.png")):
        picture(seed).save(root / "images" / name)
    (root / "annotations.json").write_text(json.dumps(good_content()))
    return root


@pytest.fixture
def run(folder: Path) -> Callable[..., Check]:
    """Check a content in the place of annotations.json, and other files after it."""

    def run_check(content: Any = None, *more: Path, with_pixels: bool = True) -> Check:
        path = folder / "annotations.json"
        if content is not None:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return check(sets_of_paths([path, *more]), with_pixels=with_pixels)

    return run_check


def codes(found: Check) -> dict[str, int]:
    """Code -> how many."""
    return dict(found.problems.counts)


def entries(found: Check, code: str) -> list[str]:
    """Where a kind of problem was found."""
    return [problem.entry for problem in found.problems.kept[code]]
