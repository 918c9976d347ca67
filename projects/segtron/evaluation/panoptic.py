"""Scoring a model's panoptic segmentation, with no file in between."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators

from segtron.data.category_ids import Category, dataset_segments, panoptic_categories
from segtron.data.classes import is_unified_panoptic, known_metadata
from segtron.data.coco import path_below
from segtron.data.coco_panoptic import read_coco_panoptic
from segtron.data.panoptic import read_pan_seg
from segtron.data.panoptic_png import read_panoptic_png
from segtron.data.sem_seg import check_label_size
from segtron.errors import UserError
from segtron.evaluation.gather import merge_over_processes
from segtron.evaluation.model_output import naming_ground_truth, predicted_panoptic
from segtron.evaluation.panoptic_files import PANOPTIC_JSON, SavedSegments
from segtron.evaluation.panoptic_quality import PanopticQualityMetric, match_segments
from segtron.evaluation.scores import PanopticColumn, PanopticScores

logger = logging.getLogger(__name__)


class _Truth(NamedTuple):
    """The ground truth of one image."""

    file: str
    ids: np.ndarray  # (H, W) int32, 0 in void
    segments: Sequence[Mapping[str, Any]]  # with the data set's own category ids


class _GroundTruth(Protocol):
    """Where a data set has its ground truth.

    Attributes:
        categories: all that there are, by the data set's own ids.
    """

    categories: list[Category]

    def of(self, record: Mapping[str, Any]) -> _Truth | None:
        """Of one image; None where there is none.

        Raises:
            UserError: its file is missing or bad, or disagrees with its list of segments.
        """


class _InRecords:
    """Ground truth that the standard dicts bring with them (`segtron.data.panoptic`)."""

    def __init__(self, dataset_name: str) -> None:
        self.categories = panoptic_categories(dataset_name)
        self._dataset_name = dataset_name

    def of(self, record: Mapping[str, Any]) -> _Truth | None:
        if "segments_info" not in record:
            return None
        return _Truth(
            record["pan_seg_file_name"],
            read_pan_seg(record),
            dataset_segments(record["segments_info"], self._dataset_name),
        )


class _InJson:
    """Ground truth of sets whose dicts have none, such as Detectron2's
    `coco_2017_val_panoptic_separated`."""

    def __init__(self, json_file: Path, folder: Path) -> None:
        content = read_coco_panoptic(json_file)
        self.categories = [
            Category(category["id"], category["name"], bool(category["isthing"]))
            for category in content["categories"]
        ]
        self._json_file, self._folder = json_file, folder
        self._annotations = {a["image_id"]: a for a in content["annotations"]}

    def of(self, record: Mapping[str, Any]) -> _Truth | None:
        annotation = self._annotations.get(record["image_id"])
        if annotation is None:
            return None
        where = f"{self._json_file}: image {record['image_id']!r}"
        file = path_below(self._folder, annotation["file_name"], where)
        ids = read_panoptic_png(file)
        check_label_size(file, ids.shape, record)
        return _Truth(str(file), ids, annotation["segments_info"])


def _ground_truth_of(dataset_name: str) -> _GroundTruth:
    known_metadata(dataset_name, "thing_classes")
    metadata = MetadataCatalog.get(dataset_name)
    if is_unified_panoptic(metadata):
        return _InRecords(dataset_name)
    json_file, folder = metadata.get("panoptic_json"), metadata.get("panoptic_root")
    if json_file is None or folder is None:
        raise UserError(
            f"{dataset_name} is scored by its panoptic segmentation, but its things and stuff are "
            "numbered apart and its metadata name no panoptic_json and panoptic_root; set them"
        )
    return _InJson(Path(json_file), Path(folder))


class PanopticEvaluator(DatasetEvaluator):
    """Score a model's panoptic segmentation by PQ.

    `evaluate` returns {"panoptic_seg": {"PQ", "SQ", "RQ", "PQ_th", ..., "RQ_st", "PQ-person", ...}}
    in percent; nothing where there is no ground truth. The table is left to `PanopticEvaluators`.

    Where it is given an output folder, predictions are saved there as `panoptic.json` and
    `panoptic/`, in COCO's panoptic format and with the data set's own ids, as the official scorers
    take them. `reset` removes those that were there.

    Attributes:
        scores: what the last `evaluate` found; None before, and where nothing was scored.
    """

    needs = "panoptic_seg"

    def __init__(self, dataset_name: str, *, output_dir: str | Path | None = None) -> None:
        """
        Args:
            dataset_name: a registered panoptic set: its dicts have what `segtron.data.panoptic`
                lists, or its metadata `panoptic_json` and `panoptic_root`.
            output_dir: folder for the predictions; None to save nothing.

        Raises:
            UserError: the set has no panoptic ground truth, or its JSON is bad; or predictions are
                to be saved and two images would have one file, or one outside of the folder.
        """
        self._dataset_name = dataset_name
        self._output_dir = output_dir
        self._ground_truth = _ground_truth_of(dataset_name)
        self._start()
        if self._saved is not None:
            self._saved.check(record["image_id"] for record in DatasetCatalog.get(dataset_name))

    @classmethod
    def from_config(
        cls, cfg: CfgNode, dataset_name: str, output_dir: str | Path | None
    ) -> PanopticEvaluator:
        if cfg.TEST.SAVE_PANOPTIC:
            return cls(dataset_name, output_dir=output_dir)
        if output_dir and (Path(output_dir) / PANOPTIC_JSON).exists():
            logger.warning(
                "%s: %s holds the predictions of an earlier evaluation, and this one saves none; "
                "TEST.SAVE_PANOPTIC True replaces them",
                PanopticScores.protocol,
                output_dir,
            )
        return cls(dataset_name)

    def reset(self) -> None:
        self._start()
        if self._saved is not None:
            self._saved.remove_earlier()

    def _start(self) -> None:
        categories = self._ground_truth.categories
        self.scores: PanopticScores | None = None
        self._metric = PanopticQualityMetric(categories)
        self._saved: SavedSegments | None = None
        if self._output_dir:
            metadata = MetadataCatalog.get(self._dataset_name)
            folders = [metadata.get(key) for key in ("image_root", "image_dir")]
            self._saved = SavedSegments(
                self._output_dir, categories, image_folders=[f for f in folders if f]
            )

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        for input_, output in zip(inputs, outputs, strict=True):
            ids, segments = predicted_panoptic(output, self._dataset_name)
            if self._saved is not None:
                self._saved.add(input_, ids, segments)
            truth = self._ground_truth.of(input_)
            if truth is None:
                continue
            with naming_ground_truth(truth.file, self._dataset_name):
                match = match_segments(truth.ids, truth.segments, ids, segments)
                self._metric.update(input_["image_id"], match)

    def evaluate(self) -> dict[str, dict[str, float]]:
        results = self.score()
        self.save()
        return results

    def score(self) -> dict[str, dict[str, float]]:
        """The part of `evaluate` that leaves nothing behind on the disk."""
        metric = merge_over_processes(self._metric)
        if metric is None:
            return {}
        scores = metric.compute()
        if not any(scores.num_ground_truth.values()):
            logger.info(
                "%s: %s: predictions are not scored",
                scores.protocol,
                f"no image of {self._dataset_name} has a segment"
                if len(metric)
                else f"no image of {self._dataset_name} has ground truth",
            )
            return {}
        self.scores = scores
        return {"panoptic_seg": scores.as_results()}

    def save(self) -> None:
        """The other part: write the JSON, if predictions are saved.

        Raises:
            UserError: it can't be written.
        """
        saved = None if self._saved is None else merge_over_processes(self._saved)
        if saved is not None:
            path = saved.write_json()
            logger.info("%s: predictions saved in %s", PanopticScores.protocol, path)


class PanopticEvaluators(DatasetEvaluators):
    """All evaluators of a panoptic set; in the end one table of PQ, SQ, RQ, IoU and AP."""

    def __init__(self, panoptic: PanopticEvaluator, others: Sequence[DatasetEvaluator]) -> None:
        """
        Args:
            panoptic: gives PQ, SQ and RQ.
            others: run before it; IoU is that of "sem_seg" in their results, AP that of "segm".
        """
        super().__init__([*others, panoptic])
        self._others, self._panoptic = DatasetEvaluators(others), panoptic

    def evaluate(self) -> dict[str, dict[str, float]]:
        results = self._others.evaluate() | self._panoptic.score()
        scores = self._panoptic.scores
        if scores is not None:
            logger.info("%s", scores.table(_columns_beside(scores, results)))
        # At last: whatever keeps it from being written, the scores are known.
        self._panoptic.save()
        return results


def _columns_beside(
    scores: PanopticScores, results: Mapping[str, Mapping[str, float]]
) -> dict[str, PanopticColumn]:
    """What a table of panoptic scores can have beside them."""
    columns = {}
    if "sem_seg" in results:
        iou = {name: results["sem_seg"].get(f"IoU-{name}", math.nan) for name in scores.is_thing}
        columns["IoU"] = PanopticColumn(
            results["sem_seg"]["mIoU"],
            things=_mean(iou[name] for name, is_thing in scores.is_thing.items() if is_thing),
            stuff=_mean(iou[name] for name, is_thing in scores.is_thing.items() if not is_thing),
            per_class=iou,
        )
    if "segm" in results:
        columns["AP"] = PanopticColumn(
            results["segm"]["AP"],
            things=results["segm"]["AP"],
            stuff=math.nan,
            per_class={
                name: results["segm"].get(f"AP-{name}", math.nan) for name in scores.is_thing
            },
        )
    return columns


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
