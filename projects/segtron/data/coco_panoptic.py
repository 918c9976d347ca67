"""COCO's format for panoptic segmentation: checked entry by entry, then read as standard dicts.

A JSON lists images, annotations and categories; an annotation names an image's panoptic PNG
(`segtron.data.panoptic_png`) and its segments (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtron.data.coco import (
    IMAGE_FIELDS,
    categories_by_id,
    check_has_images,
    check_images_and_categories,
    path_below,
)
from segtron.data.json_file import Fields, check_fields, read_json_lists
from segtron.data.panoptic import VOID, segment_classes
from segtron.data.panoptic_png import MAX_IDS
from segtron.data.sem_seg import MAX_CLASSES, is_color
from segtron.errors import UserError

FORMAT = "COCO's panoptic format"
ANNOTATION_FIELDS: Fields = {"image_id": (int, str), "file_name": str, "segments_info": list}
SEGMENT_FIELDS: Fields = {"id": int, "category_id": int}
_FIELDS: dict[str, Fields] = {
    "images": IMAGE_FIELDS,
    "annotations": ANNOTATION_FIELDS,
    "categories": {"id": int, "name": str, "isthing": (int, bool)},
}


def read_coco_panoptic(json_file: Path) -> dict[str, Any]:
    """Read and check a JSON file of COCO's panoptic format.

    Returns:
        The file's content; "images", "annotations" and "categories" are known to be lists of
        entries with the fields that `load_coco_panoptic` needs.

    Raises:
        UserError: the file is missing, no JSON, or not of the format: names the entry and the
            field.
    """
    content = read_json_lists(json_file, _FIELDS, FORMAT)
    check_images_and_categories(content, json_file)
    for number, category in enumerate(content["categories"]):
        if category["isthing"] not in (0, 1):
            raise UserError(
                f"{json_file}: categories[{number}]: 'isthing' is {category['isthing']}; it must "
                "be 1 for things, 0 for stuff"
            )
    for name, count in Counter(category["name"] for category in content["categories"]).items():
        if count > 1:
            raise UserError(f"{json_file}: {count} categories are called {name!r}; rename one")
    check_annotations(content["annotations"], json_file)
    image_ids = {image["id"] for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for number, annotation in enumerate(content["annotations"]):
        where = f"{json_file}: annotations[{number}]"
        if annotation["image_id"] not in image_ids:
            raise UserError(f"{where}: no image has the id {annotation['image_id']!r}")
        for segment in annotation["segments_info"]:
            if segment["category_id"] not in categories:
                raise UserError(
                    f"{where}: segment {segment['id']}: no category has the id "
                    f"{segment['category_id']}"
                )
    return content


def check_annotations(annotations: list[dict[str, Any]], json_file: Path) -> None:
    """Make sure that an image comes once, and that each of its segments is one.

    Args:
        annotations: entries with `ANNOTATION_FIELDS`.
        json_file: where they are from.

    Raises:
        UserError: names the entry.
    """
    seen: dict[Any, int] = {}
    for number, annotation in enumerate(annotations):
        where = f"{json_file}: annotations[{number}]"
        other = seen.setdefault(annotation["image_id"], number)
        if other != number:
            raise UserError(
                f"{where} is of the image {annotation['image_id']!r}, as annotations[{other}] is; "
                "an image has one, which lists all its segments"
            )
        ids = set()
        for place, segment in enumerate(annotation["segments_info"]):
            check_fields(segment, SEGMENT_FIELDS, f"{where}: segments_info[{place}]", FORMAT)
            segment_id = segment["id"]
            if not VOID < segment_id < MAX_IDS:
                raise UserError(
                    f"{where}: segment {segment_id}: ids must be from 1 to {MAX_IDS - 1}"
                )
            if segment_id in ids:
                raise UserError(
                    f"{where}: two segments have the id {segment_id}; give each its own"
                )
            ids.add(segment_id)
            if segment.get("iscrowd") not in (None, 0, 1):
                raise UserError(
                    f"{where}: segment {segment_id}: 'iscrowd' is {segment['iscrowd']!r}; it must "
                    "be 0 or 1"
                )


def load_coco_panoptic(
    json_file: Path,
    panoptic_dir: Path,
    image_dir: Path,
    metadata: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Read a JSON file of COCO's panoptic format as Detectron2's standard dicts.

    Category ids become contiguous, things and stuff in one numbering, and things also in one of
    their own.

    Args:
        json_file: the annotations.
        panoptic_dir: the folder that the annotations' `file_name` is relative to.
        image_dir: the folder that the images' `file_name` is relative to.
        metadata: `thing_dataset_id_to_contiguous_id` and `stuff_dataset_id_to_contiguous_id` of the
            data set; those of `panoptic_metadata`, by ascending id, if it is left out.

    Returns:
        One dict an image, in the order of the annotations: `file_name`, `image_id`, `height`,
        `width`, and what `segtron.data.panoptic` lists.

    Raises:
        UserError: see `read_coco_panoptic`; or there are no images, one of them has no annotation,
            a name leads out of its folder, or a segment is of a category that `metadata` don't
            number.
    """
    content = read_coco_panoptic(json_file)
    check_has_images(content, json_file, image_dir)
    if not panoptic_dir.is_dir():
        raise UserError(f"the folder {panoptic_dir} of panoptic PNGs of {json_file} does not exist")
    images = {image["id"]: (number, image) for number, image in enumerate(content["images"])}
    bare = set(images) - {annotation["image_id"] for annotation in content["annotations"]}
    if bare:
        number, image = min(images[image_id] for image_id in bare)
        raise UserError(
            f"{json_file}: {len(bare)} images have no annotation, first of them images[{number}] "
            f"({image['file_name']}); remove their entries, or add an annotation with an empty "
            "'segments_info' and a black PNG"
        )
    if len(content["categories"]) > MAX_CLASSES:
        raise UserError(
            f"{json_file} has {len(content['categories'])} categories; at most {MAX_CLASSES} are "
            "supported"
        )
    if metadata is None:
        metadata = panoptic_metadata(content)
    thing_ids = metadata["thing_dataset_id_to_contiguous_id"]
    classes = thing_ids | metadata["stuff_dataset_id_to_contiguous_id"]
    things = {i: place for place, i in enumerate(sorted(thing_ids, key=thing_ids.get))}
    records = []
    for number, annotation in enumerate(content["annotations"]):
        place, image = images[annotation["image_id"]]
        where = f"{json_file}: annotations[{number}]"
        pan_seg_file = path_below(panoptic_dir, annotation["file_name"], where)
        for segment in annotation["segments_info"]:
            if segment["category_id"] not in classes:
                raise UserError(
                    f"{where}: segment {segment['id']} is of the category "
                    f"{segment['category_id']}, which this data set doesn't have; register the "
                    "file as a set of your own (DATASETS.REGISTER, type coco_panoptic)"
                )
        segments = [_standard(segment, classes, things) for segment in annotation["segments_info"]]
        records.append(
            {
                "file_name": str(
                    path_below(image_dir, image["file_name"], f"{json_file}: images[{place}]")
                ),
                "image_id": image["id"],
                "height": image["height"],
                "width": image["width"],
                "pan_seg_file_name": str(pan_seg_file),
                "segments_info": segments,
                "sem_seg_file_name": str(pan_seg_file),
                "sem_seg_encoding": segment_classes(segments),
            }
        )
    return records


