from __future__ import annotations

import json
from dataclasses import replace

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
    assert [path.name for path in written] == ["loss.png", "ap.png", "miou.png", "pq.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in written
    )
    for path in written:
        with Image.open(path) as image:
            assert image.size == (1200, 672)
            assert len(image.convert("L").getcolors()) > 20


def test_all_means_of_the_iou_are_on_one_chart(tmp_path, monkeypatch):
    names = ["sem_seg/mIoU", "cityscapes_sem_seg/IoU", "a/cityscapes_sem_seg/iIoU"]
    others = ["sem_seg/IoU-road", "cityscapes_sem_seg/IoU_sup", "sem_seg/pACC", "IoU"]
    record = {"iteration": 9} | dict.fromkeys([*names, *others], 50.0)
    drawn = {}
    charts = [
        replace(
            chart,
            draw=lambda axes, chosen, _, name=chart.file_name: drawn.update({name: [*chosen]}),
        )
        for chart in curves.CHARTS
    ]
    monkeypatch.setattr(curves, "CHARTS", charts)
    plot_curves(write(tmp_path / "metrics.json", [record]), tmp_path)
    assert drawn == {"miou.png": names}


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
