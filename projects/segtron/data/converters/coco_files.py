"""A labelling as COCO's files: `annotations.json`, the pictures, label and panoptic PNGs.

Objects go to a file as they are read, so that memory holds the names of the images and no more.
Formats: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from pycocotools import mask as mask_util

from segtron.data.converters.class_numbers import ClassNumbers
from segtron.data.converters.json_spool import JsonSpool
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
    Segments,
)
from segtron.data.converters.output_folder import new_folder, placed, write_dropped
from segtron.data.converters.shapes import Segmentation
from segtron.data.converters.split import Split, check_split, choose_validation
from segtron.data.id_map import measure_segments
from segtron.data.masks import as_rle, with_text
from segtron.data.panoptic_png import write_panoptic_png
from segtron.errors import UserError

IMAGES, LABELS, PANOPTIC = "images", "labels", "panoptic"
ALL, TRAIN, VAL = "annotations", "train", "val"
_DECIMALS = 2


@dataclass
class Written:
    """What was written.

    Attributes:
        classes: all, in the order of their ids, which count from 1.
        stuff: those without instances.
        objects: how many there are of each class.
        parts: how many images each of `annotations.json`, `train.json`, `val.json` lists; without
            the suffix.
        labels: whether there are label PNGs.
        panoptic: whether there are panoptic PNGs, and JSON files.
        dropped: how many entries `dropped.csv` has.
    """

    classes: list[str] = field(default_factory=list)
    stuff: frozenset[str] = frozenset()
    objects: Counter[str] = field(default_factory=Counter)
    parts: dict[str, int] = field(default_factory=dict)
    labels: bool = False
    panoptic: bool = False
    dropped: int = 0


def write_coco(
    labelling: Labelling,
    out: Path,
    dropped: Dropped,
    *,
    link: bool = False,
    split: Split | None = None,
    classes: Sequence[str] | None = None,
) -> Written:
    """Write a labelling as COCO's files.

    `OUT/annotations.json` and `OUT/images`; `OUT/labels`, `OUT/panoptic` and `OUT/panoptic.json`
    where the source has them; for a split `OUT/train.json` and `OUT/val.json`, and for its labels
    the folders `OUT/train` and `OUT/val`, each with `images` and `labels`; and `OUT/dropped.csv`.

    Args:
        labelling: what to write.
        out: a folder that doesn't exist yet, or is empty; it appears whole or not at all.
        dropped: what its reader leaves out, as it is read; objects that cover no pixel are added.
        link: make links to the pictures instead of copies.
        split: which images `val.json` gets; None for no split.
        classes: all classes, in the order that they shall have; None for the source's own.

    Raises:
        UserError: `out` holds something or can't be written; two images have one name; no image or
            no object is left; an object is of none of `classes`; or the source is faulty.
    """
    if split is not None:
        check_split(split)
    with new_folder(out) as folder:
        writer = _Writer(folder, labelling, dropped, classes)
        for image in placed(labelling, folder / IMAGES, link):
            writer.add(image)
        return writer.finish(split)


class _Writer:
    """Writes images one by one, and the JSON files at the end.

    Attributes:
        folder: where everything goes.
        names: of the images, and the group of each.
    """

    def __init__(
        self,
        folder: Path,
        labelling: Labelling,
        dropped: Dropped,
        classes: Sequence[str] | None,
    ) -> None:
        self.folder = folder
        self.names: list[tuple[str, str]] = []
        self._stems: dict[str, str] = {}
        self._labelling, self._dropped = labelling, dropped
        self._classes = ClassNumbers(classes or labelling.classes, labelling.classes)
        self._instances = JsonSpool(folder)
        self._panoptic = JsonSpool(folder)
        self._written = Written(stuff=labelling.stuff)

    def add(self, image: LabelledImage) -> None:
        """Write an image's PNGs, and keep its objects."""
        stem = str(PurePosixPath(image.name).with_suffix(""))
        has_png = image.read_labels is not None or image.read_segments is not None
        if has_png and self._labelling.classes is None:
            raise ValueError("a source of label maps must give the names of its classes")
        if has_png and stem in self._stems:
            raise UserError(
                f"{image.path}: {image.name!r} and {self._stems[stem]!r} would have one label "
                "file; remove or rename one of them"
            )
        self._stems[stem] = image.name
        self.names.append((image.name, image.group))
        entry = {
            "id": len(self.names),
            "file_name": image.name,
            "width": image.width,
            "height": image.height,
        }
        self._instances.add_image(entry)
        for labelled in image.objects:
            self._add_object(labelled, image)
        if image.read_labels is not None:
            self._written.labels = True
            indices = self._classes.renumbered(image.read_labels())
            _write_labels(self.folder / LABELS / f"{stem}.png", indices)
        if image.read_segments is not None:
            self._written.panoptic = True
            self._panoptic.add_image(entry)
            self._add_segments(image.read_segments(), f"{stem}.png")

    def _add_object(self, labelled: LabelledObject, image: LabelledImage) -> None:
        rle = as_rle(labelled.segmentation, image.height, image.width)
        area = int(mask_util.area(rle))
        if not area:
            self._dropped.add(labelled.where, "covers no pixel")
            return
        segmentation = labelled.segmentation
        if labelled.is_crowd and isinstance(segmentation, list):
            segmentation = with_text(rle)  # as COCO has crowds
        annotation = {
            "id": self._instances.number + 1,
            "image_id": len(self.names),
            "bbox": _box(segmentation),
            "area": area,
            "iscrowd": int(labelled.is_crowd),
            "segmentation": _rounded(segmentation),
        }
        if labelled.attributes:
            annotation["attributes"] = {k: _plain(v) for k, v in labelled.attributes.items()}
        number = self._classes.number(labelled.class_name, labelled.where)
        self._instances.add(number, annotation)
        self._written.objects[labelled.class_name] += 1

    def _add_segments(self, segments: Segments, png: str) -> None:
        # Whoever numbers classes in label and panoptic maps knows them all, so ids are final.
        write_panoptic_png(self.folder / PANOPTIC / png, segments.ids)
        measures = measure_segments(segments.ids)
        entries = [
            {
                "id": int(segment),
                "category_id": self._classes.number(segments.class_names[int(segment)], png) + 1,
                "area": int(area),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": int(int(segment) in segments.crowds),
            }
            for segment, area, (x0, y0, x1, y1) in zip(
                measures.ids, measures.areas, measures.boxes.tolist(), strict=True
            )
            if segment
        ]
        self._panoptic.add(
            None, {"image_id": len(self.names), "file_name": png, "segments_info": entries}
        )

    def finish(self, split: Split | None) -> Written:
        """Write the JSON files and what was dropped."""
        written, names = self._written, [name for name, _ in self.names]
        self._check_not_empty()
        parts: dict[str, Callable[[str], bool]] = {ALL: lambda name: True}
        if split is not None:
            validation = choose_validation(self.names, split)
            parts |= {TRAIN: lambda n: n not in validation, VAL: lambda n: n in validation}
        written.classes, ids = self._classes.final()
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(written.classes)]
        things = [c for c in categories if c["name"] not in written.stuff]
        for part, belongs in parts.items():
            chosen = {i + 1 for i, name in enumerate(names) if belongs(name)}
            written.parts[part] = len(chosen)
            self._instances.write(self.folder / f"{part}.json", chosen, things, ids)
            if written.panoptic:
                name = PANOPTIC if part == ALL else f"{PANOPTIC}_{part}"
                both = [c | {"isthing": int(c["name"] not in written.stuff)} for c in categories]
                self._panoptic.write(self.folder / f"{name}.json", chosen, both, ids)
            if written.labels and part != ALL:
                _link_labels(self.folder, part, [names[i - 1] for i in sorted(chosen)])
        write_dropped(self.folder, self._dropped)
        written.dropped = len(self._dropped.entries)
        self._instances.close()
        self._panoptic.close()
        return written

    def _check_not_empty(self) -> None:
        written = self._written
        what = "" if self.names else "image"
        if self.names and not (written.objects or written.labels or written.panoptic):
            what = "object"
        if not what:
            return
        entries = self._dropped.entries
        if not entries:
            raise UserError(f"there is no {what}; check that SRC is what the format asks for")
        raise UserError(
            f"no {what} is left, since {len(entries)} were dropped, the first because "
            f"{': '.join(entries[0])}"
        )


