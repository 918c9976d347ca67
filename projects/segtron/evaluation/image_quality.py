"""How well the instances of a single image are found, to sort and mark images by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

RLE = dict[str, Any]

# Above an IoU of one half, masks that don't overlap have at most one partner (Kirillov et al.
# 2019).
MATCH_IOU = 0.5


@dataclass(frozen=True)
class InstanceMatch:
    """Which predicted instance is which true one.

    Numbers are places in the lists that were matched.

    Attributes:
        pairs: (true, predicted, IoU) of instances of one class whose masks agree.
        missed: true instances without a partner.
        invented: predicted instances without a partner.
        confused: (true, predicted) whose masks agree but not their classes; these are among the
            missed and the invented as well.
        ignored: predicted instances that lie in a crowd of their class, which count for nothing.
    """

    pairs: tuple[tuple[int, int, float], ...]
    missed: tuple[int, ...]
    invented: tuple[int, ...]
    confused: tuple[tuple[int, int], ...]
    ignored: tuple[int, ...]

    @property
    def quality(self) -> float:
        """The panoptic quality of the instances: sum of IoU / (TP + FP / 2 + FN / 2), 0 to 1.

        1 where there is nothing to find and nothing was found. Classes are counted together, and
        unlike panoptic segments the masks may overlap. See Kirillov et al. 2019, equation 1.
        """
        weight = len(self.pairs) + 0.5 * (len(self.missed) + len(self.invented))
        return sum(iou for _, _, iou in self.pairs) / weight if weight else 1.0


def match_instances(
    true_masks: Sequence[RLE],
    true_classes: Sequence[int],
    is_crowd: Sequence[bool],
    predicted_masks: Sequence[RLE],
    predicted_classes: Sequence[int],
) -> InstanceMatch:
    """Match predicted to true instances of one image, the best overlap first.

    A pair needs the same class and an IoU above `MATCH_IOU`. A prediction left over is ignored if
    more than half of it lies in crowds of its class.

    Args:
        true_masks: compressed RLE of T masks of one size.
        true_classes: T class ids.
        is_crowd: T flags; crowds are matched by nothing and need not be found.
        predicted_masks: compressed RLE of P masks.
        predicted_classes: P class ids.
    """
    real = [i for i, crowd in enumerate(is_crowd) if not crowd]
    iou = np.zeros((len(true_masks), len(predicted_masks)))
    if real and predicted_masks:
        overlaps = mask_util.iou(
            list(predicted_masks), [true_masks[i] for i in real], [0] * len(real)
        )
        iou[real] = np.asarray(overlaps).T
    same_class = np.equal.outer(np.asarray(true_classes), np.asarray(predicted_classes))
    pairs = _best_first(np.where(same_class, iou, 0.0))
    missed = sorted(set(real) - {true for true, _ in pairs})
    left_over = sorted(set(range(len(predicted_masks))) - {predicted for _, predicted in pairs})

    ignored = [
        predicted
        for predicted in left_over
        if _share_in(
            predicted_masks[predicted],
            [
                true_masks[i]
                for i, crowd in enumerate(is_crowd)
                if crowd and true_classes[i] == predicted_classes[predicted]
            ],
        )
        > 0.5
    ]
    invented = [predicted for predicted in left_over if predicted not in set(ignored)]
    rest = np.zeros_like(iou)
    rest[np.ix_(missed, invented)] = iou[np.ix_(missed, invented)]
    confused = _best_first(np.where(same_class, 0.0, rest))
    return InstanceMatch(
        pairs=tuple((true, predicted, float(iou[true, predicted])) for true, predicted in pairs),
        missed=tuple(missed),
        invented=tuple(invented),
        confused=tuple(confused),
        ignored=tuple(ignored),
    )


def _best_first(iou: np.ndarray) -> list[tuple[int, int]]:
    """One-to-one pairs of rows and columns, the highest above `MATCH_IOU` first."""
    rows, columns = np.nonzero(iou > MATCH_IOU)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for k in np.argsort(-iou[rows, columns], kind="stable"):
        row, column = int(rows[k]), int(columns[k])
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return sorted(pairs.items())


def _share_in(mask: RLE, regions: Iterable[RLE]) -> float:
    """How much of a mask lies in the union of regions, 0 to 1."""
    regions = list(regions)
    area = float(mask_util.area(mask))
    if not regions or not area:
        return 0.0
    return float(mask_util.area(mask_util.merge([mask, mask_util.merge(regions)], True))) / area
