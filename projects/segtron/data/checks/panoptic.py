"""COCO's panoptic format: the list of segments, and the PNGs against it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segtron.data.checks.fields import has_field, numbers_only, usable_name
from segtron.data.checks.problems import Problems, shown
from segtron.data.checks.structure import Categories, Images, entries, find_category, find_image
from segtron.data.each_item import go_through
from segtron.data.id_map import Measures, measure_segments
from segtron.data.panoptic import VOID
from segtron.data.panoptic_png import MAX_IDS, read_panoptic_png
from segtron.errors import UserError

# How far the sides of a segment's box may be from its pixels', in pixels.
BOX_TOLERANCE = 1.0


@dataclass(frozen=True)
class Segment:
    """A segment as the JSON lists it.

    Attributes:
        id: its value in the PNG.
        category: row of `Categories`, -1 if there is none.
        area: as it is in the file; None if it is not.
        box: likewise.
        is_crowd: whether it is a crowd.
    """

    id: int
    category: int
    area: Any
    box: Any
    is_crowd: bool


@dataclass(frozen=True)
class PanopticImage:
    """An annotation.

    Attributes:
        number: its place in the file's list.
        image: row of `Images`, -1 if there is none.
        png: name of its file; None if it is no usable path.
        segments: those that are well-formed.
        is_complete: whether all are, and so what is in the PNG alone is known to be a problem.
    """

    number: int
    image: int
    png: str | None
    segments: list[Segment] = field(default_factory=list)
    is_complete: bool = True

    @property
    def entry(self) -> str:
        """What to call it in messages."""
        return f"annotations[{self.number}]" + (f" ({self.png})" if self.png else "")


def read_segments(
    content: dict[str, Any], images: Images, categories: Categories, file: Path, problems: Problems
) -> list[PanopticImage]:
    """Check the list of annotations, and enter what is wrong with it."""
    found = []
    first_of: dict[Any, int] = {}
    for number, annotation in entries(content, "annotations", file, problems):
        place = (file, f"annotations[{number}]")
        image = find_image(annotation, images, place, problems)
        if image >= 0 and first_of.setdefault(image, number) != number:
            message = f"annotations[{first_of[image]}] is of the same image"
            problems.add("annotation-repeated", *place, message)
        name = None
        if has_field(annotation, "file_name", str, place, problems):
            name = usable_name(annotation["file_name"], place, problems)
        if not has_field(annotation, "segments_info", list, place, problems):
            found.append(PanopticImage(number, image, name, is_complete=False))
            continue
        listed = annotation["segments_info"]
        segments = _segments(listed, categories, place, problems)
        found.append(PanopticImage(number, image, name, segments, len(segments) == len(listed)))
    if content.get("annotations") == []:
        problems.add("no-annotations", file, "", "its list 'annotations' is empty")
    for image in sorted(set(range(len(images.ids))) - first_of.keys()):
        problems.add("annotation-missing", file, images.entry(image), "no annotation is of it")
    return found


def _segments(
    listed: list[Any], categories: Categories, place: tuple[Path, str], problems: Problems
) -> list[Segment]:
    file, entry = place
    segments = []
    ids: set[int] = set()
    for number, segment in enumerate(listed):
        where = (file, f"{entry}: segments_info[{number}]")
        if not isinstance(segment, dict):
            problems.add("entry-type", *where, f"it is no object but {shown(segment)}")
            continue
        category = find_category(segment, categories, where, problems)
        crowd = segment.get("iscrowd")
        if crowd not in (None, 0, 1):
            problems.add("crowd-value", *where, f"'iscrowd' is {shown(crowd)}")
        elif crowd and category >= 0 and not categories.is_thing[category]:
            name = shown(categories.names[category])
            problems.add("crowd-stuff", *where, f"'iscrowd' is 1, but {name} is stuff")
        if not has_field(segment, "id", int, where, problems):
            continue
        segment_id = segment["id"]
        if not VOID < segment_id < MAX_IDS or segment_id in ids:
            again = ", as that of another segment" if segment_id in ids else ""
            problems.add("segment-id", *where, f"its id is {segment_id}{again}")
            continue
        ids.add(segment_id)
        segments.append(
            Segment(segment_id, category, segment.get("area"), segment.get("bbox"), crowd in (1,))
        )
    return segments


class Measured(NamedTuple):
    """What a panoptic PNG holds: its segments, and its height and width."""

    segments: Measures
    size: tuple[int, int]


def measure_pngs(
    annotations: Sequence[PanopticImage], panoptic_dir: Path
) -> dict[int, Measured | str]:
    """What the PNGs of annotations hold.

    Returns:
        Number of the annotation -> what is in its PNG, or why it can't be read.
    """
    named = [annotation for annotation in annotations if annotation.png is not None]
    results = go_through(
        lambda annotation: _measure(panoptic_dir / annotation.png), named, "reading panoptic PNGs"
    )
    return {a.number: result for a, result in zip(named, results, strict=True)}


def _measure(path: Path) -> Measured | str:
    try:
        ids = read_panoptic_png(path)
    except (UserError, OSError, ValueError, MemoryError) as error:
        return str(error)
    return Measured(measure_segments(ids), ids.shape)


def check_pngs(
    annotations: Sequence[PanopticImage],
    measured: Mapping[int, Measured | str],
    images: Images,
    place: tuple[Path, Path],
    problems: Problems,
) -> None:
    """Enter where PNGs and JSON disagree.

    Args:
        annotations: of the JSON.
        measured: see `measure_pngs`.
        images: of the JSON.
        place: the JSON, and the folder of the PNGs.
        problems: what is wrong is entered there.
    """
    file, folder = place
    for annotation in annotations:
        result = measured.get(annotation.number)
        if result is None:
            continue
        if isinstance(result, str):
            is_missing = not os.path.exists(folder / annotation.png)
            problems.add(
                "png-missing" if is_missing else "png-unreadable", file, annotation.entry, result
            )
            continue
        measures, size = result
        if annotation.image >= 0:
            wanted = tuple(images.sizes[annotation.image].tolist())
            if wanted not in (size, (0, 0)):
                problems.add(
                    "png-size",
                    file,
                    annotation.entry,
                    f"the PNG is {size[1]} x {size[0]}, its image {wanted[1]} x {wanted[0]}",
                )
        _compare(annotation, measures, file, problems)


def _compare(annotation: PanopticImage, measures: Measures, file: Path, problems: Problems) -> None:
    areas = dict(zip(measures.ids.tolist(), measures.areas.tolist(), strict=True))
    boxes = dict(zip(measures.ids.tolist(), measures.boxes.tolist(), strict=True))
    areas.pop(VOID, None)
    for segment in annotation.segments:
        entry = f"{annotation.entry}: segment {segment.id}"
        pixels = areas.pop(segment.id, 0)
        if not pixels:
            problems.add("segment-empty", file, entry, "the PNG has no pixel of it")
            continue
        if segment.area is not None and segment.area != pixels:
            problems.add(
                "segment-area",
                file,
                entry,
                f"'area' is {shown(segment.area)}, the PNG has {pixels} pixels of it",
            )
        x0, y0, x1, y1 = boxes[segment.id]
        right = [x0, y0, x1 - x0, y1 - y0]
        if segment.box is not None and not is_box(segment.box, right):
            problems.add(
                "segment-box", file, entry, f"'bbox' is {shown(segment.box)}, its pixels' {right}"
            )
    if annotation.is_complete:
        for segment_id, pixels in areas.items():
            problems.add(
                "segment-unlisted",
                file,
                f"{annotation.entry}: segment {segment_id}",
                f"the PNG has {pixels} pixels of it, the JSON does not list it",
            )


def is_box(box: Any, right: list[int]) -> bool:
    """Whether a value is a box, [x, y, width, height], within tolerance of the right one."""
    if not isinstance(box, list) or len(box) != 4 or not numbers_only(box):
        return False
    return all(abs(a - b) <= BOX_TOLERANCE for a, b in zip(box, right, strict=True))


def count_segments(annotations: Sequence[PanopticImage], number: int) -> np.ndarray:
    """(C,) how many segments each of `number` categories has."""
    rows = [s.category for a in annotations for s in a.segments if s.category >= 0]
    return np.bincount(np.array(rows, np.int64), minlength=number)
