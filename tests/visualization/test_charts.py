"""Precision and recall, error types and sizes as pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from segtron.errors import UserError
from segtron.evaluation.coco_protocol import RECALLS, SIZES
from segtron.evaluation.error_types import ERROR_TYPES, TOTALS, ErrorScores
from segtron.evaluation.precision_recall import Curve, PrecisionRecallScores
from segtron.evaluation.score_files import write_scores
from segtron.evaluation.size_breakdown import SizeScores
from segtron.visualization.error_types import plot_error_types
from segtron.visualization.precision_recall import plot_precision_recall
from segtron.visualization.size_breakdown import plot_sizes

NAN = math.nan
NAMES = ["cat", "dog in $\\frac{", "a name that is much too long for a legend", "unseen"]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written."""
    written = []

    def remember(figure):
        written.append(figure)
        return FigureCanvasAgg(figure)

    monkeypatch.setattr("segtron.visualization.charts.FigureCanvasAgg", remember)
    return written


def precision_recall(names):
    """Class number n finds the share 1 / (n + 1) with precision 1; the last has no ground truth."""
    rows = [
        {"F1": 200 / (n + 2), "precision": 100.0, "recall": 100 / (n + 1), "score": 0.25}
        for n in range(len(names) - 1)
    ]
    curves = {
        name: Curve(100.0 * (row["recall"] / 100 >= RECALLS), np.zeros(101))
        for name, row in zip(names, rows, strict=False)
    }
    rows.append(dict.fromkeys(("F1", "precision", "recall", "score"), NAN))
    return PrecisionRecallScores(
        protocol="Precision and recall, segm, IoU 0.5",
        num_images=2,
        overall=rows[0],
        per_class=dict(zip(names, rows, strict=True)),
        num_ground_truth=dict.fromkeys(names, 3),
        num_predicted=dict.fromkeys(names, 4),
        pooled_curve=curves.get(names[0]),
        curves=curves,
    )


def errors(**gains):
    row = {name: gains.get(name, 0.0) for name in ("AP50", *ERROR_TYPES, *TOTALS)}
    return ErrorScores("Error types, segm", 2, row, {"cat": row}, dict.fromkeys(ERROR_TYPES, 1234))


def sizes(**overall):
    row = {size: overall.get(size, NAN) for size in SIZES}
    counts = {name: dict.fromkeys(SIZES, 1500) for name in NAMES}
    return SizeScores("Sizes, bbox", 2, row, dict.fromkeys(NAMES, row), counts, counts)


def draw(plot, scores, tmp_path):
    write_scores(tmp_path / "scores.json", scores)
    plot(tmp_path / "scores.json", tmp_path / "out" / "chart.png")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["chart.png"]
    with Image.open(tmp_path / "out" / "chart.png") as picture:
        assert min(picture.size) > 500 and max(picture.size) < 1500


def test_each_class_has_its_curve_and_its_best_threshold(tmp_path, figures):
    draw(plot_precision_recall, precision_recall(NAMES), tmp_path)
    (figure,) = figures
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "all, pooled: F1 100.0 at 0.250",
        "cat: F1 100.0 at 0.250",
        "dog in $\\frac{: F1 66.7 at 0.250",
        "a name that…r a legend: F1 50.0 at 0.250",
    ]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    recall, precision = lines["dog in $\\frac{: F1 66.7 at 0.250"].get_data()
    # Not drawn beyond what is reached.
    assert recall.max() == 50 and set(precision) == {100}
    pooled, thin = lines["all, pooled: F1 100.0 at 0.250"], lines["cat: F1 100.0 at 0.250"]
    assert pooled.get_linewidth() > 2 * thin.get_linewidth() and pooled.get_color() == "black"
    marks = {
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
    }
    assert marks == {(100, 100), (50, 100), (100 / 3, 100)}


def test_of_many_classes_the_worst_are_named(tmp_path, figures):
    names = [f"class {n}" for n in range(81)]
    draw(plot_precision_recall, precision_recall(names), tmp_path)
    (legend,) = figures[0].legends
    labels = [text.get_text().split(":")[0] for text in legend.get_texts()]
    assert labels == ["all, pooled", *(f"class {n}" for n in range(79, 71, -1))]
    assert "72 more in grey" in legend.get_title().get_text()


def test_a_class_of_which_nothing_is_found(tmp_path, figures):
    scores = precision_recall(NAMES)
    scores.per_class["cat"].update(F1=0.0, precision=NAN, recall=0.0, score=NAN)
    scores.curves["cat"] = Curve(np.zeros(101), np.zeros(101))
    draw(plot_precision_recall, scores, tmp_path)
    assert "cat: nothing found" in [text.get_text() for text in figures[0].legends[0].get_texts()]


def test_precision_and_recall_without_ground_truth(tmp_path, figures):
    draw(plot_precision_recall, precision_recall(["unseen"]), tmp_path)
    assert "no ground truth" in [text.get_text() for text in figures[0].axes[0].texts]


def test_bars_are_the_gains(tmp_path, figures):
    draw(plot_error_types, errors(AP50=43.21, localization=12.5, false_negatives=-0.2), tmp_path)
    (axes,) = figures[0].axes
    lengths = dict(
        zip((*ERROR_TYPES, *TOTALS), (bar.get_width() for bar in axes.patches), strict=True)
    )
    assert lengths == dict.fromkeys(lengths, 0) | {"localization": 12.5, "false_negatives": -0.2}
    texts = [text.get_text() for text in axes.texts]
    assert texts[1] == "+12.5   (1,234 errors)" and texts[-1] == "-0.2"
    assert [label.get_text().split("\n")[0] for label in axes.get_yticklabels()] == [
        *ERROR_TYPES,
        "false positives",
        "false negatives",
    ]
    assert axes.get_title(loc="left") == "Error types, segm: AP50 is 43.2"
    # The first is at the top.
    assert axes.yaxis_inverted()


def test_undefined_gains(tmp_path, figures):
    undefined = dict.fromkeys(("AP50", *ERROR_TYPES, *TOTALS), NAN)
    draw(plot_error_types, errors(**undefined), tmp_path)
    assert figures[0].axes[0].texts[-1].get_text() == "-"
    assert figures[0].axes[0].get_title(loc="left").endswith("undefined")


def test_sizes_beside_their_numbers(tmp_path, figures):
    draw(plot_sizes, sizes(small=12.5, medium=0.0), tmp_path)
    left, right = figures[0].axes
    assert [text.get_text() for text in left.texts] == ["12.5", "0.0", "-"]
    assert [bar.get_height() for bar in left.patches] == [12.5, 0, 0]
    assert [bar.get_height() for bar in right.patches] == [6000] * 6
    assert [text.get_text() for text in right.texts] == ["6,000"] * 6


@pytest.mark.parametrize("plot", [plot_precision_recall, plot_error_types, plot_sizes])
def test_other_files_are_refused(tmp_path, plot):
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(UserError, match=r"s\.json does not hold .*score the model again"):
        plot(tmp_path / "s.json", tmp_path / "s.png")
    assert not (tmp_path / "s.png").exists()
