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
from segtron.data.classes import class_metadata, things_in_sem_seg
from segtron.data.coco import categories_by_id, load_coco_instances, read_coco
from segtron.data.coco_panoptic import (
    load_coco_panoptic,
    panoptic_metadata,
    read_coco_panoptic,
)
from segtron.data.label_folder import LABEL_SUFFIX, check_no_binary_masks, load_label_folder
from segtron.data.sem_seg import IGNORED
from segtron.data.semantic_entry import (
    Check,
    check_classes,
    check_format,
    check_ignore,
    check_palette,
    check_semantic_entry,
    check_text,
    class_ids,
    class_names,
    ignores_unasked,
    label_encoding,
)
from segtron.errors import UserError


@dataclass(frozen=True)
class EntryType:
    """A kind of DATASETS.REGISTER entry.

    Attributes:
        fields: the fields that an entry must have besides `name` and `type`; a function for each
            says what is wrong with a value, "" if nothing is.
        optional: the fields that it may have. It has no others.
        check: raises `UserError` where fields contradict each other.
        register: puts the data set into Detectron2's catalogs, without reading it.
        read_metadata: by the metadata's key, what fills it in from the data where `register` can't.
    """

    fields: Mapping[str, Check]
    optional: Mapping[str, Check]
    check: Callable[[Mapping[str, Any], str], None]
    register: Callable[[Mapping[str, Any]], None]
    read_metadata: Mapping[str, Callable[[Mapping[str, Any]], None]]


def _register_coco_instance(entry: Mapping[str, Any]) -> None:
    json_file, image_dir = Path(entry["json"]), Path(entry["images"])

    def load() -> list[dict[str, Any]]:
        _read_coco_metadata(entry)
        return load_coco_instances(json_file, image_dir)

    DatasetCatalog.register(entry["name"], load)
    MetadataCatalog.get(entry["name"]).set(
        json_file=str(json_file), image_root=str(image_dir), evaluator_type="coco"
    )


def _read_coco_metadata(entry: Mapping[str, Any]) -> None:
    metadata = MetadataCatalog.get(entry["name"])
    if "thing_classes" not in metadata.as_dict():
        categories = categories_by_id(read_coco(Path(entry["json"])))
        metadata.set(
            thing_classes=[category["name"] for category in categories],
            thing_dataset_id_to_contiguous_id={c["id"]: i for i, c in enumerate(categories)},
        )


def _register_coco_panoptic(entry: Mapping[str, Any]) -> None:
    json_file, panoptic_dir, image_dir = (
        Path(entry[key]) for key in ("json", "panoptic", "images")
    )

    def load() -> list[dict[str, Any]]:
        _read_panoptic_metadata(entry)
        return load_coco_panoptic(json_file, panoptic_dir, image_dir)

    DatasetCatalog.register(entry["name"], load)
    MetadataCatalog.get(entry["name"]).set(
        panoptic_json=str(json_file),
        panoptic_root=str(panoptic_dir),
        image_root=str(image_dir),
        evaluator_type="coco_panoptic_seg",
        ignore_label=IGNORED,
        label_divisor=1000,
    )


def _read_panoptic_metadata(entry: Mapping[str, Any]) -> None:
    metadata = MetadataCatalog.get(entry["name"])
    if "thing_classes" not in metadata.as_dict():
        metadata.set(**panoptic_metadata(read_coco_panoptic(Path(entry["json"]))))


def _register_semantic(entry: Mapping[str, Any]) -> None:
    encoding, names = label_encoding(entry), class_names(entry)
    image_dir, label_dir = Path(entry["images"]), Path(entry["labels"])
    label_suffix = entry.get("label_suffix", LABEL_SUFFIX)
    may_be_binary = ignores_unasked(entry) and 0 in class_ids(entry)

    def load() -> list[dict[str, Any]]:
        records = load_label_folder(image_dir, label_dir, encoding, label_suffix)
        if may_be_binary:
            check_no_binary_masks(label_dir, records)
        return records

    DatasetCatalog.register(entry["name"], load)
    MetadataCatalog.get(entry["name"]).set(
        image_dir=str(image_dir),
        gt_dir=str(label_dir),
        evaluator_type="sem_seg",
        ignore_label=IGNORED,
        stuff_classes=names,
        stuff_dataset_id_to_contiguous_id={v: i for i, v in enumerate(class_ids(entry))},
        **({"stuff_colors": [tuple(c) for c in entry["palette"]]} if "palette" in entry else {}),
    )


ENTRY_TYPES = {
    "coco_instance": EntryType(
        {"json": check_text, "images": check_text},
        {},
        lambda entry, where: None,
        _register_coco_instance,
        {"thing_classes": _read_coco_metadata},
    ),
    "coco_panoptic": EntryType(
        {"json": check_text, "panoptic": check_text, "images": check_text},
        {},
        lambda entry, where: None,
        _register_coco_panoptic,
        {"thing_classes": _read_panoptic_metadata, "stuff_classes": _read_panoptic_metadata},
    ),
    "semantic": EntryType(
        {"images": check_text, "labels": check_text, "classes": check_classes},
        {
            "palette": check_palette,
            "ignore": check_ignore,
            "label_format": check_format,
            "label_suffix": check_text,
        },
        check_semantic_entry,
        _register_semantic,
        {},  # the entry says all there is
    ),
}

# The entries that this process has put into the catalogs, by name.
_registered: dict[str, dict[str, Any]] = {}


