"""find_lr.py from end to end on toytown, and what it says to a user's mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import TOOLS, assert_one_sentence

CONFIG = TOOLS.parent / "configs" / "toytown" / "unet.yaml"
FAST = str.split(
    "MODEL.DEVICE cpu MODEL.UNET_ENCODER.CHANNELS [4,8] MODEL.SEM_SEG_HEAD.CONVS_DIM 4 "
    "MODEL.SEM_SEG_HEAD.IN_FEATURES ['enc1','enc2'] DATALOADER.NUM_WORKERS 0 "
    "INPUT.MIN_SIZE_TRAIN (64,64) INPUT.CROP.SIZE [32,32] SOLVER.IMS_PER_BATCH 2"
)


@pytest.fixture
def find_lr(datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_here: Any) -> Any:
    """Run the tool on a small U-Net, in an empty folder."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    monkeypatch.chdir(tmp_path)
    return lambda *args: run_here("find_lr.py", "--config-file", CONFIG, *FAST, *args)


def test_curve_numbers_and_a_sentence(find_lr: Any, tmp_path: Path, run_script: Any) -> None:
    options = ["--steps", "40", "--min", "1e-5", "--output", "new/lr.png"]
    code, out, _ = run_script(TOOLS / "find_lr.py", "--config-file", CONFIG, *options, *FAST)
    assert code == 0
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(map(str, written)) == ["new/lr.json", "new/lr.png"]
    with Image.open(tmp_path / "new/lr.png") as image:
        assert image.width == 1200
    numbers = json.loads((tmp_path / "new/lr.json").read_text())
    assert numbers["rates"][0] == pytest.approx(1e-5)
    sentence = out.splitlines()[-1]
    if numbers["suggestion"] is None:
        assert numbers["problem"] in sentence
    else:
        assert sentence.endswith(f"SOLVER.BASE_LR {numbers['base_lr']:g}")

    # Neither is written over.
    (tmp_path / "new/lr.png").unlink()
    before = (tmp_path / "new/lr.json").read_bytes()
    assert_one_sentence(*find_lr("--output", "new/lr.png"), ["lr.json", "--output"])
    assert (tmp_path / "new/lr.json").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--output", "lr.jpg"], ["lr.jpg", ".png"]),
        (["--output", "lr.png", "--min", "2"], ["from 2 to 1"]),
        (["--output", "lr.png", "--steps", "5"], ["5 steps", "20"]),
        (["--output", "lr.png", "SOLVER.BASE_LR", "0.0"], ["SOLVER.BASE_LR is 0.0"]),
        (["--output", "lr.png", "SOLVER.LR_MULTIPLIERS", "[['neck', 2.0]]"], ["'neck'", "found"]),
        (["--output", "lr.png", "MODEL.WEIGHTS", "gone.pth"], ["gone.pth"]),
    ],
)
def test_a_mistake_is_one_sentence(
    find_lr: Any, tmp_path: Path, args: list[str], words: list[str]
) -> None:
    assert_one_sentence(*find_lr(*args), words)
    assert not list(tmp_path.iterdir())
