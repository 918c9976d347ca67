"""Which data sets a path or a config names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from segtron.config import get_default_config, read_config_tree
from segtron.data.checks.checked_set import DataSet, Role
from segtron.data.checks.coco_file import CocoFile, is_panoptic
from segtron.data.checks.label_set import LabelSet
from segtron.data.checks.labels import LabelFolder
from segtron.data.checks.problems import Problems
from segtron.data.checks.registered_set import RegisteredSet
from segtron.data.checks.structure import load, read_categories
from segtron.data.label_folder import LABEL_SUFFIX
from segtron.data.register import register_datasets
from segtron.data.sem_seg import MAX_CLASSES, IdEncoding
from segtron.data.semantic_entry import class_ids, class_names, ignores_unasked, label_encoding
from segtron.errors import UserError

# Files of a folder that datasets/convert.py writes; the parts take the place of the whole.
_WHOLE, _PARTS = "annotations", ("train", "val", "test")
_PANOPTIC = "panoptic"
_IMAGES, _LABELS = "images", "labels"
LEARNT = "train"


def sets_of_paths(
    paths: Sequence[Path], image_dir: Path | None = None, panoptic_dir: Path | None = None
) -> list[DataSet]:
    """The sets of JSON files and of folders.

    Args:
        paths: of each; sets of different files are compared, the first as the one to learn from.
        image_dir: the folder of the images; None to look for it.
        panoptic_dir: that of panoptic PNGs likewise.

    Raises:
        UserError: there is no such file, or a folder holds nothing to check.
    """
    sets: list[DataSet] = []
    for number, path in enumerate(paths):
        if path.is_dir():
            sets += _sets_of_folder(path, image_dir, panoptic_dir)
        elif path.is_file():
            role = Role(str(path), is_learnt=number == 0)
            sets.append(CocoFile(path, role, image_dir, panoptic_dir))
        else:
            raise UserError(f"{path} does not exist; name a COCO JSON or the folder that has one")
    return sets


def _sets_of_folder(
    folder: Path, image_dir: Path | None, panoptic_dir: Path | None
) -> list[DataSet]:
    sets: list[DataSet] = []
    for whole, parts in (
        (_WHOLE, _PARTS),
        (_PANOPTIC, [f"{_PANOPTIC}_{part}" for part in _PARTS]),
    ):
        found = [part for part in parts if (folder / f"{part}.json").is_file()]
        if not found and (folder / f"{whole}.json").is_file():
            found = [whole]
        for name in found:
            role = _role(folder, name.removeprefix(f"{_PANOPTIC}_"))
            sets.append(CocoFile(folder / f"{name}.json", role, image_dir, panoptic_dir))
    labels = _label_folder(folder, image_dir)
    if labels is not None:
        sets.append(labels)
    if not sets:
        raise UserError(
            f"{folder} has neither {_WHOLE}.json nor {', '.join(f'{p}.json' for p in _PARTS)}; "
            "name the JSON itself"
        )
    return sets


def _role(folder: Path, part: str) -> Role:
    # What is not split is neither, and compared with nothing of its folder.
    return Role(f"{folder}: {part}" if part in _PARTS else str(folder), part == LEARNT)


def _label_folder(folder: Path, image_dir: Path | None) -> LabelSet | None:
    """The label files that datasets/convert.py writes: places in the classes, 255 for none."""
    images, labels = image_dir or folder / _IMAGES, folder / _LABELS
    if not images.is_dir() or not labels.is_dir():
        return None
    names: dict[int, str] = {}
    for name in (_WHOLE, _PANOPTIC):
        path = folder / f"{name}.json"
        # What is wrong with the file is entered where it is checked.
        content = load(path, Problems()) if path.is_file() else None
        if content is not None:
            categories = read_categories(
                content, path, Problems(), is_panoptic=is_panoptic(content)
            )
            known = zip(categories.ids, categories.names, strict=True)
            names |= {i - 1: name or "" for i, name in known if 0 < i <= MAX_CLASSES}
    # Only the panoptic file names classes that have no instances.
    every = (folder / f"{_PANOPTIC}.json").is_file() and bool(names)
    number = max(names, default=-1) + 1
    encoding = IdEncoding(tuple(range(number if every else MAX_CLASSES)))
    listed = [names.get(place, "") for place in range(number)]
    # Its images are those of the JSON files, whichever part they are.
    return LabelSet(LabelFolder(images, labels, encoding, listed, LABEL_SUFFIX), Role("", False))


def sets_of_config(config_file: Path) -> list[DataSet]:
    """The sets of a config's DATASETS.TRAIN and DATASETS.TEST.

    The config is not completed from the data, which may be what is broken.

    Raises:
        UserError: the config is faulty, or names no set or an unknown one.
    """
    datasets = _datasets(config_file)
    register_datasets(datasets.REGISTER)
    entries = {entry["name"]: entry for entry in datasets.REGISTER}
    sets = []
    for key, is_learnt in (("TRAIN", True), ("TEST", False)):
        for name in datasets[key]:
            sets.append(_set_of_name(name, Role(f"DATASETS.{key}", is_learnt), entries))
    if not sets:
        raise UserError(f"{config_file}: DATASETS.TRAIN and DATASETS.TEST name no set")
    return sets


def _datasets(config_file: Path) -> CfgNode:
    cfg = get_default_config()
    tree = read_config_tree(config_file).get("DATASETS", {})
    datasets = cfg.DATASETS
    for key in ("REGISTER", "TRAIN", "TEST"):
        value = tree.get(key, datasets[key]) if isinstance(tree, dict) else None
        if key != "REGISTER" and isinstance(value, str):
            value = CfgNode._decode_cfg_value(value)
        if not isinstance(value, list | tuple) or (
            key != "REGISTER" and not all(isinstance(name, str) for name in value)
        ):
            raise UserError(f"{config_file}: DATASETS.{key} is {value!r}; it must be a list")
        datasets[key] = list(value)
    return datasets


def _set_of_name(name: str, role: Role, entries: Mapping[str, Mapping[str, Any]]) -> DataSet:
    entry = entries.get(name)
    if entry is not None and entry["type"] == "semantic":
        folder = LabelFolder(
            Path(entry["images"]),
            Path(entry["labels"]),
            label_encoding(entry),
            class_names(entry),
            entry.get("label_suffix", LABEL_SUFFIX),
            ignores_unasked(entry) and 0 in class_ids(entry),
        )
        return LabelSet(folder, role)
    if name not in DatasetCatalog:
        raise UserError(f"no data set is called {name!r}; DATASETS.REGISTER adds your own")
    metadata = MetadataCatalog.get(name)
    kind = metadata.get("evaluator_type")
    if kind == "coco":
        return CocoFile(Path(metadata.json_file), role, Path(metadata.image_root))
    if kind == "coco_panoptic_seg":
        return CocoFile(
            Path(metadata.panoptic_json),
            role,
            Path(metadata.image_root),
            Path(metadata.panoptic_root),
        )
    return RegisteredSet(name, role)
