"""Semantic models trained by two processes: what is scored is what is saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import assert_one_sentence

ROOT = Path(__file__).parents[2]
SMALL = str.split(
    "MODEL.DEVICE cpu MODEL.UNET_ENCODER.CHANNELS [4,8] MODEL.SEM_SEG_HEAD.CONVS_DIM 4 "
    "MODEL.SEM_SEG_HEAD.IN_FEATURES ['enc1','enc2'] DATALOADER.NUM_WORKERS 0 "
    "INPUT.MIN_SIZE_TRAIN (64,96) INPUT.CROP.SIZE [64,96] INPUT.MIN_SIZE_TEST 96 "
    "SOLVER.MAX_ITER 6 SOLVER.IMS_PER_BATCH 2 SOLVER.STEPS ()"
)


def run(datasets: Path, *args: Any) -> subprocess.CompletedProcess:
    config = ROOT / "configs" / "toytown" / "unet.yaml"
    command = [sys.executable, ROOT / "tools" / "train_net.py", "--config-file", config, *args]
    return subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"DETECTRON2_DATASETS": str(datasets)},
    )


def last_scores(output_dir: Path) -> dict[str, float]:
    last = json.loads((output_dir / "metrics.json").read_text().splitlines()[-1])
    return {name: value for name, value in last.items() if name.startswith("sem_seg/")}


@pytest.mark.skipif(torch.cuda.is_available(), reason="the point is two processes on CPUs")
def test_the_checkpoint_has_the_score_of_the_training(datasets: Path, tmp_path: Path) -> None:
    # Each process has seen other images, and batch norm's statistics of them.
    done = run(datasets, "--num-gpus", 2, *SMALL, "OUTPUT_DIR", tmp_path)
    assert done.returncode == 0, done.stderr
    trained = last_scores(tmp_path)
    done = run(datasets, "--eval-only", *SMALL, "OUTPUT_DIR", tmp_path)
    assert done.returncode == 0, done.stderr
    assert last_scores(tmp_path) == pytest.approx(trained, abs=1e-9, nan_ok=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the point is two processes on CPUs")
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["MODEL.UNET_ENCODER.CHANNELS", "[4,8,8]"], ["enc3", "have no part in the loss"]),
        (["MODEL.SEM_SEG_HEAD.NORM", "SyncBN"], ["SyncBN", "need GPUs", "NORM keys to BN"]),
    ],
)
def test_what_two_processes_cannot_train_is_said(
    datasets: Path, tmp_path: Path, keys: list[str], words: list[str]
) -> None:
    done = run(datasets, "--num-gpus", 2, *SMALL, *keys, "OUTPUT_DIR", tmp_path)
    assert_one_sentence(done.returncode, done.stderr, words)
