"""Which predicted instances found which of the ground truth, by COCO's rules, and how near the
others came: what error types, precision and recall are computed from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pycocotools.mask as mask_util

from segtron.evaluation.coco_ground_truth import CocoGroundTruth
from segtron.evaluation.masks import as_rle

# From this IoU on a detection has found an instance of its class.
MATCH_IOU = 0.5


@dataclass(frozen=True)
class ImageMatches:
    """Detections and instances, of an image or of many.

    Detections stand in the order of the images' ids, and those of an image by falling score.
    Instances are numbered from 0; crowds are not among them.

    Attributes:
        score: (D,) float64.
        category: (D,) int64, number of the predicted class.
        area: (D,) float64, in pixels.
        match: (D,) int64, the instance that was found, -1 for none.
        in_crowd: (D,) bool, found none but lies in a crowd of its class, so that it doesn't count.
        same_class_iou: (D,) float64, with the nearest instance of its class, found or not; 0 where
            there is none.
        same_class_nearest: (D,) int64, that instance; of no meaning where the IoU is 0.
        other_class_iou: (D,) float64, likewise among the instances of other classes.
        other_class_nearest: (D,) int64.
        truth_category: (G,) int64, number of the class of an instance.
        truth_area: (G,) float64, in pixels.
    """

    score: np.ndarray
    category: np.ndarray
    area: np.ndarray
    match: np.ndarray
    in_crowd: np.ndarray
    same_class_iou: np.ndarray
    same_class_nearest: np.ndarray
    other_class_iou: np.ndarray
    other_class_nearest: np.ndarray
    truth_category: np.ndarray
    truth_area: np.ndarray


@dataclass(frozen=True)
class InstanceMatches(ImageMatches):
    """All detections and instances of a set.

    Attributes:
        task: "bbox" or "segm", whose IoU this is.
        num_images: images of the set.
        class_names: K names.
    """

    task: str
    num_images: int
    class_names: list[str]

    def num_ground_truth(self) -> np.ndarray:
        """(K,) int64, instances of each class."""
        return np.bincount(self.truth_category, minlength=len(self.class_names))

    def num_predicted(self) -> np.ndarray:
        """(K,) int64, detections of each class that count."""
        return np.bincount(self.category[~self.in_crowd], minlength=len(self.class_names))

    def by_score(self) -> np.ndarray:
        """(D,) int64, detections by falling score; equal ones as they stand, as COCO has them."""
        return np.argsort(-self.score, kind="stable")


def match_instances(
    ground_truth: CocoGroundTruth,
    results: list[dict[str, Any]],
    task: Literal["bbox", "segm"],
    max_detections: int,
) -> InstanceMatches:
    """Match detections to the instances of a set.

    As in COCO's protocol each detection, the most confident one first, finds the instance of its
    class that it has the highest IoU with, among those not found yet, if that IoU is at least
    `MATCH_IOU`. One that finds none and lies in a crowd of its class doesn't count.

    Args:
        ground_truth: of the whole set; for "segm", only annotations with a mask.
        results: as `CocoInstanceMetric.results()` gives them.
        task: "bbox" or "segm".
        max_detections: how many detections of a class in an image count, the best first.

    Raises:
        ValueError: results of an image or a class that is not in the ground truth.
    """
    numbers = {category_id: k for k, category_id in enumerate(ground_truth.category_ids)}
    truths, detections = _by_image(ground_truth.annotations), _by_image(results)
    strangers = detections.keys() - {image["id"] for image in ground_truth.images}
    if strangers:
        raise ValueError(f"image {min(strangers)} is not in the ground truth")
    strangers = {result["category_id"] for result in results} - numbers.keys()
    if strangers:
        raise ValueError(f"category {min(strangers)} is not in the ground truth")

    images, num_truths = [], 0
    for image in sorted(ground_truth.images, key=lambda image: image["id"]):
        image_truths, image_detections = truths.get(image["id"]), detections.get(image["id"])
        if image_truths or image_detections:
            matches = _match_image(
                _Shapes(image_truths or [], image, task, numbers),
                _best_of_each_class(
                    _Shapes(image_detections or [], image, task, numbers), max_detections
                ),
                first_truth=num_truths,
            )
            num_truths += len(matches.truth_category)
            images.append(matches)
    nothing = _match_image(
        _Shapes([], {}, task, numbers), _Shapes([], {}, task, numbers), first_truth=0
    )
    return InstanceMatches(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in [nothing, *images]])
            for field in fields(ImageMatches)
        },
        task=task,
        num_images=len(ground_truth.images),
        class_names=ground_truth.class_names,
    )


def _by_image(entries: Iterable[dict[str, Any]]) -> dict[Hashable, list[dict[str, Any]]]:
    images = defaultdict(list)
    for entry in entries:
        images[entry["image_id"]].append(entry)
    return images


class _Shapes:
    """The annotations or results of an image, with what matching needs of them as arrays."""

    def __init__(
        self, entries: list[dict], image: dict, task: str, numbers: dict[int, int]
    ) -> None:
        self._entries = entries
        self._image = image
        self._task = task
        self._numbers = numbers
        self.category = np.array([numbers[e["category_id"]] for e in entries], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: np.ndarray) -> _Shapes:
        kept = [self._entries[i] for i in index.tolist()]
        return _Shapes(kept, self._image, self._task, self._numbers)

    @property
    def crowd(self) -> np.ndarray:
        return np.array([bool(entry["iscrowd"]) for entry in self._entries], dtype=bool)

    @property
    def score(self) -> np.ndarray:
        # Boxes may have a score of their own (mask rescoring).
        own = "box_score" if self._task == "bbox" else "score"
        return np.array([e.get(own, e["score"]) for e in self._entries], dtype=np.float64)

    @property
    def given_area(self) -> np.ndarray:
        return np.array([entry["area"] for entry in self._entries], dtype=np.float64)

    def regions(self) -> np.ndarray | list[dict]:
        """Boxes (N, 4) XYWH or run lengths, for pycocotools."""
        if self._task == "bbox":
            return np.array([e["bbox"] for e in self._entries], dtype=np.float64).reshape(-1, 4)
        size = self._image.get("height"), self._image.get("width")
        return [as_rle(entry["segmentation"], *size) for entry in self._entries]


def _best_of_each_class(detections: _Shapes, most: int) -> _Shapes:
    """Detections by falling score, of each class at most so many."""
    order = np.argsort(-detections.score, kind="stable")
    if len(order) > most:
        category = detections.category[order]
        by_class = np.argsort(category, kind="stable")
        rank = np.empty_like(order)
        rank[by_class] = np.arange(len(order)) - np.searchsorted(
            category[by_class], category[by_class]
        )
        order = order[rank < most]
    return detections[order]


def _match_image(truths: _Shapes, detections: _Shapes, first_truth: int) -> ImageMatches:
    """Match the detections of an image, which come by falling score."""
    regions, crowd = detections.regions(), truths.crowd
    iou = np.zeros((len(detections), len(truths)))
    if iou.size:
        # With a crowd this is the share of the detection that lies in it.
        iou = mask_util.iou(regions, truths.regions(), crowd.tolist())
    same_class = detections.category[:, None] == truths.category
    in_crowd = ((iou >= MATCH_IOU) & same_class)[:, crowd].any(axis=1)
    iou, same_class = iou[:, ~crowd], same_class[:, ~crowd]

    match = _match(np.where(same_class, iou, 0))
    same_iou, same_nearest = _nearest(np.where(same_class, iou, 0))
    other_iou, other_nearest = _nearest(np.where(same_class, 0, iou))
    return ImageMatches(
        score=detections.score,
        category=detections.category,
        area=_areas(regions),
        match=np.where(match >= 0, match + first_truth, -1),
        in_crowd=in_crowd & (match < 0),
        same_class_iou=same_iou,
        same_class_nearest=same_nearest + first_truth,
        other_class_iou=other_iou,
        other_class_nearest=other_nearest + first_truth,
        truth_category=truths.category[~crowd],
        truth_area=truths.given_area[~crowd],
    )


def _match(iou: np.ndarray) -> np.ndarray:
    """For each detection the instance that it finds, or -1.

    Args:
        iou: (D, G), by falling score; 0 where the classes differ.
    """
    match = np.full(len(iou), -1)
    rows, columns = np.nonzero(iou >= MATCH_IOU)
    # Of equal IoUs COCO takes the last.
    order = np.lexsort((-columns, -iou[rows, columns], rows))
    found = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if match[row] < 0 and column not in found:
            match[row] = column
            found.add(column)
    return match


def _nearest(iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest IoU of each row, and its column."""
    if not iou.shape[1]:
        return np.zeros(len(iou)), np.zeros(len(iou), dtype=np.int64)
    nearest = iou.argmax(axis=1)
    return iou[np.arange(len(iou)), nearest], nearest


def _areas(regions: np.ndarray | list[dict]) -> np.ndarray:
    if isinstance(regions, np.ndarray):
        return regions[:, 2] * regions[:, 3]
    # One by one: on numpy 2 pycocotools can't measure more than 255 at once.
    return np.array([mask_util.area(region) for region in regions], dtype=np.float64)
