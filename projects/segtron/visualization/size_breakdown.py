"""AP of small, medium and large instances, and how many of them there are, as a picture."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes

from segtron.evaluation.coco_protocol import SIZES
from segtron.evaluation.score_files import read_scores
from segtron.evaluation.size_breakdown import SizeScores
from segtron.visualization.charts import COLORS, FAINT, GREY, new_chart, plain, write_chart

_LIMITS = {"small": "up to 32² pixels", "medium": "32² to 96²", "large": "from 96²"}


def plot_sizes(json_file: Path, png_file: Path) -> None:
    """Draw AP by size, and beside it the numbers of true and predicted instances.

    Args:
        json_file: `SizeScores` as `write_scores` has written them.
        png_file: what stood there is replaced.

    Raises:
        UserError: `json_file` can't be read or holds something else, or `png_file` can't be
            written.
    """
    scores = read_scores(json_file, SizeScores)
    figure = new_chart(9.6, 4.4)
    left, right = figure.subplots(1, 2)
    _draw_ap(left, scores)
    _draw_numbers(right, scores)
    for axes in (left, right):
        axes.set_xticks(range(len(SIZES)), [f"{size}\n{_LIMITS[size]}" for size in SIZES])
        axes.tick_params(axis="x", length=0)
    write_chart(figure, png_file)


def _draw_ap(axes: Axes, scores: SizeScores) -> None:
    values = [scores.overall[size] for size in SIZES]
    heights = [0.0 if math.isnan(value) else value for value in values]
    bars = axes.bar(range(len(SIZES)), heights, width=0.6, color=COLORS[0])
    labels = ["-" if math.isnan(value) else f"{value:.1f}" for value in values]
    axes.bar_label(bars, labels, padding=3)
    axes.set_ylim(0, min(max(1.2 * max(heights), 1.0), 105))
    axes.set_ylabel("%")
    plain(axes, f"{scores.protocol}: AP", grid="y")


def _draw_numbers(axes: Axes, scores: SizeScores) -> None:
    sides = (
        ("ground truth", scores.num_ground_truth, -0.21, GREY),
        ("predicted", scores.num_predicted, 0.21, FAINT),
    )
    for label, counts, shift, color in sides:
        numbers = list(scores.total(counts).values())
        places = [place + shift for place in range(len(SIZES))]
        bars = axes.bar(places, numbers, width=0.4, color=color, label=label)
        axes.bar_label(bars, [f"{number:,}" for number in numbers], padding=3, fontsize=9)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    plain(axes, "Instances", grid="y")
