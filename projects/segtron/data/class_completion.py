"""What a config says of its classes, completed from its data sets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from segtron.config import completes_config
from segtron.data.classes import class_metadata, things_in_sem_seg
from segtron.data.register import read_metadata, register_datasets
from segtron.errors import UserError
from segtron.wording import first_few


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
        read_metadata(name, self.metadata_key)
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
                    f"({first_few(classes)}), {name} has {len(other)} ({first_few(other)})"
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
                f"({first_few(classes)}); set it to {len(classes)}, or leave it out and it follows "
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
