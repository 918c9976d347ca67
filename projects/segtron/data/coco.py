"""COCO's JSON format for instances: checked entry by entry, then read as standard dicts.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

from segtron.data.json_file import Fields, read_json_lists
from segtron.data.masks import as_rle
from segtron.data.run_lengths import covered_pixels
from segtron.errors import UserError
from segtron.wording import count_of

logger = logging.getLogger(__name__)

# What each entry of a list must have, and of which type.
IMAGE_FIELDS: Fields = {
    "id": (int, str),
    "file_name": str,
    "height": (int, float),
    "width": (int, float),
}
_FIELDS: dict[str, Fields] = {
    "images": IMAGE_FIELDS,
    "categories": {"id": int, "name": str},
    "annotations": {
        "image_id": (int, str),
        "category_id": int,
        "bbox": list,
        "segmentation": (list, dict),
    },
}

# Pixels: longer sides are no pictures; coordinates farther out are no mistake of a pixel or two, no
# slip of the mouse, and pycocotools takes memory in proportion to the length of an outline.
FARTHEST = 10**6
# Pixels that the outlines of an annotation may be long together; drawing takes up to 80 bytes each.
_LONGEST = 10**7


def read_coco(json_file: Path) -> dict[str, Any]:
    """Read and check a COCO JSON file.

    Returns:
        The file's content; "images", "annotations" and "categories" are known to be lists of
        entries with the fields that `load_coco_instances` needs.

    Raises:
        UserError: the file is missing, no JSON, or not COCO's format: names the entry and the
            field.
    """
    content = read_json_lists(json_file, _FIELDS, "COCO")
    _check_references(content, json_file)
    return content


def check_images_and_categories(content: dict[str, Any], json_file: Path) -> None:
    """Make sure that ids are unique and sizes are sizes, which become whole numbers.

    Args:
        content: with the lists `images` and `categories`, whose entries have COCO's fields.
        json_file: where it is from.

    Raises:
        UserError: names the entry.
    """
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
                f"{json_file}: images[{number}] has the size {image['width']} x {image['height']}; "
                f"sides are whole numbers of pixels from 1 to {FARTHEST:,}"
            )
        # Some tools write 640.0.
        image["height"], image["width"] = int(image["height"]), int(image["width"])
        if type(image["id"]) is not type(content["images"][0]["id"]):
            raise UserError(
                f"{json_file}: images[{number}] has the id {image['id']!r}, images[0] "
                f"{content['images'][0]['id']!r}; ids must be all numbers or all text"
            )


def _check_references(content: dict[str, Any], json_file: Path) -> None:
    check_images_and_categories(content, json_file)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    check_annotations(
        content["annotations"], sizes, categories, lambda i: f"{json_file}: annotations[{i}]"
    )


def check_annotations(
    annotations: Sequence[Mapping[str, Any]],
    sizes: Mapping[Any, tuple[int, int]],
    categories: Collection[int],
    name_of: Callable[[int], str],
) -> None:
    """Make sure that annotations, or results, are of something that exists, and well-formed.

    Args:
        annotations: with `image_id` and `category_id`; whatever else there is of `bbox` (a list),
            `segmentation` (a list or an object), `iscrowd` and `area` is checked.
        sizes: image id -> height and width.
        categories: their ids.
        name_of: what to call the annotation of a number.

    Raises:
        UserError: names the annotation and the field.
    """
    texts: dict[int, str] = {}
    for number, annotation in enumerate(annotations):
        where = name_of(number)
        _check_annotation(annotation, sizes, categories, where)
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), str):
            texts[number] = segmentation["counts"]
    for number, covered in zip(texts, covered_pixels(list(texts.values())).tolist(), strict=True):
        if covered != math.prod(sizes[annotations[number]["image_id"]]):
            raise _no_fit(name_of(number))


def _check_annotation(
    annotation: Mapping[str, Any],
    sizes: Mapping[Any, tuple[int, int]],
    categories: Collection[int],
    where: str,
) -> None:
    """Check all but what compressed run lengths hold."""
    if annotation["image_id"] not in sizes:
        raise UserError(f"{where}: no image has the id {annotation['image_id']!r}")
    if annotation["category_id"] not in categories:
        raise UserError(f"{where}: no category has the id {annotation['category_id']!r}")
    if "bbox" in annotation and (
        len(annotation["bbox"]) != 4 or not _all_numbers(annotation["bbox"])
    ):
        raise UserError(f"{where}: 'bbox' is not [x, y, width, height] in pixels")
    if annotation.get("iscrowd") not in (None, 0, 1):
        raise UserError(f"{where}: 'iscrowd' is {annotation['iscrowd']!r}; it must be 0 or 1")
    area = annotation.get("area")
    if area is not None and not (_all_numbers([area], sys.float_info.max) and area >= 0):
        raise UserError(
            f"{where}: 'area' is {repr(area)[:40]}; it must be a number of pixels, 0 or more"
        )
    if "segmentation" in annotation:
        _check_segmentation(annotation["segmentation"], sizes[annotation["image_id"]], where)


def _all_numbers(values: Iterable[Any], largest: float = FARTHEST) -> bool:
    return all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= largest for v in values
    )


def _is_length(value: float) -> bool:
    return 0 < value <= FARTHEST and value == int(value)


def _check_segmentation(segmentation: Any, size: tuple[int, int], where: str) -> None:
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or len(polygon) % 2 or not _all_numbers(polygon):
                raise UserError(
                    f"{where}: 'segmentation' has a polygon that is no list x, y, x, y, …"
                )
        length = _outline_length(segmentation)
        if length > _LONGEST:
            raise UserError(
                f"{where}: the polygons of its 'segmentation' are {length:,.0f} pixels long, more "
                f"than the {_LONGEST:,} that can be drawn; draw it again"
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
            and all(count >= 0 and count == int(count) for count in counts)
            and sum(counts) == math.prod(size)
        )
    else:
        fits = isinstance(counts, str)
    if not fits:
        raise _no_fit(where)


def _no_fit(where: str) -> UserError:
    return UserError(f"{where}: 'counts' of its 'segmentation' do not add up to its image's pixels")


def _outline_length(polygons: list[list[float]]) -> float:
    """Pixels that polygons are long, 0 where a glance shows that it is within bounds."""
    farthest = max((max(map(abs, polygon), default=0) for polygon in polygons), default=0)
    # A side is no longer than twice the farthest coordinate in both directions.
    if 2 * farthest * sum(map(len, polygons)) <= _LONGEST:
        return 0.0
    corners = (np.reshape(polygon, (-1, 2)).astype(np.float64) for polygon in polygons)
    return float(sum(np.hypot(*(c - np.roll(c, 1, axis=0)).T).sum() for c in corners))


def load_coco_instances(json_file: Path, image_dir: Path) -> list[dict[str, Any]]:
    """Read a COCO JSON file as Detectron2's standard dicts.

    Category ids become contiguous by ascending id. Annotations whose polygons all have fewer than
    three corners are left out, as Detectron2 does, and a warning tells how many.

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
    check_has_images(content, json_file, image_dir)
    contiguous = {c["id"]: i for i, c in enumerate(categories_by_id(content))}
    records: dict[Any, dict[str, Any]] = {}
    for number, image in enumerate(content["images"]):
        path = path_below(image_dir, image["file_name"], f"{json_file}: images[{number}]")
        records[image["id"]] = {
            "file_name": str(path),
            "image_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "annotations": [],
        }
    left_out: list[int] = []
    for number, annotation in enumerate(content["annotations"]):
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
        else:
            left_out.append(number)
    if left_out:
        logger.warning(
            "%s: %s without a polygon of three corners left out, such as annotations[%d]",
            json_file,
            count_of(len(left_out), "annotation"),
            left_out[0],
        )
    return list(records.values())


