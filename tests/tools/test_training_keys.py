"""What a training can be asked for by keys, from end to end, and what it says of trouble."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ..soak import CONFIG, OPTIONS
from .conftest import assert_one_sentence

BASE = ["--config-file", str(CONFIG), *OPTIONS.split(), "DATALOADER.NUM_WORKERS", "0"]
BASE += ["INPUT.MIN_SIZE_TRAIN", "(96,)"]


@pytest.fixture(autouse=True)
def on_small_data(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))


def lines_of(output_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output_dir / "metrics.json").read_text().splitlines()]


def test_all_at_once(tmp_path: Path, run_here: Any) -> None:
    """16 bits, parts of batches, less memory, averages, validation loss, best, an early end."""
    out = tmp_path / "out"
    keys = {
        "SOLVER.MAX_ITER": 9,
        "SOLVER.CHECKPOINT_PERIOD": 2,
        "SOLVER.CHECKPOINTS_KEPT": 2,
        "SOLVER.AMP.ENABLED": True,
        "SOLVER.ACCUMULATE": 2,
        "SOLVER.AVERAGE_LAST": 2,
        "SOLVER.LR_SCHEDULER_NAME": "WarmupPolyLR",
        "SOLVER.REFERENCE_BATCH_SIZE": 8,
        "SOLVER.BASE_LR": 1e-7,
        "MODEL.ACTIVATION_CHECKPOINTING": True,
        "TEST.EVAL_PERIOD": 2,
        "TEST.VALIDATION_LOSS": True,
        "TEST.BEST.METRIC": "validation/total_loss",
        # Nothing gets better by so much.
        "TEST.EARLY_STOPPING.PATIENCE": 2,
        "TEST.EARLY_STOPPING.MIN_DELTA": 1000.0,
        "LOG.PICTURES_PERIOD": 4,
        "LOG.PICTURES_NUMBER": 1,
        "OUTPUT_DIR": out,
    }
    code, stderr = run_here(
        "train_net.py", *BASE, *(part for item in keys.items() for part in item)
    )
    assert code == 0, stderr
    log = (out / "log.txt").read_text()
    assert "has not got better in 2 evaluations" in log
    assert "BASE_LR 1e-07, for batches of 8 images" in log
    names = {path.name for path in out.glob("*.pth")}
    assert names == {"model_0000003.pth", "model_0000005.pth", "model_final.pth"} | {
        "model_final_ema.pth",
        "model_average.pth",
        "model_best.pth",
    }
    final = torch.load(out / "model_final.pth", weights_only=True)
    assert final["iteration"] == 5
    scores: dict[str, Any] = {}
    for line in lines_of(out):
        scores |= line
    for name in ("segm/AP", "ema/segm/AP", "average/segm/AP", "validation/loss_mask"):
        assert name in scores
    best = torch.load(out / "model_best.pth", weights_only=True)
    assert best["metric"] == "validation/total_loss"
    losses = [
        line["validation/total_loss"] for line in lines_of(out) if "validation/loss_cls" in line
    ]
    assert best["value"] == min(losses)
    assert len(losses) == 3
    assert (out / "run.json").exists()
    assert len(list((out / "pictures").glob("*.png"))) == 1


def test_a_loss_that_diverges_is_named(tmp_path: Path, run_here: Any) -> None:
    code, stderr = run_here(
        "train_net.py",
        *BASE,
        "SOLVER.MAX_ITER",
        40,
        "SOLVER.BASE_LR",
        1e30,
        "SOLVER.OPTIMIZER",
        "SGD",
        "SOLVER.WARMUP_ITERS",
        0,
        "SOLVER.CLIP_GRADIENTS.ENABLED",
        False,
        "OUTPUT_DIR",
        tmp_path / "out",
    )
    assert_one_sentence(code, stderr, ["_leftImg8bit.png", "iteration", "lower SOLVER.BASE_LR"])


def test_parts_have_to_fit(tmp_path: Path, run_here: Any) -> None:
    code, stderr = run_here(
        "train_net.py", *BASE, "SOLVER.ACCUMULATE", 3, "OUTPUT_DIR", tmp_path / "out"
    )
    assert_one_sentence(code, stderr, ["SOLVER.ACCUMULATE is 3", "2 images of a process"])
