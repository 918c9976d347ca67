"""predict.py, visualize_data.py and visualize_results.py as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TOOLS = Path(__file__).parents[2] / "tools"


def run(tool, *args):
    command = [sys.executable, str(TOOLS / tool), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def assert_mistake(code, stderr, *words):
    assert code == 2, stderr
    (line,) = [line for line in stderr.splitlines() if "error: " in line]
    for word in words:
        assert word in line
    assert "Traceback" not in stderr


def test_predict_writes_what_is_asked_for(tiny_run, tmp_path):
    out = tmp_path / "out"
    images = tmp_path / "in"
    images.mkdir()
    for name in ("a.png", "b.png"):
        (images / name).write_bytes((tiny_run / "images" / name).read_bytes())
    (images / "broken.png").write_bytes(b"nothing")
    arguments = ["--config-file", tiny_run / "config.yaml", "--input", images, "--output", out]
    arguments += ["--save", "overlay,coco,csv", "MODEL.DEVICE", "cpu"]
    done = run("predict.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 images predicted" in done.stdout
    assert "broken.png" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "a.png",
        "b.png",
        "predictions.csv",
        "predictions.json",
    ]
    with Image.open(out / "a.png") as image:
        image.load()
    entries = json.loads((out / "predictions.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {3, 7}
    assert {entry["file_name"] for entry in entries} == {"a.png", "b.png"}

    # A second run must not touch them.
    before = {path: path.read_bytes() for path in out.iterdir()}
    again = run("predict.py", *arguments)
    assert_mistake(again.returncode, again.stderr, "would be overwritten", "--output")
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_predict_names_mistakes(tiny_run, tmp_path, run_here):
    def assert_refused(*args, words):
        config = ["--config-file", tiny_run / "config.yaml", "--output", tmp_path / "out"]
        assert_mistake(*run_here("predict.py", *config, *args), *words)

    assert_refused("--input", tmp_path / "absent", words=["absent does not exist"])
    images = ["--input", tiny_run / "images"]
    assert_refused(*images, "--save", "film", words=["film", "coco, labels, overlay"])
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    assert_refused(*images, "--weights", broken, words=["broken.pth"])
    assert_refused(*images, "--score-threshold", "50", words=["50 is not between 0 and 1"])
    assert_refused(*images, "--batch-size", "0", words=["0 is not 1 or more"])
    assert_refused(*images, "SOLVR.BASE_LR", "1", words=["SOLVR.BASE_LR", "SOLVER.BASE_LR"])
    assert not (tmp_path / "out").exists()


def test_visualize_data_draws_what_the_model_is_fed(tiny_run, tmp_path, run_here):
    out = tmp_path / "out"
    config = ["--config-file", tiny_run / "config.yaml"]
    code, stderr = run_here("visualize_data.py", *config, "--output", out)
    assert code == 0, stderr
    assert {path.name for path in out.iterdir()} == {"overview.png", "001_a.png", "002_b.png"}
    again = run_here("visualize_data.py", *config, "--output", out)
    assert_mistake(*again, "would be overwritten")


def test_visualize_results_wants_a_scored_run(tiny_run, tmp_path, run_here):
    wanted = run_here("visualize_results.py", tmp_path)
    assert_mistake(*wanted, "config.yaml does not exist", "train_net")
    assert_mistake(*run_here("visualize_results.py", tiny_run), "score the model first")


@pytest.mark.parametrize("tool", ["predict.py", "visualize_data.py", "visualize_results.py"])
def test_help_has_an_example(tool, run_script):
    code, out, _ = run_script(TOOLS / tool, "--help")
    assert code == 0
    assert f"python tools/{tool} " in out
