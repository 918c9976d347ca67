from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from segtron.errors import UserError
from segtron.visualization import curves
from segtron.visualization.curves import plot_curves, read_metrics, running_mean


def write(path, records, tail=""):
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def test_each_metric_is_a_curve(tmp_path):
    records = [
        {"iteration": 19, "total_loss": 2.0, "lr": 0.01},
        {"iteration": 39, "total_loss": 1.0, "segm/AP": 30.0},
    ]
    found = read_metrics(write(tmp_path / "metrics.json", records))
    assert [values.tolist() for values in found["total_loss"]] == [[19, 39], [2.0, 1.0]]
    assert [values.tolist() for values in found["segm/AP"]] == [[39], [30.0]]


def test_what_is_no_number_is_left_out(tmp_path):
    records = [
        {"iteration": 1, "loss": float("nan"), "segm/APs": float("nan"), "note": "text"},
        {"iteration": 2, "loss": 1.0, "flag": True},
        {"loss": 3.0},
        [1, 2],
    ]
    path = write(tmp_path / "metrics.json", records, tail='{"iteration": 3, "lo')
    found = read_metrics(path)
    assert set(found) == {"loss"}
    assert found["loss"][0].tolist() == [2]


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    values = [(10, 5.0), (20, 4.0), (30, 9.0), (20, 3.0), (30, 2.0)]
    records = [{"iteration": iteration, "loss": value} for iteration, value in values]
    iterations, losses = read_metrics(write(tmp_path / "metrics.json", records))["loss"]
    assert iterations.tolist() == [10, 20, 30]
    assert losses.tolist() == [5.0, 3.0, 2.0]


