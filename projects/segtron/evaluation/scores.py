"""The numbers that a protocol gives, and the table in which people read them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from segtron.evaluation.tables import format_table, percent


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
        num_missing: images that are not scored, for nothing was saved for them.
        boundary: Boundary AP of the same instances, where it is asked for.
    """

    protocol: str
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]
    num_missing: int = 0
    boundary: InstanceScores | None = None

    def as_results(self, per_class_metrics: tuple[str, ...] = ("AP",)) -> dict[str, float]:
        """The flat form that Detectron2's writers take: "AP", ..., then "AP-person", ..."""
        return flatten_scores(self.overall, self.per_class, per_class_metrics)

    def as_json(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None: "AP", ..., "num_images",
        "num_missing" and "per_class", by name "AP", ..., "ground_truth", "predicted" (instances);
        and all of that again in "boundary", if it is there."""
        counts = {"ground_truth": self.num_ground_truth, "predicted": self.num_predicted}
        return _json(self, counts) | _boundary_json(self)

    def __str__(self) -> str:
        found, wanted = sum(self.num_predicted.values()), sum(self.num_ground_truth.values())
        rows = [("all", self.overall, wanted, found)] + [
            (name, row, self.num_ground_truth[name], self.num_predicted[name])
            for name, row in self.per_class.items()
        ]
        table = format_table(
            ["class", *self.overall, "ground truth", "predicted"],
            [
                [name, *map(percent, row.values()), gt, predicted]
                for name, row, gt, predicted in rows
            ],
        )
        return (
            f"{self.protocol}: {_images(self)}, {wanted} ground-truth instances, "
            f"{found} predicted instances, scores in percent\n{table}{_boundary_table(self)}"
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
        return flatten_scores(self.overall, self.per_class, ("IoU", "ACC"))

    def __str__(self) -> str:
        num_pixels = sum(self.num_ground_truth.values())
        rows = [["mean", percent(self.overall["mIoU"]), percent(self.overall["mACC"]), "", ""]]
        rows += [
            [
                name,
                *map(percent, row.values()),
                _share(self.num_ground_truth[name], num_pixels),
                _share(self.num_predicted[name], num_pixels),
            ]
            for name, row in self.per_class.items()
        ]
        table = format_table(["class", "IoU", "ACC", "ground truth", "predicted"], rows)
        overall = ", ".join(f"{name} {percent(value)}" for name, value in self.overall.items())
        return (
            f"{self.protocol}: {self.num_images} images, {num_pixels} pixels of the "
            f"{len(self.per_class)} classes, scores and shares of pixels in percent\n"
            f"{overall}\n{table}"
        )


@dataclass(frozen=True)
class SemSegBoundaryScores:
    """How well the contours of a semantic segmentation are met.

    Attributes:
        dilation_ratio: how far boundaries reach, as a share of the image's diagonal.
        num_images: images scored.
        overall: "mBIoU" in percent, nan where no pixel has a class.
        per_class: class name -> "BIoU" in percent, nan for a class without ground truth.
        num_ground_truth: class name -> pixels of its boundaries in the ground truth.
        num_predicted: class name -> pixels of its predicted boundaries.
        num_missing: images that are not scored, for nothing was saved for them.
    """

    dilation_ratio: float
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]
    num_missing: int = 0

    def as_results(self) -> dict[str, float]:
        """The flat form of Detectron2's writers: "mBIoU", "BIoU-road", ..."""
        return flatten_scores(self.overall, self.per_class, ("BIoU",))

    def as_json(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None: "mBIoU", "num_images",
        "num_missing" and "per_class", by name "BIoU", "ground_truth" and "predicted" (pixels of
        boundaries)."""
        return _json(self, {"ground_truth": self.num_ground_truth, "predicted": self.num_predicted})

    def __str__(self) -> str:
        wanted, found = sum(self.num_ground_truth.values()), sum(self.num_predicted.values())
        rows = [["mean", percent(self.overall["mBIoU"]), wanted, found]]
        rows += [
            [name, percent(row["BIoU"]), self.num_ground_truth[name], self.num_predicted[name]]
            for name, row in self.per_class.items()
        ]
        table = format_table(["class", "Boundary IoU", "ground truth", "predicted"], rows)
        return (
            f"Semantic segmentation, boundary within {100 * self.dilation_ratio:g}% of the "
            f"diagonal: {_images(self)}, scores in percent, pixels of boundaries\n{table}"
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
        num_ground_truth: class name -> pixels of that class.
        num_predicted: class name -> pixels predicted as that class, among those that are scored.
        num_instances: class name -> instances in the ground truth, which iIoU counts; for the
            classes that have instances.
        num_missing: images that are not scored, for nothing was saved for them.
        boundary: Boundary IoU of the same label maps, where it is asked for.
    """

    protocol: ClassVar[str] = "Cityscapes protocol, semantics"
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    per_category: dict[str, dict[str, float]]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]
    num_instances: dict[str, int]
    num_missing: int = 0
    boundary: SemSegBoundaryScores | None = None

    def as_results(self) -> dict[str, float]:
        """The flat form of Detectron2's writers: "IoU", ..., "IoU-road", ..., "iIoU-person", ..."""
        return flatten_scores(self.overall, self.per_class, ("IoU", "iIoU"))

    def as_json(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None: "IoU", ..., "num_images",
        "num_missing", "per_class", by name "IoU", "iIoU", "ground_truth", "predicted" (pixels) and
        "instances" (of the ground truth), and "per_category", by name "IoU" and "iIoU"; and
        "boundary" (see `SemSegBoundaryScores`), if it is there."""
        per_class, per_category = (
            {name: {"iIoU": math.nan} | row for name, row in rows.items()}
            for rows in (self.per_class, self.per_category)
        )
        counts = {
            "ground_truth": self.num_ground_truth,
            "predicted": self.num_predicted,
            "instances": {name: self.num_instances.get(name) for name in per_class},
        }
        return {
            **_json(dataclasses.replace(self, per_class=per_class), counts),
            "per_category": {name: _defined(row) for name, row in per_category.items()},
            **_boundary_json(self),
        }

    def __str__(self) -> str:
        num_pixels = sum(self.num_ground_truth.values())

        def row(name: str, scores: dict[str, float]) -> list[Any]:
            return [name, *(percent(scores.get(metric, math.nan)) for metric in ("IoU", "iIoU"))]

        means = [
            {metric: self.overall[metric + suffix] for metric in ("IoU", "iIoU")}
            for suffix in ("", "_sup")
        ]
        classes = [[*row("mean", means[0]), "", "", sum(self.num_instances.values())]]
        classes += [
            [
                *row(name, scores),
                _share(self.num_ground_truth[name], num_pixels),
                _share(self.num_predicted[name], num_pixels),
                self.num_instances.get(name, "-"),
            ]
            for name, scores in self.per_class.items()
        ]
        categories = [row("mean", means[1])]
        categories += [row(name, scores) for name, scores in self.per_category.items()]
        return (
            f"{self.protocol}: {_images(self)}, {num_pixels} pixels of the {len(self.per_class)} "
            "classes, scores and shares of pixels in percent\n"
            + format_table(
                ["class", "IoU", "iIoU", "ground truth", "predicted", "instances"], classes
            )
            + "\n\n"
            + format_table(["category", "IoU", "iIoU"], categories)
            + _boundary_table(self)
        )


class PanopticColumn(NamedTuple):
    """Scores that can stand beside panoptic ones, in percent, nan where undefined."""

    all: float
    things: float
    stuff: float
    per_class: Mapping[str, float]  # class name -> score


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
        num_missing: images that are not scored, for nothing was saved for them.
    """

    protocol: ClassVar[str] = "Panoptic quality"
    num_images: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]
    is_thing: dict[str, bool]
    num_ground_truth: dict[str, int]
    num_predicted: dict[str, int]
    num_missing: int = 0

    def as_results(self) -> dict[str, float]:
        """The flat form of Detectron2's writers: "PQ", ..., "RQ_st", "PQ-person", ..."""
        return flatten_scores(self.overall, self.per_class, ("PQ",))

    def as_json(self) -> dict[str, Any]:
        """All numbers in a form that JSON has, undefined ones as None: "PQ", ..., "num_images",
        "num_missing" and "per_class", by name "PQ", "SQ", "RQ", "ground_truth" and "predicted"
        (segments)."""
        return _json(self, {"ground_truth": self.num_ground_truth, "predicted": self.num_predicted})

    def table(self, columns: Mapping[str, PanopticColumn]) -> str:
        """All scores with what else is known of the same classes.

        Args:
            columns: by heading.
        """
        things = [name for name, is_thing in self.is_thing.items() if is_thing]
        stuff = [name for name, is_thing in self.is_thing.items() if not is_thing]
        groups = (
            ("all", "", [*self.per_class]),
            ("things", "_th", things),
            ("stuff", "_st", stuff),
        )
        metrics = ("PQ", "SQ", "RQ")
        # Classes may be called as the groups are, so their scores are looked up apart.
        rows = [
            (
                name,
                [self.overall[metric + suffix] for metric in metrics]
                + [getattr(column, name) for column in columns.values()],
                members,
            )
            for name, suffix, members in groups
        ]
        rows += [
            (
                name,
                [scores[metric] for metric in metrics]
                + [column.per_class[name] for column in columns.values()],
                [name],
            )
            for name, scores in self.per_class.items()
        ]
        table = format_table(
            ["class", *metrics, *columns, "ground truth", "predicted"],
            [
                [
                    name,
                    *map(percent, values),
                    sum(self.num_ground_truth[member] for member in members),
                    sum(self.num_predicted[member] for member in members),
                ]
                for name, values, members in rows
            ],
        )
        return (
            f"{self.protocol}: {_images(self)}, "
            f"{sum(self.num_ground_truth.values())} ground-truth segments, "
            f"{sum(self.num_predicted.values())} predicted segments, scores in percent\n{table}"
        )

    def __str__(self) -> str:
        return self.table({})


def flatten_scores(
    overall: dict[str, float], per_class: dict[str, dict[str, float]], metrics: tuple[str, ...]
) -> dict[str, float]:
    """The flat form of Detectron2's writers: the overall scores, then "<metric>-<class>"."""
    results = dict(overall)
    for metric in metrics:
        results |= {
            f"{metric}-{name}": row[metric] for name, row in per_class.items() if metric in row
        }
    return results


def _json(
    scores: InstanceScores | CityscapesSemSegScores | SemSegBoundaryScores | PanopticScores,
    counts: Mapping[str, Mapping[str, int | None]],
) -> dict[str, Any]:
    """What all scores have in JSON; `counts` are heading -> class name -> number."""
    return {
        **_defined(scores.overall),
        "num_images": scores.num_images,
        "num_missing": scores.num_missing,
        "per_class": {
            name: {**_defined(row), **{heading: count[name] for heading, count in counts.items()}}
            for name, row in scores.per_class.items()
        },
    }


def _boundary_json(scores: InstanceScores | CityscapesSemSegScores) -> dict[str, Any]:
    """What is added to the JSON of masks or regions where their boundaries are scored, too."""
    return {} if scores.boundary is None else {"boundary": scores.boundary.as_json()}


def _boundary_table(scores: InstanceScores | CityscapesSemSegScores) -> str:
    """What is added to their table."""
    return "" if scores.boundary is None else f"\n\n{scores.boundary}"


def _images(
    scores: InstanceScores | CityscapesSemSegScores | SemSegBoundaryScores | PanopticScores,
) -> str:
    """How many images are behind a table, and how many are not."""
    if not scores.num_missing:
        return f"{scores.num_images} images"
    return (
        f"PARTIAL: {scores.num_images} of {scores.num_images + scores.num_missing} images, "
        f"{scores.num_missing} have no prediction"
    )


def _defined(metrics: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def _share(pixels: int, num_pixels: int) -> str:
    return percent(100 * pixels / num_pixels if num_pixels else math.nan)
