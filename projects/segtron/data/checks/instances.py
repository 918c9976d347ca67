"""The annotations of a COCO JSON as columns, for checks of many at once."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segtron.data.checks.annotation_fields import (
    check_id,
    read_area,
    read_box,
    read_crowd,
)
from segtron.data.checks.fields import numbers_only
from segtron.data.checks.problems import Problems, shown
from segtron.data.checks.structure import (
    Categories,
    Images,
    entries,
    find_category,
    find_image,
)
from segtron.data.coco import FARTHEST
from segtron.data.masks import as_rle
from segtron.data.run_lengths import covered_pixels


@dataclass(frozen=True)
class Polygons:
    """All P polygons of a file.

    Attributes:
        owner: (P,) int64, rows of `Instances`, ascending.
        starts: (P + 1,) int64, where the corners of each begin.
        corners: (Q, 2) float64, x and y in pixels.
    """

    owner: np.ndarray
    starts: np.ndarray
    corners: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """(P,) int64: corners of each."""
        return np.diff(self.starts)

    def select(self, chosen: np.ndarray) -> Polygons:
        """Those for which `chosen`, (P,) bool, is True."""
        sizes = self.sizes
        return Polygons(
            self.owner[chosen],
            np.concatenate([[0], np.cumsum(sizes[chosen])]).astype(np.int64),
            self.corners[np.repeat(chosen, sizes)],
        )


@dataclass
class Instances:
    """The N annotations of a file that are objects; what is broken in one is left out here.

    Attributes:
        file: the JSON.
        numbers: (N,) places in the file's list.
        image: (N,) rows of `Images`, -1 where there is none.
        category: (N,) rows of `Categories`, -1 where there is none.
        boxes: (N, 4) float64, [x, y, width, height], nan where there is none.
        stated_area: (N,) float64, nan where there is none.
        is_crowd: (N,) bool.
        polygons: those of the annotations that have polygons.
        run_lengths: row -> compressed run lengths that fit the image.
        is_broken: (N,) bool: the segmentation could not be read.
    """

    file: Path
    numbers: np.ndarray
    image: np.ndarray
    category: np.ndarray
    boxes: np.ndarray
    stated_area: np.ndarray
    is_crowd: np.ndarray
    polygons: Polygons
    run_lengths: dict[int, dict[str, Any]]
    is_broken: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def entry(self, row: int) -> str:
        """What to call an annotation in messages."""
        return f"annotations[{self.numbers[row]}]"


@dataclass
class _Columns:
    numbers: list[int] = field(default_factory=list)
    image: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    area: list[float] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    broken: list[bool] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    coordinates: array = field(default_factory=lambda: array("d"))
    run_lengths: dict[int, dict[str, Any]] = field(default_factory=dict)


def read_instances(
    content: dict[str, Any], images: Images, categories: Categories, file: Path, problems: Problems
) -> Instances:
    """Check the list of annotations one by one, and make columns of what can be used."""
    columns = _Columns()
    ids: dict[Any, int] = {}
    sizes = images.sizes.tolist()
    for number, annotation in entries(content, "annotations", file, problems):
        place = (file, f"annotations[{number}]")
        row = len(columns.numbers)
        image = find_image(annotation, images, place, problems)
        check_id(annotation, number, ids, place, problems)
        columns.numbers.append(number)
        columns.image.append(image)
        columns.category.append(find_category(annotation, categories, place, problems))
        columns.boxes.append(read_box(annotation, place, problems))
        columns.area.append(read_area(annotation, place, problems))
        columns.crowd.append(read_crowd(annotation, place, problems))
        size = sizes[image] if image >= 0 else [0, 0]
        columns.broken.append(not _add_mask(annotation, row, size, columns, place, problems))
    if content.get("annotations") == []:
        problems.add("no-annotations", file, "", "its list 'annotations' is empty")
    _drop_broken_run_lengths(columns, file, problems)
    return _as_instances(columns, file, problems)


def _add_mask(
    annotation: dict[str, Any],
    row: int,
    size: list[int],
    columns: _Columns,
    place: tuple[Path, str],
    problems: Problems,
) -> bool:
    """Take over an annotation's mask; False, and a problem, if there is none that can be read."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        return _add_polygons(segmentation, row, columns, place, problems)
    if not isinstance(segmentation, dict):
        said = f"'segmentation' is {shown(segmentation)}"
        missing = "segmentation" not in annotation
        problems.add("segmentation-value", *place, "it has no 'segmentation'" if missing else said)
        return False
    if segmentation.get("size") != size or not size[0]:
        if size[0]:  # else the image is what is wrong
            problems.add(
                "rle-size",
                *place,
                f"run lengths are for {shown(segmentation.get('size'))} [height, width], its image "
                f"is {size}",
            )
        return False
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        # Checked with many others.
        columns.run_lengths[row] = {"size": size, "counts": counts}
        return True
    if isinstance(counts, list) and _adds_up(counts, size[0] * size[1]):
        whole = [int(count) for count in counts]
        columns.run_lengths[row] = as_rle({"size": size, "counts": whole}, *size)
        return True
    problems.add("rle-counts", *place, f"'counts' is {shown(counts)} for {size} [height, width]")
    return False