def register_datasets(entries: list[Any]) -> None:
    """Make the entries of DATASETS.REGISTER known to Detectron2's catalogs; no data is read yet.

    Args:
        entries: mappings `{name, type, …}`, see `ENTRY_TYPES`. An entry whose name this function
            registered before takes its place.

    Raises:
        UserError: an entry lacks a field, has an unknown one, or takes a name that is in use.
    """
    places: dict[str, int] = {}
    for number, entry in enumerate(entries):
        _check_entry(entry, f"DATASETS.REGISTER[{number}]")
        name = entry["name"]
        if places.setdefault(name, number) != number:
            raise UserError(
                f"DATASETS.REGISTER[{number}]: the name {name!r} is that of "
                f"DATASETS.REGISTER[{places[name]}], too; choose another"
            )
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
        if not isinstance(entry.get(field), str) or not entry[field]:
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
    kind = ENTRY_TYPES[entry["type"]]
    where = f"{where} ({entry['name']})"
    for field in kind.fields:
        if field not in entry:
            raise UserError(f"{where} has no {field!r}")
    checks = {**kind.fields, **kind.optional}
    for field, value in entry.items():
        if field in ("name", "type"):
            continue
        if field not in checks:
            raise UserError(
                f"{where}: unknown field {field!r}; known: name, type, {', '.join(checks)}"
            )
        wrong = checks[field](value)
        if wrong:
            raise UserError(f"{where}: {field!r} {wrong}")
    kind.check(entry, where)


@dataclass(frozen=True)
class ClassKind:
    """One of the two kinds of classes that a data set can have.

    Attributes:
        metadata_key: where Detectron2's metadata names them.
        config_key: where Segtron's config names them.
        count_keys: the config keys that count them, given the config.
    """

    metadata_key: str
    config_key: str
    count_keys: Callable[[CfgNode], list[str]]

    def of_dataset(self, name: str) -> list[str] | None:
        """Names of a data set's classes, read from it if need be; None if it has none."""
        entry = _registered.get(name)
        readers = {} if entry is None else ENTRY_TYPES[entry["type"]].read_metadata
        if self.metadata_key in readers:
            readers[self.metadata_key](entry)
        if name not in DatasetCatalog:
            return None
        return class_metadata(name).as_dict().get(self.metadata_key)

    def of_config(self, cfg: CfgNode) -> list[str]:
        """Names of the classes that a config is for; empty if it names none."""
        return list(cfg.DATASETS[self.config_key])


def _num_thing_classes_keys(cfg: CfgNode) -> list[str]:
    keys = ["MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES"]
    # The same key counts semantic classes where PointRend refines a semantic model.
    if cfg.MODEL.ROI_MASK_HEAD.POINT_HEAD_ON:
        keys.append("MODEL.POINT_HEAD.NUM_CLASSES")
    return keys


THINGS = ClassKind("thing_classes", "THING_CLASSES", _num_thing_classes_keys)
STUFF = ClassKind("stuff_classes", "STUFF_CLASSES", lambda cfg: ["MODEL.SEM_SEG_HEAD.NUM_CLASSES"])
CLASS_KINDS = (THINGS, STUFF)


@completes_config
def complete_from_data(cfg: CfgNode, given: frozenset[str]) -> None:
    """Register DATASETS.REGISTER; take number and names of the classes from the data.

    A config that names its classes already (one that a training wrote) is complete: its data is not
    read, and may be absent.

    Raises:
        UserError: a given number of classes contradicts the data, or two data sets each other.
    """
    register_datasets(cfg.DATASETS.REGISTER)
    for kind in CLASS_KINDS:
        _complete_classes(cfg, given, kind)
    _complete_things(cfg)


def _complete_classes(cfg: CfgNode, given: frozenset[str], kind: ClassKind) -> None:
    names = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    classes, source = kind.of_config(cfg), f"DATASETS.{kind.config_key}"
    if not classes:
        known = ((name, kind.of_dataset(name)) for name in names)
        source, classes = next(((n, c) for n, c in known if c), ("", []))
        for name in names:
            other = kind.of_dataset(name)
            if other and other != classes:
                raise UserError(
                    f"data sets with different classes: {source} has {len(classes)} "
                    f"({short(classes)}), {name} has {len(other)} ({short(other)})"
                )
    if not classes:
        return
    cfg.DATASETS[kind.config_key] = list(classes)
    for key in kind.count_keys(cfg):
        group, _, leaf = key.rpartition(".")
        node = functools.reduce(getattr, group.split("."), cfg)
        if key in given and node[leaf] != len(classes):
            raise UserError(
                f"{key} is {node[leaf]}, but {source} has {len(classes)} classes "
                f"({short(classes)}); set it to {len(classes)}, or leave it out and it follows "
                "from the data"
            )
        node[leaf] = len(classes)


def _complete_things(cfg: CfgNode) -> None:
    """Say which semantic classes are things, where a panoptic data set tells it."""
    key = "MODEL.SEM_SEG_HEAD.THING_CLASSES"
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        things = things_in_sem_seg(class_metadata(name)) if name in DatasetCatalog else []
        if not things:
            continue
        if cfg.MODEL.META_ARCHITECTURE == "PanopticFPN":
            raise UserError(
                f"MODEL.META_ARCHITECTURE is PanopticFPN, which takes semantic class 0 for all "
                f"things, but {name} has a class for each; take UnifiedPanopticFPN"
            )
        given = list(cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES)
        if given and given != things:
            raise UserError(
                f"{key} is {given}, but the things of {name} are the classes {things}; name data "
                "sets of one kind, and leave the key out: it follows from the data"
            )
        cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES = things


def thing_classes(name: str) -> list[str] | None:
    """Names of a data set's thing classes, read from the data if need be; None if it has none."""
    return THINGS.of_dataset(name)


def stuff_classes(name: str) -> list[str] | None:
    """Names of a data set's semantic classes, as `thing_classes` gives those of things."""
    return STUFF.of_dataset(name)


def short(names: list[str]) -> str:
    """The first few of many names, for messages."""
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
