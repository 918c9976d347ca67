"""COCO's JSON format for instances: checked entry by entry, then read as standard dicts.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from pycocotools import mask as mask_util

from segtron.errors import UserError

# What each entry of a list must have, and of which type.
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "images": {
        "id": (int, str),
        "file_name": str,
        "height": (int, float),
        "width": (int, float),
    },
    "categories": {"id": int, "name": str},
    "annotations": {
        "image_id": (int, str),
        "category_id": int,
        "bbox": list,
        "segmentation": (list, dict),
    },
}

# Coordinates beyond this many pixels are no mistake of a pixel or two, and pycocotools takes memory
# in proportion to the length of an outline.
_FARTHEST = 10**6


def read_coco(json_file: Path) -> dict[str, Any]:
    """Read and check a COCO JSON file.

    Returns:
        The file's content; "images", "annotations" and "categories" are known to be lists of
        entries with the fields that `load_coco_instances` needs.

    Raises:
        UserError: the file is missing, no JSON, or not COCO's format: names the entry and the
            field.
    """
    try:
        # From bytes, which may begin with a byte order mark.
        content = json.loads(json_file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the annotations {json_file}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{json_file} is not valid JSON ({error}); export it again") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{json_file} is not COCO: it holds a JSON {type(content).__name__}, not an object "
            "with 'images', 'annotations' and 'categories'"
        )
    for name, fields in _FIELDS.items():
        if not isinstance(content.get(name), list):
            raise UserError(f"{json_file} is not COCO: it has no list {name!r}")
        for number, entry in enumerate(content[name]):
            _check_fields(entry, fields, f"{json_file}: {name}[{number}]")
    _check_references(content, json_file)
    return content


def _check_fields(entry: Any, fields: dict[str, Any], where: str) -> None:
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not an object but a {type(entry).__name__}")
    for field, types in fields.items():
        if field not in entry:
            raise UserError(f"{where} has no {field!r}")
        if not isinstance(entry[field], types) or isinstance(entry[field], bool):
            value = repr(entry[field])
            raise UserError(f"{where}: {field!r} is {value[:40]}, which COCO does not allow there")


def _check_references(content: dict[str, Any], json_file: Path) -> None:
    for name in ("images", "categories"):
        seen: set[Any] = set()
        for number, entry in enumerate(content[name]):
            if entry["id"] in seen:
                raise UserError(f"{json_file}: {name}[{number}] uses id {entry['id']!r} again")
            seen.add(entry["id"])
    if not content["categories"]:
        raise UserError(f"{json_file} has no categories; export it with its class names")
    for number, image in enumerate(content["images"]):
        if not all(_is_length(image[side]) for side in ("height", "width")):
            raise UserError(
                f"{json_file}: images[{number}] has the size {image['width']} x {image['height']}"
            )
        # Some tools write 640.0.
        image["height"], image["width"] = int(image["height"]), int(image["width"])
        if type(image["id"]) is not type(content["images"][0]["id"]):
            raise UserError(
                f"{json_file}: images[{number}] has the id {image['id']!r}, images[0] "
                f"{content['images'][0]['id']!r}; ids must be all numbers or all text"
            )
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for number, annotation in enumerate(content["annotations"]):
        where = f"{json_file}: annotations[{number}]"
        if annotation["image_id"] not in sizes:
            raise UserError(f"{where}: no image has the id {annotation['image_id']!r}")
        if annotation["category_id"] not in categories:
            raise UserError(f"{where}: no category has the id {annotation['category_id']!r}")
        if len(annotation["bbox"]) != 4 or not _all_numbers(annotation["bbox"]):
            raise UserError(f"{where}: 'bbox' is not [x, y, width, height] in pixels")
        if annotation.get("iscrowd") not in (None, 0, 1):
            raise UserError(f"{where}: 'iscrowd' is {annotation['iscrowd']!r}; it must be 0 or 1")
        if annotation.get("area") is not None and not _all_numbers([annotation["area"]], math.inf):
            raise UserError(f"{where}: 'area' is {annotation['area']!r}, which is no number")
        _check_segmentation(annotation["segmentation"], sizes[annotation["image_id"]], where)


def _all_numbers(values: Iterable[Any], largest: float = _FARTHEST) -> bool:
    return all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= largest for v in values
    )


def _is_length(value: float) -> bool:
    return 0 < value <= _FARTHEST and value == int(value)


def _check_segmentation(segmentation: Any, size: tuple[int, int], where: str) -> None:
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or len(polygon) % 2 or not _all_numbers(polygon):
                raise UserError(
                    f"{where}: 'segmentation' has a polygon that is no list x, y, x, y, …"
                )
        return
    if segmentation.get("size") != list(size):
        raise UserError(
            f"{where}: 'segmentation' has the size {segmentation.get('size')} [height, width], "
            f"its image {list(size)}"
        )
    counts = segmentation.get("counts")
    # pycocotools does not check that the runs of an encoding stay inside the image.
    if isinstance(counts, list):
        fits = (
            _all_numbers(counts, math.prod(size))
            and min(counts, default=0) >= 0
            and sum(counts) == math.prod(size)
        )
    else:
        fits = isinstance(counts, str) and _compressed_length(counts) == math.prod(size)
    if not fits:
        raise UserError(
            f"{where}: 'counts' of its 'segmentation' do not add up to its image's pixels"
        )


def _compressed_length(counts: str) -> int | None:
    """Pixels that a compressed RLE string covers, None if it is malformed.

    Each number is coded in groups of 5 bits, lowest first; from the third on it is the difference
    to the number two before (pycocotools' `rleToString`).
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64:
            return None
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            if shift > 60:
                return None
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        if runs[-1] < 0:
            return None
        value = shift = 0
    return None if shift else sum(runs)


def load_coco_instances(json_file: Path, image_dir: Path) -> list[dict[str, Any]]:
    """Read a COCO JSON file as Detectron2's standard dicts.

    Category ids become contiguous by ascending id. Annotations whose polygons all have fewer than
    three corners are left out, as Detectron2 does.

    Args:
        json_file: the annotations.
        image_dir: the folder that the images' `file_name` is relative to.

    Returns:
        One dict an image: `file_name`, `image_id`, `height`, `width`, and `annotations` with `bbox`
        (XYWH_ABS), `category_id`, `iscrowd` and `segmentation` (polygons or compressed RLE).

    Raises:
        UserError: the file is not COCO's format, has no images, or names a file outside
            `image_dir`.
    """
    content = read_coco(json_file)
    if not content["images"]:
        raise UserError(f"{json_file} lists no images")
    if not image_dir.is_dir():
        raise UserError(f"the image folder {image_dir} of {json_file} does not exist")
    contiguous = {c["id"]: i for i, c in enumerate(categories_by_id(content))}
    records: dict[Any, dict[str, Any]] = {}
    for number, image in enumerate(content["images"]):
        path = _path_below(image_dir, image["file_name"])
        if path is None:
            raise UserError(
                f"{json_file}: images[{number}] names {image['file_name']!r}, outside of "
                f"{image_dir}"
            )
        records[image["id"]] = {
            "file_name": str(path),
            "image_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "annotations": [],
        }
    for annotation in content["annotations"]:
        record = records[annotation["image_id"]]
        segmentation = standard_segmentation(annotation["segmentation"])
        if segmentation:
            record["annotations"].append(
                {
                    "bbox": annotation["bbox"],
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "category_id": contiguous[annotation["category_id"]],
                    "iscrowd": int(annotation.get("iscrowd") or 0),
                    "segmentation": segmentation,
                }
            )
    return list(records.values())


def categories_by_id(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The categories of a COCO file in the order of the model's classes: by ascending id."""
    return sorted(content["categories"], key=lambda category: category["id"])


def _path_below(folder: Path, name: str) -> Path | None:
    """The path of a file below a folder; None where the name leads out of it, or to no file.

    Links are not followed: one in the folder may lead elsewhere, for whoever owns the folder made
    it.
    """
    root = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(root, name))
    if "\0" in name or path == root or os.path.commonpath([root, path]) != root:
        return None
    return folder / os.path.relpath(path, root)


def standard_segmentation(segmentation: Any) -> list[list[float]] | dict[str, Any]:
    """A COCO segmentation in the form of Detectron2's standard dicts.

    Returns:
        Compressed RLE; or the polygons that have three corners at least, perhaps none.
    """
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if len(polygon) >= 6]
    if isinstance(segmentation["counts"], list):
        height, width = segmentation["size"]
        return mask_util.frPyObjects(segmentation, int(height), int(width))
    return segmentation
