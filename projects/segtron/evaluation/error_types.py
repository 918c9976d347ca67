"""Where AP is lost: what fixing each type of error by itself would gain (TIDE, Bolya et al. 2020,
https://arxiv.org/abs/2008.08115)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from segtron.evaluation.instance_matching import MATCH_IOU, InstanceMatches
from segtron.evaluation.precision_recall import interpolated_precision
from segtron.evaluation.score_files import with_nan, without_nan
from segtron.evaluation.tables import format_table, percent

# The paper's foreground threshold is the IoU of a match; up to this one a detection is background.
BACKGROUND_IOU = 0.1

ERROR_TYPES = ("classification", "localization", "both", "duplicate", "background", "missed")
TOTALS = ("false_positives", "false_negatives")
_CLASSIFICATION, _LOCALIZATION, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(6)


@dataclass(frozen=True)
class ErrorScores:
    """How much AP50 each type of error costs.

    The gains are not parts of a whole: fixing one type may make another one matter more.

    Attributes:
        protocol: heads the table.
        num_images: images scored.
        overall: "AP50", and for each of `ERROR_TYPES` and `TOTALS` the points of AP50 that would be
            gained if there were no such errors. All nan without ground truth.
        per_class: class name -> the same of that class. A class also gains where what was taken
            for another one becomes its own. All nan for a class without ground truth.
        num_errors: error type -> detections (for "missed" instances of the ground truth) of it.
    """

    protocol: str
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_errors: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None."""
        return {
            "protocol": self.protocol,
            "num_images": self.num_images,
            **without_nan(self.overall),
            "num_errors": self.num_errors,
            "per_class": {name: without_nan(row) for name, row in self.per_class.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The scores of which this is `as_dict`."""
        return cls(
            protocol=content["protocol"],
            num_images=content["num_images"],
            overall=_numbers(content),
            per_class={name: _numbers(row) for name, row in content["per_class"].items()},
            num_errors={name: int(content["num_errors"][name]) for name in ERROR_TYPES},
        )

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {name}" for name, number in self.num_errors.items())
        return (
            f"{self.protocol}: {self.num_images} images, points of AP50 that would be gained "
            f"without each type of error\nerrors: {counts}\n"
        ) + format_table(
            ["class", *(name.replace("_", " ") for name in self.overall)],
            [
                [name, *map(percent, row.values())]
                for name, row in [("all", self.overall), *self.per_class.items()]
            ],
        )


class Errors(NamedTuple):
    """What is wrong with detections, and which instances are missed."""

    kind: np.ndarray  # (D,) int64, index into ERROR_TYPES, -1 for detections that found something
    target: np.ndarray  # (D,) int64, the instance that a detection finds once it is fixed, or -1
    missed: np.ndarray  # (G,) bool, instances that none found and that none would find once fixed


class _Detections(NamedTuple):
    """Detections as they are or would be without some errors."""

    kept: np.ndarray  # (D,) bool
    correct: np.ndarray  # (D,) bool
    category: np.ndarray  # (D,) int64


def score_error_types(matches: InstanceMatches) -> ErrorScores:
    """What each type of error costs, by the rules of the paper and of its code.

    - A detection that is wrong only in class or only in place becomes right if its instance isn't
      found yet; of several the most confident one does. All other wrong detections vanish, and
      instances that are missed need not be found.
    - Without false positives all right detections come before all wrong ones. Without false
      negatives what was not found need not be.
    - As in COCO's AP, classes without ground truth don't count. A class of whose ground truth a fix
      leaves nothing has an AP of 0 if anything is predicted of it, and else doesn't count; where
      nothing at all is left AP is 100.
    - The gain from fixing one type is never below 0 (AP at 101 recalls may fall by rounding).
    """
    errors = find_errors(matches)
    found = matches.match >= 0
    as_is = _Detections(~matches.in_crowd, found, matches.category)
    num_truths = matches.num_ground_truth()
    order = matches.by_score()

    def left(removed: np.ndarray) -> np.ndarray:
        """(K,) instances left when some (G,) bool are removed."""
        return num_truths - np.bincount(
            matches.truth_category[removed], minlength=len(matches.class_names)
        )

    not_found = np.ones(len(matches.truth_category), dtype=bool)
    not_found[matches.match[found]] = False
    right_first = order[np.argsort(~found[order], kind="stable")]
    before = _class_ap(order, as_is, num_truths)
    after = {
        name: _class_ap(order, _fixed(as_is, matches, errors, kind), num_truths)
        for kind, name in enumerate(ERROR_TYPES[:_MISSED])
    }
    after["missed"] = _class_ap(order, as_is, left(errors.missed))
    after["false_positives"] = _class_ap(right_first, as_is, num_truths)
    after["false_negatives"] = _class_ap(order, as_is, left(not_found))

    num_errors = np.bincount(errors.kind[~found & ~matches.in_crowd], minlength=len(ERROR_TYPES))
    num_errors[_MISSED] = np.count_nonzero(errors.missed)
    exists = num_truths > 0
    return ErrorScores(
        protocol=f"Error types, {matches.task}",
        num_images=matches.num_images,
        overall=_gains(before, after, exists),
        per_class={
            name: _gains(before, after, exists & (np.arange(len(exists)) == k))
            for k, name in enumerate(matches.class_names)
        },
        num_errors=dict(zip(ERROR_TYPES, num_errors.tolist(), strict=True)),
    )


def find_errors(matches: InstanceMatches) -> Errors:
    """Give each detection that found nothing its type of error, those in crowds, too.

    In this order: localization, if the IoU with an instance of its class is between the
    two thresholds; classification, if that with one of another class is a match; duplicate, if its
    instance was found by a better one; background, if it is near to nothing; else both.
    """
    same, other = matches.same_class_iou, matches.other_class_iou
    kind = np.select(
        [
            matches.match >= 0,
            (same >= BACKGROUND_IOU) & (same <= MATCH_IOU),
            other >= MATCH_IOU,
            same >= MATCH_IOU,
            np.maximum(same, other) <= BACKGROUND_IOU,
        ],
        [-1, _LOCALIZATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND],
        default=_BOTH,
    )
    missed = np.ones(len(matches.truth_category), dtype=bool)
    missed[matches.match[matches.match >= 0]] = False

    target = np.full(len(kind), -1)
    for wrong, nearest in (
        (kind == _LOCALIZATION, matches.same_class_nearest),
        (kind == _CLASSIFICATION, matches.other_class_nearest),
    ):
        target[wrong] = nearest[wrong]
    candidates = np.flatnonzero(target >= 0)
    candidates = candidates[missed[target[candidates]]]
    # The first is the most confident one, since all candidates for an instance are of its image.
    instances, first = np.unique(target[candidates], return_index=True)
    target[:] = -1
    target[candidates[first]] = instances
    missed[instances] = False
    return Errors(kind, target, missed)


def _fixed(as_is: _Detections, matches: InstanceMatches, errors: Errors, kind: int) -> _Detections:
    """Detections without one type of error."""
    fixed = _Detections(*(values.copy() for values in as_is))
    fixed.kept[errors.kind == kind] = False
    righted = np.flatnonzero((errors.kind == kind) & (errors.target >= 0))
    fixed.kept[righted] = fixed.correct[righted] = True
    fixed.category[righted] = matches.truth_category[errors.target[righted]]
    return fixed


def _class_ap(order: np.ndarray, detections: _Detections, num_truths: np.ndarray) -> np.ndarray:
    """AP50 of each class.

    Args:
        order: (D,) int64, the detections' order, the best first.
        detections: as they are to be scored.
        num_truths: (K,) int64, instances of each class.

    Returns:
        (K,) float64, percent; of classes without instances 0, nan if nothing is predicted either.
    """
    order = order[detections.kept[order]]
    category = detections.category[order]
    correct = detections.correct[order][np.argsort(category, kind="stable")]
    ends = np.cumsum(np.bincount(category, minlength=len(num_truths)))
    scores = np.full(len(num_truths), np.nan)
    for k, own in enumerate(np.split(correct, ends[:-1])):
        if num_truths[k]:
            scores[k] = 100 * interpolated_precision(own, num_truths[k]).mean()
        elif own.size:
            scores[k] = 0.0
    return scores


def _gains(
    before: np.ndarray, after: dict[str, np.ndarray], chosen: np.ndarray
) -> dict[str, float]:
    """Mean AP50 of the chosen (K,) bool classes, and what it gains."""
    if not chosen.any():
        return dict.fromkeys(("AP50", *after), math.nan)
    row = {"AP50": float(before[chosen].mean())}
    for name, scores in after.items():
        defined = scores[chosen & ~np.isnan(scores)]
        gain = float(defined.mean() if defined.size else 100.0) - row["AP50"]
        row[name] = gain if name in TOTALS else max(gain, 0.0)
    return row


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return with_nan({name: row[name] for name in ("AP50", *ERROR_TYPES, *TOTALS)})
