"""Cityscapes' panoptic labels as files of COCO's panoptic format, for other programs.

Names and contents are those of the official converter,
`cityscapesscripts.preparation.createPanopticImgs`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segtron.data.cityscapes import (
    INSTANCE_IDS,
    INSTANCE_IDS_SUFFIX,
    PANOPTIC_SUFFIX,
    SEM_SEG_ID_TO_CONTIGUOUS,
    SEM_SEG_LABELS,
    find_label_files,
    panoptic_folder,
    panoptic_segments,
)
from segtron.data.each_item import for_each, num_readers
from segtron.data.panoptic_png import write_panoptic_png
from segtron.errors import UserError
from segtron.files import replacing, replacing_folder

_LABEL_ID_OF = {contiguous: label_id for label_id, contiguous in SEM_SEG_ID_TO_CONTIGUOUS.items()}


def write_panoptic_files(root: Path, split: str) -> Path:
    """Write a split's panoptic PNGs, and the JSON that describes them.

    Args:
        root: the folder that holds `gtFine`.
        split: "train", "val" or "test".

    Returns:
        The JSON, `gtFine/cityscapes_panoptic_<split>.json`. The PNGs are in the folder of the same
        name without the suffix.

    Raises:
        UserError: there are no labels, one of them can't be read, or a file would be overwritten.
    """
    folder = panoptic_folder(root, split)
    json_file = folder.with_name(f"{folder.name}.json")
    for path in (json_file, folder):
        if path.exists():
            raise UserError(
                f"{path} would be overwritten; remove it to have it made again, or name the other "
                "splits with --splits"
            )
    label_files = find_label_files(root, split, INSTANCE_IDS_SUFFIX)
    with replacing_folder(folder) as temporary, replacing(json_file) as temporary_json:
        entries = list(
            for_each(
                lambda path: _write_frame(path, temporary),
                label_files,
                workers=num_readers(),
                unit=" frames",
                desc=split,
            )
        )
        content = {
            "images": [image for image, _ in entries],
            "annotations": [annotation for _, annotation in entries],
            "categories": [
                {
                    "id": label.id,
                    "name": label.name,
                    "color": label.color,
                    "supercategory": label.category,
                    "isthing": int(label.hasInstances),
                }
                for label in sorted(SEM_SEG_LABELS, key=lambda label: label.id)
            ],
        }
        temporary_json.write_text(json.dumps(content, sort_keys=True, indent=4), encoding="utf-8")
    return json_file


def _write_frame(label_file: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write a frame's PNG; returns the frame's entries in `images` and `annotations`."""
    ids = INSTANCE_IDS.read(label_file)
    name = label_file.name.removesuffix(INSTANCE_IDS_SUFFIX)
    png = f"{name}{PANOPTIC_SUFFIX}"
    write_panoptic_png(folder / png, ids)
    image = {
        "id": name,
        "width": ids.shape[1],
        "height": ids.shape[0],
        # No such file exists; but that is what the official converter writes.
        "file_name": f"{name}_gtFine_leftImg8bit.png",
    }
    segments = [
        {
            "id": segment["id"],
            "category_id": _LABEL_ID_OF[segment["category_id"]],
            "area": segment["area"],
            "bbox": segment["bbox"],
            "iscrowd": segment["iscrowd"],
        }
        for segment in panoptic_segments(ids)
    ]
    return image, {"image_id": name, "file_name": png, "segments_info": segments}
