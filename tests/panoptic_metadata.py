"""A panoptic set, as far as its metadata says."""

from __future__ import annotations

from typing import Any

from detectron2.data import MetadataCatalog


def set_panoptic(name: str, **more: Any) -> None:
    """Things and stuff in one numbering, the data set's ids in another order."""
    MetadataCatalog.get(name).set(
        thing_classes=["road", "car", "sky", "person"],
        stuff_classes=["road", "car", "sky", "person"],
        thing_dataset_id_to_contiguous_id={40: 1, 9: 3},
        stuff_dataset_id_to_contiguous_id={90: 0, 7: 2},
        label_divisor=1000,
        **more,
    )
