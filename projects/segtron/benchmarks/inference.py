"""What predicting costs, against stock Detectron2 and torchvision."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultPredictor
from detectron2.structures import Boxes, Instances
from torch import nn

from segtron.benchmarks.agreement import (
    SHIFTED,
    Likeness,
    check_instances,
    check_labels,
    check_segments,
)
from segtron.benchmarks.arithmetic import MultiplyAddRates, count_multiply_adds, name_of
from segtron.benchmarks.compared_models import (
    NUM_THINGS,
    ComparedModel,
    mask_rcnn,
    panoptic_fpn,
    semantic_model,
)
from segtron.benchmarks.limits import MODEL_SIZES, check_device
from segtron.benchmarks.machine import PASSED_SECONDS, OtherPrograms, describe_machine
from segtron.benchmarks.made_up_images import draw_images
from segtron.benchmarks.merging import compare_merging
from segtron.benchmarks.peak_memory import peak_of
from segtron.benchmarks.report import Floor, Memory, Report, Row
from segtron.benchmarks.timing import Run, garbage_collected_between, time_pairs
from segtron.benchmarks.torchvision_mask_rcnn import build_torchvision_mask_rcnn
from segtron.benchmarks.variants import DETECTRON2, TORCHVISION, inference_variants
from segtron.benchmarks.wall_clock import on_the_wall
from segtron.inference.predictor import Predictor
from segtron.memory import keep_freed_memory
from segtron.modeling.build import compile_parts
from segtron.modeling.precision import resolve_precision

SEMANTIC_MODELS = {"fcn_8s_R_50": "FCN-8s R50", "unet_R_50": "U-Net R50"}
# How often a run predicts; on a GPU once is over too soon to be timed.
_REPEATS = {"cpu": 1, "cuda": 20}
_VOID = -1

Predict = Callable[[np.ndarray], Any]
# Raises RuntimeError where the results for all images are not alike.
Check = Callable[[Sequence[Any], Sequence[Any], Likeness], None]


class Rival(NamedTuple):
    """What else runs a model."""

    name: str
    predict: Predict
    result_of: Callable[[Any], Any]
    likeness: Likeness | None = None  # None: as the variant's


class Subject(NamedTuple):
    """A model that is timed."""

    work: str
    model: ComparedModel
    result_of: Callable[[Any], Any]  # makes of an output what is compared
    check: Check
    rivals: Sequence[Rival]


def measure_inference(
    size: tuple[int, int] = (512, 1024),
    seed: int = 0,
    *,
    num_pairs: int = 5,
    num_images: int = 1,
    device: str = "cpu",
    opts: Sequence[str] = (),
) -> Report:
    """Time prediction, image by image, against what else runs the same models.

    Both sides have the same weights, which are made up, and the same images of toytown, and run in
    turn in this process with all its threads. Segtron runs as users get it by default, and besides
    in float32, as Detectron2 and torchvision always do.

    Args:
        size: height and width of the images in pixels, one of `MODEL_SIZES`.
        seed: of weights and images.
        num_pairs: how often each pair of ways is timed.
        num_images: how many images a run predicts.
        device: "cpu" or "cuda".
        opts: Detectron2's keys and values, which all models with regions get: fewer proposals take
            less time.

    Raises:
        RuntimeError: two ways don't find the same.
        UserError: images can't be of this size, or there is no such device.
    """
    MODEL_SIZES.check(size)
    check_device(device)
    keep_freed_memory()  # as Segtron's tools do; the other side profits, too
    machine = describe_machine(PASSED_SECONDS)
    images = draw_images(num_images, size, seed)
    with tempfile.TemporaryDirectory() as folder:
        subjects = _subjects(Path(folder), images, device, seed, opts)
        precisions = _precisions(subjects[0].model, device)
        with OtherPrograms() as others, garbage_collected_between():
            rates = MultiplyAddRates(precisions, device)
            rows = [
                row
                for subject in subjects
                for row in _time_variants(subject, images, num_pairs, device)
            ]
            rows.append(compare_merging(size, seed, num_pairs, device))
            rates.measure()
        floors = [
            floor
            for subject in subjects
            for floor in _find_floors(subject, images, rows, rates, precisions, device)
        ]
        machine["cores_used_by_others"] = others.cores
        memory = _measure_memory(subjects, images[0])
    settings = {
        "pairs": num_pairs,
        "size": list(size),
        "images": num_images,
        "seed": seed,
        "device": device,
        "precision": name_of(precisions[0]),
    }
    return Report(machine, settings, rows, [], [], floors, memory)


def _subjects(
    folder: Path, images: Sequence[np.ndarray], device: str, seed: int, opts: Sequence[str]
) -> list[Subject]:
    arguments = folder, images[0], device, seed
    height, width = images[0].shape[:2]
    size = f"{height}x{width}"
    mask_rcnn_model = mask_rcnn(*arguments, opts)
    stock = DefaultPredictor(mask_rcnn_model.stock)
    counts = [len(stock(image)["instances"]) for image in images]
    found = f"{counts[0]}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    panoptic_model = panoptic_fpn(*arguments, opts)
    subjects = [
        Subject(
            f"Mask R-CNN R50-FPN inference, {size}, {found} detections",
            mask_rcnn_model,
            instances_of,
            check_instances,
            [
                Rival(DETECTRON2, stock, instances_of),
                Rival(
                    TORCHVISION,
                    _torchvision_predictor(mask_rcnn_model.stock, (height, width)),
                    torchvision_instances_of,
                    SHIFTED,
                ),
            ],
        ),
        Subject(
            f"Panoptic FPN R50 inference, {size}",
            panoptic_model,
            functools.partial(classes_of_segments, first_stuff=0),
            check_segments,
            [
                Rival(
                    DETECTRON2,
                    DefaultPredictor(panoptic_model.stock),
                    functools.partial(classes_of_segments, first_stuff=NUM_THINGS - 1),
                )
            ],
        ),
    ]
    for name, title in SEMANTIC_MODELS.items():
        model = semantic_model(name, *arguments)
        rival = Rival(DETECTRON2, DefaultPredictor(model.stock), classes_of_pixels)
        subjects.append(
            Subject(f"{title} inference, {size}", model, classes_of_pixels, check_labels, [rival])
        )
    return subjects


def _time_variants(
    subject: Subject, images: Sequence[np.ndarray], num_pairs: int, device: str
) -> list[Row]:
    rows = []
    for variant in inference_variants(device):
        predictor = _predictor(subject.model.our_cfg(variant.opts))
        ours = _way(
            lambda image, predictor=predictor: predictor([image])[0],
            subject.result_of,
            images,
            device,
        )
        for rival in subject.rivals:
            timing = time_pairs(
                ours,
                _way(rival.predict, rival.result_of, images, device),
                num_pairs,
                functools.partial(subject.check, likeness=rival.likeness or variant.likeness),
            )
            rows.append(Row(f"{subject.work}{variant.suffix}", rival.name, timing))
    return rows


def _predictor(cfg: CfgNode) -> Predictor:
    """With compiled parts if MODEL.COMPILE asks for it, which only trainings heed elsewhere."""
    predictor = Predictor(cfg)
    if cfg.MODEL.COMPILE:
        compile_parts(predictor.model)
    return predictor


def _precisions(model: ComparedModel, device: str) -> list[torch.dtype]:
    """What each variant computes with."""
    names = [model.our_cfg(variant.opts).TEST.PRECISION for variant in inference_variants(device)]
    return [resolve_precision("TEST.PRECISION", name, torch.device(device)) for name in names]


def _way(
    predict: Predict,
    result_of: Callable[[Any], Any],
    images: Sequence[np.ndarray],
    device: str,
) -> Callable[[], Run]:
    """Predict all images, one by one. Of several rounds the last one's results are kept."""

    def predict_all() -> list[Any]:
        for _ in range(_REPEATS[torch.device(device).type] - 1):
            for image in images:
                predict(image)
        return [predict(image) for image in images]

    return on_the_wall(
        predict_all, device, result_of=lambda outputs: [result_of(output) for output in outputs]
    )


