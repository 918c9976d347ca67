"""tools/evaluate.py as users run it."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segtron.data.panoptic_png import write_panoptic_png

from .conftest import TOOLS, assert_one_sentence

CATEGORIES = [
    {"id": 7, "name": "road", "isthing": 0},
    {"id": 26, "name": "car", "isthing": 1},
    {"id": 24, "name": "person", "isthing": 1},
]


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    """Ground truth and predictions of one image: half a road, and a car of which 8 of 10 columns
    are found."""
    truth = np.full((10, 30), 1)
    truth[:, 20:] = 2000
    guess = np.full((10, 30), 5)
    guess[:, 10:20] = 0
    guess[:, 22:] = 9
    guess[:, 20:22] = 0
    described = {"images": [{"id": "a", "file_name": "a.jpg", "height": 10, "width": 30}]}
    described["categories"] = CATEGORIES
    for name, ids, listed in (
        ("truth", truth, {1: (7, 200), 2000: (26, 100)}),
        ("guess", guess, {5: (7, 100), 9: (26, 80)}),
    ):
        write_panoptic_png(tmp_path / name / "a.png", ids)
        listed = [{"id": i, "category_id": c, "area": n} for i, (c, n) in listed.items()]
        annotation = {"image_id": "a", "file_name": "a.png", "segments_info": listed}
        content = (described if name == "truth" else {}) | {"annotations": [annotation]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "truth.json", tmp_path / "guess.json"


def test_panoptic(files, run_here, tmp_path):
    out = tmp_path / "new folder" / "scores.json"
    code, stderr = run_here(
        "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1], "--json", out
    )
    assert code == 0, stderr
    # The road has an IoU of one half, which is no match.
    content = json.loads(out.read_text())
    assert content == {
        "PQ": 40, "SQ": 40, "RQ": 50,
        "PQ_th": 80, "SQ_th": 80, "RQ_th": 100,
        "PQ_st": 0, "SQ_st": 0, "RQ_st": 0,
        "num_images": 1,
        "per_class": {
            "road": {"PQ": 0, "SQ": 0, "RQ": 0, "ground_truth": 1, "predicted": 1},
            "car": {"PQ": 80, "SQ": 80, "RQ": 100, "ground_truth": 1, "predicted": 1},
            "person": {"PQ": None, "SQ": None, "RQ": None, "ground_truth": 0, "predicted": 0},
        },
    }  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]
    code, stderr = run_here(
        "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1], "--json", out
    )
    assert_one_sentence(code, stderr, ["scores.json would be overwritten", "--json"])
    assert json.loads(out.read_text()) == content


def test_folders_of_pngs_by_name(files, run_here, tmp_path):
    for name in ("truth", "guess"):
        (tmp_path / name).rename(tmp_path / f"{name}_png")
    command = ["evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1]]
    code, stderr = run_here(*command, "--gt-png", tmp_path / "truth_png")
    assert_one_sentence(code, stderr, ["guess", "does not exist", "--pred-png"])
    code, stderr = run_here(
        *command, "--gt-png", tmp_path / "truth_png", "--pred-png", tmp_path / "guess_png"
    )
    assert code == 0, stderr


def test_what_is_wrong_is_one_sentence(files, run_here, tmp_path):
    content = json.loads(files[1].read_text())
    content["annotations"][0]["segments_info"][1]["area"] = 81
    files[1].write_text(json.dumps(content))
    out = tmp_path / "scores.json"
    code, stderr = run_here(
        "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1], "--json", out
    )
    assert_one_sentence(code, stderr, ["a.png", "guess.json", "'a'", "segment 9", "81", "80"])
    assert not out.exists()


def test_as_a_program(files, tmp_path):
    """The table goes to stdout, and nothing else does."""
    done = subprocess.run(
        [sys.executable, TOOLS / "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1]],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines[0].startswith("Panoptic quality: 1 images, 2 ground-truth segments, 2 predicted")
    assert [line.split("|")[1].strip() for line in lines[1:-1] if "---" not in line] == [
        "class", "all", "things", "stuff", "road", "car", "person",
    ]  # fmt: skip


def test_a_task_has_to_be_named(run_here):
    code, stderr = run_here("evaluate.py")
    assert code == 2
    assert "TASK" in stderr


@pytest.mark.parametrize("task", [[], ["panoptic"]])
def test_help_has_an_example(task, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *task, "--help"])
    with pytest.raises(SystemExit) as ending:
        runpy.run_path(str(TOOLS / "evaluate.py"), run_name="__main__")
    assert ending.value.code == 0
    assert "Example:\n  python tools/evaluate.py panoptic --gt" in capsys.readouterr().out
