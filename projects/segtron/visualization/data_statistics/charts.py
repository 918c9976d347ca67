"""Charts of what is in a data set."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from segtron.evaluation.coco_protocol import SIZES
from segtron.visualization.charts import COLORS, GREY, new_chart, plain
from segtron.visualization.data_statistics.numbers import AREA_EDGES, ASPECT_EDGES, SetStatistics
from segtron.visualization.layout import cut_middle

# Charts of classes show the most frequent ones.
MOST_BARS, MOST_CELLS, MOST_NUMBERED = 40, 40, 16
LONGEST_NAME = 22
_WIDTH, _HEIGHT = 7.2, 4.2


def draw_charts(statistics: SetStatistics) -> dict[str, bytes]:
    """All charts that there are for a set.

    Returns:
        What a chart shows -> a PNG.
    """
    charts = {"classes": _classes(statistics)}
    if statistics.kind != "labels":
        charts["sizes of objects"] = _areas(statistics)
        charts["aspect ratios of objects"] = _aspects(statistics)
    charts["objects an image"] = _per_image(statistics)
    charts["sizes of images"] = _image_sizes(statistics)
    if len(statistics.class_names) > 1:
        charts["classes that come together"] = _together(statistics)
    return {name: _as_png(figure) for name, figure in charts.items()}


def _as_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    # A matrix is square whatever room its names leave: the picture is cut to what is drawn.
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.12)
    return buffer.getvalue()


def most_frequent(statistics: SetStatistics, number: int) -> np.ndarray:
    """Places of the most frequent classes, by falling number of objects."""
    measure = statistics.pixels if statistics.kind == "labels" else statistics.objects
    order = np.argsort(-measure, kind="stable")
    return order[measure[order] > 0][:number]


def _classes(statistics: SetStatistics) -> Figure:
    chosen = most_frequent(statistics, MOST_BARS)
    in_pixels = statistics.kind == "labels"
    values = (statistics.pixels if in_pixels else statistics.objects)[chosen]
    figure = new_chart(_WIDTH, max(2.4, 1.0 + 0.24 * len(chosen)))
    axes = figure.subplots()
    bars = axes.barh(range(len(chosen)), values, color=COLORS[0], height=0.7)
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, fontsize=8)
    names = [cut_middle(statistics.class_names[i], LONGEST_NAME) for i in chosen]
    axes.set_yticks(range(len(chosen)), names, fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    _thousands(axes, "x")
    left_out = len(statistics.class_names) - len(chosen)
    more = f" (without {left_out} of fewer or none)" if left_out else ""
    plain(axes, ("Pixels" if in_pixels else "Objects") + f" of each class{more}", grid="x")
    return figure


def _thousands(axes: Axes, name: str) -> None:
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _areas(statistics: SetStatistics) -> Figure:
    figure = new_chart(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    _histogram(axes, AREA_EDGES, statistics.areas)
    total = max(statistics.num_objects, 1)
    limits = list(SIZES.values())
    top = max(statistics.areas.max(), 1)
    # From small to large, whatever there is.
    axes.set_xlim(1, max(AREA_EDGES[1:][statistics.areas > 0].max(initial=1), 2.0**17))
    for name, (low, high) in zip(SIZES, limits, strict=True):
        if low:
            axes.axvline(low, color=GREY, linewidth=1, linestyle="--")
        middle = np.sqrt(max(low, 1) * min(high, axes.get_xlim()[1]))
        share = 100 * statistics.by_size[name] / total
        axes.text(middle, 1.1 * top, f"{name}\n{share:.0f} %", ha="center", va="top", color=GREY)
    axes.set_ylim(0, 1.14 * top)
    axes.set_xlabel("area in pixels")
    plain(axes, "Objects by area", grid="y")
    return figure


def _histogram(axes: Axes, edges: np.ndarray, counts: np.ndarray) -> None:
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=COLORS[0], edgecolor="white")
    axes.set_xscale("log", base=2)
    _thousands(axes, "y")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _aspects(statistics: SetStatistics) -> Figure:
    figure = new_chart(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    _histogram(axes, ASPECT_EDGES, statistics.aspects)
    ticks = [1 / 32, 1 / 8, 1 / 2, 1, 2, 8, 32]
    axes.set_xticks(ticks, ["1:32", "1:8", "1:2", "1:1", "2:1", "8:1", "32:1"])
    axes.set_xlabel("width : height of the box")
    plain(axes, "Objects by aspect ratio", grid="y")
    return figure


def _per_image(statistics: SetStatistics) -> Figure:
    figure = new_chart(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    most = max(statistics.per_image, default=0)
    step = max(1, -(-(most + 1) // 50))
    edges = np.arange(0, most + step + 1, step)
    numbers = np.array(list(statistics.per_image), np.int64)
    counts, _ = np.histogram(numbers, edges, weights=list(statistics.per_image.values()))
    axes.bar(
        edges[:-1], counts, 0.9 * step, align="edge" if step > 1 else "center", color=COLORS[0]
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    _thousands(axes, "y")
    mean = statistics.num_objects / max(statistics.num_images, 1)
    what = "classes" if statistics.kind == "labels" else "objects"
    axes.set_xlabel(f"{what} in an image; {mean:.1f} on average, {most} at most")
    plain(axes, f"Images by number of {what}", grid="y")
    return figure


def _image_sizes(statistics: SetStatistics) -> Figure:
    figure = new_chart(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    sizes = np.array(list(statistics.image_sizes), np.float64).reshape(-1, 2)
    counts = np.array(list(statistics.image_sizes.values()), np.float64)
    if len(sizes):
        area = 20 + 380 * counts / counts.max()
        axes.scatter(*sizes.T, s=area, color=COLORS[0], alpha=0.5, linewidths=0)
        axes.set_xlim(0, 1.08 * sizes[:, 0].max())
        axes.set_ylim(0, 1.12 * sizes[:, 1].max())
    axes.set_xlabel("width in pixels")
    axes.set_ylabel("height in pixels")
    number = f"{len(sizes)} size{'s' * (len(sizes) != 1)}"
    plain(axes, f"Images by size: {number}, large dots for many")
    return figure


def _together(statistics: SetStatistics) -> Figure:
    chosen = most_frequent(statistics, MOST_CELLS)
    counts = statistics.together[np.ix_(chosen, chosen)]
    own = np.maximum(np.diag(counts), 1)
    shares = 100 * counts / own[:, None]
    side = min(max(0.34 * len(chosen), 2.6), 10.0)
    figure = new_chart(side + 2.6, side + 1.8)
    axes = figure.subplots()
    cells = axes.pcolormesh(
        shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), edgecolors="white", linewidth=0.6
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    names = [cut_middle(statistics.class_names[i], LONGEST_NAME) for i in chosen]
    places, size = np.arange(len(chosen)) + 0.5, min(9.0, 260 / max(len(chosen), 1))
    axes.set_xticks(places, names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(places, names, fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    if len(chosen) <= MOST_NUMBERED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 30 else "black"
            place = (column + 0.5, row + 0.5)
            text = f"{shares[row, column]:.0f}"
            axes.text(*place, text, color=color, size=8, ha="center", va="center")
    bar = figure.colorbar(cells, ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    bar.outline.set_visible(False)
    bar.set_label("% of the row's images")
    plain(axes, "Classes together")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure
