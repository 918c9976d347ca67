"""Precision against recall as a picture: one curve a class, and all classes together."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from segtron.evaluation.coco_protocol import RECALLS
from segtron.evaluation.precision_recall import Curve, PrecisionRecallScores
from segtron.evaluation.score_files import read_scores
from segtron.visualization.charts import COLORS, FAINT, GREY, new_chart, plain, write_chart
from segtron.visualization.layout import cut_middle

# Up to so many classes each has a colour and a line of its own; of more only the worst have.
MOST_NAMED = 16
WORST_NAMED = 8
LONGEST_NAME = 22
_STYLES = ("-", (0, (4, 1.5)))


def plot_precision_recall(json_file: Path, png_file: Path) -> None:
    """Draw COCO's interpolated curves at IoU 0.5, and on each the point with the best F1.

    Args:
        json_file: `PrecisionRecallScores` as `write_scores` has written them.
        png_file: what stood there is replaced.

    Raises:
        UserError: `json_file` can't be read or holds something else, or `png_file` can't be
            written.
    """
    scores = read_scores(json_file, PrecisionRecallScores)
    figure = new_chart(9.6, 6.2)
    axes = figure.add_subplot()
    _draw_f1_contours(axes)
    named = _named_classes(scores)
    for name in scores.curves.keys() - set(named):
        _draw_curve(axes, scores.curves[name], color=FAINT, linewidth=0.8, zorder=2)
    for number, name in enumerate(named):
        color, style = COLORS[number % len(COLORS)], _STYLES[number // len(COLORS) % len(_STYLES)]
        look = {"color": color, "linewidth": 1.3, "linestyle": style, "zorder": 3}
        label = _label(name, scores.per_class[name])
        _draw_curve(axes, scores.curves[name], label=label, **look)
        _mark_best(axes, scores.per_class[name], color=color, size=6)
    if scores.pooled_curve is not None:
        label = _label("all, pooled", scores.overall)
        _draw_curve(axes, scores.pooled_curve, label=label, color="black", linewidth=2.8, zorder=4)
        _mark_best(axes, scores.overall, color="black", size=10)
    axes.set(xlim=(0, 101), ylim=(0, 102), xlabel="recall, %", ylabel="precision, %")
    plain(axes, scores.protocol)
    _add_legend(axes, num_unnamed=len(scores.curves) - len(named))
    write_chart(figure, png_file)


def _named_classes(scores: PrecisionRecallScores) -> list[str]:
    names = list(scores.curves)
    if len(names) <= MOST_NAMED:
        return names
    return sorted(names, key=lambda name: scores.per_class[name]["F1"])[:WORST_NAMED]


def _draw_curve(axes: Axes, curve: Curve, **look: object) -> None:
    # Nothing is drawn beyond the highest recall that is reached.
    reached = curve.precision > 0
    axes.plot(100 * RECALLS[reached], curve.precision[reached], **look)


def _mark_best(axes: Axes, best: dict[str, float], color: str, size: float) -> None:
    axes.plot(
        best["recall"],
        best["precision"],
        marker="o",
        markersize=size,
        color=color,
        markeredgecolor="white",
        zorder=5,
    )


def _label(name: str, best: dict[str, float]) -> str:
    name = cut_middle(name, LONGEST_NAME)
    if math.isnan(best["score"]):
        return f"{name}: nothing found"
    return f"{name}: F1 {best['F1']:.1f} at {best['score']:.3f}"


def _draw_f1_contours(axes: Axes) -> None:
    """Faint lines of equal F1, each with its number at the right."""
    for f1 in (20, 40, 60, 80):
        recall = np.linspace(f1 / 2 + 0.01, 100, 200)
        precision = f1 * recall / (2 * recall - f1)
        axes.plot(recall, precision, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        axes.annotate(
            f"F1 {f1}", (100, precision[-1]), color=GREY, fontsize=7.5, ha="right", va="bottom"
        )


def _add_legend(axes: Axes, num_unnamed: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        axes.text(50, 50, "no ground truth", color=GREY, ha="center")
        return
    # The sum comes first.
    handles, labels = handles[-1:] + handles[:-1], labels[-1:] + labels[:-1]
    legend = axes.figure.legend(
        handles,
        labels,
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        title="best F1, and the score it is at"
        + (f"\n({WORST_NAMED} worst classes; {num_unnamed} more in grey)" if num_unnamed else ""),
        title_fontsize=9,
        alignment="left",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
