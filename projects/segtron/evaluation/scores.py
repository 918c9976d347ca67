"""The numbers that a protocol gives to instances, and the table in which people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tabulate import tabulate


@dataclass(frozen=True)
class InstanceScores:
    """What one protocol says of one set of predicted instances.

    Attributes:
        protocol: the protocol's name, which heads the table ("COCO protocol, segm").
        num_images: images scored.
        overall: metric name -> percent, nan where no ground truth defines it.
        per_class: class name -> the same metrics of that class.
        num_ground_truth: class name -> ground-truth instances that had to be found.
        num_predicted: class name -> predicted instances.
    """

    protocol: str
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]

    def as_results(self, per_class_metrics: tuple[str, ...] = ("AP",)) -> dict[str, float]:
        """The flat form that Detectron2's writers take: "AP", ..., then "AP-person", ..."""
        results = dict(self.overall)
        for metric in per_class_metrics:
            results |= {f"{metric}-{name}": row[metric] for name, row in self.per_class.items()}
        return results

    def __str__(self) -> str:
        found, wanted = sum(self.num_predicted.values()), sum(self.num_ground_truth.values())
        rows = [("all", self.overall, wanted, found)] + [
            (name, row, self.num_ground_truth[name], self.num_predicted[name])
            for name, row in self.per_class.items()
        ]
        table = tabulate(
            [
                [name, *("-" if math.isnan(v) else f"{v:.2f}" for v in row.values()), gt, predicted]
                for name, row, gt, predicted in rows
            ],
            headers=["class", *self.overall, "ground truth", "predicted"],
            tablefmt="pipe",
            disable_numparse=True,
            colalign=("left", *["right"] * (len(self.overall) + 2)),
        )
        return (
            f"{self.protocol}: {self.num_images} images, {wanted} ground-truth instances, "
            f"{found} predicted instances, scores in percent\n{table}"
        )
