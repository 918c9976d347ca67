"""A built-in data set, such as toytown or Cityscapes, checked by way of its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtron.data.checks.checked_set import CheckedSet, Role
from segtron.data.checks.classes import ClassUse
from segtron.data.checks.images import ListedImage
from segtron.data.checks.problems import Problems
from segtron.data.classes import class_metadata
from segtron.data.each_item import go_through
from segtron.data.loaders import load_dataset_dicts
from segtron.data.panoptic import read_pan_seg
from segtron.data.sem_seg import read_sem_seg
from segtron.errors import UserError
from segtron.wording import count_of


@dataclass(frozen=True)
class RegisteredSet:
    """A name in Detectron2's catalog.

    Attributes:
        name: of the set.
        role: what it is for.
    """

    name: str
    role: Role

    def read(self, problems: Problems, *, with_pixels: bool) -> CheckedSet:
        """See `DataSet`."""
        checked = CheckedSet(self.name, "registered", self.role.name, self.role.is_learnt)
        try:
            records = load_dataset_dicts([self.name], filter_empty=False)
        except UserError as error:
            problems.add("reader-refuses", self.name, "", str(error))
            return checked
        for number, record in enumerate(records):
            size = (record["height"], record["width"])
            path = Path(record["file_name"])
            checked.listed.append(ListedImage(path, Path(self.name), _entry(number, record), size))
        if with_pixels:
            results = go_through(_read_labels, records, f"reading labels of {self.name}")
            for number, (record, found) in enumerate(zip(records, results, strict=True)):
                for code, message in found:
                    problems.add(code, self.name, _entry(number, record), message)
        checked.kind, checked.classes = self._classes(records)
        number = sum(len(r.get("annotations") or r.get("segments_info") or ()) for r in records)
        checked.summary = f"{count_of(len(records), 'image')}, {count_of(number, 'object')}"
        return checked

    def _classes(self, records: list[dict[str, Any]]) -> tuple[str, ClassUse | None]:
        metadata = class_metadata(self.name)
        if "segments_info" in records[0]:
            kind, names, key = "panoptic", metadata.get("panoptic_classes"), "segments_info"
        elif "annotations" in records[0]:
            kind, names, key = "instances", metadata.get("thing_classes"), "annotations"
        else:
            names = metadata.get("stuff_classes")
            return "labels", None if names is None else ClassUse(names, [1] * len(names))
        if names is None:
            return kind, None
        classes = [entry["category_id"] for record in records for entry in record[key]]
        return kind, ClassUse(names, np.bincount(classes, minlength=len(names)).tolist())


def _entry(number: int, record: Mapping[str, Any]) -> str:
    return f"record {number} ({record.get('image_id', record['file_name'])})"


def _read_labels(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the label files of a standard dict: codes and messages."""
    found = []
    for key, read, code in (
        ("pan_seg_file_name", read_pan_seg, "png-unreadable"),
        ("sem_seg_file_name", read_sem_seg, "label-unreadable"),
    ):
        if key not in record:
            continue
        try:
            read(record)
        except UserError as error:
            found.append((code, str(error)))
            break  # the second is made of the first
    return found
