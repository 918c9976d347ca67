from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from segtron.benchmarks import official
from segtron.benchmarks.coco_ways import (
    coco_results,
    coco_set,
    error_type_scores,
    file_scores,
    listed_results,
    without_ties,
)
from segtron.benchmarks.frames import PANOPTIC_SET, Frames
from segtron.benchmarks.official import OfficialScorers, prepare_official_scorers
from segtron.benchmarks.ways import in_memory
from segtron.errors import UserError
from segtron.evaluation.coco_ground_truth import load_coco_ground_truth
from segtron.evaluation.error_types import ERROR_TYPES
from segtron.evaluation.panoptic import PanopticEvaluator
from segtron.files import write_json


def program(path, text) -> str:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


def test_failure_is_said_and_leaves_nothing(monkeypatch, tmp_path):
    """As without network: pip's own words, in one sentence."""
    python = program(
        tmp_path / "python",
        "print('Looking')\nprint('ERROR: no numpy==1.26.4')\nprint('bye')\nraise SystemExit(1)",
    )
    monkeypatch.setattr(official, "_suitable_python", lambda: python)
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match=r"no numpy==1\.26\.4\).*needs the network"):
        prepare_official_scorers(cache)
    assert list(cache.iterdir()) == []


def test_environment_is_made_once_for_the_same_pins(monkeypatch, tmp_path):
    """By a python that makes a copy of itself where `venv` would."""
    log = tmp_path / "log"
    python = program(
        tmp_path / "python",
        "import pathlib, shutil, sys\n"
        f"pathlib.Path({str(log)!r}).open('a').write(' '.join(sys.argv[1:]) + chr(10))\n"
        "if 'venv' in sys.argv:\n"
        "    folder = pathlib.Path(sys.argv[-1], 'bin')\n"
        "    folder.mkdir()\n"
        "    shutil.copy(__file__, folder / 'python')\n",
    )
    monkeypatch.setattr(official, "_suitable_python", lambda: python)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        prepare_official_scorers()
    venv, install = log.read_text().splitlines()
    assert "-m venv" in venv
    assert "-m pip install --no-deps" in install
    assert "official_scorers.txt" in install
    (folder,) = (tmp_path / "segtron").iterdir()
    assert (folder / "bin" / "python").exists()

    pins = tmp_path / "pins.txt"
    pins.write_text("numpy==1.26.3\n")
    monkeypatch.setattr(official, "_PINS", pins)
    prepare_official_scorers()
    assert len(list((tmp_path / "segtron").iterdir())) == 2


def test_no_suitable_python(monkeypatch, tmp_path):
    monkeypatch.setattr(official, "_VERSIONS", ((2, 1),))
    with pytest.raises(UserError, match=r"numpy<2.*Python 3\.11 or 3\.12"):
        prepare_official_scorers(tmp_path)


def test_pins_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(official, "_PINS", tmp_path / "none.txt")
    with pytest.raises(UserError, match=r"none\.txt cannot be read.*clone"):
        prepare_official_scorers(tmp_path)


@pytest.fixture(scope="module")
def panoptic_files(tmp_path_factory):
    root = tmp_path_factory.mktemp("panoptic")
    frames = Frames(root / "frames", 2, size=(64, 128), most_instances=1, seed=1)
    run = in_memory(PanopticEvaluator(PANOPTIC_SET), frames.panoptic_records, frames.panoptic)()
    return frames.panoptic_json, frames.save_panoptic(root / "run"), run.result


def test_worker(panoptic_files):
    """Its panoptic part, which works with this environment's numpy."""
    gt_json, pred_json, expected = panoptic_files
    scripts = OfficialScorers(sys.executable)
    run = scripts.score_panoptic(gt_json, pred_json, pred_json.with_suffix(""))
    assert run.seconds > 0
    assert scripts.numpy is not None
    assert not Path("/proc/self/status").exists() or 20e6 < scripts.peak_bytes < 2e9
    assert set(run.result) == {
        f"{name}{suffix}" for name in ("PQ", "SQ", "RQ") for suffix in ("", "_th", "_st")
    }
    for name, value in run.result.items():
        assert value == pytest.approx(expected[f"panoptic_seg/{name}"], abs=1e-9)
    assert 5 < run.result["PQ"] < 95


def test_worker_says_what_is_undefined(panoptic_files, tmp_path):
    """Without any segment on both sides, where the scorer divides by zero."""
    gt_json, pred_json, _ = panoptic_files
    content = json.loads(gt_json.read_text())
    content["annotations"] = []
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(content))
    run = OfficialScorers(sys.executable).score_panoptic(empty, pred_json, tmp_path)
    assert all(math.isnan(value) for value in run.result.values())


@pytest.fixture(scope="module")
def made_before():
    """The environment of the official scorers, if there is one on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(official, "_run_step", lambda _: pytest.skip("no environment was made yet"))
        try:
            return prepare_official_scorers()
        except UserError as error:
            pytest.skip(error.sentence)


@pytest.fixture(scope="module")
def coco_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    frames = Frames(folder / "frames", 2, size=(128, 256), most_instances=30, seed=3)
    records = frames.write_coco_json(folder / "truth.json", repeats=2)
    with coco_set(folder / "truth.json") as name:
        ground_truth = load_coco_ground_truth(name)
        results = coco_results(name, records, lambda i: frames.instances(i % 2, 30))
    distinct = without_ties(ground_truth, results)
    write_json(folder / "results.json", listed_results(distinct, "segm"))
    return folder / "truth.json", folder / "results.json", ground_truth, distinct


def test_boundary_ap(made_before, coco_files):
    gt_json, results_json, _, _ = coco_files
    run = made_before.score_boundaries(gt_json, results_json, 0.01)
    ours = file_scores(gt_json, results_json, 0.01)["boundary"]
    assert run.seconds > 0
    assert run.result == pytest.approx(ours, abs=1e-6, nan_ok=True)
    assert 5 < run.result["AP"] < file_scores(gt_json, results_json)["segm"]["AP"] < 95


def test_error_types(made_before, coco_files):
    gt_json, results_json, ground_truth, results = coco_files
    run = made_before.score_error_types(gt_json, results_json)
    ours = error_type_scores(ground_truth, results, "segm")["error_types"]
    assert run.seconds > 0
    assert set(run.result) == set(ours)
    for name, value in run.result.items():
        assert value == pytest.approx(ours[name], abs=0 if name.startswith("number-") else 0.5)
    assert all(ours[f"number-{name}"] > 0 for name in ERROR_TYPES)


def test_failure_of_a_script_is_a_bug(tmp_path):
    with pytest.raises(RuntimeError, match="Traceback"):
        OfficialScorers(sys.executable).score_panoptic(*[tmp_path / "none.json"] * 3)


def test_worker_needs_no_segtron():
    """The environment of the scripts has none."""
    code = f"import runpy, sys; runpy.run_path({str(official._WORKER)!r}); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-I", "-c", code], text=True).split()
    assert not {"segtron", "torch", "detectron2"} & set(loaded)
