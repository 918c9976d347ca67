"""A COCO JSON of panoptic segmentations and its PNGs, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtron.data.checks.checked_set import CheckedSet, Objects, Role, summary
from segtron.data.checks.classes import check_categories, check_number
from segtron.data.checks.panoptic import (
    Measured,
    PanopticImage,
    check_pngs,
    count_segments,
    measure_pngs,
    read_segments,
)
from segtron.data.checks.problems import Problems
from segtron.data.checks.structure import Categories, Images, read_categories
from segtron.data.panoptic_png import read_panoptic_png
from segtron.errors import UserError
from segtron.wording import count_of


def read_panoptic_set(
    content: dict[str, Any],
    images: Images,
    paths: Sequence[Path | None],
    panoptic_dir: Path | None,
    place: tuple[Path, Role],
    problems: Problems,
) -> CheckedSet:
    """Check what a JSON says of its segments, and its PNGs.

    Args:
        content: of the file.
        images: of the file.
        paths: of the images, None where they are not known.
        panoptic_dir: the folder of the PNGs; None to leave them out.
        place: the file and what it is for.
        problems: what is wrong is entered there.
    """
    file, role = place
    categories = read_categories(content, file, problems, is_panoptic=True)
    annotations = read_segments(content, images, categories, file, problems)
    classes = check_categories(
        categories, count_segments(annotations, len(categories.ids)), file, problems
    )
    check_number(classes.names, file, problems)
    number = sum(len(annotation.segments) for annotation in annotations)
    checked = CheckedSet(
        str(file),
        "panoptic",
        role.name,
        role.is_learnt,
        summary(len(images.ids), count_of(number, "segment"), len(categories.ids)),
        classes=classes,
    )
    if panoptic_dir is None:
        return checked
    if not panoptic_dir.is_dir():
        problems.add("png-folder", file, "", f"the folder {panoptic_dir} does not exist")
        return checked
    measured = measure_pngs(annotations, panoptic_dir)
    check_pngs(annotations, measured, images, (file, panoptic_dir), problems)
    checked.objects = _objects(annotations, measured, images, categories, paths, panoptic_dir)
    return checked


@dataclass(frozen=True)
class _SegmentMasks:
    pngs: Sequence[Path]
    ids: Sequence[int]

    def read(self, row: int) -> np.ndarray | None:
        """See `Masks`."""
        try:
            return read_panoptic_png(self.pngs[row]) == self.ids[row]
        except UserError:
            return None


def _objects(
    annotations: Sequence[PanopticImage],
    measured: Mapping[int, Measured | str],
    images: Images,
    categories: Categories,
    paths: Sequence[Path | None],
    folder: Path,
) -> Objects:
    rows: list[tuple[int, int, int, bool, list[int]]] = []
    pngs, ids = [], []
    for annotation in annotations:
        found = measured.get(annotation.number)
        if annotation.image < 0 or not isinstance(found, Measured):
            continue
        if tuple(images.sizes[annotation.image].tolist()) != found.size:
            continue
        listed = {segment.id: segment for segment in annotation.segments}
        measures = zip(*(values.tolist() for values in found.segments), strict=True)
        for segment_id, area, box in measures:
            segment = listed.get(segment_id)
            if segment is not None and segment.category >= 0:
                rows.append((annotation.image, segment.category, area, segment.is_crowd, box))
                pngs.append(folder / annotation.png)
                ids.append(segment_id)
    image, category, area, crowd, box = zip(*rows, strict=True) if rows else ((),) * 5
    return Objects(
        np.array(image, np.int64),
        np.array(category, np.int64),
        np.array(area, np.float64),
        np.array(box, np.float64).reshape(-1, 4),
        np.array(crowd, bool),
        [name or "" for name in categories.names],
        images.sizes,
        paths,
        _SegmentMasks(pngs, ids),
    )
