"""Data loaders for training and testing, with errors that a user can act on."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any

import torch.utils.data
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, get_detection_dataset_dicts
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm

from segtron.data.aspect_ratio import group_by_aspect_ratio
from segtron.data.class_completion import CLASS_KINDS
from segtron.data.detectron2_panoptic import complete_panoptic
from segtron.data.mapper import SegmentationMapper
from segtron.data.mixing import MixedSamples, build_mixer
from segtron.data.mixing.partners import Partners
from segtron.data.repeat_factors import build_repeat_factors
from segtron.data.training_loader import TrainingSamples, TrainLoader
from segtron.data.training_stream import ProcessBatches, TrainingStream
from segtron.data.watched_loader import MappedRecords, WatchedLoader
from segtron.errors import UserError
from segtron.memory import garbage_kept
from segtron.wording import first_few

# What a model can learn from: how to call it, and fields of a standard dict, of which one will do.
_SEM_SEG = ("semantic labels", ("sem_seg_file_name",))
_INSTANCES = ("instances", ("annotations", "segments_info"))
_SEGMENTS = ("panoptic labels", ("segments_info",))
# What architectures learn from.
NEEDED = {
    "SemanticSegmentor": (_SEM_SEG,),
    "GeneralizedRCNN": (_INSTANCES,),
    "PanopticFPN": (_SEM_SEG, _INSTANCES),
    "UnifiedPanopticFPN": (_SEM_SEG, _INSTANCES),
    "BottomUpPanoptic": (_SEM_SEG, _SEGMENTS),
}


def load_dataset_dicts(names: Sequence[str], *, filter_empty: bool) -> list[dict[str, Any]]:
    """Read data sets as one list of standard dicts.

    Args:
        names: registered names.
        filter_empty: leave out images without an annotation that is no crowd. Images of sets that
            list no annotations, such as panoptic ones, stay.

    Raises:
        UserError: a name is unknown, its files are missing, it is empty, or no image is left.
    """
    if not names:
        raise UserError(
            "the config names no data set; give DATASETS.TRAIN and DATASETS.TEST a name"
        )
    for name in names:
        if name not in DatasetCatalog:
            near = difflib.get_close_matches(name, DatasetCatalog.list(), n=1)
            own = "DATASETS.REGISTER adds your own, and so does a file named to --parts"
            hint = f"did you mean {near[0]!r}?" if near else own
            raise UserError(f"no data set is called {name!r}; {hint}")
    with garbage_kept():
        records = [record for name in names for record in _load_dataset(name)]
    if filter_empty:
        records = [record for record in records if _is_learnable(record)]
        if not records:
            raise UserError(
                f"{', '.join(names)}: no image with an annotation is left; images without one, or "
                "with crowds only, are left out unless DATALOADER.FILTER_EMPTY_ANNOTATIONS is False"
            )
    # Now, and not when their turn comes in the middle of a training.
    for key, what in (
        ("file_name", "image"),
        ("sem_seg_file_name", "label file"),
        ("pan_seg_file_name", "label file"),
    ):
        missing = [r[key] for r in records if key in r and not os.path.isfile(r[key])]
        if missing:
            raise UserError(
                f"{', '.join(names)}: {what} {missing[0]} does not exist"
                + (f", nor do {len(missing) - 1} others" if len(missing) > 1 else "")
                + "; restore them or remove their entries"
            )
    return records


def _load_dataset(name: str) -> list[dict[str, Any]]:
    try:
        # One at a time: of several sets Detectron2 expects that all have annotations if the first
        # one has, and the same metadata, which sets of instances and panoptic ones have not.
        records = get_detection_dataset_dicts([name], filter_empty=False)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{name} is read by the package {error.name}, which is not installed; "
            f"pip install {error.name}"
        ) from error
    except FileNotFoundError as error:
        raise UserError(
            f"{name}: {error.filename or error} does not exist; put the data there or "
            "set DETECTRON2_DATASETS to the folder that holds it"
        ) from error
    except AssertionError as error:
        # Detectron2 asserts that data sets hold images.
        raise UserError(f"{name}: the data set is empty") from error
    return complete_panoptic(name, records)


def _is_learnable(record: dict[str, Any]) -> bool:
    """Whether a standard dict has an instance that is no crowd, or no list of instances."""
    instances = record.get("annotations")
    if instances is None and "segments_info" in record:
        instances = [segment for segment in record["segments_info"] if segment["isthing"]]
    return instances is None or any(not i.get("iscrowd", 0) for i in instances)


def leaves_out_empty(cfg: CfgNode) -> bool:
    """Whether images without instances are left out of training.

    They are where DATALOADER.FILTER_EMPTY_ANNOTATIONS says so, of models that learn from nothing
    else.
    """
    needed = NEEDED.get(cfg.MODEL.META_ARCHITECTURE, ())
    return cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS and _SEM_SEG not in needed


def build_train_loader(
    cfg: CfgNode, *, seed: int | None = None, first_batch: int = 0
) -> TrainLoader:
    """Endless shuffled batches of SOLVER.IMS_PER_BATCH images over all processes.

    Each batch is a function of seed, number and data alone: one loader's batch is to the last bit
    that of another one that starts later, whatever its DATALOADER.NUM_WORKERS; and several
    processes share what one process gets.

    Args:
        cfg: a config.
        seed: 0 or more, the same in all processes. Default: SEED, or a new one if that is negative.
        first_batch: the number of the first batch, counted from 0. It starts at once: no image of
            an earlier batch is read.

    Raises:
        UserError: see `load_dataset_dicts`; or the batch can't be shared by the processes evenly;
            or the data has other classes than the config, or not what the architecture learns
            from, or what DATALOADER.SAMPLER_TRAIN goes by. See also `WatchedLoader`.
    """
    batch_size, num_processes = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch_size < 1 or batch_size % num_processes:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}, but {num_processes} "
            "processes share a batch evenly; choose a multiple of that"
        )
    _check_classes(cfg, cfg.DATASETS.TRAIN)
    records = load_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=leaves_out_empty(cfg))
    check_learnable(cfg, records)
    if seed is None:
        seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    skip_unreadable = cfg.DATALOADER.SKIP_UNREADABLE
    groups = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        groups = group_by_aspect_ratio(records, skip_unreadable=skip_unreadable)
    factors = build_repeat_factors(cfg, records, seed)
    stream = TrainingStream(factors, batch_size, seed, groups)
    arguments = (records, SegmentationMapper(cfg, is_train=True), cfg.DATALOADER.NUM_WORKERS)
    options = {"stream": stream, "seed": seed, "skip_unreadable": skip_unreadable}
    mixer = build_mixer(cfg)
    if mixer is None:
        samples = TrainingSamples(*arguments, **options)
    else:
        partners = Partners(records, factors)
        samples = MixedSamples(*arguments, mixer=mixer, partners=partners, **options)
    share = batch_size // num_processes
    return TrainLoader(samples, ProcessBatches(stream, comm.get_rank(), share, first_batch))


def check_learnable(cfg: CfgNode, records: Sequence[dict[str, Any]]) -> None:
    """Make sure that a config's model can learn from all of these standard dicts.

    Raises:
        UserError: one has not what the architecture learns from.
    """
    for what, fields in NEEDED.get(cfg.MODEL.META_ARCHITECTURE, ()):
        _check_has(what, fields, cfg, records)


def build_test_loader(cfg: CfgNode, name: str) -> torch.utils.data.DataLoader:
    """Each image of a data set once, shared by all processes.

    Raises:
        UserError: see `load_dataset_dicts`; or the data has other classes than the config.
    """
    _check_classes(cfg, [name])
    records = load_dataset_dicts([name], filter_empty=False)
    images = MappedRecords(
        records, SegmentationMapper(cfg, is_train=False), cfg.DATALOADER.NUM_WORKERS
    )
    return WatchedLoader(images, sampler=InferenceSampler(len(records)))


def _check_has(
    what: str, fields: Sequence[str], cfg: CfgNode, records: Sequence[dict[str, Any]]
) -> None:
    """A model without what it learns from would fail in the middle of its first step."""
    without = [record for record in records if not any(field in record for field in fields)]
    if without:
        raise UserError(
            f"{', '.join(cfg.DATASETS.TRAIN)}: {len(without)} of {len(records)} images have no "
            f"{what}, first of them {without[0]['file_name']}, and a "
            f"{cfg.MODEL.META_ARCHITECTURE} learns from nothing else; name another data set in "
            "DATASETS.TRAIN"
        )


def _check_classes(cfg: CfgNode, names: Sequence[str]) -> None:
    """A config that a training wrote names its classes; data that came later may have others."""
    for kind in CLASS_KINDS:
        expected = kind.of_config(cfg)
        for name in names:
            found = kind.of_dataset(name)
            if expected and found and list(found) != expected:
                raise UserError(
                    f"{name} has {len(found)} classes ({first_few(found)}), but the config is for "
                    f"{len(expected)} (DATASETS.{kind.config_key}: {first_few(expected)}); take "
                    "data with the same classes in the same order, or train from a config without "
                    "that key"
                )
