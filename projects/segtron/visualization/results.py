"""The results of a run as a page: its scores, and its images, the worst first."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from detectron2.config import CfgNode

from segtron.data.classes import class_metadata, is_panoptic, known_metadata
from segtron.errors import UserError
from segtron.evaluation.coco_evaluator import RESULTS_FILE
from segtron.evaluation.label_files import LABELS_FOLDER
from segtron.evaluation.panoptic_files import PANOPTIC_JSON
from segtron.run_files import INFERENCE_FOLDER, METRICS_FILE
from segtron.visualization.instance_results import load_instance_results
from segtron.visualization.panoptic_results import load_panoptic_results
from segtron.visualization.report.layers import ImageLayers
from segtron.visualization.report.page import (
    REPORT_FOLDER,
    Gallery,
    GalleryImage,
    Report,
    write_report,
)
from segtron.visualization.report.scores import (
    describe_analysis,
    describe_curves,
    describe_run,
    describe_scores,
)
from segtron.visualization.semantic_results import load_semantic_results

logger = logging.getLogger(__name__)

# How an evaluation saves what pictures of panoptic results are made of.
HOW_TO_SAVE_PANOPTIC = "tools/train_net.py --eval-only … TEST.SAVE_PANOPTIC True"


class ImageResult(Protocol):
    """One image with what is there and what was predicted.

    Attributes:
        record: its standard dict.
        quality: how good the prediction is, 0 to 1.
    """

    record: Mapping[str, Any]

    @property
    def quality(self) -> float: ...

    def layers(self) -> ImageLayers:
        """The two as outlines, and what is wrong."""


@dataclass(frozen=True)
class ResultKind:
    """A kind of predictions that evaluators save.

    Attributes:
        saved: what of them is in `inference/<data set>/`.
        load: brings them together with the ground truth; gets the data set's name, that folder, and
            the lowest score of an instance that counts.
        classes: under which name the metadata has the classes.
        has_min_score: whether the lowest score matters.
    """

    saved: str
    load: Callable[[str, Path, float], Sequence[ImageResult]]
    classes: str
    has_min_score: bool = False


KINDS = {
    "panoptic": ResultKind(
        PANOPTIC_JSON,
        lambda name, folder, min_score: load_panoptic_results(name, folder),
        "panoptic_classes",
    ),
    "instances": ResultKind(
        RESULTS_FILE,
        load_instance_results,
        "thing_classes",
        has_min_score=True,
    ),
    "classes": ResultKind(
        LABELS_FOLDER,
        lambda name, folder, min_score: load_semantic_results(name, folder),
        "stuff_classes",
    ),
}


def visualize_results(
    cfg: CfgNode, output_dir: Path, *, number: int | None, min_score: float
) -> Path:
    """Show the worst images of each test set that a run has predictions of, and the run's scores.

    All are on one page in `output_dir/report`, which takes the place of an older one.

    Args:
        cfg: the run's config.
        output_dir: the run's folder, with what `KINDS` name below `inference/<data set>/`.
        number: how many images of each test set to show; None for all.
        min_score: instances below it don't count.

    Returns:
        The page.

    Raises:
        UserError: there are no predictions, they don't belong to the data set, or the data is
            missing; or see `write_report`.
    """
    inference = output_dir / INFERENCE_FOLDER
    saved = {
        name: [kind for kind in KINDS if (inference / name / KINDS[kind].saved).exists()]
        for name in cfg.DATASETS.TEST
    }
    apart = [name for name in saved if _is_numbered_apart(name)]
    for name in apart:
        if "panoptic" in saved[name]:
            saved[name].remove("panoptic")
            logger.warning(
                "%s numbers things and stuff apart, so there are no pictures of its panoptic "
                "segmentation; only of sets in one numbering, such as coco_2017_val_panoptic",
                name,
            )
    found = {name: kinds for name, kinds in saved.items() if kinds}
    unsaved = [
        name
        for name, kinds in saved.items()
        if "panoptic" not in kinds and is_panoptic(name) and name not in apart
    ]
    if not found:
        possible = [KINDS[k].saved for k in KINDS if k != "panoptic" or len(apart) < len(saved)]
        wanted = " or ".join(f"<data set>/{file}" for file in possible)
        raise UserError(
            f"{inference} holds no {wanted} of {', '.join(cfg.DATASETS.TEST)}; score the model "
            f"first: {HOW_TO_SAVE_PANOPTIC if unsaved else 'tools/train_net.py --eval-only'}"
        )
    for name in unsaved:
        logger.warning(
            "%s: its panoptic segmentation was not saved; to see it, score the model by %s",
            name,
            HOW_TO_SAVE_PANOPTIC,
        )
    galleries = []
    for name, kinds in found.items():
        for kind in kinds:
            results = KINDS[kind].load(name, inference / name, min_score)
            # Images of equal quality stay in the data set's order.
            ranked = sorted(results, key=lambda result: result.quality)
            galleries.append(_gallery(name, kind, ranked, number, min_score))
    metrics = output_dir / METRICS_FILE
    report = Report(
        title=output_dir.resolve().name,
        facts=describe_run(output_dir),
        scores=describe_scores(metrics),
        curves=describe_curves(metrics),
        analyses={name: describe_analysis(inference / name) for name in found},
        galleries=galleries,
    )
    page = write_report(output_dir / REPORT_FOLDER, report)
    for gallery in galleries:
        logger.info(
            "%s: the worst %d of %d images of %s, %s",
            page,
            len(gallery.images),
            gallery.total,
            gallery.data_set,
            gallery.kind,
        )
    return page


def _is_numbered_apart(name: str) -> bool:
    """Whether a set is a panoptic one without the one numbering that pictures need."""
    return (
        is_panoptic(name) and known_metadata(name, "thing_classes").get("panoptic_classes") is None
    )


def _gallery(
    name: str, kind: str, ranked: Sequence[ImageResult], number: int | None, min_score: float
) -> Gallery:
    of_kind = KINDS[kind]
    files = [os.path.abspath(result.record["file_name"]) for result in ranked]
    folder = os.path.commonpath([os.path.dirname(file) for file in files])
    return Gallery(
        data_set=name,
        kind=kind,
        classes=class_metadata(name).get(of_kind.classes) or (),
        min_score=min_score if of_kind.has_min_score else None,
        total=len(ranked),
        images=[
            GalleryImage(Path(os.path.relpath(file, folder)).as_posix(), result.layers)
            for file, result in list(zip(files, ranked, strict=True))[:number]
        ],
    )