def categories_by_id(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The categories of a COCO file in the order of the model's classes: by ascending id."""
    return sorted(content["categories"], key=lambda category: category["id"])


def check_has_images(content: dict[str, Any], json_file: Path, image_dir: Path) -> None:
    """Make sure that a file lists images and that their folder exists.

    Raises:
        UserError: says which of the two fails.
    """
    if not content["images"]:
        raise UserError(f"{json_file} lists no images")
    if not image_dir.is_dir():
        raise UserError(f"the image folder {image_dir} of {json_file} does not exist")


def path_below(folder: Path, name: str, where: str) -> Path:
    """The path of a file below a folder.

    Links are not followed: one in the folder may lead elsewhere, for whoever owns the folder made
    it.

    Args:
        folder: the folder.
        name: a relative path from outside.
        where: the entry that names it.

    Raises:
        UserError: the name leads out of the folder, or to no file.
    """
    root = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(root, name))
    if "\0" in name or path == root or os.path.commonpath([root, path]) != root:
        raise UserError(f"{where} names {name!r}, outside of {folder}")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:  # half of a pair of surrogates, which JSON can hold
        raise UserError(f"{where} names {name!r}, which no file can be called") from error
    return folder / os.path.relpath(path, root)


def standard_segmentation(segmentation: Any) -> list[list[float]] | dict[str, Any]:
    """A COCO segmentation in the form of Detectron2's standard dicts.

    Returns:
        Compressed RLE; or the polygons that have three corners at least, perhaps none.
    """
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if len(polygon) >= 6]
    height, width = segmentation["size"]
    return as_rle(segmentation, int(height), int(width))
