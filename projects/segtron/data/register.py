"""DATASETS.REGISTER: data sets of one's own from a config, and what follows from the data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from segtron.config import completes_config
from segtron.data.coco import categories_by_id, load_coco_instances, read_coco
from segtron.errors import UserError


@dataclass(frozen=True)
class EntryType:
    """A kind of DATASETS.REGISTER entry.

    Attributes:
        fields: the fields that an entry must have besides `name` and `type`; it has no others.
        register: puts the data set into Detectron2's catalogs, without reading it.
        read_metadata: reads what the metadata lacks (names of classes) from the data.
    """

    fields: tuple[str, ...]
    register: Callable[[Mapping[str, str]], None]
    read_metadata: Callable[[Mapping[str, str]], None]


def _register_coco_instance(entry: Mapping[str, str]) -> None:
    json_file, image_dir = Path(entry["json"]), Path(entry["images"])

    def load() -> list[dict[str, Any]]:
        _read_coco_metadata(entry)
        return load_coco_instances(json_file, image_dir)

    DatasetCatalog.register(entry["name"], load)
    MetadataCatalog.get(entry["name"]).set(
        json_file=str(json_file), image_root=str(image_dir), evaluator_type="coco"
    )


def _read_coco_metadata(entry: Mapping[str, str]) -> None:
    metadata = MetadataCatalog.get(entry["name"])
    if "thing_classes" not in metadata.as_dict():
        categories = categories_by_id(read_coco(Path(entry["json"])))
        metadata.set(
            thing_classes=[category["name"] for category in categories],
            thing_dataset_id_to_contiguous_id={c["id"]: i for i, c in enumerate(categories)},
        )


ENTRY_TYPES = {
    "coco_instance": EntryType(("json", "images"), _register_coco_instance, _read_coco_metadata),
}

# The entries that this process has put into the catalogs, by name.
_registered: dict[str, dict[str, str]] = {}


def register_datasets(entries: list[Any]) -> None:
    """Make the entries of DATASETS.REGISTER known to Detectron2's catalogs; no data is read yet.

    Args:
        entries: mappings `{name, type, …}`, see `ENTRY_TYPES`. An entry whose name this function
            registered before takes its place.

    Raises:
        UserError: an entry lacks a field, has an unknown one, or takes a name that is in use.
    """
    for number, entry in enumerate(entries):
        _check_entry(entry, f"DATASETS.REGISTER[{number}]")
        name = entry["name"]
        if _registered.get(name) == entry:
            continue
        if name in _registered:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        elif name in DatasetCatalog:
            raise UserError(
                f"DATASETS.REGISTER[{number}]: the name {name!r} belongs to a built-in data set; "
                "choose another"
            )
        ENTRY_TYPES[entry["type"]].register(entry)
        _registered[name] = dict(entry)


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {entry!r}; it must be a mapping {{name, type, …}}")
    for field in ("name", "type"):
        if not isinstance(entry.get(field), str):
            raise UserError(f"{where} has no {field!r}")
    if entry["name"] != Path(entry["name"]).name or entry["name"] == "..":
        raise UserError(
            f"{where}: the name {entry['name']!r} can't be that of a folder, which a run makes for "
            "the predictions on each data set; choose one without slashes"
        )
    if entry["type"] not in ENTRY_TYPES:
        raise UserError(
            f"{where}: type {entry['type']!r} is unknown; known: {', '.join(ENTRY_TYPES)}"
        )
    wanted = ENTRY_TYPES[entry["type"]].fields
    for field in wanted:
        if not isinstance(entry.get(field), str):
            raise UserError(f"{where} ({entry['name']}) has no {field!r}")
    for field in entry:
        if field not in ("name", "type", *wanted):
            raise UserError(
                f"{where} ({entry['name']}): unknown field {field!r}; known: name, type, "
                + ", ".join(wanted)
            )


def thing_classes(name: str) -> list[str] | None:
    """Names of a data set's thing classes, read from the data if need be; None if it has none."""
    entry = _registered.get(name)
    if entry is not None:
        ENTRY_TYPES[entry["type"]].read_metadata(entry)
    if name not in DatasetCatalog:
        return None
    return MetadataCatalog.get(name).as_dict().get("thing_classes")


@completes_config
def complete_from_data(cfg: CfgNode, given: frozenset[str]) -> None:
    """Register DATASETS.REGISTER; take number and names of the thing classes from the data.

    A config that names its classes already (one that a training wrote) is complete: its data is not
    read, and may be absent.

    Raises:
        UserError: a given number of classes contradicts the data, or two data sets each other.
    """
    register_datasets(cfg.DATASETS.REGISTER)
    names = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    if cfg.DATASETS.THING_CLASSES:
        classes, source = list(cfg.DATASETS.THING_CLASSES), "DATASETS.THING_CLASSES"
    else:
        known = ((name, thing_classes(name)) for name in names)
        source, classes = next(((n, c) for n, c in known if c), ("", []))
        for name in names:
            other = thing_classes(name)
            if other and other != classes:
                raise UserError(
                    f"data sets with different classes: {source} has {len(classes)} "
                    f"({short(classes)}), {name} has {len(other)} ({short(other)})"
                )
    if not classes:
        return
    cfg.DATASETS.THING_CLASSES = classes
    for key in _num_thing_classes_keys(cfg):
        group, _, leaf = key.rpartition(".")
        node = functools.reduce(getattr, group.split("."), cfg)
        if key in given and node[leaf] != len(classes):
            raise UserError(
                f"{key} is {node[leaf]}, but {source} has {len(classes)} classes "
                f"({short(classes)}); set it to {len(classes)}, or leave it out and it follows "
                "from the data"
            )
        node[leaf] = len(classes)


def _num_thing_classes_keys(cfg: CfgNode) -> list[str]:
    keys = ["MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES"]
    # The same key counts semantic classes where PointRend refines a semantic model.
    if cfg.MODEL.ROI_MASK_HEAD.POINT_HEAD_ON:
        keys.append("MODEL.POINT_HEAD.NUM_CLASSES")
    return keys


def short(names: list[str]) -> str:
    """The first few of many names, for messages."""
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
