"""tools/benchmark.py evaluate as users run it, on frames of a few pixels."""

from __future__ import annotations

import functools
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from detectron2.data import MetadataCatalog

from segtron.benchmarks.evaluation import coco, growth, measure, memory, workers
from segtron.benchmarks.peak_memory import Peak

TOOL = Path(__file__).parents[3] / "tools" / "benchmark.py"


@pytest.fixture
def run_tool(run_script):
    return functools.partial(run_script, TOOL)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(measure, "INSTANCES", 5)
    monkeypatch.setattr(measure, "GROWING_INSTANCES", (2, 5, 9))
    monkeypatch.setattr(growth, "GROWING_INSTANCES", (2, 5, 9))
    monkeypatch.setattr(growth, "GROWING_REPEATS", (1, 2))
    monkeypatch.setattr(coco, "REPEATS", 2)
    monkeypatch.setattr(workers, "num_usable_cores", lambda: 2)


def test_the_whole_tool(run_tool, small, tmp_path, caplog):
    sets = MetadataCatalog.list()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    out = tmp_path / "new" / "benchmark.json"
    options = ["--images", 2, "--pairs", 1, "--size", 96, 192, "--skip-official-scripts"]
    with caplog.at_level(logging.WARNING):
        code, stdout, stderr = run_tool("evaluate", "--json", out, *options)
    assert code == 0, stderr
    assert caplog.messages == []

    content = json.loads(out.read_text())
    assert content["settings"] == {"images": 2, "pairs": 1, "size": [96, 192], "seed": 0}
    assert content["machine"]["threads"] == 1
    works = [row["work"] for row in content["rows"]]
    assert set(works) == {
        "panoptic in memory",
        "panoptic from files",
        "coco bbox in memory",
        "coco bbox and segm in memory",
        "coco bbox of results in memory, 4 images",
        "coco segm of results in memory, 4 images",
        "coco bbox from files, 4 images",
        "coco segm from files, 4 images",
        "cityscapes-instance in memory, with boundaries",
        "cityscapes-semantic in memory, with boundaries",
        "cityscapes-instance from files, 8 images, 2 workers",
        "cityscapes-semantic from files, 8 images, 2 workers",
        "panoptic from files, 8 images, 2 workers",
    }
    for row in content["rows"]:
        assert set(row) == {"work", "against", "ratio", "low", "high", "ours_s", "theirs_s"}
        assert row["low"] == row["ratio"] == row["high"] > 0
        assert row["ratio"] == pytest.approx(row["theirs_s"] / row["ours_s"])
        assert f"| {row['work']} " in stdout
    points = [(entry["work"], entry["images"], entry["predictions"]) for entry in content["growth"]]
    instances = [(2, 10), (4, 20), (2, 4), (2, 18)]
    for work in (
        "cityscapes-instance in memory",
        "coco bbox and segm in memory",
        "coco segm from files",
    ):
        assert [point[1:] for point in points if point[0] == work] == instances
    for work in ("cityscapes-semantic", "panoptic"):
        for place in ("in memory", "from files"):
            assert [point[1] for point in points if point[0] == f"{work} {place}"] == [2, 4]
    for entry in content["growth"]:
        assert entry["seconds"] > 0
        if entry["work"].endswith("in memory"):
            assert entry["state_bytes"] > 0
        else:
            assert entry["state_bytes"] is None
    assert [(entry["work"], entry["by"]) for entry in content["memory"]] == [
        ("no work, libraries alone", "Segtron"),
        ("cityscapes-instance from files", "Segtron"),
        ("cityscapes-semantic from files", "Segtron"),
        ("panoptic from files", "Segtron"),
    ]
    assert all(entry["peak_bytes"] > 50e6 for entry in content["memory"])
    assert content["left_out"] == [
        "Left out: the official Cityscapes scripts, TIDE and faster-coco-eval "
        "(--skip-official-scripts)."
    ]
    assert stdout.rstrip().endswith(content["left_out"][0])

    # Nothing is left behind.
    assert MetadataCatalog.list() == sets
    if cores is not None:
        assert os.sched_getaffinity(0) == cores
    code, _, stderr = run_tool("evaluate", "--json", out, *options)
    assert code == 2
    assert "would be overwritten" in stderr


def test_unequal_scores_are_no_benchmark(small, monkeypatch, tmp_path):
    from segtron.benchmarks.frames import Frames

    def wrong(*args):
        return {"bbox": {"AP": 1.0}}

    monkeypatch.setattr(coco, "pycocotools_scores", wrong)
    frames = Frames(tmp_path / "frames", 1, size=(64, 128), most_instances=5, seed=0)
    with pytest.raises(RuntimeError, match="disagree: bbox/AP"):
        measure.compare_evaluation(frames, tmp_path, official=None, num_pairs=1)


def test_memory_of_official_scorers(monkeypatch, tmp_path):
    """Without one that can't say."""

    class Official:
        def score_instances(self, *files):
            self.peak_bytes = 7

        def score_labels(self, *files):
            self.peak_bytes = None

        def score_panoptic(self, *files):
            self.peak_bytes = 9

    monkeypatch.setattr(memory, "peak_of", lambda *_: Peak(100, None))
    saved = SimpleNamespace(
        gt_folder=tmp_path,
        instances=tmp_path,
        labels=tmp_path,
        gt_json=tmp_path,
        pred_json=tmp_path,
    )
    entries = memory.measure_scoring_memory(saved, Official())
    assert [entry.peak_bytes for entry in entries] == [100, 100, 100, 100, 7, 9]
    assert [entry.work for entry in entries[-2:]] == [
        "cityscapes-instance from files",
        "panoptic from files",
    ]
    assert {entry.by for entry in entries[-2:]} == {"the official script"}


def test_one_core_has_nothing_to_share(small, monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "num_usable_cores", lambda: 1)
    rows = workers.compare_workers(None, tmp_path, num_instances=5, num_pairs=1)
    assert rows == []


def test_a_work_has_to_be_named(run_tool):
    code, _, stderr = run_tool()
    assert code == 2
    assert "WORK" in stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["train", "--size", 33, 20], "images of 33 x 20 can't be used here"),
        (["inference", "--size", 64, 32], "multiples of 32 from 64 up"),
        (["data", "--size", 65, 128], "multiples of 2 from 32 up"),
        (["evaluate", "--size", 1, 1], "whole numbers from 32 up"),
        (["data", "--seed", -1], "-1 is not from 0 to"),
        (["train", "--device", "cuda"], "PyTorch finds no GPU"),
        (["inference", "--device", "cuda"], "PyTorch finds no GPU"),
    ],
)
def test_what_can_not_be_measured(options, sentence, run_tool, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, stdout, stderr = run_tool(*options)
    assert code == 2
    assert sentence in stderr and stdout == ""


def test_help_has_an_example(run_tool):
    code, stdout, _ = run_tool("--help")
    assert code == 0
    assert "Example:\n  python tools/benchmark.py inference" in stdout


@pytest.mark.parametrize("work", ["train", "inference", "data", "evaluate"])
def test_help_of_a_work_has_an_example(work, run_tool):
    code, stdout, _ = run_tool(work, "--help")
    assert code == 0
    assert f"Example:\n  python tools/benchmark.py {work}" in stdout
