"""Panoptic sets that were registered in Detectron2's way, brought into Segtron's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.data import MetadataCatalog

from segtron.data.classes import class_metadata, is_unified_panoptic, things_in_sem_seg
from segtron.data.image_io import read_image_size
from segtron.data.panoptic import segment_classes
from segtron.errors import UserError


def complete_panoptic(name: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add what Detectron2's panoptic dicts lack (`segtron.data.panoptic`).

    Detectron2's `register_coco_panoptic` gives image, panoptic PNG and segments; sizes, classes
    among things and how classes of pixels follow are added here.

    Args:
        name: of the data set.
        records: its standard dicts; those that lack nothing, or aren't panoptic, are kept.

    Returns:
        The dicts in the same order.

    Raises:
        UserError: a panoptic PNG can't be read, or the set's metadata number things and stuff
            apart, so that `category_id` doesn't say which class is meant.
    """
    if all("segments_info" not in r or "sem_seg_encoding" in r for r in records):
        return list(records)
    if not is_unified_panoptic(MetadataCatalog.get(name)):
        raise UserError(
            f"{name} has segments_info, but its metadata don't number things and stuff together; "
            "register it by DATASETS.REGISTER with type coco_panoptic, or give it Detectron2's "
            "metadata of coco_2017_val_panoptic's form"
        )
    place_of = {c: place for place, c in enumerate(things_in_sem_seg(class_metadata(name)))}
    return [
        record if "sem_seg_encoding" in record else _completed(record, place_of)
        for record in records
    ]


def _completed(record: dict[str, Any], place_of: dict[int, int]) -> dict[str, Any]:
    if "segments_info" not in record:
        return record
    segments = [
        {"iscrowd": 0, **segment, "isthing": segment["category_id"] in place_of}
        | (
            {"thing_category_id": place_of[segment["category_id"]]}
            if segment["category_id"] in place_of
            else {}
        )
        for segment in record["segments_info"]
    ]
    completed = {
        **record,
        "segments_info": segments,
        "sem_seg_file_name": record["pan_seg_file_name"],
        "sem_seg_encoding": segment_classes(segments),
    }
    if "height" not in record:
        size = read_image_size(record["pan_seg_file_name"], "label file")
        completed["height"], completed["width"] = size
    return completed
