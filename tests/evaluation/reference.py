"""pycocotools' view of data in memory, for the tests that compare with it."""

from __future__ import annotations

import contextlib
import io

from pycocotools.coco import COCO


def coco_index(images: list[dict], annotations: list[dict]) -> COCO:
    """pycocotools' index over images and annotations, made without its printing."""
    index = COCO()
    index.dataset = {"images": images, "annotations": annotations, "categories": []}
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index
