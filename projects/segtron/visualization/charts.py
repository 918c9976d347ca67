"""What the charts of scores share: colours, plain axes, and writing them."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segtron.files import replacing

# Okabe and Ito's colours, which the colour-blind can tell apart; black is for sums.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7A5195")
GREY = "#7f858c"
FAINT = "#c9cdd2"
GRID = "#e6e8eb"


def new_chart(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def plain(axes: Axes, title: str, grid: str = "both") -> None:
    """Give axes their title, a pale grid and no box."""
    axes.set_title(title, loc="left", fontweight="bold", fontsize=13, parse_math=False)
    axes.grid(color=GRID, linewidth=0.8, axis=grid)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def write_chart(figure: Figure, png_file: Path) -> None:
    """Write a figure as PNG; what stood there is replaced.

    Raises:
        UserError: the file can't be written.
    """
    with replacing(png_file) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
