"""What each type of error costs, as a bar chart."""

from __future__ import annotations

import math
from pathlib import Path

from segtron.evaluation.error_types import ERROR_TYPES, TOTALS, ErrorScores
from segtron.evaluation.score_files import read_scores
from segtron.visualization.charts import COLORS, GREY, new_chart, plain, write_chart

_MEANINGS = {
    "classification": "right place, wrong class",
    "localization": "right class, IoU 0.1 to 0.5",
    "both": "wrong class, IoU 0.1 to 0.5",
    "duplicate": "found by a better one already",
    "background": "nothing is there",
    "missed": "no detection came near",
    "false_positives": "all that is wrongly predicted",
    "false_negatives": "all that is not found",
}


def plot_error_types(json_file: Path, png_file: Path) -> None:
    """Draw how much AP50 would be gained without each type of error.

    Args:
        json_file: `ErrorScores` as `write_scores` has written them.
        png_file: what stood there is replaced.

    Raises:
        UserError: `json_file` can't be read or holds something else, or `png_file` can't be
            written.
    """
    scores = read_scores(json_file, ErrorScores)
    figure = new_chart(9, 5)
    axes = figure.add_subplot()
    names = [*ERROR_TYPES, *TOTALS]
    # The totals stand apart.
    places = [*range(len(ERROR_TYPES)), *(len(ERROR_TYPES) + 0.6 + n for n in range(len(TOTALS)))]
    gains = [scores.overall[name] for name in names]
    lengths = [0.0 if math.isnan(gain) else gain for gain in gains]
    colors = [*COLORS[: len(ERROR_TYPES)], *[GREY] * len(TOTALS)]
    bars = axes.barh(places, lengths, height=0.66, color=colors)
    axes.bar_label(bars, [_label(scores, name) for name in names], padding=5, fontsize=9.5)
    axes.set_yticks(places, [f"{name.replace('_', ' ')}\n{_MEANINGS[name]}" for name in names])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.invert_yaxis()
    # Room for the labels, which stand right of the bars.
    axes.set_xlim(min(0.0, *lengths), max(1.0, 1.3 * max(lengths)))
    axes.set_xlabel("points of AP50 gained without these errors")
    ap50 = scores.overall["AP50"]
    plain(
        axes,
        f"{scores.protocol}: AP50 is " + ("undefined" if math.isnan(ap50) else f"{ap50:.1f}"),
        grid="x",
    )
    write_chart(figure, png_file)


def _label(scores: ErrorScores, name: str) -> str:
    gain = scores.overall[name]
    text = "-" if math.isnan(gain) else f"{gain:+.1f}"
    if name in scores.num_errors:
        number = scores.num_errors[name]
        text += f"   ({number:,} {'error' if number == 1 else 'errors'})"
    return text
