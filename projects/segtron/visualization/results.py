"""The results of a run as pictures and a page of them: the worst images first."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from detectron2.config import CfgNode
from tqdm import tqdm

from segtron.errors import UserError
from segtron.evaluation.label_files import LABELS_FOLDER
from segtron.evaluation.model_output import is_panoptic, known_metadata
from segtron.evaluation.panoptic_files import PANOPTIC_JSON
from segtron.files import replacing_folder
from segtron.visualization.comparison import Comparison
from segtron.visualization.instance_results import RESULTS_FILE, load_instance_results
from segtron.visualization.layout import contact_sheet, shrink, write_picture
from segtron.visualization.panoptic_results import load_panoptic_results
from segtron.visualization.report import Report, ReportImage, ReportPicture, write_report
from segtron.visualization.semantic_results import load_semantic_results

logger = logging.getLogger(__name__)

ON_OVERVIEW = 12
# Holds the pictures that a page shows, each on its own.
PANELS_FOLDER = "panels"
# How an evaluation saves what pictures of panoptic results are made of.
HOW_TO_SAVE_PANOPTIC = "tools/train_net.py --eval-only … TEST.SAVE_PANOPTIC True"
# Whose rules a score follows, by the end of its name in metrics.json.
PROTOCOLS = {
    "panoptic_seg/PQ": "the official scorer's rules",
    "bbox/AP": "COCO's protocol",
    "segm/AP": "COCO's protocol",
    "cityscapes_segm/AP": "Cityscapes' protocol",
    "sem_seg/mIoU": "Detectron2's rules",
    "cityscapes_sem_seg/IoU": "Cityscapes' protocol",
}


class ImageResult(Protocol):
    """One image with what is there and what was predicted.

    Attributes:
        record: its standard dict.
        quality: how good the prediction is, 0 to 1.
    """

    record: Mapping[str, Any]

    @property
    def quality(self) -> float: ...

    def draw(self) -> Comparison:
        """The two side by side, and what is wrong."""


@dataclass(frozen=True)
class ResultKind:
    """A kind of predictions that evaluators save.

    Attributes:
        saved: what of them is in `inference/<data set>/`.
        load: brings them together with the ground truth; gets the data set's name, that folder, and
            the lowest score of an instance that counts.
    """

    saved: str
    load: Callable[[str, Path, float], Sequence[ImageResult]]


KINDS = {
    "panoptic": ResultKind(
        PANOPTIC_JSON, lambda name, folder, min_score: load_panoptic_results(name, folder)
    ),
    "instances": ResultKind(RESULTS_FILE, load_instance_results),
    "classes": ResultKind(
        LABELS_FOLDER, lambda name, folder, min_score: load_semantic_results(name, folder)
    ),
}


def visualize_results(
    cfg: CfgNode, output_dir: Path, *, number: int, min_score: float
) -> list[Path]:
    """Draw the worst images of each test set that a run has predictions of.

    They go to `output_dir/visualizations/<data set>/`: a sheet an image, named by rank, quality and
    image; `overview.png`; and `report.html`, a page that shows the parts of the sheets, which lie
    in `panels/`. Each of `KINDS` has a subfolder if there are several. What was in the data set's
    folder is replaced.

    Args:
        cfg: the run's config.
        output_dir: the run's folder, with what `KINDS` name below `inference/<data set>/`.
        number: how many images of each test set to draw.
        min_score: instances below it don't count.

    Returns:
        The folders with an overview and a page.

    Raises:
        UserError: there are no predictions, they don't belong to the data set, or the data is
            missing.
    """
    inference = output_dir / "inference"
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
    folders = []
    for name, kinds in found.items():
        results = {kind: KINDS[kind].load(name, inference / name, min_score) for kind in kinds}
        scores = last_scores(output_dir / "metrics.json", name)
        folders += _replace_pictures(
            name, results, scores, number, output_dir / "visualizations" / name
        )
    return folders


def _is_numbered_apart(name: str) -> bool:
    """Whether a set is a panoptic one without the one numbering that pictures need."""
    return (
        is_panoptic(name) and known_metadata(name, "thing_classes").get("panoptic_classes") is None
    )


def last_scores(metrics_file: Path, data_set: str | None = None) -> list[str]:
    """The overall scores of a run's last evaluation, each with whose rules it follows.

    Args:
        metrics_file: metrics.json of a run; it may be missing.
        data_set: only the scores on this one; those of a run with several sets begin with the set's
            name.

    Returns:
        A line for each score in `PROTOCOLS`, such as "segm/AP 36.2 by COCO's protocol".
    """
    lines = metrics_file.read_text(encoding="utf-8").splitlines() if metrics_file.is_file() else []
    for line in reversed(lines):
        try:
            metrics = json.loads(line)
        except json.JSONDecodeError:
            continue  # a line that a crash or a full disk has cut off
        scores = [
            f"{name} {value:.1f} by {PROTOCOLS[ending]}"
            for name, value in metrics.items()
            if (ending := "/".join(name.split("/")[-2:])) in PROTOCOLS
            and (data_set is None or name in (ending, f"{data_set}/{ending}"))
        ]
        if scores:
            return scores
    return []


def _replace_pictures(
    data_set: str,
    results: Mapping[str, Sequence[ImageResult]],
    scores: Sequence[str],
    number: int,
    folder: Path,
) -> list[Path]:
    """Draw the worst images of each kind; returns the folders with an overview and a page."""
    parts = {kind: kind if len(results) > 1 else "." for kind in results}
    with replacing_folder(folder) as temporary:
        for kind, part in parts.items():
            images = _draw_worst(results[kind], number, temporary / part)
            write_report(
                temporary / part, Report(data_set, kind, scores, len(results[kind]), images)
            )
    for kind, part in parts.items():
        total = len(results[kind])
        logger.info("%s: the worst %d of %d images", folder / part, min(number, total), total)
    return [folder / part for part in parts.values()]


def _draw_worst(results: Sequence[ImageResult], number: int, folder: Path) -> list[ReportImage]:
    # Images of equal quality stay in the data set's order.
    worst = sorted(results, key=lambda result: result.quality)[:number]
    tiles, titles, images = [], [], []
    for rank, result in enumerate(tqdm(worst, unit=" pictures", desc="draw"), start=1):
        comparison = result.draw()
        image_file = Path(result.record["file_name"])
        name = f"{rank:03d}_q{result.quality:.2f}_{image_file.stem[:150]}"
        write_picture(folder / f"{name}.png", comparison.sheet())
        images.append(
            ReportImage(
                image_file.name,
                comparison.facts,
                f"{name}.png",
                _write_panels(comparison, name, folder),
            )
        )
        if rank <= ON_OVERVIEW:
            tiles.append(shrink(comparison.panels[-1].picture, 640))
            titles.append(f"{result.quality:.2f}  {image_file.name}")
    write_picture(folder / "overview.png", contact_sheet(tiles, titles))
    return images


def _write_panels(comparison: Comparison, name: str, folder: Path) -> list[ReportPicture]:
    pictures = []
    for panel in comparison.panels:
        path = f"{PANELS_FOLDER}/{name}_{panel.name}.jpg"
        write_picture(folder / path, panel.picture)
        height, width = panel.picture.shape[:2]
        pictures.append(ReportPicture(panel.title, path, width, height))
    return pictures