def _link_labels(folder: Path, part: str, names: Sequence[str]) -> None:
    """Folders of a part's images and labels, which semantic data sets are read from."""
    for name in names:
        label = f"{PurePosixPath(name).with_suffix('')}.png"
        for kind, file in ((IMAGES, name), (LABELS, label)):
            target = folder / part / kind / file
            target.parent.mkdir(parents=True, exist_ok=True)
            source = folder / kind / file
            try:
                os.link(source, target, follow_symlinks=False)
            except OSError:  # a file system without links
                shutil.copyfile(source, target)


def _write_labels(path: Path, indices: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, content = cv2.imencode(".png", indices)
    path.write_bytes(content)


def _box(segmentation: Segmentation) -> list[float]:
    """[x, y, width, height] in pixels."""
    if isinstance(segmentation, dict):
        x, y, width, height = mask_util.toBbox(segmentation).tolist()
    else:
        xs = [x for polygon in segmentation for x in polygon[::2]]
        ys = [y for polygon in segmentation for y in polygon[1::2]]
        x, y, width, height = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    return _shortest([x, y, width, height])


def _plain(value: str | float | bool) -> str | float | bool:
    """An attribute as JSON can hold it: nan and infinity are text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(segmentation: Segmentation) -> Segmentation:
    return segmentation if isinstance(segmentation, dict) else list(map(_shortest, segmentation))


def _shortest(numbers: Sequence[float]) -> list[float]:
    """With at most two decimals, whole numbers without any."""
    rounded = np.round(numbers, _DECIMALS).tolist()
    return [int(number) if number.is_integer() else number for number in rounded]
