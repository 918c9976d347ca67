"""What tests of converters share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.converters.labelled_image import LabelledImage
from segtron.data.masks import as_rle


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a grey picture; `orientation` is EXIF's."""

    def write(path: Path, height: int = 20, width: int = 30, orientation: int | None = None):
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if orientation is not None:
            exif[0x0112] = orientation
        Image.fromarray(np.full((height, width, 3), 99, np.uint8)).save(path, exif=exif)
        return path

    return write


@pytest.fixture
def pixels() -> Callable[[Any, int, int], np.ndarray]:
    """The pixels (H, W) uint8 that a segmentation covers, as pycocotools sees it."""

    def decode(segmentation: Any, height: int, width: int) -> np.ndarray:
        return mask_util.decode(as_rle(segmentation, height, width))

    return decode


@pytest.fixture
def masks(pixels) -> Callable[[LabelledImage], list[np.ndarray]]:
    """The pixels of each object of an image."""
    return lambda image: [pixels(o.segmentation, image.height, image.width) for o in image.objects]


@pytest.fixture
def save_json() -> Callable[[Path, Any], Path]:
    """Writes JSON, half pairs of surrogates included."""

    def save(path: Path, content: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return save
