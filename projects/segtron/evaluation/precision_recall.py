"""Precision and recall of predicted instances: curves, and the score threshold with the best F1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from segtron.evaluation.coco_protocol import RECALLS
from segtron.evaluation.instance_matching import MATCH_IOU, InstanceMatches
from segtron.evaluation.score_files import with_nan, without_nan
from segtron.evaluation.tables import format_table, percent


class Curve(NamedTuple):
    """COCO's interpolated curve, at the recalls 0, 0.01, ..., 1.

    The mean of `precision` is the AP at this IoU.
    """

    precision: np.ndarray  # (101,) float64, percent; 0 where the recall isn't reached
    score: np.ndarray  # (101,) float64, the threshold there; 0 where the recall isn't reached


class Points(NamedTuple):
    """What each score threshold gives: all detections with this score or a higher one count."""

    score: np.ndarray  # (N,) float64, each score that occurs once, falling
    precision: np.ndarray  # (N,) float64, 0 to 1
    recall: np.ndarray  # (N,) float64, 0 to 1


@dataclass(frozen=True)
class PrecisionRecallScores:
    """How precise predicted instances are and how many are found, at IoU 0.5.

    Attributes:
        protocol: heads the table.
        num_images: images scored.
        overall: "F1", "precision" and "recall" in percent and "score", at the threshold with the
            best F1 that is the same for all classes, of all classes' instances together.
        per_class: class name -> the same at the class's own best threshold. All nan for a class
            without ground truth; F1 and recall 0 and the others nan where nothing was found.
        num_ground_truth: class name -> instances that had to be found.
        num_predicted: class name -> detections that count, whatever their score.
        pooled_curve: of all classes' instances together; None without ground truth.
        curves: class name -> its curve; classes without ground truth have none.
    """

    protocol: str
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]
    pooled_curve: Curve | None
    curves: dict[str, Curve]

    def as_dict(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None."""
        return {
            "protocol": self.protocol,
            "num_images": self.num_images,
            **without_nan(self.overall),
            "curve": _as_lists(self.pooled_curve),
            "per_class": {
                name: {
                    **without_nan(row),
                    "ground_truth": self.num_ground_truth[name],
                    "predicted": self.num_predicted[name],
                    "curve": _as_lists(self.curves.get(name)),
                }
                for name, row in self.per_class.items()
            },
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The scores of which this is `as_dict`."""
        classes = content["per_class"]
        curves = {name: _from_lists(row["curve"]) for name, row in classes.items()}
        return cls(
            protocol=content["protocol"],
            num_images=content["num_images"],
            overall=_numbers(content),
            per_class={name: _numbers(row) for name, row in classes.items()},
            num_ground_truth={name: row["ground_truth"] for name, row in classes.items()},
            num_predicted={name: row["predicted"] for name, row in classes.items()},
            pooled_curve=_from_lists(content["curve"]),
            curves={name: curve for name, curve in curves.items() if curve is not None},
        )

    def __str__(self) -> str:
        wanted, found = sum(self.num_ground_truth.values()), sum(self.num_predicted.values())
        rows = [("all", self.overall, wanted, found)] + [
            (name, row, self.num_ground_truth[name], self.num_predicted[name])
            for name, row in self.per_class.items()
        ]
        return (
            f"{self.protocol}: {self.num_images} images, at the score threshold with the best F1, "
            'in percent; "all" has one threshold for all classes\n'
        ) + format_table(
            ["class", "F1", "precision", "recall", "score", "ground truth", "predicted"],
            [
                [
                    name,
                    *(percent(row[metric]) for metric in ("F1", "precision", "recall")),
                    "-" if math.isnan(row["score"]) else f"{row['score']:.3f}",
                    gt,
                    predicted,
                ]
                for name, row, gt, predicted in rows
            ],
        )


def score_precision_recall(matches: InstanceMatches) -> PrecisionRecallScores:
    """Precision, recall and F1 of each class, and of all together."""
    order = matches.by_score()
    order = order[~matches.in_crowd[order]]
    score, category = matches.score[order], matches.category[order]
    correct = matches.match[order] >= 0
    num_truths, num_predicted = matches.num_ground_truth(), matches.num_predicted()

    overall = best_f1(score, correct, num_truths.sum())
    per_class, curves = {}, {}
    for k, name in enumerate(matches.class_names):
        own = category == k
        per_class[name] = best_f1(score[own], correct[own], num_truths[k])
        if num_truths[k]:
            curves[name] = interpolated_curve(score[own], correct[own], num_truths[k])
    names = matches.class_names
    return PrecisionRecallScores(
        protocol=f"Precision and recall, {matches.task}, IoU {MATCH_IOU}",
        num_images=matches.num_images,
        overall=overall,
        per_class=per_class,
        num_ground_truth=dict(zip(names, num_truths.tolist(), strict=True)),
        num_predicted=dict(zip(names, num_predicted.tolist(), strict=True)),
        pooled_curve=interpolated_curve(score, correct, num_truths.sum()) if curves else None,
        curves=curves,
    )


def interpolated_precision(correct: np.ndarray, num_truths: int) -> np.ndarray:
    """COCO's precision at the 101 recalls: the highest that is had at this recall or beyond.

    Args:
        correct: (N,) bool, whether a detection found an instance, by falling score.
        num_truths: instances, at least 1.

    Returns:
        (101,) float64, 0 to 1.
    """
    precision, _ = _interpolate(correct, num_truths)
    return precision


def interpolated_curve(score: np.ndarray, correct: np.ndarray, num_truths: int) -> Curve:
    """COCO's curve.

    Args:
        score: (N,) float64, falling.
        correct: (N,) bool, whether a detection found an instance.
        num_truths: instances, at least 1.
    """
    precision, reached_at = _interpolate(correct, num_truths)
    return Curve(100 * precision, np.append(score, 0.0)[reached_at])


def precision_recall_points(score: np.ndarray, correct: np.ndarray, num_truths: int) -> Points:
    """Precision and recall at every score threshold.

    Args:
        score: (N,) float64, falling.
        correct: (N,) bool, whether a detection found an instance.
        num_truths: instances, at least 1.
    """
    # No threshold comes between equal scores.
    last = np.flatnonzero(np.diff(score, append=-np.inf))
    found = np.cumsum(correct)[last].astype(np.float64)
    return Points(score[last], found / (last + 1), found / num_truths)


def best_f1(score: np.ndarray, correct: np.ndarray, num_truths: int) -> dict[str, float]:
    """The threshold with the best F1; of several the highest.

    Args:
        score: (N,) float64, falling.
        correct: (N,) bool, whether a detection found an instance.
        num_truths: instances.

    Returns:
        "F1", "precision" and "recall" in percent, and "score". Where nothing is found at any
        threshold F1 and recall are 0, the others nan; without ground truth all are nan.
    """
    if not num_truths:
        return dict.fromkeys(("F1", "precision", "recall", "score"), math.nan)
    points = precision_recall_points(score, correct, num_truths)
    total = points.precision + points.recall
    f1 = 2 * points.precision * points.recall / np.where(total > 0, total, 1)
    if not f1.any():
        return {"F1": 0.0, "precision": math.nan, "recall": 0.0, "score": math.nan}
    best = int(f1.argmax())
    return {
        "F1": float(100 * f1[best]),
        "precision": float(100 * points.precision[best]),
        "recall": float(100 * points.recall[best]),
        "score": float(points.score[best]),
    }


def _interpolate(correct: np.ndarray, num_truths: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision at the 101 recalls, and the first detection that reaches each (N if none does)."""
    found = np.cumsum(correct)
    precision = found / np.arange(1, len(correct) + 1)
    highest_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    reached_at = np.searchsorted(found / num_truths, RECALLS)
    return np.append(highest_from_here, 0.0)[reached_at], reached_at


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return with_nan({metric: row[metric] for metric in ("F1", "precision", "recall", "score")})


def _as_lists(curve: Curve | None) -> dict[str, list[float]] | None:
    if curve is None:
        return None
    return {name: values.tolist() for name, values in curve._asdict().items()}


def _from_lists(content: Mapping[str, list[float]] | None) -> Curve | None:
    if content is None:
        return None
    curve = Curve(*(np.array(content[name], dtype=np.float64) for name in Curve._fields))
    if any(values.shape != RECALLS.shape for values in curve):
        raise ValueError(f"a curve has {len(RECALLS)} points")
    return curve
