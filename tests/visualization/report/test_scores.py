from __future__ import annotations

import json
from pathlib import Path

import pytest

from segtron.visualization.report.scores import (
    MOST_POINTS,
    describe_analysis,
    describe_curves,
    describe_run,
    describe_scores,
    last_scores,
)


def write_lines(path: Path, *lines: dict) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_last_evaluation_is_shown(tmp_path: Path) -> None:
    metrics = write_lines(
        tmp_path / "metrics.json",
        {"iteration": 9, "segm/AP": 1.0},
        {
            "iteration": 19,
            "segm/AP": 41.23456,
            "segm/AP50": float("nan"),
            "segm/AP-traffic-light": 10.0,
            "segm/AP-a/b": 20.0,
            "a/sem_seg/mIoU": 50.0,
            "a/sem_seg/IoU-road": float("nan"),
            "a/sem_seg/ACC-road": 3.0,
            "total_loss": 2.0,
        },
        {"iteration": 39, "total_loss": 1.0, "lr": 0.1},
    )
    with metrics.open("a") as file:
        file.write('{"iteration": 49, "segm/A')
    assert describe_scores(metrics) == [
        {
            "task": "segm",
            "protocol": "COCO's protocol",
            "overall": {"AP": 41.235, "AP50": None},
            "classes": {"traffic-light": {"AP": 10.0}, "a/b": {"AP": 20.0}},
        },
        {
            "task": "a/sem_seg",
            "protocol": "Detectron2's rules",
            "overall": {"mIoU": 50.0},
            "classes": {"road": {"IoU": None, "ACC": 3.0}},
        },
    ]


def test_scores_beside_the_main_one_have_the_scorers_order(tmp_path: Path) -> None:
    names = ("segm/AP", "segm/AP50", "segm/APl", "segm/APm", "segm/APs", "segm/F1")
    names += ("panoptic_seg/PQ", "panoptic_seg/PQ_st", "panoptic_seg/PQ_th", "panoptic_seg/SQ")
    metrics = write_lines(tmp_path / "metrics.json", dict.fromkeys(sorted(names), 1.0))
    panoptic, instances = describe_scores(metrics)
    assert list(instances["overall"]) == ["AP", "AP50", "APs", "APm", "APl", "F1"]
    assert list(panoptic["overall"]) == ["PQ", "SQ", "PQ_th", "PQ_st"]


def test_a_run_without_metrics(tmp_path: Path) -> None:
    missing = tmp_path / "metrics.json"
    assert describe_scores(missing) == [] and describe_curves(missing) == []
    assert describe_analysis(tmp_path) == {}
    assert describe_run(tmp_path) == {"folder": str(tmp_path)}


def test_curves_are_thinned_and_the_total_comes_first(tmp_path: Path) -> None:
    lines = [
        {"iteration": i, "loss_cls": 5.0, "total_loss": 4.0, "lr": 0.01, "segm/AP": i / 100}
        for i in range(3000)
    ]
    charts = describe_curves(write_lines(tmp_path / "metrics.json", *lines))
    assert [chart["title"] for chart in charts] == ["Losses", "Learning rate", "Average precision"]
    losses = charts[0]["lines"]
    assert [line["name"] for line in losses] == ["total_loss", "loss_cls"]
    points = charts[2]["lines"][0]["points"]
    assert len(points) == MOST_POINTS and points[0] == (0, 0) and points[-1] == (2999, 29.99)


def test_single_values_are_no_curves(tmp_path: Path) -> None:
    metrics = write_lines(tmp_path / "metrics.json", {"iteration": 1, "segm/AP": 3.0, "lr": 0.1})
    assert describe_curves(metrics) == []


def test_the_confusion_matrix_is_in_percent_of_rows(tmp_path: Path) -> None:
    (tmp_path / "confusion_matrix.csv").write_text(",a,b,c\na,3,1,0\nb,0,0,0\nc,0,0,5000\n")
    assert describe_analysis(tmp_path)["confusion"] == {
        "names": ["a", "b", "c"],
        "absent": [1],
        "shares": [[0, 0, 75.0], [0, 1, 25.0], [2, 2, 100.0]],
    }


def test_the_run_says_where_it_comes_from(tmp_path: Path) -> None:
    start = {"date": "2026-11-29", "command": "train_net.py", "git": {"commit": "a" * 40}}
    start["git"]["changed"] = True
    (tmp_path / "run.json").write_text(json.dumps([start, {"date": "later"}]))
    assert describe_run(tmp_path) == {
        "folder": str(tmp_path),
        "started": "2026-11-29",
        "command": "train_net.py",
        "commit": "aaaaaaaaaaaa, with changes",
    }


@pytest.mark.parametrize("content", ["", "[]", "{}", "3", '["a"]', '[{"git": 3}]'])
def test_a_strange_run_file_is_left_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert describe_run(tmp_path) == {"folder": str(tmp_path)}


def test_last_scores_name_their_protocol(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    assert last_scores(metrics) == []
    metrics.write_text(
        '{"iteration": 1, "segm/AP": 10.0}\n'
        '{"iteration": 2, "segm/AP": 36.21, "a/cityscapes_segm/AP": 30.0, "segm/AP50": 60.0, '
        '"sem_seg/mIoU": 71.16, "sem_seg/IoU-AP": 1, "cityscapes_sem_seg/IoU": 70.0, '
        '"cityscapes_sem_seg/iIoU": 50.0}\n'
        '{"iteration": 2, "total_loss": 1.0}\n'
    )
    assert last_scores(metrics) == [
        "segm/AP 36.2 by COCO's protocol",
        "a/cityscapes_segm/AP 30.0 by Cityscapes' protocol",
        "sem_seg/mIoU 71.2 by Detectron2's rules",
        "cityscapes_sem_seg/IoU 70.0 by Cityscapes' protocol",
    ]


def test_last_scores_pass_over_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"segm/AP": 3.25}\n{"segm/AP": 5')
    assert last_scores(path) == ["segm/AP 3.2 by COCO's protocol"]
