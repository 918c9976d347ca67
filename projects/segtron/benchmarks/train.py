"""What a training step costs, against stock Detectron2 and torchvision."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.engine import SimpleTrainer
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage

from segtron.benchmarks.agreement import check_losses
from segtron.benchmarks.arithmetic import MultiplyAddRates, count_multiply_adds, name_of
from segtron.benchmarks.compared_models import NUM_THINGS, ComparedModel, mask_rcnn
from segtron.benchmarks.limits import MODEL_SIZES, check_device
from segtron.benchmarks.machine import PASSED_SECONDS, OtherPrograms, describe_machine
from segtron.benchmarks.made_up_images import write_records
from segtron.benchmarks.mask_targets import compare_mask_targets
from segtron.benchmarks.peak_memory import peak_of
from segtron.benchmarks.report import Memory, Report, Row
from segtron.benchmarks.timing import garbage_collected_between, time_pairs
from segtron.benchmarks.torchvision_mask_rcnn import build_torchvision_mask_rcnn
from segtron.benchmarks.variants import DETECTRON2, TORCHVISION, training_variants
from segtron.benchmarks.wall_clock import on_the_wall
from segtron.data.mapper import SegmentationMapper
from segtron.engine.trainer import Trainer
from segtron.memory import keep_freed_memory
from segtron.modeling.checkpoint import load_weights
from segtron.modeling.precision import training_precision

NUM_OBJECTS = 12  # in an image
# How many steps a run takes; on a GPU one is over too soon to be timed.
_STEPS = {"cpu": 1, "cuda": 10}
_MEMORY_STEPS = 2  # the optimizer's state is there after the first
# So low that the weights stay as they are, and with them the losses on all sides. An optimizer
# takes as long for such steps.
_LEARNING_RATE = 1e-12
# torchvision's losses by Detectron2's names, as far as they are the same functions.
_TORCHVISION_LOSSES = {
    "loss_classifier": "loss_cls",
    "loss_objectness": "loss_rpn_cls",
    "loss_mask": "loss_mask",
}

Losses = Mapping[str, float]
Step = Callable[[], Losses]
Records = Sequence[Mapping[str, Any]]


def measure_train(
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    *,
    num_pairs: int = 5,
    batch_size: int = 2,
    device: str = "cpu",
    opts: Sequence[str] = (),
) -> Report:
    """Time training steps of Mask R-CNN R50-FPN against what else trains it.

    All sides have the same weights, which are made up, and the same images of toytown with the same
    made-up objects, which are mapped before. They run in turn in this process with all its threads.
    Segtron runs as users get it by default, and besides in float32, as Detectron2 and torchvision
    always do.

    Args:
        size: height and width of the images in pixels, one of `MODEL_SIZES`.
        seed: of weights, images and objects.
        num_pairs: how often each pair of ways is timed.
        batch_size: images of a step.
        device: "cpu" or "cuda".
        opts: Detectron2's keys and values, which all models get: fewer regions take less time.

    Raises:
        RuntimeError: two ways don't find about the same losses.
        UserError: images can't be of this size, or there is no such device.
    """
    MODEL_SIZES.check(size)
    check_device(device)
    keep_freed_memory()  # as Segtron's tools do; the other side profits, too
    machine = describe_machine(PASSED_SECONDS)
    height, width = size
    work = f"Mask R-CNN R50-FPN training step, {height}x{width}, batch {batch_size}"
    with tempfile.TemporaryDirectory() as folder:
        records = write_records(
            Path(folder), batch_size, size, seed, num_objects=NUM_OBJECTS, num_classes=NUM_THINGS
        )
        image = cv2.imread(records[0]["file_name"])
        model = _for_training(mask_rcnn(Path(folder), image, device, seed, opts), size, batch_size)
        stock = stock_step(model.stock, records)
        rivals = {DETECTRON2: stock, TORCHVISION: torchvision_step(model.stock, records)}
        variants = training_variants(device)
        precisions = [
            training_precision(model.our_cfg(variant.opts), torch.device(device))
            for variant in variants
        ]
        rows = []
        with OtherPrograms() as others, garbage_collected_between(), torch.random.fork_rng():
            torch.manual_seed(seed)  # by which the other sides draw regions
            rates = MultiplyAddRates(precisions, device)
            for variant in variants:
                ours = _way(our_step(model.our_cfg(variant.opts), records, seed), device)
                rows += [
                    Row(
                        f"{work}{variant.suffix}",
                        against,
                        time_pairs(ours, _way(step, device), num_pairs, check_losses),
                    )
                    for against, step in rivals.items()
                ]
            targets = compare_mask_targets(size, seed, num_pairs, device)
            rates.measure()
        machine["cores_used_by_others"] = others.cores
        amount = _STEPS[torch.device(device).type] * count_multiply_adds(stock)
        floors = [
            rates.floor(row.work, amount, row.timing.ours_s, precision)
            for row, precision in zip(rows[:: len(rivals)], precisions, strict=True)
        ]
        memory = [
            Memory(work, "Segtron", *peak_of(_train, model.our_cfg(), records, seed)),
            Memory(work, DETECTRON2, *peak_of(_train_as_stock, model.stock, records)),
        ]
    settings = {
        "pairs": num_pairs,
        "size": list(size),
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
        "precision": name_of(precisions[0]),
    }
    return Report(machine, settings, [*rows, targets], [], [], floors, memory)


def _for_training(model: ComparedModel, size: tuple[int, int], batch_size: int) -> ComparedModel:
    """The same model with the images and objects as they are."""
    pairs = {
        "INPUT.MIN_SIZE_TRAIN": f"({min(size)},)",
        "INPUT.MAX_SIZE_TRAIN": max(size),
        "INPUT.RANDOM_FLIP": "none",
        "DATASETS.TEST": "()",
        "SOLVER.IMS_PER_BATCH": batch_size,
        "SOLVER.BASE_LR": _LEARNING_RATE,
    }
    opts = [str(part) for pair in pairs.items() for part in pair]
    stock = model.stock.clone()
    stock.merge_from_list(opts)
    return ComparedModel(model.our_config, [*model.our_opts, *opts], stock)


def _way(step: Step, device: str) -> Callable[[], Any]:
    def run() -> Losses:
        return [step() for _ in range(_STEPS[torch.device(device).type])][-1]

    return on_the_wall(run, device)


def our_step(cfg: CfgNode, records: Records, seed: int) -> Step:
    """Segtron's training step, each time on the same batch."""
    mapper = SegmentationMapper(cfg, is_train=True)
    trainer = Trainer(cfg, seed)
    load_weights(trainer.checkpointer.model, cfg.MODEL.WEIGHTS, strict=True)
    return _stepping(trainer._trainer, [mapper(dict(record)) for record in records])


def stock_step(cfg: CfgNode, records: Records) -> Step:
    """Detectron2's training step, each time on the same batch."""
    mapper = DatasetMapper(cfg, is_train=True)
    model = build_model(cfg)
    load_weights(model, cfg.MODEL.WEIGHTS, strict=True)
    trainer = SimpleTrainer(model.train(), (), build_optimizer(cfg, model))
    return _stepping(trainer, [mapper(dict(record)) for record in records])


def _stepping(trainer: SimpleTrainer, batch: list[dict[str, Any]]) -> Step:
    trainer.data_loader = itertools.repeat(batch)
    trainer.iter = 0

    def step() -> Losses:
        with EventStorage() as storage:
            trainer.run_step()
            return {
                name: value
                for name, (value, _) in storage.latest().items()
                if name.startswith("loss")
            }

    return step


def torchvision_step(cfg: CfgNode, records: Records) -> Step:
    """torchvision's training step, as its reference script has it, each time on the same batch.

    Args:
        cfg: Detectron2's config, for weights and optimizer.
        records: in Detectron2's standard format.

    Returns:
        Losses by Detectron2's names, as far as both have the same.
    """
    device, size = cfg.MODEL.DEVICE, (records[0]["height"], records[0]["width"])
    model = build_torchvision_mask_rcnn(cfg, size)
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
    )
    cfg = cfg.clone()
    cfg.INPUT.MASK_FORMAT = "bitmask"
    mapper = DatasetMapper(cfg, is_train=True)
    batch = [_torchvision_input(mapper(dict(record))) for record in records]

    def step() -> Losses:
        images = [image.to(device) for image, _ in batch]
        targets = [
            {name: value.to(device) for name, value in target.items()} for _, target in batch
        ]
        losses = model(images, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        return {ours: losses[theirs].item() for theirs, ours in _TORCHVISION_LOSSES.items()}

    return step


def _torchvision_input(mapped: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    instances = mapped["instances"]
    target = {
        "boxes": instances.gt_boxes.tensor,
        "labels": instances.gt_classes + 1,
        "masks": instances.gt_masks.tensor.byte(),
    }
    return mapped["image"].flip(0).float() / 255, target


def _train(cfg: CfgNode, records: Records, seed: int) -> None:
    step = our_step(cfg, records, seed)
    for _ in range(_MEMORY_STEPS):
        step()


def _train_as_stock(cfg: CfgNode, records: Records) -> None:
    step = stock_step(cfg, records)
    for _ in range(_MEMORY_STEPS):
        step()
