"""Training curves as PNG, from the `metrics.json` that a training writes."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from segtron.errors import UserError
from segtron.run_files import read_metrics_lines
from segtron.visualization.charts import COLORS, GREY, new_chart, plain, write_chart

# Iterations and values, one each: what became of one metric.
Curve = tuple[np.ndarray, np.ndarray]

_WIDTH, _HEIGHT = 10.0, 5.6  # inches
_PANELS_IN_A_ROW = 4
# What Detectron2's heads say of themselves while they are trained; no scores.
_OF_HEADS = re.compile(r"(?:stage\d+/)?(?:rpn|roi_head|fast_rcnn|mask_rcnn|kpts_num_skipped\w*)/")
_VALIDATION = re.compile(r"(?:(.+)/)?validation/(.+)")
# Dashes and marker of each set's validation losses.
_VALIDATION_STYLES = (
    {"linestyle": (0, (5, 2)), "marker": "o"},
    {"linestyle": (0, (1, 1.5)), "marker": "s"},
    {"linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "^"},
)


def read_metrics(metrics_json: Path) -> dict[str, Curve]:
    """Read `metrics.json` as one curve for each metric.

    Lines that are no JSON, such as the last one of a run that was killed, are skipped. Where the
    iterations step back a run was resumed or started anew: what it then repeats replaces what
    stood there.

    Args:
        metrics_json: one JSON object a line, each with "iteration".

    Returns:
        Metric name -> iterations (ascending) and values; values that are no finite number are left
        out, and so are metrics with no other.

    Raises:
        UserError: the file can't be read.
    """
    try:
        content = metrics_json.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {metrics_json}: {error.strerror}") from error
    records: list[Mapping[str, object]] = []
    for _, record in read_metrics_lines(content):
        if "iteration" not in record:
            continue
        while records and records[-1]["iteration"] >= record["iteration"]:
            records.pop()
        records.append(record)
    curves: dict[str, Curve] = {}
    for name in dict.fromkeys(key for record in records for key in record if key != "iteration"):
        points = [(r["iteration"], r[name]) for r in records if _is_finite(r.get(name))]
        if points:
            iterations, values = zip(*points, strict=True)
            curves[name] = np.array(iterations), np.array(values, dtype=np.float64)
    return curves


def plot_curves(metrics_json: Path, output_dir: Path) -> list[Path]:
    """Draw the curves of a run.

    Args:
        metrics_json: see `read_metrics`.
        output_dir: gets `loss.png`, of training and validation; `lr.png`; a picture of each family
            of main scores that the run has, `ap.png`, `miou.png`, `pq.png`; and `scores.png`, with
            a panel for each score but those of single classes. What stood there under these names
            is replaced.

    Returns:
        The pictures written; none for metrics that there are no values of.

    Raises:
        UserError: `metrics_json` can't be read or `output_dir` not be written to.

    Example:
        >>> plot_curves(Path("output/metrics.json"), Path("output"))
        [PosixPath('output/loss.png'), PosixPath('output/lr.png'), PosixPath('output/ap.png'), ...]
    """
    curves = read_metrics(metrics_json)
    written = []
    for chart in CHARTS:
        chosen = {name: curve for name, curve in curves.items() if chart.takes(name)}
        if not chosen:
            continue
        figure = new_chart(_WIDTH, _HEIGHT)
        chart.draw(figure, chosen)
        write_chart(figure, output_dir / chart.file_name)
        written.append(output_dir / chart.file_name)
    return written


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        file_name: name of the PNG.
        takes: whether a metric belongs on it.
        draw: draws the metrics that do on an empty figure.
    """

    file_name: str
    takes: Callable[[str], bool]
    draw: Callable[[Figure, dict[str, Curve]], None]


def _is_loss(name: str) -> bool:
    return "loss" in name.rsplit("/", 1)[-1] or _VALIDATION.fullmatch(name) is not None


def _is_score(name: str) -> bool:
    """Whether an evaluation gives it, for all classes together."""
    metric = name.rpartition("/")[2]
    return "/" in name and "-" not in metric and not _is_loss(name) and not _OF_HEADS.match(name)


