"""Training curves as PNG, from the `metrics.json` that Detectron2's `JSONWriter` writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segtron.errors import UserError
from segtron.files import replacing

# Iterations and values, one each: what became of one metric.
Curve = tuple[np.ndarray, np.ndarray]

# Okabe and Ito's colours, which the colour-blind can tell apart; black is the sum's.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7A5195")
_GREY = "#7f858c"


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
        lines = metrics_json.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {metrics_json}: {error.strerror}") from error
    records: list[Mapping[str, object]] = []
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(record, dict) or not _is_finite(record.get("iteration")):
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
        output_dir: gets `loss.png` and one picture for each family of scores that the run has:
            `ap.png`, `miou.png`, `pq.png`. What stood there under these names is replaced.

    Returns:
        The pictures written; none for metrics that there are no values of.

    Raises:
        UserError: `metrics_json` can't be read or `output_dir` not be written to.

    Example:
        >>> plot_curves(Path("output/metrics.json"), Path("output"))
        [PosixPath('output/loss.png'), PosixPath('output/ap.png')]
    """
    curves = read_metrics(metrics_json)
    written = []
    for chart in CHARTS:
        chosen = {name: curve for name, curve in curves.items() if chart.takes(name)}
        if not chosen:
            continue
        figure = Figure(figsize=(10, 5.6), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        chart.draw(axes, chosen, curves.get("lr"))
        axes.set_title(chart.title, loc="left", fontweight="bold", fontsize=13)
        _style(axes)
        with replacing(output_dir / chart.file_name) as temporary:
            FigureCanvasAgg(figure).print_png(temporary)
        written.append(output_dir / chart.file_name)
    return written


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        file_name: name of the PNG.
        title: stands above it.
        takes: whether a metric belongs on it.
        draw: draws the metrics that do, given the learning rate, too.
    """

    file_name: str
    title: str
    takes: Callable[[str], bool]
    draw: Callable[[Axes, dict[str, Curve], Curve | None], None]


def _is_loss(name: str) -> bool:
    return "loss" in name.rsplit("/", 1)[-1]


def _scores(*names: str) -> Callable[[str], bool]:
    return lambda name: "/" in name and name.rsplit("/", 1)[-1] in names


def _draw_losses(axes: Axes, curves: dict[str, Curve], learning_rate: Curve | None) -> None:
    """All losses, smoothed, over their raw values; the total first. Learning rate on the right."""
    names = sorted(curves, key=lambda name: (name != "total_loss", -curves[name][1].mean()))
    colors = iter(_repeat(_COLORS))
    for name in names:
        iterations, values = curves[name]
        total = name == "total_loss"
        color = "black" if total else next(colors)
        smooth = running_mean(values)
        axes.plot(iterations, values, color=color, alpha=0.22, linewidth=1)
        axes.plot(
            iterations,
            smooth,
            color=color,
            linewidth=2.2 if total else 1.5,
            marker="o" if len(values) == 1 else None,
            label=f"{name}  {smooth[-1]:.3g}",
        )
    values = np.concatenate([curve[1] for curve in curves.values()])
    if values.min() > 0 and np.percentile(values, 98) > 20 * np.percentile(values, 2):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, float(values.min())))
    axes.set_ylabel("loss")
    if learning_rate is not None:
        right = axes.twinx()
        right.plot(*learning_rate, color=_GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        right.set_ylabel("learning rate (dashed)", color=_GREY)
        right.set_ylim(bottom=0)
        right.tick_params(colors=_GREY)
        right.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        right.spines[["top", "left"]].set_visible(False)
        right.spines["right"].set_color("#d0d4d8")


def _draw_scores(axes: Axes, curves: dict[str, Curve], _: Curve | None) -> None:
    """Scores in percent, the best marked; one colour a task, one line style a metric."""
    tasks = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in curves))
    metrics = list(dict.fromkeys(name.rsplit("/", 1)[1] for name in curves))
    metrics.sort(key=len)
    styles = dict(zip(metrics, _repeat(("-", (0, (5, 2)), (0, (1, 1.5)))), strict=False))
    colors = dict(zip(tasks, _repeat(_COLORS), strict=False))
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
        axes.plot(
            iterations[best],
            values[best],
            marker="*",
            markersize=14,
            color=colors[task],
            markeredgecolor="white",
        )
    highest = max(float(values.max()) for _, values in curves.values())
    axes.set_ylim(0, min(max(highest * 1.15, 1.0), 105))
    axes.set_ylabel("%")


CHARTS = (
    Chart("loss.png", "Losses", _is_loss, _draw_losses),
    Chart("ap.png", "Average precision", _scores("AP", "AP50"), _draw_scores),
    Chart("miou.png", "Mean intersection over union", _scores("mIoU", "IoU", "iIoU"), _draw_scores),
    Chart("pq.png", "Panoptic quality", _scores("PQ", "SQ", "RQ"), _draw_scores),
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


def _style(axes: Axes) -> None:
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    for text in [*axes.figure.legends[0].get_texts(), axes.title]:
        text.set_parse_math(False)


def _repeat(items: Iterable) -> Iterable:
    items = tuple(items)
    while True:
        yield from items


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