def test_each_family_of_metrics_has_its_picture(tmp_path):
    records = [
        {
            "iteration": i,
            "lr": 0.1,
            "total_loss": 10 / (i + 1),
            "loss_mask": 1.0,
            "validation/total_loss": 2.0,
            "toytown_$val/segm/AP": i / 2,
            "segm/AP50": float(i),
            "segm/AP-person": 1.0,
            "sem_seg/mIoU": 50.0,
            "panoptic_seg/PQ": 40.0,
            "time": 1.0,
        }
        for i in range(60)
    ]
    written = plot_curves(write(tmp_path / "metrics.json", records), tmp_path / "out")
    names = ["loss.png", "lr.png", "ap.png", "miou.png", "pq.png", "scores.png"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in written
    )
    for path in written:
        with Image.open(path) as image:
            assert path.name == "scores.png" or image.size == (1200, 672)
            assert len(image.convert("L").getcolors()) > 20


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws records; gives the figures by file name."""

    def draw(records):
        figures = {}
        monkeypatch.setattr(
            curves, "write_chart", lambda figure, path: figures.update({path.name: figure})
        )
        plot_curves(write(tmp_path / "metrics.json", records), tmp_path)
        return figures

    return draw


def lines_of(axes):
    """Each as colour, line style, marker, x and y, the smoothed ones without the raw ones."""
    return [
        (line.get_color(), line.get_linestyle(), line.get_marker(), *np.array(line.get_data()))
        for line in axes.lines
        if line.get_alpha() is None
    ]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_all_means_of_the_iou_are_on_one_chart(drawn):
    names = ["sem_seg/mIoU", "cityscapes_sem_seg/IoU", "a/cityscapes_sem_seg/iIoU"]
    others = ["sem_seg/IoU-road", "cityscapes_sem_seg/IoU_sup", "sem_seg/pACC", "IoU"]
    figures = drawn([{"iteration": 9} | dict.fromkeys([*names, *others], 50.0)])
    assert set(figures) == {"miou.png", "scores.png"}
    assert [text.split(":")[0] for text in legend_of(figures["miou.png"])] == [
        name.replace("/mIoU", " mIoU").replace("/IoU", " IoU").replace("/iIoU", " iIoU")
        for name in names
    ]


def test_training_and_validation_share_a_colour(drawn):
    records = [
        {"iteration": 9, "total_loss": 4.0, "loss_cls": 3.0, "loss_mask": 1.0},
        {
            "iteration": 19,
            "total_loss": 3.0,
            "loss_cls": 2.0,
            "loss_mask": 1.0,
            "validation/total_loss": 5.0,
            "validation/loss_cls": 3.5,
            "validation/loss_mask": 1.5,
        },
        {"iteration": 29, "validation/total_loss": 6.0},
    ]
    figure = drawn(records)["loss.png"]
    assert legend_of(figure) == [
        "training",
        "validation",
        "total_loss  3 · 6",
        "loss_cls  2 · 3.5",
        "loss_mask  1 · 1.5",
    ]
    *lines, star = sorted(lines_of(figure.axes[0]), key=lambda line: line[2] == "*")
    by_style = {(color, style): (marker, x, y) for color, style, marker, x, y in lines}
    colors = list(dict.fromkeys(line[0] for line in lines))
    assert colors[0] == "black"
    for color, last, of_validation in zip(
        colors, [3.0, 2.0, 1.0], [[5.0, 6.0], [3.5], [1.5]], strict=True
    ):
        _, x, y = by_style[color, "-"]
        assert (x.tolist(), y[-1]) == ([9, 19], last)
        marker, x, y = by_style[color, "--"]
        assert marker == "o"
        assert (x.tolist(), y.tolist()) == ([19, 29][: len(of_validation)], of_validation)
    # The lowest is marked.
    assert (star[0], star[2], *star[3], *star[4]) == ("black", "*", 19, 5.0)


def test_each_set_has_dashes_of_its_own(drawn):
    names = ["total_loss", "b/validation/total_loss", "a/validation/total_loss"]
    names += ["ema/a/validation/total_loss"]
    records = [{"iteration": i} | dict.fromkeys(names, i + 1.0) for i in range(2)]
    figure = drawn(records)["loss.png"]
    assert legend_of(figure)[:4] == [
        "training",
        "validation a",
        "validation b",
        "validation ema/a",
    ]
    markers = [line[2] for line in lines_of(figure.axes[0]) if line[2] != "*"]
    assert markers == ["None", "o", "s", "^"]


def test_a_validation_loss_alone(drawn):
    """Of a run whose training wrote no line before it was evaluated."""
    figure = drawn([{"iteration": 3, "validation/total_loss": 2.0, "validation/other": 1.0}])
    assert legend_of(figure["loss.png"]) == ["validation", "total_loss  2", "other  1"]


def test_each_score_has_a_panel(drawn):
    names = ["segm/AP", "segm/AP75", "bbox/AP", "ema/segm/AP", "my/score"]
    others = ["segm/AP-car", "fast_rcnn/cls_accuracy", "stage1/roi_head/num_fg", "rpn/num"]
    others += ["validation/loss_cls", "lr", "time", "total_loss"]
    record = dict.fromkeys([*names, *others], 50.0)
    figure = drawn([{"iteration": i} | record for i in (9, 19)])["scores.png"]
    panels = {axes.get_title(loc="left"): lines_of(axes) for axes in figure.axes if axes.axison}
    assert {title: len(lines) for title, lines in panels.items()} == {
        "AP": 3,
        "AP75": 1,
        "score": 1,
    }
    assert legend_of(figure) == ["bbox", "ema/segm", "my", "segm"]
    # A task has one colour in all panels.
    assert panels["AP75"][0][0] == panels["AP"][2][0] != panels["AP"][0][0]


def test_the_learning_rate(drawn):
    records = [{"iteration": i, "lr": 0.1 * i} for i in range(3)]
    (line,) = lines_of(drawn(records)["lr.png"].axes[0])
    assert line[4].tolist() == [0.0, 0.1, 0.2]


@pytest.mark.parametrize(
    "records",
    [
        [{"iteration": 5, "total_loss": 1.5, "segm/AP": 0.0}],
        [{"iteration": 5, "total_loss": -1.0}, {"iteration": 6, "total_loss": 0.0}],
        [{"iteration": 5, "total_loss": 1e-9}, {"iteration": 6, "total_loss": 1e9}],
    ],
)
def test_few_and_odd_values_can_be_drawn(tmp_path, records):
    written = plot_curves(write(tmp_path / "metrics.json", records), tmp_path)
    assert written[0].name == "loss.png"


def test_no_metrics_no_pictures(tmp_path):
    assert plot_curves(write(tmp_path / "metrics.json", []), tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="absent.json"):
        plot_curves(tmp_path / "absent.json", tmp_path)


def test_running_mean_by_hand():
    assert running_mean(np.array([1.0, 5.0, 3.0])).tolist() == [1.0, 5.0, 3.0]
    values = np.arange(80.0) ** 2
    smooth = running_mean(values)
    assert smooth[0] == 0
    assert smooth[1] == pytest.approx((0 + 1 + 4) / 3)
    assert smooth[40] == pytest.approx(np.mean(values[38:43]))