def _find_floors(
    subject: Subject,
    images: Sequence[np.ndarray],
    rows: Sequence[Row],
    rates: MultiplyAddRates,
    precisions: Sequence[torch.dtype],
    device: str,
) -> list[Floor]:
    """What arithmetic alone takes, of each variant."""
    stock = subject.rivals[0].predict
    amount = sum(count_multiply_adds(functools.partial(stock, image)) for image in images)
    amount *= _REPEATS[torch.device(device).type]
    floors = []
    for variant, precision in zip(inference_variants(device), precisions, strict=True):
        work = f"{subject.work}{variant.suffix}"
        row = next(row for row in rows if row.work == work)
        floors.append(rates.floor(work, amount, row.timing.ours_s, precision))
    return floors


def _measure_memory(subjects: Sequence[Subject], image: np.ndarray) -> list[Memory]:
    """Of those models that Detectron2 has, too."""
    return [
        Memory(subject.work, by, *peak_of(predict, cfg, image))
        for subject in subjects[:2]
        for by, predict, cfg in (
            ("Segtron", _predict, subject.model.our_cfg()),
            (DETECTRON2, _predict_as_stock, subject.model.stock),
        )
    ]


def _predict(cfg: CfgNode, image: np.ndarray) -> None:
    Predictor(cfg)([image])