def _standard(
    segment: dict[str, Any], classes: dict[int, int], things: dict[int, int]
) -> dict[str, Any]:
    """A segment in the form that `segtron.data.panoptic` lists."""
    category = segment["category_id"]
    standard = {
        "id": segment["id"],
        "category_id": classes[category],
        "isthing": category in things,
        "iscrowd": int(segment.get("iscrowd") or 0),
    }
    standard |= {
        field: segment[field] for field in ("area", "bbox") if segment.get(field) is not None
    }
    if category in things:
        standard["thing_category_id"] = things[category]
    return standard


def panoptic_metadata(content: dict[str, Any]) -> dict[str, Any]:
    """Names, colours and ids of the categories as Detectron2 has them for panoptic sets: both kinds
    name all categories (see `segtron.data.classes`).

    Args:
        content: of a file, as `read_coco_panoptic` gives it.
    """
    categories = categories_by_id(content)
    metadata: dict[str, Any] = {}
    for kind, is_thing in (("thing", 1), ("stuff", 0)):
        metadata[f"{kind}_classes"] = [category["name"] for category in categories]
        if all(is_color(category.get("color")) for category in categories):
            metadata[f"{kind}_colors"] = [tuple(category["color"]) for category in categories]
        metadata[f"{kind}_dataset_id_to_contiguous_id"] = {
            category["id"]: i
            for i, category in enumerate(categories)
            if category["isthing"] == is_thing
        }
    return metadata
