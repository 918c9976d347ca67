"""How far an exported model's outputs are from those of the model itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from torchvision.ops import box_iou

from segtron.inference.export import run_exported
from segtron.wording import count_of

# Instances with less in common are two, not one.
_SAME_BOX = 0.9
# What rounding may do. Scores and boxes differ in the last digits, so an instance whose score is at
# the threshold, or that overlaps a better one just as much as suppression allows, may be found by
# one side only. That happens to one of few instances as to one of many: a share alone would refuse
# a file for 1 of 60.
UNMATCHED_SHARE = 0.01
UNMATCHED_INSTANCES = 1  # may be so whatever their share is, if others are the same
SCORE_DIFFERENCE = 1e-3
BOX_DIFFERENCE = 0.1
MASK_IOU = 0.98
EQUAL_PIXELS = 0.999


@dataclass
class Agreement:
    """What was compared, and the largest differences over all images.

    Attributes:
        images: number of images.
        instances: number of instances, those of both sides that are the same counted once.
        matched: number of instances that both sides have.
        score: largest difference of scores of matched instances, infinite if one is not finite.
        box: largest difference of their coordinates in pixels.
        mask_iou: lowest IoU of their masks.
        sem_seg: for each image, the share of pixels of the same class, the scores of both being
            finite; empty for other models.
        panoptic: for each image, the share of pixels of the same segment.
    """

    images: int
    instances: int
    matched: int
    score: float
    box: float
    mask_iou: float
    sem_seg: list[float]
    panoptic: list[float]

    @classmethod
    def empty(cls) -> Agreement:
        """That of no image."""
        return cls(0, 0, 0, 0.0, 0.0, 1.0, [], [])

    def update(self, expected: dict[str, Any], found: dict[str, Any]) -> None:
        """Take in an image.

        Args:
            expected: Detectron2's output for it.
            found: that of `run_exported.ExportedModel`.
        """
        self.images += 1
        if "instances" in found:
            self._compare_instances(expected["instances"].to("cpu"), found["instances"])
        if "sem_seg" in found:
            self.sem_seg.append(equal_classes(expected["sem_seg"].cpu().numpy(), found["sem_seg"]))
        if "panoptic_seg" in found:
            ids, segments = expected["panoptic_seg"]
            self.panoptic.append(
                equal_segments((ids.cpu().numpy(), segments), found["panoptic_seg"])
            )

    def _compare_instances(self, expected: Instances, found: run_exported.Instances) -> None:
        pairs = match(expected, found)
        self.instances += len(expected) + len(found.boxes) - len(pairs)
        self.matched += len(pairs)
        boxes = expected.pred_boxes.tensor.numpy()
        for i, j in pairs:
            difference = abs(float(expected.scores[i]) - float(found.scores[j]))
            # max would pass over nan, which is larger than nothing.
            self.score = max(self.score, difference if math.isfinite(difference) else math.inf)
            self.box = max(self.box, float(np.abs(boxes[i] - found.boxes[j]).max()))
            mask, other = expected.pred_masks[i].numpy(), found.masks[j]
            union = np.count_nonzero(mask | other)
            if union:
                self.mask_iou = min(self.mask_iou, np.count_nonzero(mask & other) / union)

    @property
    def may_be_unmatched(self) -> int:
        """The number of instances that rounding may give to one side only."""
        if self.matched == 0:
            return 0
        return max(UNMATCHED_INSTANCES, int(UNMATCHED_SHARE * self.instances))

    @property
    def problems(self) -> list[str]:
        """What is beyond the tolerances, in words."""
        return [
            sentence
            for is_beyond, sentence in (
                (
                    self.instances - self.matched > self.may_be_unmatched,
                    f"only {self.matched} of {count_of(self.instances, 'instance')} are the same, "
                    f"not {self.instances - self.may_be_unmatched}",
                ),
                (
                    self.score > SCORE_DIFFERENCE,
                    f"scores differ by up to {self.score:.2g}, not {SCORE_DIFFERENCE}",
                ),
                (
                    self.box > BOX_DIFFERENCE,
                    f"boxes differ by up to {self.box:.2g} pixels, not {BOX_DIFFERENCE}",
                ),
                (
                    self.mask_iou < MASK_IOU,
                    f"masks have an IoU down to {self.mask_iou:.3f}, not {MASK_IOU}",
                ),
                *(
                    (
                        min(shares, default=1.0) < EQUAL_PIXELS,
                        f"only {min(shares, default=1.0):.3%} of an image's pixels have the same "
                        f"{what}, not {EQUAL_PIXELS:.1%}",
                    )
                    for what, shares in (("class", self.sem_seg), ("segment", self.panoptic))
                ),
            )
            if is_beyond
        ]

    def __str__(self) -> str:
        lines = [f"compared on {count_of(self.images, 'image')} with the model itself:"]
        if self.instances:
            lines += [
                f"{self.matched} of {count_of(self.instances, 'instance')} the same",
                f"largest difference of scores {self.score:.2g}",
                f"largest difference of boxes {self.box:.2g} pixels",
                f"lowest IoU of masks {self.mask_iou:.4f}",
            ]
        elif not self.sem_seg:
            lines.append("no instance on either side, so nothing was compared")
        for what, shares in (("class", self.sem_seg), ("segment", self.panoptic)):
            if shares:
                lines.append(f"at least {min(shares):.3%} of pixels of the same {what}")
        return "\n  ".join(lines)


def match(expected: Instances, found: run_exported.Instances) -> list[tuple[int, int]]:
    """Pair instances of one class whose boxes are as good as equal, each at most once.

    Returns:
        Places in `expected` and in `found`.
    """
    ious = box_iou(expected.pred_boxes.tensor, torch.from_numpy(found.boxes)).nan_to_num(0).numpy()
    ious[expected.pred_classes.numpy()[:, None] != found.classes] = 0
    pairs = []
    for i in range(len(expected)):
        if ious.shape[1] and ious[i].max() >= _SAME_BOX:
            j = int(ious[i].argmax())
            pairs.append((i, j))
            ious[:, j] = 0
    return pairs


def equal_classes(expected: np.ndarray, found: np.ndarray) -> float:
    """The share of pixels of the same class, where scores (K, H, W) of both sides are finite.

    Of scores that are not, the largest says nothing.
    """
    is_finite = np.isfinite(expected).all(axis=0) & np.isfinite(found).all(axis=0)
    return float(np.mean(is_finite & (expected.argmax(axis=0) == found.argmax(axis=0))))


def equal_segments(
    expected: tuple[np.ndarray, list[dict[str, Any]]],
    found: tuple[np.ndarray, list[dict[str, Any]]],
) -> float:
    """The share of pixels that lie in the same segment, whatever numbers segments have.

    A segment is the same as that of its class which it has most pixels in common with; void is the
    same as void.
    """
    (ids, segments), (other_ids, other_segments) = expected, found
    classes = [-1, *(segment["category_id"] for segment in segments)]
    other_classes = [-1, *(segment["category_id"] for segment in other_segments)]
    pairs = ids.astype(np.int64) * len(other_classes) + other_ids
    shared = np.bincount(pairs.ravel(), minlength=len(classes) * len(other_classes))
    shared = shared.reshape(len(classes), len(other_classes))
    shared[np.array(classes)[:, None] != np.array(other_classes)] = 0
    equal = 0
    while shared.any():
        row, column = np.unravel_index(shared.argmax(), shared.shape)
        equal += int(shared[row, column])
        shared[row] = 0
        shared[:, column] = 0
    return equal / ids.size
