"""The ids by which a data set's own files call its classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.data.catalog import Metadata

from segtron.data.classes import known_metadata
from segtron.errors import UserError


class Category(NamedTuple):
    """A class of segments.

    Attributes:
        id: what segments have as `category_id`.
        name: for people.
        is_thing: whether it is counted, or stuff.
    """

    id: int
    name: str
    is_thing: bool


def dataset_ids(metadata: Metadata, kind: Literal["thing", "stuff"]) -> dict[int, int]:
    """The ids of the classes of a kind, as far as they are known.

    Args:
        metadata: of the data set.
        kind: which of its two numberings is meant.

    Returns:
        Number of a class in `<kind>_classes` -> the data set's id of it, the last one if it has
        several.
    """
    numbers = _numbers_of(metadata, kind)
    return {contiguous: dataset_id for dataset_id, contiguous in numbers.items()}


def _numbers_of(metadata: Metadata, kind: Literal["thing", "stuff"]) -> dict[int, int]:
    """The data set's id of a class -> its number in `<kind>_classes`, as far as they are known."""
    return metadata.get(f"{kind}_dataset_id_to_contiguous_id") or {}


def thing_category_ids(dataset_name: str) -> np.ndarray:
    """The ids by which a dataset's own files call its thing classes, in the model's order.

    Returns:
        (K,) int64: at i the dataset's id of the class that the model calls i.
    """
    metadata = known_metadata(dataset_name, "thing_classes")
    if metadata.get("thing_dataset_id_to_contiguous_id") is None:
        return np.arange(len(metadata.thing_classes))
    ids = dataset_ids(metadata, "thing")
    return np.array([ids[i] for i in range(len(ids))], dtype=np.int64)


def panoptic_categories(dataset_name: str) -> list[Category]:
    """The classes of a panoptic set by the ids that its own files have for them, ascending."""
    known_metadata(dataset_name, "thing_classes")
    metadata = MetadataCatalog.get(dataset_name)
    return sorted(
        Category(dataset_id, metadata.get(f"{kind}_classes")[contiguous], kind == "thing")
        for kind in ("thing", "stuff")
        # Several ids may share a class.
        for dataset_id, contiguous in _numbers_of(metadata, kind).items()
    )


def dataset_segments(
    segments_info: Iterable[Mapping[str, Any]], dataset_name: str
) -> list[dict[str, Any]]:
    """Segments by the ids that a panoptic set's own files have for its classes.

    Args:
        segments_info: with `isthing` and `category_id`, in Detectron2's numbering: that of
            `thing_classes` for things and that of `stuff_classes` for stuff.
        dataset_name: the set.

    Returns:
        The same with the data set's ids as `category_id`.

    Raises:
        UserError: a segment has a class that the set doesn't have.
    """
    metadata = MetadataCatalog.get(dataset_name)
    things, stuff = dataset_ids(metadata, "thing"), dataset_ids(metadata, "stuff")
    segments = []
    for segment in segments_info:
        is_thing, category = bool(segment["isthing"]), int(segment["category_id"])
        if category not in (things if is_thing else stuff):
            raise UserError(
                f"a segment is of the {'thing' if is_thing else 'stuff'} class number {category}, "
                f"which {dataset_name} doesn't have; take a model that was trained on the classes "
                "of this set"
            )
        segments.append({**segment, "category_id": (things if is_thing else stuff)[category]})
    return segments
