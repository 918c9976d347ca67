"""A labelling as LabelMe's files, to correct it there: a JSON file beside each picture.

Objects of several parts share a `group_id`; those with holes are masks, which LabelMe 5.3 and later
show. Numbers and texts that an object has besides are its description.
"""

from __future__ import annotations

import base64
import json
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from segtron.data.converters.labelled_image import Dropped, LabelledImage, Labelling
from segtron.data.converters.labelme import CROWD_FLAG
from segtron.data.converters.output_folder import new_folder, placed, write_dropped
from segtron.data.converters.traced_objects import TracedObject, traced

LABEL_LIST = "labels.txt"
_VERSION = "5.5.0"  # whose fields are written


def write_labelme(
    labelling: Labelling,
    out: Path,
    dropped: Dropped,
    *,
    tolerance: float = 0.0,
    link: bool = False,
) -> tuple[int, int]:
    """Write a folder that LabelMe opens.

    Args:
        labelling: what to write.
        out: a folder that doesn't exist yet, or is empty. It gets the pictures, a JSON file beside
            each, `labels.txt` for LabelMe's option --labels, and `dropped.csv`.
        dropped: as of the labelling's reader; objects that cover no pixel are added.
        tolerance: by how many pixels polygons may leave masks, for fewer corners.
        link: make links to the pictures instead of copies.

    Returns:
        How many images and how many objects were written.

    Raises:
        UserError: `out` holds something or can't be written, or the source is faulty.
    """
    taken: set[str] = set()
    number_of_images = number = 0
    with new_folder(out) as folder:
        for image in placed(labelling, folder, link):
            shapes, of_image = _shapes(image, tolerance, dropped)
            number_of_images += 1
            number += of_image
            name = _free_name(image.name, taken)
            taken.add(name)
            text = json.dumps(
                _content(image, shapes), ensure_ascii=False, allow_nan=False, indent=2
            )
            # Half of a pair of surrogates, which UTF-8 can't hold, stays the escape it was.
            (folder / f"{name}.json").write_text(text, "utf-8", errors="backslashreplace")
        if labelling.classes:
            text = "".join(f"{name}\n" for name in labelling.classes)
            (folder / LABEL_LIST).write_text(text, encoding="utf-8", errors="backslashreplace")
        write_dropped(folder, dropped)
    return number_of_images, number


def _free_name(image: str, taken: set[str]) -> str:
    """The name of an image's JSON file, without the suffix: that of the image, if it is free."""
    stem = str(PurePosixPath(image).with_suffix(""))
    if stem not in taken:
        return stem
    # Of a.png beside a.jpg, and even beside a.png.jpg.
    return next(n for i in count(1) if (n := image if i == 1 else f"{image}_{i}") not in taken)


def _content(image: LabelledImage, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(image.name).name,
        "imageData": None,
        "imageHeight": image.height,
        "imageWidth": image.width,
    }


def _shapes(
    image: LabelledImage, tolerance: float, dropped: Dropped
) -> tuple[list[dict[str, Any]], int]:
    """An image's shapes, and of how many objects they are."""
    shapes: list[dict[str, Any]] = []
    number = 0
    for labelled in image.objects:
        drawn = traced(labelled, image, tolerance)
        if drawn is None:
            dropped.add(labelled.where, "covers no pixel")
            continue
        number += 1
        flags = {k: v for k, v in labelled.attributes.items() if isinstance(v, bool)}
        if labelled.is_crowd:
            flags[CROWD_FLAG] = True
        others = {k: v for k, v in labelled.attributes.items() if k not in flags}
        shape = {
            "label": labelled.class_name,
            "group_id": number if len(drawn.polygons) > 1 else None,
            "description": ", ".join(f"{k} {v}" for k, v in others.items()),
            "flags": flags,
        }
        shapes += [shape | geometry for geometry in _geometries(drawn)]
    return shapes, number


def _geometries(drawn: TracedObject) -> list[dict[str, Any]]:
    if drawn.mask is None:
        return [
            {"shape_type": "polygon", "points": points.round(2).tolist(), "mask": None}
            for points in drawn.polygons
        ]
    height, width = drawn.mask.shape
    # Both corners are within.
    corners = [
        [drawn.left, drawn.top],
        [drawn.left + width - 1, drawn.top + height - 1],
    ]
    _, png = cv2.imencode(".png", drawn.mask.astype(np.uint8) * 255)
    text = base64.b64encode(png.tobytes()).decode("ascii")
    return [{"shape_type": "mask", "points": corners, "mask": text}]
