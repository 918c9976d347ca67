"""export_model.py from end to end, and its file run where Segtron is not."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segtron.inference.export import agreement, run_exported

from .conftest import assert_one_sentence

# Takes the place of `import`: what the runner must do without is not to be had.
BLOCK = """
import runpy, sys
for name in ("segtron", "detectron2", "cv2", "timm", "fvcore"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def export(tiny_run: Path, run_here: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the tool on a tiny, untrained Mask R-CNN."""
    # Else pytest keeps what torch.export notes of each symbol.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)
    config = ("--config-file", tiny_run / "config.yaml")
    return lambda *args: run_here("export_model.py", *config, *args)


def test_a_file_that_runs_by_itself(export: Any, tiny_run: Path, tmp_path: Path) -> None:
    image = tiny_run / "images" / "a.png"
    output = tmp_path / "new" / "tiny.pt2"
    score = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.01")
    # One size only, which takes a fraction of the time.
    size = ("--size", "64", "96")
    code, stderr = export("--format", "torch", "--output", output, *score, *size, "--check", image)
    assert code == 0, stderr
    assert [path.name for path in output.parent.iterdir()] == ["tiny.pt2"]

    command = [sys.executable, "-c", BLOCK, run_exported.__file__, output, image]
    subprocess.run([*command, "--output", tmp_path / "out"], check=True, capture_output=True)
    found = json.loads((tmp_path / "out" / "a.json").read_text())
    assert {entry["class"] for entry in found} <= {"square", "cost in $"}
    assert found
    for entry in found:
        assert entry["segmentation"]["size"] == [64, 96]


def test_mistakes(export: Any, tmp_path: Path) -> None:
    torch = ("--format", "torch", "--output")
    assert_one_sentence(*export(*torch, tmp_path / "a.onnx"), ["a.onnx must end in .pt2"])
    assert_one_sentence(
        *export(*torch, tmp_path / "a.pt2", "--check", tmp_path / "no.png"), ["no.png"]
    )
    assert_one_sentence(
        *export(*torch, tmp_path / "a.pt2", "--size", "100", "64"), ["--size is 100 64", "32"]
    )
    assert_one_sentence(
        *export(*torch, tmp_path / "a.pt2", "--weights", tmp_path / "no.pth"), ["no.pth"]
    )
    assert list(tmp_path.iterdir()) == []


def test_disagreement_ends_with_1(
    export: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "SCORE_DIFFERENCE", -1.0)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    image.save(tmp_path / "noise.png")
    code, stderr = export(
        *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.01", "--size", "64", "64"),
        *("--format", "torch", "--output", tmp_path / "a.pt2", "--check", tmp_path / "noise.png"),
    )
    assert code == 1
    assert "a.pt2 is not kept: scores differ" in stderr
    assert not (tmp_path / "a.pt2").exists()
