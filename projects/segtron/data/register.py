"""DATASETS.REGISTER: data sets of one's own from a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

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


def read_metadata(name: str, key: str) -> None:
    """Read from the data what the catalog doesn't know yet of a set in DATASETS.REGISTER.

    Args:
        name: any data set; of others nothing is read.
        key: of the metadata, such as "thing_classes".

    Raises:
        UserError: the data can't be read.
    """
    entry = _registered.get(name)
    readers = {} if entry is None else ENTRY_TYPES[entry["type"]].read_metadata
    if key in readers:
        readers[key](entry)
