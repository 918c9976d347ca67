"""Segtron's view of the classes of a registered data set, whatever its metadata's convention."""

from __future__ import annotations

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata


def class_metadata(name: str) -> Metadata:
    """A data set's metadata as instance heads and semantic heads number the classes.

    In Detectron2's metadata of a panoptic set, `thing_classes` and `stuff_classes` both name all K
    classes, and its two mappings from ids share the numbers 0 to K - 1 among them. Here

    - `thing_classes`, `thing_colors` and `thing_dataset_id_to_contiguous_id` are those of the T
      things alone, numbered from 0, as instance heads predict them;
    - `stuff_classes`, `stuff_colors` and `stuff_dataset_id_to_contiguous_id` are those of all K
      classes, as semantic heads predict them;
    - `panoptic_classes` and `panoptic_colors` name what a segment's `category_id` stands for.

    Args:
        name: a registered data set, its classes known.

    Returns:
        The metadata of the catalog itself where the set is none of these.
    """
    metadata = MetadataCatalog.get(name)
    return _split(metadata) if is_unified_panoptic(metadata) else metadata


def known_metadata(name: str, key: str) -> Metadata:
    """A data set's classes as models number them, see `class_metadata`.

    Args:
        name: a registered set. It is read if it doesn't name its classes before.
        key: what has to be known, such as "thing_classes".
    """
    if MetadataCatalog.get(name).get(key) is None:
        DatasetCatalog.get(name)  # many loaders name the classes only as they read the data
    return class_metadata(name)


def is_panoptic(name: str) -> bool:
    """Whether a data set is scored by its panoptic segmentation, as its evaluator type says."""
    evaluator_type = MetadataCatalog.get(name).get("evaluator_type") or ""
    return evaluator_type.endswith("panoptic_seg")


def is_unified_panoptic(metadata: Metadata) -> bool:
    """Whether things and stuff share one numbering, as in Detectron2's panoptic sets."""
    names = metadata.get("thing_classes")
    things, stuff = _ids(metadata, "thing"), _ids(metadata, "stuff")
    return (
        bool(names)
        and list(names) == list(metadata.get("stuff_classes") or [])
        and sorted([*things.values(), *stuff.values()]) == list(range(len(names)))
    )


def _split(metadata: Metadata) -> Metadata:
    things, stuff = _ids(metadata, "thing"), _ids(metadata, "stuff")
    order = sorted(things, key=things.get)
    view = metadata.as_dict().copy()
    view["panoptic_classes"] = list(metadata.stuff_classes)
    view["thing_classes"] = [metadata.thing_classes[things[i]] for i in order]
    view["thing_dataset_id_to_contiguous_id"] = {i: place for place, i in enumerate(order)}
    view["stuff_dataset_id_to_contiguous_id"] = {
        i: c for c, i in sorted((c, i) for i, c in {**things, **stuff}.items())
    }
    if "stuff_colors" in view:
        view["panoptic_colors"] = list(metadata.stuff_colors)
    if "thing_colors" in view:
        view["thing_colors"] = [metadata.thing_colors[things[i]] for i in order]
    return Metadata(**view)


def things_in_sem_seg(metadata: Metadata) -> list[int]:
    """The semantic classes that are things.

    Args:
        metadata: as `class_metadata` gives it.

    Returns:
        At i the semantic class of thing class i; empty where things and stuff don't share one
        numbering.
    """
    if metadata.get("panoptic_classes") is None:
        return []
    to_sem_seg = metadata.stuff_dataset_id_to_contiguous_id
    return [to_sem_seg[i] for i in metadata.thing_dataset_id_to_contiguous_id]


def _ids(metadata: Metadata, kind: str) -> dict[int, int]:
    return metadata.get(f"{kind}_dataset_id_to_contiguous_id") or {}
