"""Segments of a COCO panoptic JSON put right by their PNGs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segtron.data.checks.changes import REMOVED, Change
from segtron.data.checks.panoptic import Measured, is_box, measure_pngs, read_segments
from segtron.data.checks.problems import Problems, shown
from segtron.data.checks.structure import read_categories, read_images


def mend_segments(
    content: dict[str, Any], file: Path, panoptic_dir: Path, changes: list[Change]
) -> None:
    """Take areas and boxes from the PNGs, and remove segments that have no pixel there.

    Args:
        content: of the file.
        file: the file.
        panoptic_dir: the folder of its PNGs.
        changes: are entered there.
    """
    scratch = Problems()
    images = read_images(content, file, scratch)
    categories = read_categories(content, file, scratch, is_panoptic=True)
    annotations = read_segments(content, images, categories, file, scratch)
    measured = measure_pngs(annotations, panoptic_dir)
    for annotation in annotations:
        found = measured.get(annotation.number)
        if not isinstance(found, Measured):
            continue
        entry = content["annotations"][annotation.number]
        if not isinstance(entry.get("segments_info"), list):
            continue
        ids, areas, boxes = (values.tolist() for values in found.segments)
        truth = {i: (area, box) for i, area, box in zip(ids, areas, boxes, strict=True)}
        known = {segment.id for segment in annotation.segments}
        kept = []
        for segment in entry["segments_info"]:
            has_id = isinstance(segment, dict) and isinstance(segment.get("id"), int)
            usable = has_id and segment["id"] in known
            where = f"{annotation.entry}: segment {segment['id']}" if usable else ""
            if usable and segment["id"] not in truth:
                changes.append(Change("segment-empty", where, REMOVED))
                continue
            if usable:
                _mend_segment(segment, *truth[segment["id"]], where, changes)
            kept.append(segment)
        entry["segments_info"] = kept


def _mend_segment(
    segment: dict[str, Any], area: int, box: list[int], where: str, changes: list[Change]
) -> None:
    said = segment.get("area")
    if said is not None and said != area:
        segment["area"] = area
        changes.append(Change("segment-area", where, f"'area' {shown(said)} is now {area}"))
    right = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    said = segment.get("bbox")
    if said is not None and not is_box(said, right):
        segment["bbox"] = right
        changes.append(Change("segment-box", where, f"'bbox' {shown(said)} is now {right}"))