def _predict_as_stock(cfg: CfgNode, image: np.ndarray) -> None:
    DefaultPredictor(cfg)(image)


def _torchvision_predictor(stock: CfgNode, size: tuple[int, int]) -> Predict:
    model = build_torchvision_mask_rcnn(stock, size).eval()
    return functools.partial(_predict_by_torchvision, model, stock.MODEL.DEVICE)


@torch.inference_mode()
def _predict_by_torchvision(
    model: nn.Module, device: str, image: np.ndarray
) -> dict[str, torch.Tensor]:
    rgb = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)))
    return model([rgb.to(device).float() / 255])[0]


def instances_of(output: dict[str, Any]) -> Instances:
    """What is compared of an output of Detectron2's form: boxes, classes, scores and masks, on the
    CPU."""
    found = output["instances"].to("cpu")
    return Instances(
        found.image_size,
        pred_boxes=found.pred_boxes,
        pred_classes=found.pred_classes,
        scores=found.scores,
        pred_masks=found.pred_masks,
    )


def torchvision_instances_of(output: dict[str, torch.Tensor]) -> Instances:
    """The same of torchvision's output, whose first class is the background, and whose masks are
    probabilities."""
    return Instances(
        tuple(output["masks"].shape[-2:]),
        pred_boxes=Boxes(output["boxes"].cpu()),
        pred_classes=output["labels"].cpu() - 1,
        scores=output["scores"].cpu(),
        pred_masks=output["masks"][:, 0].cpu() > 0.5,
    )


def classes_of_segments(output: dict[str, Any], *, first_stuff: int) -> torch.Tensor:
    """The class of each pixel's segment.

    Args:
        output: with `panoptic_seg`.
        first_stuff: what is added to the classes of stuff, to tell them from those of things.

    Returns:
        (H, W) int64, on the CPU, -1 in void.
    """
    ids, segments = output["panoptic_seg"]
    classes = torch.full((len(segments) + 1,), _VOID)
    for segment in segments:
        shift = 0 if segment["isthing"] else first_stuff
        classes[segment["id"]] = segment["category_id"] + shift
    return classes[ids.cpu().long()]


def classes_of_pixels(output: dict[str, torch.Tensor]) -> torch.Tensor:
    """(H, W) int64, on the CPU: the class of each pixel of `sem_seg`."""
    return output["sem_seg"].cpu().max(dim=0).indices
