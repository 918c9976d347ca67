"""What a report says of a run as a whole: scores, curves, and where points are lost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segtron.evaluation.coco_evaluator import (
    ERROR_TYPES_FILES,
    PRECISION_RECALL_FILES,
    SIZES_FILES,
)
from segtron.evaluation.coco_protocol import RECALLS, SIZES
from segtron.evaluation.error_types import ERROR_TYPES, TOTALS, ErrorScores
from segtron.evaluation.precision_recall import Curve, PrecisionRecallScores
from segtron.evaluation.score_files import read_scores
from segtron.evaluation.sem_seg import CONFUSION_FILE
from segtron.evaluation.size_breakdown import SizeScores
from segtron.run_files import RUN_FILE, read_metrics_lines
from segtron.visualization.confusion import read_confusion_matrix
from segtron.visualization.curves import CHARTS, read_metrics, running_mean

# Whose rules a score follows, by the end of its name in metrics.json.
PROTOCOLS = {
    "panoptic_seg/PQ": "the official scorer's rules",
    "bbox/AP": "COCO's protocol",
    "segm/AP": "COCO's protocol",
    "cityscapes_segm/AP": "Cityscapes' protocol",
    "sem_seg/mIoU": "Detectron2's rules",
    "cityscapes_sem_seg/IoU": "Cityscapes' protocol",
}
# Scores beside the main one, in their scorers' order, small before large; others follow.
_ORDER = ("AP50", "AP75", "APs", "APm", "APl")
_ORDER += ("SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st")
# More points of a curve can't be told apart.
MOST_POINTS = 400
_TITLES = {
    "loss.png": "Losses",
    "lr.png": "Learning rate",
    "ap.png": "Average precision",
    "miou.png": "Mean IoU",
    "pq.png": "Panoptic quality",
}


def evaluations(metrics_file: Path) -> Iterator[dict[str, float]]:
    """The lines of metrics.json with main scores (`PROTOCOLS`), the last first.

    Args:
        metrics_file: it may be missing; lines that are no JSON are skipped.
    """
    if not metrics_file.is_file():
        return
    for _, metrics in reversed(list(read_metrics_lines(metrics_file.read_bytes()))):
        if any(protocol_of(name) for name in metrics):
            yield metrics


def protocol_of(name: str) -> str | None:
    """Whose rules a metric follows, if it is one of the main scores, whatever the data set."""
    return PROTOCOLS.get("/".join(name.split("/")[-2:]))


def last_scores(metrics_file: Path) -> list[str]:
    """The overall scores of a run's last evaluation, each with whose rules it follows.

    Args:
        metrics_file: metrics.json of a run; it may be missing.

    Returns:
        A line for each score in `PROTOCOLS`, such as "segm/AP 36.2 by COCO's protocol".
    """
    return [
        f"{name} {value:.1f} by {protocol}"
        for name, value in next(evaluations(metrics_file), {}).items()
        if (protocol := protocol_of(name))
    ]


def describe_scores(metrics_file: Path) -> list[dict[str, Any]]:
    """The last evaluation, a table for each kind of scores.

    Returns:
        Of each `task`, such as "segm": `protocol`; `overall`, metric -> percent or None, the main
        one first; and `classes`, class -> metric -> percent or None.
    """
    metrics = next(evaluations(metrics_file), {})
    tasks: dict[str, dict[str, Any]] = {}
    for name, value in metrics.items():
        if not isinstance(value, int | float):
            continue
        task, _, metric = name.rpartition("/")
        if protocol_of(name):
            table = tasks.setdefault(task, _task(task))
            table["protocol"], table["overall"][metric] = protocol_of(name), None
    for name, value in metrics.items():
        for task, table in tasks.items():
            # Names of classes may have slashes, and tasks may begin alike.
            metric = name.removeprefix(f"{task}/")
            if metric == name or not isinstance(value, int | float):
                continue
            metric, is_class, category = metric.partition("-")
            number = round(value, 3) if math.isfinite(value) else None
            if is_class:
                table["classes"].setdefault(category, {})[metric] = number
            elif "/" not in metric:
                table["overall"][metric] = number
    for table in tasks.values():
        main, *others = table["overall"].items()
        table["overall"] = dict([main, *sorted(others, key=_place)])
    return list(tasks.values())


def _place(score: tuple[str, Any]) -> int:
    name, _ = score
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _task(task: str) -> dict[str, Any]:
    return {"task": task, "protocol": "", "overall": {}, "classes": {}}


def describe_run(output_dir: Path) -> dict[str, str]:
    """What there is to say about how a run came about, by short names.

    Args:
        output_dir: of the run; of `run.json` there what is missing is left out.
    """
    facts = {"folder": str(output_dir.resolve())}
    try:
        # A training that was resumed has an entry for each start.
        start = json.loads((output_dir / RUN_FILE).read_text(encoding="utf-8"))[0]
        git = start.get("git") or {}
        changed = ", with changes" if git.get("changed") else ""
        known = {
            "started": start.get("date"),
            "command": start.get("command"),
            "commit": f"{git['commit'][:12]}{changed}" if git.get("commit") else None,
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return facts
    return facts | {name: str(value) for name, value in known.items() if value}


def describe_curves(metrics_file: Path) -> list[dict[str, Any]]:
    """The curves of a training.

    Returns:
        Of each chart `title`, and `lines` with `name` and `points`, pairs of iteration and value;
        those of training losses are running means. Nothing where there is no file or a metric has
        one value only.
    """
    if not metrics_file.is_file():
        return []
    curves = {name: c for name, c in read_metrics(metrics_file).items() if len(c[0]) > 1}
    charts = []
    for chart in CHARTS:
        if chart.file_name not in _TITLES:
            continue
        lines = [
            {"name": name, "points": _points(x, running_mean(y) if _is_training_loss(name) else y)}
            for name, (x, y) in curves.items()
            if chart.takes(name)
        ]
        # The total first, then the largest.
        lines.sort(
            key=lambda line: (line["name"] != "total_loss", -max(y for _, y in line["points"]))
        )
        if lines:
            charts.append({"title": _TITLES[chart.file_name], "lines": lines})
    return charts


def _is_training_loss(name: str) -> bool:
    return "loss" in name and "validation/" not in name


def _points(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).astype(int))
    return [(float(a), float(f"{b:.5g}")) for a, b in zip(x[kept], y[kept], strict=True)]


def describe_analysis(folder: Path) -> dict[str, Any]:
    """What the evaluators of one data set have saved of where points are lost.

    Args:
        folder: what they were given to save to.

    Returns:
        What there is of `confusion` (`names`, and of each row's pixels the `shares` in percent, by
        place), and lists of `precision_recall`, `error_types` and `sizes`.

    Raises:
        UserError: a file can't be read or holds something else.
    """
    found: dict[str, Any] = {}
    if (folder / CONFUSION_FILE).is_file():
        found["confusion"] = _confusion(folder / CONFUSION_FILE)
    for key, pattern, kind, describe in (
        ("precision_recall", PRECISION_RECALL_FILES, PrecisionRecallScores, _precision_recall),
        ("error_types", ERROR_TYPES_FILES, ErrorScores, _error_types),
        ("sizes", SIZES_FILES, SizeScores, _sizes),
    ):
        files = sorted(folder.glob(f"{pattern}_*.json"))
        if files:
            found[key] = [describe(read_scores(file, kind)) for file in files]
    return found


def _confusion(csv_file: Path) -> dict[str, Any]:
    names, counts = read_confusion_matrix(csv_file)
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    shown = np.argwhere(shares >= 0.05)
    return {
        "names": names,
        "absent": np.flatnonzero(totals[:, 0] == 0).tolist(),
        "shares": [[*cell, round(float(shares[tuple(cell)]), 2)] for cell in shown.tolist()],
    }


def _precision_recall(scores: PrecisionRecallScores) -> dict[str, Any]:
    curves: dict[str, Curve] = dict(scores.curves)
    lines = [
        {
            "name": name,
            "points": _reached(curve),
            **_best(scores.per_class[name]),
        }
        for name, curve in curves.items()
    ]
    if scores.pooled_curve is not None:
        pooled = {"points": _reached(scores.pooled_curve), **_best(scores.overall)}
        lines.insert(0, {"name": "all, pooled", **pooled})
    return {"title": scores.protocol, "lines": lines}


def _reached(curve: Curve) -> list[tuple[float, float]]:
    reached = curve.precision > 0
    pairs = zip(100 * RECALLS[reached], curve.precision[reached], strict=True)
    return [(round(float(x)), round(float(y), 1)) for x, y in pairs]


def _best(row: Mapping[str, float]) -> dict[str, Any]:
    return {"best": {name: _number(row[name]) for name in ("F1", "precision", "recall", "score")}}


def _error_types(scores: ErrorScores) -> dict[str, Any]:
    return {
        "title": scores.protocol,
        "AP50": _number(scores.overall["AP50"]),
        "rows": [
            [name.replace("_", " "), _number(scores.overall[name]), scores.num_errors.get(name)]
            for name in (*ERROR_TYPES, *TOTALS)
        ],
    }


def _sizes(scores: SizeScores) -> dict[str, Any]:
    true, found = scores.total(scores.num_ground_truth), scores.total(scores.num_predicted)
    return {
        "title": scores.protocol,
        "rows": [[size, _number(scores.overall[size]), true[size], found[size]] for size in SIZES],
    }


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
