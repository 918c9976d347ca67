"""The confusion matrix of a semantic evaluation as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from segtron.errors import UserError
from segtron.files import replacing
from segtron.visualization.layout import cut_middle

# With more classes than this, the cells are too many for numbers.
MOST_NUMBERED = 25
LONGEST_NAME = 18
# In inches.
_SMALLEST_CELL, _LARGEST_CELL = 0.1, 0.46
_SMALLEST_MATRIX, _LARGEST_MATRIX = 2.5, 11.0
# Shares from here on have cells so dark that black can't be read in them.
_DARK = 30.0
_GREY, _ABSENT = "#7f858c", "#eceef0"


def read_confusion_matrix(csv_file: Path) -> tuple[list[str], np.ndarray]:
    """Read `confusion_matrix.csv`, as the semantic evaluation writes it.

    Args:
        csv_file: class names in its first row and its first column, and pixels in the cells: the
            row says what they are, the column what they were taken for.

    Returns:
        The K names, and the (K, K) int64 counts.

    Raises:
        UserError: the file can't be read or holds something else.
    """
    try:
        with csv_file.open(encoding="utf-8", newline="") as file:
            (_, *names), *rows = csv.reader(file, strict=True)
        counts = np.array([[int(cell) for cell in row[1:]] for row in rows], dtype=np.int64)
        row_names = [row[0] for row in rows]
    except OSError as error:
        raise UserError(f"cannot read {csv_file}: {error.strerror}") from error
    except (ValueError, IndexError, OverflowError, csv.Error) as error:
        raise UserError(
            f"{csv_file} is no confusion matrix ({error}); score the model again"
        ) from error
    if not names or row_names != names or counts.shape != (len(names),) * 2 or counts.min() < 0:
        raise UserError(
            f"{csv_file} is no confusion matrix: it must have the same class names in its first "
            "row and first column, and counts of pixels in the cells; score the model again"
        )
    return names, counts


def plot_confusion(csv_file: Path, png_file: Path) -> None:
    """Draw a confusion matrix in percent of each row: what became of the pixels of each class.

    Classes that the ground truth doesn't have are grey.

    Args:
        csv_file: see `read_confusion_matrix`.
        png_file: what stood there is replaced.

    Raises:
        UserError: `csv_file` can't be read or holds something else, or `png_file` can't be written.
    """
    names, counts = read_confusion_matrix(csv_file)
    pixels = counts.sum(axis=1, dtype=np.float64)
    shares = 100 * counts / np.where(pixels > 0, pixels, np.nan)[:, None]
    cell = min(max(_LARGEST_MATRIX / len(names), _SMALLEST_CELL), _LARGEST_CELL)
    size = max(cell * len(names), _SMALLEST_MATRIX)
    figure = Figure(figsize=(size + 2.8, size + 2.1), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor(_ABSENT)
    cells = axes.pcolormesh(
        np.ma.masked_invalid(shares),
        cmap="Blues",
        # Small shares are what there is to be seen.
        norm=PowerNorm(0.5, vmin=0, vmax=100),
        edgecolors="white",
        linewidth=min(0.8, 2 * cell),
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    _name_classes(axes, names, pixels, font_size=min(9.5, 50 * cell))
    if len(names) <= MOST_NUMBERED:
        _write_numbers(axes, shares, font_size=min(8.5, 19 * cell))
    axes.set_title("Pixels of each class, in percent", loc="left", fontweight="bold", fontsize=13)
    bar = figure.colorbar(cells, ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    bar.outline.set_visible(False)
    with replacing(png_file) as temporary:
        # The matrix is square whatever room its names leave: the picture is cut to what is drawn.
        FigureCanvasAgg(figure)
        figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15)


def _name_classes(axes: Axes, names: list[str], pixels: np.ndarray, font_size: float) -> None:
    short = [cut_middle(name, LONGEST_NAME) for name in names]
    rows = [name if n else f"{name} (absent)" for name, n in zip(short, pixels, strict=True)]
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, short, fontsize=font_size, rotation=90, parse_math=False)
    axes.set_yticks(places, rows, fontsize=font_size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("ground truth")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for label, n in zip(axes.get_yticklabels(), pixels, strict=True):
        label.set_color("black" if n else _GREY)


def _write_numbers(axes: Axes, shares: np.ndarray, font_size: float) -> None:
    # What rounds to nothing, and rows of absent classes, stay empty.
    for row, column in zip(*np.nonzero(shares >= 0.05), strict=True):
        share = shares[row, column]
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{share:.1f}" if share < 99.95 else "100",
            color="white" if share > _DARK else "black",
            size=font_size,
            ha="center",
            va="center",
        )