def _adds_up(counts: list[Any], pixels: int) -> bool:
    if not numbers_only(counts):
        return False
    fits = all(0 <= count <= pixels and count == int(count) for count in counts)
    return fits and sum(counts) == pixels


def _add_polygons(
    polygons: list[Any], row: int, columns: _Columns, place: tuple[Path, str], problems: Problems
) -> bool:
    before = len(columns.coordinates), len(columns.owner)
    for number, polygon in enumerate(polygons):
        is_list = isinstance(polygon, list) and len(polygon) % 2 == 0 and numbers_only(polygon)
        try:
            if is_list:
                columns.coordinates.extend(polygon)
        except OverflowError:  # a whole number that no float is as large as
            is_list = False
        if not is_list:
            del columns.coordinates[before[0] :]
            del columns.owner[before[1] :], columns.sizes[before[1] :]
            problems.add("segmentation-value", *place, f"polygon {number} is {shown(polygon)}")
            return False
        columns.owner.append(row)
        columns.sizes.append(len(polygon) // 2)
    return True


def _drop_broken_run_lengths(columns: _Columns, file: Path, problems: Problems) -> None:
    """Check all compressed run lengths."""
    rows = list(columns.run_lengths)
    masks = [columns.run_lengths[row] for row in rows]
    covered = covered_pixels([mask["counts"] for mask in masks]).tolist()
    for row, mask, pixels in zip(rows, masks, covered, strict=True):
        if pixels != math.prod(mask["size"]):
            entry = f"annotations[{columns.numbers[row]}]"
            problems.add("rle-counts", file, entry, f"'counts' is {shown(mask['counts'])}")
            columns.broken[row] = True
            del columns.run_lengths[row]


def _as_instances(columns: _Columns, file: Path, problems: Problems) -> Instances:
    polygons = Polygons(
        np.array(columns.owner, np.int64),
        np.concatenate([[0], np.cumsum(columns.sizes, dtype=np.int64)]).astype(np.int64),
        np.array(columns.coordinates, np.float64).reshape(-1, 2),
    )
    # nan is not within either.
    is_far = ~(np.abs(polygons.corners) <= FARTHEST).all(axis=1)
    far_owners = np.unique(np.repeat(polygons.owner, polygons.sizes)[is_far])
    broken = np.array(columns.broken, bool)
    for row in far_owners.tolist():
        broken[row] = True
        problems.add(
            "segmentation-value",
            file,
            f"annotations[{columns.numbers[row]}]",
            f"a polygon has a coordinate beyond {FARTHEST:,} pixels",
        )
    return Instances(
        file=file,
        numbers=np.array(columns.numbers, np.int64),
        image=np.array(columns.image, np.int64),
        category=np.array(columns.category, np.int64),
        boxes=np.array(columns.boxes, np.float64).reshape(-1, 4),
        stated_area=np.array(columns.area, np.float64),
        is_crowd=np.array(columns.crowd, bool),
        polygons=polygons.select(~np.isin(polygons.owner, far_owners)),
        run_lengths=columns.run_lengths,
        is_broken=broken,
    )
