"""The numbers that a protocol gives, and the table in which people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

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
        return _flat(self.overall, self.per_class, per_class_metrics)

    def __str__(self) -> str:
        found, wanted = sum(self.num_predicted.values()), sum(self.num_ground_truth.values())
        rows = [("all", self.overall, wanted, found)] + [
            (name, row, self.num_ground_truth[name], self.num_predicted[name])
            for name, row in self.per_class.items()
        ]
        table = _table(
            ["class", *self.overall, "ground truth", "predicted"],
            [
                [name, *map(_percent, row.values()), gt, predicted]
                for name, row, gt, predicted in rows
            ],
        )
        return (
            f"{self.protocol}: {self.num_images} images, {wanted} ground-truth instances, "
            f"{found} predicted instances, scores in percent\n{table}"
        )


@dataclass(frozen=True)
class SemSegScores:
    """What semantic segmentation is worth by Detectron2's rules.

    Attributes:
        num_images: images scored.
        overall: "mIoU", "fwIoU" (IoU weighted by the classes' shares of the ground truth), "mACC",
            "pACC" (the share of pixels that are right) in percent, nan where no pixel has a class.
        per_class: class name -> "IoU" and "ACC" (the share of its pixels that are found) in
            percent, nan for a class without ground truth.
        num_ground_truth: class name -> pixels of that class.
        num_predicted: class name -> pixels predicted as that class, among those that have one.
    """

    protocol: ClassVar[str] = "Semantic segmentation"
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]

    def as_results(self) -> dict[str, float]:
        """The flat form of Detectron2's writers: "mIoU", ..., "IoU-road", ..., "ACC-road", ..."""
        return _flat(self.overall, self.per_class, ("IoU", "ACC"))

    def __str__(self) -> str:
        num_pixels = sum(self.num_ground_truth.values())

        def share(pixels: int) -> str:
            return _percent(100 * pixels / num_pixels if num_pixels else math.nan)

        rows = [["mean", _percent(self.overall["mIoU"]), _percent(self.overall["mACC"]), "", ""]]
        rows += [
            [
                name,
                *map(_percent, row.values()),
                share(self.num_ground_truth[name]),
                share(self.num_predicted[name]),
            ]
            for name, row in self.per_class.items()
        ]
        table = _table(["class", "IoU", "ACC", "ground truth", "predicted"], rows)
        overall = ", ".join(f"{name} {_percent(value)}" for name, value in self.overall.items())
        return (
            f"{self.protocol}: {self.num_images} images, {num_pixels} pixels of the "
            f"{len(self.per_class)} classes, scores and shares of pixels in percent\n"
            f"{overall}\n{table}"
        )


@dataclass(frozen=True)
class CityscapesSemSegScores:
    """What semantic segmentation is worth by the Cityscapes protocol.

    Attributes:
        num_images: images scored.
        overall: "IoU" and "iIoU" averaged over classes, "IoU_sup" and "iIoU_sup" averaged over
            categories, in percent; nan where no class (category) has a score.
        per_class: class name -> "IoU", and "iIoU" where the class has instances; in percent, nan
            where undefined.
        per_category: category name -> the same.
    """

    protocol: ClassVar[str] = "Cityscapes protocol, semantics"
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    per_category: dict[str, dict[str, float]]

    def as_results(self) -> dict[str, float]:
        """The flat form of Detectron2's writers: "IoU", ..., "IoU-road", ..., "iIoU-person", ..."""
        return _flat(self.overall, self.per_class, ("IoU", "iIoU"))

    def __str__(self) -> str:
        tables = []
        for kind, suffix, all_rows in (
            ("class", "", self.per_class),
            ("category", "_sup", self.per_category),
        ):
            mean = {metric: self.overall[metric + suffix] for metric in ("IoU", "iIoU")}
            rows = [
                [name, *(_percent(row.get(metric, math.nan)) for metric in mean)]
                for name, row in {"mean": mean, **all_rows}.items()
            ]
            tables.append(_table([kind, *mean], rows))
        return "\n\n".join(
            [
                f"{self.protocol}: {self.num_images} images, scores in percent\n" + tables[0],
                *tables[1:],
            ]
        )


@dataclass(frozen=True)
class PanopticScores:
    """What a panoptic segmentation is worth.

    Attributes:
        num_images: images scored.
        overall: "PQ", "SQ", "RQ" averaged over classes, "PQ_th", ... over things, "PQ_st", ... over
            stuff; in percent, nan where no class counts. A class counts if it is present or
            predicted at all.
        per_class: class name -> "PQ", "SQ", "RQ" in percent, nan for a class that doesn't count.
        is_thing: class name -> whether it is a thing.
        num_ground_truth: class name -> segments of the ground truth that had to be found.
        num_predicted: class name -> predicted segments.
    """

    protocol: ClassVar[str] = "Panoptic quality"
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    is_thing: dict[str, bool]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]

    def as_results(self) -> dict[str, float]:
        """The flat form of Detectron2's writers: "PQ", ..., "RQ_st", "PQ-person", ..."""
        return _flat(self.overall, self.per_class, ("PQ",))

    def as_json(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None: "PQ", ..., "num_images" and
        "per_class", by name "PQ", "SQ", "RQ", "ground_truth" and "predicted" (segments)."""
        return {
            **_defined(self.overall),
            "num_images": self.num_images,
            "per_class": {
                name: {
                    **_defined(row),
                    "ground_truth": self.num_ground_truth[name],
                    "predicted": self.num_predicted[name],
                }
                for name, row in self.per_class.items()
            },
        }

    def table(self, columns: Mapping[str, Mapping[str, float]]) -> str:
        """All scores with what else is known of the same rows.

        Args:
            columns: heading -> row -> percent. Rows are "all", "things", "stuff" and the classes;
                those that a column lacks stay empty in it.
        """
        things = [name for name, is_thing in self.is_thing.items() if is_thing]
        stuff = [name for name, is_thing in self.is_thing.items() if not is_thing]
        groups = (
            ("all", "", [*self.per_class]),
            ("things", "_th", things),
            ("stuff", "_st", stuff),
        )
        metrics = ("PQ", "SQ", "RQ")
        rows = [
            (name, {metric: self.overall[metric + suffix] for metric in metrics}, members)
            for name, suffix, members in groups
        ]
        rows += [(name, scores, [name]) for name, scores in self.per_class.items()]
        table = _table(
            ["class", *metrics, *columns, "ground truth", "predicted"],
            [
                [
                    name,
                    *(_percent(scores[metric]) for metric in metrics),
                    *(_percent(column.get(name, math.nan)) for column in columns.values()),
                    sum(self.num_ground_truth[member] for member in members),
                    sum(self.num_predicted[member] for member in members),
                ]
                for name, scores, members in rows
            ],
        )
        return (
            f"{self.protocol}: {self.num_images} images, "
            f"{sum(self.num_ground_truth.values())} ground-truth segments, "
            f"{sum(self.num_predicted.values())} predicted segments, scores in percent\n{table}"
        )

    def __str__(self) -> str:
        return self.table({})


def _flat(
    overall: dict[str, float], per_class: dict[str, dict[str, float]], metrics: tuple[str, ...]
) -> dict[str, float]:
    results = dict(overall)
    for metric in metrics:
        results |= {
            f"{metric}-{name}": row[metric] for name, row in per_class.items() if metric in row
        }
    return results


def _defined(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _table(headers: list[str], rows: list[list[Any]]) -> str:
    return tabulate(
        rows,
        headers=headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=("left", *["right"] * (len(headers) - 1)),
    )
