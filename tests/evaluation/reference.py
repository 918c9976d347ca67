"""What scores are compared with: pycocotools' view of data in memory, and Boundary AP of Cityscapes
by its definition."""

from __future__ import annotations

import contextlib
import io

import cv2
import numpy as np
from pycocotools.coco import COCO

from .scenes import Scene

CITYSCAPES_THINGS = (24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
CITYSCAPES_OVERLAPS = np.arange(0.5, 1.0, 0.05)


def coco_index(images: list[dict], annotations: list[dict]) -> COCO:
    """pycocotools' index over images and annotations, made without its printing."""
    index = COCO()
    index.dataset = {"images": images, "annotations": annotations, "categories": []}
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def boundary_by_erosion(mask: np.ndarray, width: int) -> np.ndarray:
    """A mask less what is left of it after so many erosions of the whole frame, whose surroundings
    are empty."""
    padded = np.pad(mask.astype(np.uint8), 1)
    inside = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)
    return mask & (inside[1:-1, 1:-1] == 0)


def cityscapes_boundary_aps(scenes: list[Scene], width: int) -> np.ndarray:
    """Cityscapes' Boundary AP, a pair at a time and on whole frames.

    Args:
        scenes: ground truth and predictions.
        width: of the boundaries, in pixels.

    Returns:
        (8, 10) in [0, 1], by class and overlap.
    """
    aps = np.full((len(CITYSCAPES_THINGS), len(CITYSCAPES_OVERLAPS)), np.nan)
    for row, label in enumerate(CITYSCAPES_THINGS):
        images = [_compared(scene, label, width) for scene in scenes]
        if not any(_must_be_found(*segment) for segments, _ in images for segment in segments):
            continue
        for column, overlap in enumerate(CITYSCAPES_OVERLAPS):
            true, false, missed = [], [], 0
            for segments, predictions in images:
                for number, segment in enumerate(segments):
                    if not _must_be_found(*segment):
                        continue
                    found = sorted(
                        prediction["score"]
                        for prediction in predictions
                        if prediction["overlaps"].get(number, 0) > overlap
                    )
                    if found:
                        true.append(found[-1])
                        false += found[:-1]
                    else:
                        missed += 1
                for prediction in predictions:
                    if any(value > overlap for value in prediction["overlaps"].values()):
                        continue
                    if prediction["ignored"] / prediction["pixels"] <= overlap:
                        false.append(prediction["score"])
            aps[row, column] = _area_below(true, false, missed)
    return aps


def _compared(scene: Scene, label: int, width: int) -> tuple[list[tuple[int, int]], list[dict]]:
    """The segments of a class, each by id and pixels, and its predictions."""
    ids = [i for i in np.unique(scene.instance_ids).tolist() if label in (i, i // 1000) and i != 0]
    masks = [scene.instance_ids == i for i in ids]
    boundaries = [boundary_by_erosion(mask, width) for mask in masks]
    segments = [(i, int(mask.sum())) for i, mask in zip(ids, masks, strict=True)]
    void = np.isin(scene.instance_ids, CITYSCAPES_VOID)
    predictions = []
    for mask, its_label, score in scene.predictions:
        if its_label != label or not mask.any():
            continue
        boundary = boundary_by_erosion(mask, width)
        overlaps, ignored = {}, int((mask & void).sum())
        for number, (i, pixels) in enumerate(segments):
            both, common = mask & masks[number], boundary & boundaries[number]
            if not both.any() or not common.any():
                continue
            overlaps[number] = min(
                both.sum() / (mask | masks[number]).sum(),
                common.sum() / (boundary | boundaries[number]).sum(),
            )
            # A small group is counted twice.
            ignored += int(both.sum()) * ((i < 1000) + (pixels < 100))
        predictions.append(
            {"score": score, "pixels": mask.sum(), "overlaps": overlaps, "ignored": ignored}
        )
    return segments, predictions


def _must_be_found(segment_id: int, pixels: int) -> bool:
    return segment_id >= 1000 and pixels >= 100


def _area_below(true: list[float], false: list[float], missed: int) -> float:
    """The area below the precision-recall curve. Its points are the distinct scores, in which all
    that scores less is dropped; a last one has precision 1 and recall 0."""
    points = []
    for threshold in sorted({*true, *false}):
        num_true = sum(score >= threshold for score in true)
        num_false = sum(score >= threshold for score in false)
        points.append((num_true / (num_true + num_false), num_true / (len(true) + missed)))
    if not points:
        return 0.0
    points.append((1.0, 0.0))
    recalls = [points[0][1], *(recall for _, recall in points), 0.0]
    return sum(
        precision * (recalls[i] - recalls[i + 2]) / 2 for i, (precision, _) in enumerate(points)
    )
