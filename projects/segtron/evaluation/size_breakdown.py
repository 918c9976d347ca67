"""How AP depends on the size of the instances, and how many of each size there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from segtron.evaluation.coco_protocol import SIZES
from segtron.evaluation.instance_matching import InstanceMatches
from segtron.evaluation.score_files import with_nan, without_nan
from segtron.evaluation.scores import InstanceScores
from segtron.evaluation.tables import format_table, percent

_METRICS = {"small": "APs", "medium": "APm", "large": "APl"}


@dataclass(frozen=True)
class SizeScores:
    """AP and numbers of small, medium and large instances.

    Attributes:
        protocol: heads the table.
        num_images: images scored.
        overall: size -> AP in percent, nan without ground truth of this size.
        per_class: class name -> the same of that class.
        num_ground_truth: class name -> size -> instances that had to be found.
        num_predicted: class name -> size -> detections that count, by their own area.
    """

    protocol: str
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_ground_truth: dict[str, dict[str, int]]
    num_predicted: dict[str, dict[str, int]]

    def as_dict(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None."""
        return {
            "protocol": self.protocol,
            "num_images": self.num_images,
            "AP": without_nan(self.overall),
            "per_class": {
                name: {
                    "AP": without_nan(row),
                    "ground_truth": self.num_ground_truth[name],
                    "predicted": self.num_predicted[name],
                }
                for name, row in self.per_class.items()
            },
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The scores of which this is `as_dict`."""
        classes = content["per_class"]

        def counts(side: str) -> dict[str, dict[str, int]]:
            return {k: {size: int(row[side][size]) for size in SIZES} for k, row in classes.items()}

        return cls(
            protocol=content["protocol"],
            num_images=content["num_images"],
            overall=_of_sizes(content["AP"]),
            per_class={name: _of_sizes(row["AP"]) for name, row in classes.items()},
            num_ground_truth=counts("ground_truth"),
            num_predicted=counts("predicted"),
        )

    def total(self, counts: dict[str, dict[str, int]]) -> dict[str, int]:
        """The sum of `num_ground_truth` or `num_predicted` over the classes."""
        return {size: sum(row[size] for row in counts.values()) for size in SIZES}

    def __str__(self) -> str:
        rows = [
            (
                "all",
                self.overall,
                self.total(self.num_ground_truth),
                self.total(self.num_predicted),
            )
        ]
        rows += [
            (name, row, self.num_ground_truth[name], self.num_predicted[name])
            for name, row in self.per_class.items()
        ]
        return (
            f"{self.protocol}: {self.num_images} images, AP in percent and numbers of instances\n"
        ) + format_table(
            [
                "class",
                *(f"AP {size}" for size in SIZES),
                *(f"{size} ground truth" for size in SIZES),
                *(f"{size} predicted" for size in SIZES),
            ],
            [
                [name, *map(percent, row.values()), *wanted.values(), *predicted.values()]
                for name, row, wanted, predicted in rows
            ],
        )


def score_sizes(matches: InstanceMatches, scores: InstanceScores) -> SizeScores:
    """Put AP by size beside the numbers of instances.

    Args:
        matches: whose instances are counted.
        scores: COCO's of the same results, with "APs", "APm" and "APl".
    """
    counts = ~matches.in_crowd
    names = matches.class_names
    return SizeScores(
        protocol=f"Sizes, {matches.task}",
        num_images=matches.num_images,
        overall={size: scores.overall[metric] for size, metric in _METRICS.items()},
        per_class={
            name: {size: scores.per_class[name][metric] for size, metric in _METRICS.items()}
            for name in names
        },
        num_ground_truth=_count(matches.truth_category, matches.truth_area, names),
        num_predicted=_count(matches.category[counts], matches.area[counts], names),
    )


def _count(
    category: np.ndarray, area: np.ndarray, class_names: list[str]
) -> dict[str, dict[str, int]]:
    by_size = {
        size: np.bincount(category[(low <= area) & (area <= high)], minlength=len(class_names))
        for size, (low, high) in SIZES.items()
    }
    return {
        name: {size: int(numbers[k]) for size, numbers in by_size.items()}
        for k, name in enumerate(class_names)
    }


def _of_sizes(row: Mapping[str, Any]) -> dict[str, float]:
    return with_nan({size: row[size] for size in SIZES})