def _scores(*names: str) -> Callable[[str], bool]:
    return lambda name: "/" in name and name.rsplit("/", 1)[-1] in names


def _draw_losses(figure: Figure, curves: dict[str, Curve]) -> None:
    """One colour a term, the total's black; training solid, validation dashed, its points marked.

    Those of the training are smoothed, over their raw values.
    """
    axes = figure.add_subplot()
    training = {name: curve for name, curve in curves.items() if not _VALIDATION.fullmatch(name)}
    # By set, "" where there is one only.
    validation: dict[str, dict[str, Curve]] = {}
    for name in curves.keys() - training.keys():
        group, term = _VALIDATION.fullmatch(name).groups()
        validation.setdefault(group or "", {})[term] = curves[name]
    groups = dict(sorted(validation.items()))
    styles = dict(zip(groups, itertools.cycle(_VALIDATION_STYLES), strict=False))
    # Which line is whose, where there is more than one kind.
    handles = (
        [Line2D([], [], color=GREY, linewidth=1.5, label="training")] if training and groups else []
    )
    for group, style in styles.items():
        label = f"validation {group}".strip()
        handles.append(Line2D([], [], color=GREY, markersize=4, label=label, **style))
    colors = itertools.cycle(COLORS)
    for term in _terms(training, groups):
        is_total = term == "total_loss"
        color = "black" if is_total else next(colors)
        last = [] if term not in training else [_draw_training(axes, training[term], term, color)]
        for group, of_group in groups.items():
            if term in of_group:
                _draw_validation(axes, of_group[term], term, color, styles[group])
                last.append(of_group[term][1][-1])
        label = f"{term}  {' · '.join(f'{value:.3g}' for value in last)}"
        width = 2.2 if is_total else 1.5
        handles.append(Line2D([], [], color=color, linewidth=width, label=label))
    values = np.concatenate([curve[1] for curve in curves.values()])
    if values.min() > 0 and np.percentile(values, 98) > 20 * np.percentile(values, 2):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, float(values.min())))
    axes.set_ylabel("loss")
    _style(axes, "Losses")
    _add_legend(figure, handles)


def _terms(training: dict[str, Curve], groups: dict[str, dict[str, Curve]]) -> list[str]:
    """The total first, then the largest in the training."""
    by_term = training | {
        term: curve
        for of_group in groups.values()
        for term, curve in of_group.items()
        if term not in training
    }
    return sorted(by_term, key=lambda term: (term != "total_loss", -by_term[term][1].mean()))


def _draw_training(axes: Axes, curve: Curve, term: str, color: str) -> float:
    """Returns the last smoothed value."""
    iterations, values = curve
    smooth = running_mean(values)
    axes.plot(iterations, values, color=color, alpha=0.22, linewidth=1)
    axes.plot(
        iterations,
        smooth,
        color=color,
        linewidth=2.2 if term == "total_loss" else 1.5,
        marker="o" if len(values) == 1 else None,
    )
    return smooth[-1]


def _draw_validation(
    axes: Axes, curve: Curve, term: str, color: str, style: dict[str, object]
) -> None:
    iterations, values = curve
    is_total = term == "total_loss"
    axes.plot(
        iterations,
        values,
        color=color,
        linewidth=1.8 if is_total else 1.2,
        markersize=4,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=3,
        **style,
    )
    if is_total:
        _mark(axes, curve, int(values.argmin()), color)


def _draw_learning_rate(figure: Figure, curves: dict[str, Curve]) -> None:
    axes = figure.add_subplot()
    for iterations, values in curves.values():
        marker = "o" if len(values) == 1 else None
        axes.plot(iterations, values, color=COLORS[0], linewidth=2, marker=marker)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_ylabel("learning rate")
    _style(axes, "Learning rate")


