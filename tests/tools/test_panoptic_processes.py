"""Panoptic models in two processes: they train, and score and save what one process does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from segtron.machine import num_usable_cores

from .test_panoptic import FAST, LEARN, own_data

# What numbers the two processes have in common with one depends on this in their last digits.
THREADS_OF_EACH = max(1, num_usable_cores() // 2)


@pytest.fixture
def threads_as_in_two() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS_OF_EACH)
    yield
    torch.set_num_threads(before)


def results_of(output_dir: Path, name: str) -> tuple[dict[str, float], dict[str, bytes]]:
    """The scores of the last evaluation, and the saved segments by file."""
    last = json.loads((output_dir / "metrics.json").read_text().splitlines()[-1])
    folder = output_dir / "inference" / name
    files = [folder / "panoptic.json", *folder.glob("panoptic/*.png")]
    return (
        {name: value for name, value in last.items() if "/" in name},
        {str(file.relative_to(folder)): file.read_bytes() for file in files},
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="the point is two processes on CPUs")
@pytest.mark.parametrize("base", ["quick/panoptic_fpn_lite0", "toytown/bottom_up_lite0"])
def test_two_processes_score_and_save_as_one(
    tmp_path: Path, threads_as_in_two: None, run_here: Any, base: str
) -> None:
    # Of three images, so that one process has more than the other.
    config = own_data(tmp_path, base)
    keys = [*FAST, *LEARN, "SOLVER.MAX_ITER", 12, "SOLVER.BASE_LR", 0.01]
    code, stderr = run_here("train_net.py", "--num-gpus", 2, "--config-file", config, *keys)
    assert code == 0, stderr
    code, stderr = run_here(
        *("train_net.py", "--config-file", config, "--eval-only", *keys),
        *("MODEL.WEIGHTS", tmp_path / "out" / "model_final.pth", "OUTPUT_DIR", tmp_path / "one"),
    )
    assert code == 0, stderr
    name = f"panoptic_{tmp_path.name}_val"
    scores, files = results_of(tmp_path / "out", name)
    expected_scores, expected_files = results_of(tmp_path / "one", name)
    assert scores == pytest.approx(expected_scores, abs=1e-9, nan_ok=True)
    assert {"panoptic_seg/PQ", "segm/AP", "sem_seg/mIoU"} <= scores.keys()
    assert len(files) == 4
    assert files == expected_files
    annotations = json.loads(files["panoptic.json"])["annotations"]
    assert all(annotation["segments_info"] for annotation in annotations)
