"""Box and mask AP by the COCO protocol (https://cocodataset.org/#detection-eval)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pycocotools.mask as mask_util
from detectron2.structures import Instances

from segtron.data.masks import as_rle, encode_mask, with_text
from segtron.evaluation.coco_average_precision import precision_at_recalls
from segtron.evaluation.coco_ground_truth import CocoGroundTruth
from segtron.evaluation.coco_matching import (
    DetectionColumns,
    GroundTruthColumns,
    Overlaps,
    Shapes,
)
from segtron.evaluation.image_metric import ImageMetric
from segtron.evaluation.scores import InstanceScores

Task = Literal["bbox", "segm"]

# The most confident detections of a class in an image that COCO looks at.
MAX_DETECTIONS = 100
# What a result may have of scores.
_SCORES = ("score", "box_score")


class _Detections(NamedTuple):
    """The P detections of an image. All have the fields that the first has."""

    category_ids: np.ndarray  # (P,) int64, the dataset's
    scores: np.ndarray  # (P,) float64
    box_scores: np.ndarray | None  # (P,) float64, nan for those that have none
    boxes: np.ndarray | None  # (P, 4) float64 XYWH
    masks: _Masks | None


class _Masks(NamedTuple):
    """Run lengths of masks of one size. Half of their bytes are air, and all are kept until the
    last image."""

    size: list[int]  # height, width
    counts: bytes  # COCO's text of each mask, a line each, deflated


class CocoInstanceMetric(ImageMetric[_Detections]):
    """COCO AP from results in COCO's form: update, merge, compute.

    Each result is {"image_id", "category_id" (the dataset's), "bbox" (XYWH), "score"}, with
    "segmentation" (compressed RLE) where there are masks, and "box_score" where boxes have a score
    of their own (mask rescoring). Images are taken in the order of their ids and an image's results
    in the order given, so ties fall alike however the images were shared out.

    The state is some 60 bytes a detection, and about half of what its mask takes in JSON.
    """

    def __init__(self) -> None:
        super().__init__()
        self._has_masks = False

    def update(self, image_id: Hashable, results: list[dict[str, Any]], *, has_masks: bool) -> None:
        """Add an image; one that is there already (a sampler's padding) is left as it is.

        Args:
            image_id: the image's id in the dataset.
            results: its predicted instances, perhaps none.
            has_masks: whether the model gives masks, which an image without results can't tell.

        Raises:
            ValueError: a score, of a mask or a box, that is not a finite number.
        """
        scores = [result[name] for result in results for name in _SCORES if name in result]
        if not all(map(math.isfinite, scores)):
            raise ValueError(f"{image_id}: a predicted instance has a score that is no number")
        if image_id not in self._images:
            self._images[image_id] = _pack(results)
        self._has_masks |= has_masks

    def merge(self, other: CocoInstanceMetric) -> None:
        """See `ImageMetric`."""
        super().merge(other)
        self._has_masks |= other._has_masks

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What can be scored."""
        return ("bbox", "segm") if self._has_masks else ("bbox",)

    def results(self) -> Iterator[dict[str, Any]]:
        """All results, by image id, ready for JSON."""
        for image_id in sorted(self._images):
            yield from _unpack(image_id, self._images[image_id])

    def compare(self, ground_truth: CocoGroundTruth, task: Task) -> CocoComparison:
        """Put detections and ground truth beside each other; detections of other classes are left
        out. All that COCO's protocol says of a task follows from this.

        Args:
            ground_truth: of the whole set; for "segm", only annotations with a mask.
            task: "bbox" or "segm".

        Raises:
            ValueError: results for an image that is not in the ground truth.
        """
        strangers = self._images.keys() - {image["id"] for image in ground_truth.images}
        if strangers:
            raise ValueError(f"image {min(strangers)} is not in the ground truth")
        return CocoComparison(
            ground_truth,
            task,
            _ground_truth_columns(ground_truth, task),
            _detection_columns(self._images, ground_truth, task),
        )

    def compute(
        self, ground_truth: CocoGroundTruth, task: Task, max_detections: int = MAX_DETECTIONS
    ) -> InstanceScores:
        """Score one task. Images without results count as images where nothing was found.

        Args:
            ground_truth: of the whole set; for "segm", only annotations with a mask.
            task: "bbox" or "segm".
            max_detections: how many detections of a class in an image count, the best first.

        Raises:
            ValueError: results for an image that is not in the ground truth.
        """
        return self.compare(ground_truth, task).score(max_detections)


@dataclass(frozen=True)
class CocoComparison:
    """Detections and the ground truth of a set, for one task.

    Attributes:
        ground_truth: of the whole set.
        task: "bbox" or "segm", what shapes and areas are of.
        annotated: all annotations.
        detected: all detections.
    """

    ground_truth: CocoGroundTruth
    task: Task
    annotated: GroundTruthColumns
    detected: DetectionColumns

    def score(
        self,
        max_detections: int = MAX_DETECTIONS,
        *,
        overlaps: Overlaps = mask_util.iou,
        protocol: str | None = None,
    ) -> InstanceScores:
        """AP, by mask or box IoU or by any other measure of how well a detection fits.

        Args:
            max_detections: how many detections of a class in an image count, the best first.
            overlaps: the measure.
            protocol: heads the table; default: COCO's and the task.
        """
        names = self.ground_truth.class_names
        precision = precision_at_recalls(
            self.annotated, self.detected, len(names), max_detections, overlaps
        ).precision
        annotated = self.annotated.classes[~self.annotated.is_crowd]
        wanted, predicted = (
            np.bincount(classes, minlength=len(names)).tolist()
            for classes in (annotated, self.detected.classes)
        )
        return InstanceScores(
            protocol=protocol or f"COCO protocol, {self.task}",
            num_images=len(self.ground_truth.images),
            overall=_summary(precision),
            per_class={name: _summary(precision[:, :, [k]]) for k, name in enumerate(names)},
            num_ground_truth=dict(zip(names, wanted, strict=True)),
            num_predicted=dict(zip(names, predicted, strict=True)),
        )


def _pack(results: list[dict[str, Any]]) -> _Detections:
    first = results[0] if results else {}
    has_box_scores = any("box_score" in result for result in results)
    masks = None
    if "segmentation" in first:
        texts = [result["segmentation"]["counts"] for result in results]
        lines = [text.encode("ascii") if isinstance(text, str) else text for text in texts]
        size = [int(length) for length in first["segmentation"]["size"]]
        masks = _Masks(size, zlib.compress(b"\n".join(lines), level=1))
    return _Detections(
        np.array([result["category_id"] for result in results], dtype=np.int64),
        _column(results, "score"),
        _column(results, "box_score") if has_box_scores else None,
        _boxes(results) if "bbox" in first else None,
        masks,
    )


def _unpack(image_id: Hashable, packed: _Detections) -> Iterator[dict[str, Any]]:
    boxes = packed.boxes.tolist() if packed.boxes is not None else None
    box_scores = packed.box_scores.tolist() if packed.box_scores is not None else None
    masks = _masks(packed)
    for i, (category_id, score) in enumerate(
        zip(packed.category_ids.tolist(), packed.scores.tolist(), strict=True)
    ):
        result: dict[str, Any] = {"image_id": image_id, "category_id": category_id}
        if boxes is not None:
            result["bbox"] = boxes[i]
        result["score"] = score
        if box_scores is not None and not math.isnan(box_scores[i]):
            result["box_score"] = box_scores[i]
        if masks:
            result["segmentation"] = with_text(masks[i])
        yield result


def _masks(packed: _Detections) -> list[dict[str, Any]]:
    """The masks of an image as compressed run lengths, none where it has none."""
    if packed.masks is None:
        return []
    size, counts = packed.masks
    return [{"size": size, "counts": line} for line in zlib.decompress(counts).split(b"\n")]


def _column(entries: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([entry.get(name, math.nan) for entry in entries], dtype=np.float64)


def _places(ground_truth: CocoGroundTruth) -> tuple[dict[Hashable, int], dict[int, int]]:
    """The place of each image in the order of ids, and the number of each class."""
    image_ids = sorted({image["id"] for image in ground_truth.images})
    return (
        {image_id: place for place, image_id in enumerate(image_ids)},
        {category: number for number, category in enumerate(ground_truth.category_ids)},
    )


def _ground_truth_columns(ground_truth: CocoGroundTruth, task: Task) -> GroundTruthColumns:
    image_of, class_of = _places(ground_truth)
    annotations = ground_truth.annotations
    shapes: Shapes
    if task == "bbox":
        shapes = _boxes(annotations)
    else:
        sizes = {image["id"]: (image["height"], image["width"]) for image in ground_truth.images}
        shapes = [as_rle(entry["segmentation"], *sizes[entry["image_id"]]) for entry in annotations]
    return GroundTruthColumns(
        np.array([image_of[entry["image_id"]] for entry in annotations], dtype=np.int64),
        np.array([class_of[entry["category_id"]] for entry in annotations], dtype=np.int64),
        shapes,
        np.array([entry["area"] for entry in annotations], dtype=np.float64),
        np.array([entry["iscrowd"] for entry in annotations], dtype=bool),
    )


def _detection_columns(
    images: Mapping[Hashable, _Detections], ground_truth: CocoGroundTruth, task: Task
) -> DetectionColumns:
    image_of, class_of = _places(ground_truth)
    nothing = np.zeros(0, dtype=np.int64)
    places, classes, scores, boxes = [nothing], [nothing], [nothing.astype(np.float64)], []
    masks: list[dict[str, Any]] = []
    for image_id in sorted(images, key=image_of.__getitem__):
        detections = images[image_id]
        numbers = np.array([class_of.get(i, -1) for i in detections.category_ids.tolist()])
        known = np.flatnonzero(numbers >= 0)
        places.append(np.full(known.size, image_of[image_id]))
        classes.append(numbers[known].astype(np.int64))
        of_image = detections.scores
        if task == "segm":
            of_masks = _masks(detections)
            masks.extend(of_masks[i] for i in known.tolist())
        else:
            if detections.boxes is not None:
                boxes.append(detections.boxes[known])
            if detections.box_scores is not None:
                own = detections.box_scores
                of_image = np.where(np.isnan(own), of_image, own)
        scores.append(of_image[known])
    shapes: Shapes
    if task == "bbox":
        shapes = np.concatenate([np.zeros((0, 4)), *boxes])
        areas = shapes[:, 2] * shapes[:, 3]
    else:
        shapes = masks
        # One by one: on numpy 2 pycocotools can't measure more than 255 at once.
        areas = np.array([mask_util.area(mask) for mask in masks], dtype=np.float64)
    return DetectionColumns(
        np.concatenate(places), np.concatenate(classes), shapes, areas, np.concatenate(scores)
    )


def _boxes(entries: list[dict[str, Any]]) -> np.ndarray:
    return np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)


def _summary(precision: np.ndarray) -> dict[str, float]:
    """COCO's six numbers in percent, nan where no ground truth defines them.

    Args:
        precision: (T, R, K, A), -1 where undefined; T are the IoUs 0.5, 0.55, ..., 0.95.
    """

    def percent(part: np.ndarray) -> float:
        part = part[part > -1]
        return float(100 * np.mean(part)) if part.size else float("nan")

    return {
        "AP": percent(precision[..., 0]),
        "AP50": percent(precision[0, ..., 0]),
        "AP75": percent(precision[5, ..., 0]),
        "APs": percent(precision[..., 1]),
        "APm": percent(precision[..., 2]),
        "APl": percent(precision[..., 3]),
    }


def instances_to_coco_results(
    instances: Instances, image_id: Hashable, category_ids: np.ndarray
) -> list[dict[str, Any]]:
    """Predicted instances of an image as COCO results, ready for JSON.

    Args:
        instances: on the CPU, with pred_boxes, scores, pred_classes; optionally pred_masks (N, H,
            W) bool, and box_scores where `scores` are those of rescored masks.
        image_id: the image's id in the dataset.
        category_ids: (K,) the dataset's ids of the model's classes.
    """
    boxes = instances.pred_boxes.tensor.numpy().copy()
    boxes[:, 2:] -= boxes[:, :2]
    columns: dict[str, list] = {
        "category_id": category_ids[instances.pred_classes.numpy()].tolist(),
        "bbox": boxes.tolist(),
        "score": instances.scores.tolist(),
    }
    if instances.has("box_scores"):
        columns["box_score"] = instances.box_scores.tolist()
    if instances.has("pred_masks"):
        masks = instances.pred_masks.numpy().astype(bool, copy=False)
        columns["segmentation"] = [encode_mask(mask) for mask in masks]
    return [
        {"image_id": image_id, **dict(zip(columns, values, strict=True))}
        for values in zip(*columns.values(), strict=True)
    ]