def _draw_scores(title: str) -> Callable[[Figure, dict[str, Curve]], None]:
    """Scores in percent, the best marked; one colour a task, one line style a metric."""

    def draw(figure: Figure, curves: dict[str, Curve]) -> None:
        axes = figure.add_subplot()
        tasks = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in curves))
        metrics = list(dict.fromkeys(name.rsplit("/", 1)[1] for name in curves))
        metrics.sort(key=len)
        dashes = itertools.cycle(("-", (0, (5, 2)), (0, (1, 1.5))))
        styles = dict(zip(metrics, dashes, strict=False))
        colors = dict(zip(tasks, itertools.cycle(COLORS), strict=False))
        for name, (iterations, values) in curves.items():
            task, metric = name.rsplit("/", 1)
            best = int(values.argmax())
            axes.plot(
                iterations,
                values,
                color=colors[task],
                linestyle=styles[metric],
                linewidth=2,
                marker="o",
                markersize=3,
                label=f"{task} {metric}: best {values[best]:.1f}"
                + (f" at {int(iterations[best]):,}" if len(values) > 1 else ""),
            )
            _mark(axes, (iterations, values), best, colors[task])
        highest = max(float(values.max()) for _, values in curves.values())
        axes.set_ylim(0, min(max(highest * 1.15, 1.0), 105))
        axes.set_ylabel("%")
        _style(axes, title)
        _add_legend(figure, axes.get_legend_handles_labels()[0])

    return draw


def _draw_each_score(figure: Figure, curves: dict[str, Curve]) -> None:
    """A panel for each metric, in it a line for each task that has it."""
    metrics = sorted({name.rsplit("/", 1)[1] for name in curves})
    tasks = sorted({name.rsplit("/", 1)[0] for name in curves})
    colors = dict(zip(tasks, itertools.cycle(COLORS), strict=False))
    columns = min(len(metrics), _PANELS_IN_A_ROW)
    rows = -(-len(metrics) // columns)
    figure.set_size_inches(2.7 * columns + 2, 2.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, metric in itertools.zip_longest(panels, metrics):
        if metric is None:
            axes.set_axis_off()
            continue
        for task in tasks:
            if f"{task}/{metric}" in curves:
                iterations, values = curves[f"{task}/{metric}"]
                look = {"color": colors[task], "linewidth": 1.5, "marker": "o", "markersize": 2.5}
                axes.plot(iterations, values, **look)
        lowest, highest = axes.dataLim.intervaly
        axes.set_ylim(min(0.0, lowest), highest * 1.1 if highest > 0 else 1.0)
        _style(axes, metric)
        axes.set_title(metric, loc="left", fontweight="bold", fontsize=10, parse_math=False)
        axes.set_xlabel("")
        axes.tick_params(labelsize=7)
        axes.xaxis.get_major_locator().set_params(nbins=4)
    _add_legend(figure, [Line2D([], [], color=color, label=task) for task, color in colors.items()])


CHARTS = (
    Chart("loss.png", _is_loss, _draw_losses),
    Chart("lr.png", lambda name: name == "lr", _draw_learning_rate),
    Chart("ap.png", _scores("AP", "AP50"), _draw_scores("Average precision")),
    Chart("miou.png", _scores("mIoU", "IoU", "iIoU"), _draw_scores("Mean intersection over union")),
    Chart("pq.png", _scores("PQ", "SQ", "RQ"), _draw_scores("Panoptic quality")),
    Chart("scores.png", _is_score, _draw_each_score),
)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Centred mean over about a twentieth of the curve; the window shrinks towards both ends.

    Args:
        values: (N,).

    Returns:
        (N,), the same values where there are fewer than 20.
    """
    half = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(np.minimum(index, len(values) - 1 - index), half)
    return (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)


def _mark(axes: Axes, curve: Curve, index: int, color: str) -> None:
    """A star at a curve's best value."""
    iterations, values = curve
    look = {"marker": "*", "markersize": 14, "color": color, "markeredgecolor": "white"}
    axes.plot(iterations[index], values[index], zorder=4, **look)


def _style(axes: Axes, title: str) -> None:
    plain(axes, title)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _add_legend(figure: Figure, handles: Iterable[Line2D]) -> None:
    legend = figure.legend(
        handles=[*handles], loc="outside right center", frameon=False, handlelength=2.6
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
