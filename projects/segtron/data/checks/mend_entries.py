"""Ids, sizes and crowds put right in the lists of a COCO JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from segtron.data.checks.changes import Change
from segtron.data.checks.fields import is_length, numbers_only, whole_number
from segtron.data.checks.pictures import Picture
from segtron.data.checks.problems import shown
from segtron.data.coco import FARTHEST
from segtron.data.image_io import UPRIGHT


def objects_of(content: dict[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Places and entries of a list, those alone that are objects."""
    values = content.get(name)
    for number, entry in enumerate(values if isinstance(values, list) else []):
        if isinstance(entry, dict):
            yield number, entry


def mend_ids(content: dict[str, Any], changes: list[Change]) -> None:
    """Write all ids as numbers, or those of images as text where one of them is no number.

    Ids that would become one, such as 7 and "7", stay as they are.
    """
    images = [(f"images[{n}]", entry) for n, entry in objects_of(content, "images")]
    given = [entry["id"] for _, entry in images if "id" in entry]
    # Text that all is written in stays text.
    if not all(isinstance(image_id, str) for image_id in given):
        as_numbers = all(whole_number(image_id) is not None for image_id in given)
        _rewrite_all(images, changes, as_numbers=as_numbers)
    categories = [(f"categories[{n}]", entry) for n, entry in objects_of(content, "categories")]
    _rewrite_all(categories, changes, as_numbers=True)
    ids = {e.get("id") for _, e in images if isinstance(e.get("id"), int | str)}
    for number, entry in objects_of(content, "annotations"):
        where = f"annotations[{number}]"
        image_id = entry.get("image_id")
        known = isinstance(image_id, int | str) and image_id in ids
        for as_numbers in () if known else (True, False):
            if _twin(image_id, as_numbers=as_numbers) in ids:
                _rewrite(entry, "image_id", where, changes, as_numbers=as_numbers)
                break
        _rewrite(entry, "category_id", where, changes)
        segments = entry.get("segments_info")
        for place, segment in enumerate(segments if isinstance(segments, list) else []):
            if isinstance(segment, dict):
                for field in ("id", "category_id"):
                    _rewrite(segment, field, f"{where}: segments_info[{place}]", changes)


def _rewrite_all(
    entries: list[tuple[str, dict[str, Any]]], changes: list[Change], *, as_numbers: bool
) -> None:
    """Rewrite the ids of a list, if they stay apart."""
    before = [repr(entry.get("id")) for _, entry in entries]
    twins = [_twin(entry.get("id"), as_numbers=as_numbers) for _, entry in entries]
    after = [was if twin is None else repr(twin) for was, twin in zip(before, twins, strict=True)]
    if len(set(after)) == len(set(before)):
        for where, entry in entries:
            _rewrite(entry, "id", where, changes, as_numbers=as_numbers)


def _twin(value: Any, *, as_numbers: bool) -> int | str | None:
    number = whole_number(value)
    return number if as_numbers or number is None else str(number)


def _rewrite(
    entry: dict[str, Any], field: str, where: str, changes: list[Change], *, as_numbers: bool = True
) -> None:
    if field not in entry:
        return
    before = entry[field]
    after = _twin(before, as_numbers=as_numbers)
    if after is not None and type(after) is not type(before):
        entry[field] = after
        changes.append(Change("id-type", where, f"'{field}' {shown(before)} is now {shown(after)}"))


def mend_sizes(
    content: dict[str, Any], pictures: Mapping[int, Picture], changes: list[Change]
) -> None:
    """Take sizes from pictures, where nothing speaks for another one.

    A size that differs from the picture's may be right, and the picture have been resized since it
    was labelled. So it is only changed if the image's objects reach beyond it, but not beyond the
    picture, or there are none.

    Args:
        content: of the file.
        pictures: by place in the list of images.
        changes: are entered there.
    """
    by_image = defaultdict(list)
    for _, annotation in objects_of(content, "annotations"):
        image_id = annotation.get("image_id")
        if isinstance(image_id, int | str):
            by_image[image_id].append(annotation)
    for number, entry in objects_of(content, "images"):
        picture = pictures.get(number)
        if picture is None:
            continue
        right = (picture.height, picture.width)
        said = (entry.get("height"), entry.get("width"))
        if said == right and all(is_length(side) for side in said):
            continue
        is_size = all(is_length(side) for side in said)
        image_id = entry.get("id")
        of_image = by_image[image_id] if isinstance(image_id, int | str) else []
        if is_size and not _speaks_for(right, said, of_image, picture):
            continue
        entry["height"], entry["width"] = right
        changes.append(
            Change(
                "image-size" if is_size else "size-value",
                f"images[{number}]",
                f"width x height {shown(said[1])} x {shown(said[0])} are now the picture's "
                f"{right[1]} x {right[0]}",
            )
        )


def _speaks_for(
    right: tuple[int, int],
    said: tuple[float, float],
    annotations: list[dict[str, Any]],
    picture: Picture,
) -> bool:
    """Whether an image's objects are drawn on a picture of one size, not of another."""
    if not annotations:
        return True
    if picture.orientation != UPRIGHT or any("segments_info" in a for a in annotations):
        return False
    reached = [0.0, 0.0]
    for annotation in annotations:
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, dict):
            reached = [max(a, b) for a, b in zip(reached, _side(segmentation), strict=True)]
            if segmentation.get("size") == list(said):
                return False
        for polygon in segmentation if isinstance(segmentation, list) else []:
            if isinstance(polygon, list) and len(polygon) > 1 and numbers_only(polygon):
                reached = [max(reached[0], *polygon[1::2]), max(reached[1], *polygon[::2])]
    beyond = any(far > side + 1 for far, side in zip(reached, said, strict=True))
    fits = all(far <= side + 1 for far, side in zip(reached, right, strict=True))
    return beyond and fits


def _side(segmentation: dict[str, Any]) -> list[float]:
    size = segmentation.get("size")
    is_size = isinstance(size, list) and len(size) == 2 and numbers_only(size)
    return size if is_size else [FARTHEST, FARTHEST]


def mend_crowds(content: dict[str, Any], changes: list[Change]) -> None:
    """Write `iscrowd` where it is missing, and as a number where it is text."""
    for number, annotation in objects_of(content, "annotations"):
        crowd = annotation.get("iscrowd")
        if crowd is None:
            annotation["iscrowd"] = 0
            changes.append(Change("crowd-missing", f"annotations[{number}]", "'iscrowd' is now 0"))
        elif isinstance(crowd, str) and crowd in ("0", "1"):
            annotation["iscrowd"] = int(crowd)
            message = f"'iscrowd' {shown(crowd)} is now {int(crowd)}"
            changes.append(Change("crowd-value", f"annotations[{number}]", message))
