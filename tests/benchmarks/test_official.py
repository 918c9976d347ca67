from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from segtron.benchmarks import official
from segtron.benchmarks.frames import PANOPTIC_SET, Frames
from segtron.benchmarks.official import OfficialScripts, prepare_official_scripts
from segtron.benchmarks.ways import in_memory
from segtron.errors import UserError
from segtron.evaluation import PanopticEvaluator


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
        prepare_official_scripts(cache)
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
        prepare_official_scripts()
    venv, install = log.read_text().splitlines()
    assert "-m venv" in venv
    assert "-m pip install --no-deps" in install
    assert "official_scorers.txt" in install
    (folder,) = (tmp_path / "segtron").iterdir()
    assert (folder / "bin" / "python").exists()

    pins = tmp_path / "pins.txt"
    pins.write_text("numpy==1.26.3\n")
    monkeypatch.setattr(official, "_PINS", pins)
    prepare_official_scripts()
    assert len(list((tmp_path / "segtron").iterdir())) == 2


def test_no_suitable_python(monkeypatch, tmp_path):
    monkeypatch.setattr(official, "_VERSIONS", ((2, 1),))
    with pytest.raises(UserError, match=r"numpy<2.*Python 3\.11 or 3\.12"):
        prepare_official_scripts(tmp_path)


def test_pins_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(official, "_PINS", tmp_path / "none.txt")
    with pytest.raises(UserError, match=r"none\.txt cannot be read.*clone"):
        prepare_official_scripts(tmp_path)


@pytest.fixture(scope="module")
def panoptic_files(tmp_path_factory):
    root = tmp_path_factory.mktemp("panoptic")
    frames = Frames(root / "frames", 2, size=(64, 128), most_instances=1, seed=1)
    run = in_memory(PanopticEvaluator(PANOPTIC_SET), frames.panoptic_records, frames.panoptic)()
    return frames.panoptic_json, frames.save_panoptic(root / "run"), run.result


def test_worker(panoptic_files):
    """Its panoptic part, which works with this environment's numpy."""
    gt_json, pred_json, expected = panoptic_files
    scripts = OfficialScripts(sys.executable)
    run = scripts.score_panoptic(gt_json, pred_json, pred_json.with_suffix(""))
    assert run.seconds > 0
    assert scripts.numpy is not None
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
    run = OfficialScripts(sys.executable).score_panoptic(empty, pred_json, tmp_path)
    assert all(math.isnan(value) for value in run.result.values())


def test_failure_of_a_script_is_a_bug(tmp_path):
    with pytest.raises(RuntimeError, match="Traceback"):
        OfficialScripts(sys.executable).score_panoptic(*[tmp_path / "none.json"] * 3)


def test_worker_needs_no_segtron():
    """The environment of the scripts has none."""
    code = f"import runpy, sys; runpy.run_path({str(official._WORKER)!r}); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-I", "-c", code], text=True).split()
    assert not {"segtron", "torch", "detectron2"} & set(loaded)
