"""What a conversion tells its user at the end: what there is now, and how to train on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from segtron.data.converters.coco_files import (
    ALL,
    IMAGES,
    LABELS,
    PANOPTIC,
    TRAIN,
    VAL,
    Written,
)
from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.output_folder import DROPPED
from segtron.wording import count_of

_MOST_CLASSES = 20


def summarise(written: Written, out: Path) -> str:
    """Some lines on what was written to a folder, with a config to train on it.

    Args:
        written: what was.
        out: the folder.
    """
    total = sum(written.objects.values())
    lines = [f"{out}: {count_of(written.parts[ALL], 'image')}, {count_of(total, 'object')}"]
    lines += [f"  {name}: {n}" for name, n in written.objects.most_common(_MOST_CLASSES)]
    if len(written.objects) > _MOST_CLASSES:
        lines.append(f"  and {len(written.objects) - _MOST_CLASSES} more classes")
    if VAL in written.parts:
        lines.append(f"  {TRAIN}: {written.parts[TRAIN]}, {VAL}: {written.parts[VAL]} images")
    if written.dropped:
        lines.append(f"dropped: {written.dropped}, listed in {out / DROPPED}")
    # Its _BASE_ is relative to the file.
    how = "save this as a YAML file in Segtron's own folder, and give it to tools/train_net.py:"
    lines += ["", f"To train on it, {how}"]
    return "\n".join([*lines, "", config_for(written, out)])


def summarise_way_back(images: int, objects: int, dropped: Dropped, out: Path) -> str:
    """A line or two on what was written for a labelling tool.

    Args:
        images, objects: how many of each.
        dropped: what was left out.
        out: the folder.
    """
    lines = [f"{out}: {count_of(images, 'image')}, {count_of(objects, 'object')}"]
    if dropped.entries:
        lines.append(f"dropped: {len(dropped.entries)}, listed in {out / DROPPED}")
    return "\n".join(lines)


def config_for(written: Written, out: Path) -> str:
    """A config, as YAML, that trains the quick model of the kind that the data is for.

    Args:
        written: what was written.
        out: the folder.
    """
    folder = out.resolve()
    name = re.sub(r"\W+", "_", folder.name).strip("_") or "mine"
    parts = [TRAIN, VAL] if VAL in written.parts else [ALL]
    if written.panoptic:
        base, entry = "panoptic_fpn_lite0", _panoptic_entry
    elif written.labels and len(written.classes) > 1:
        base, entry = "unet_lite0", _semantic_entry
    else:
        base, entry = "mask_rcnn_lite0_FPN", _instance_entry
    entries = [
        {"name": name if part == ALL else f"{name}_{part}"} | entry(written, folder, part)
        for part in parts
    ]
    names = [e["name"] for e in entries]
    config = {
        "_BASE_": f"configs/quick/{base}.yaml",
        "DATASETS": {"REGISTER": entries, "TRAIN": names[:1], "TEST": names[1:]},
        "OUTPUT_DIR": f"output/{name}",
    }
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120).rstrip()


def _instance_entry(written: Written, folder: Path, part: str) -> dict[str, Any]:
    paths = {"json": str(folder / f"{part}.json"), "images": str(folder / IMAGES)}
    return {"type": "coco_instance", **paths}


def _panoptic_entry(written: Written, folder: Path, part: str) -> dict[str, Any]:
    file = f"{PANOPTIC}.json" if part == ALL else f"{PANOPTIC}_{part}.json"
    paths = {"json": file, "panoptic": PANOPTIC, "images": IMAGES}
    return {"type": "coco_panoptic", **{key: str(folder / path) for key, path in paths.items()}}


def _semantic_entry(written: Written, folder: Path, part: str) -> dict[str, Any]:
    root = folder if part == ALL else folder / part
    paths = {"images": str(root / IMAGES), "labels": str(root / LABELS)}
    return {"type": "semantic", **paths, "classes": written.classes}
