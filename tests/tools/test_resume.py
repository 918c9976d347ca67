"""A training that is killed, asked to stop or robbed of its last checkpoint goes on as if nothing
had happened: weights, optimizer, averages and curves are those of the same training left alone.

The long form of this is tests/soak.py (`make soak`).
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ..soak import differences, finish, kill, kill_while_writing, outcome, run_training

OPTIONS = ["SOLVER.MAX_ITER", 16, "SOLVER.CHECKPOINT_PERIOD", 5, "TEST.EVAL_PERIOD", 7]
OPTIONS += ["TEST.VALIDATION_LOSS", "True"]


@pytest.fixture(scope="module")
def alone(datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output_dir = tmp_path_factory.mktemp("alone") / "out"
    finish(run_training(datasets, output_dir, OPTIONS), output_dir)
    return output_dir


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, path.parent.with_suffix(".log").read_text()[-3000:]
        time.sleep(0.01)


def log_of(output_dir: Path) -> str:
    return output_dir.with_suffix(".log").read_text()


def test_killed_while_it_writes_a_checkpoint(datasets: Path, alone: Path, tmp_path: Path) -> None:
    output_dir = tmp_path / "out"
    assert kill_while_writing(run_training(datasets, output_dir, OPTIONS), output_dir)
    # Before the first checkpoint was whole there is nothing to go on from but the seed. (On a
    # machine that is busy it may have become whole before the process was gone.)
    has_none = not (output_dir / "last_checkpoint").exists()
    process = run_training(datasets, output_dir, OPTIONS, resume=True)
    wait_for(output_dir / "model_0000009.pth", process)
    assert kill(process)
    finish(run_training(datasets, output_dir, OPTIONS, resume=True), output_dir)
    assert differences(outcome(alone), outcome(output_dir)) == []
    assert not list(output_dir.glob(".*"))
    assert ("starts from the beginning" in log_of(output_dir)) == has_none


def test_asked_to_stop(datasets: Path, alone: Path, tmp_path: Path) -> None:
    output_dir = tmp_path / "out"
    process = run_training(datasets, output_dir, OPTIONS)
    wait_for(output_dir / "metrics.json", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75, log_of(output_dir)
    assert (output_dir / "last_checkpoint").exists()
    finish(run_training(datasets, output_dir, OPTIONS, resume=True), output_dir)
    assert differences(outcome(alone), outcome(output_dir)) == []
    assert "The job was asked to stop" in log_of(output_dir)


def test_its_last_checkpoints_damaged(datasets: Path, alone: Path, tmp_path: Path) -> None:
    output_dir = tmp_path / "out"
    shutil.copytree(alone, output_dir)
    for name, damage in (("model_final.pth", "cut off"), ("model_0000014.pth", "a byte")):
        content = bytearray((output_dir / name).read_bytes())
        if damage == "cut off":
            content = content[: len(content) // 3]
        else:
            content[len(content) // 2] ^= 1
        (output_dir / name).write_bytes(content)
    finish(run_training(datasets, output_dir, OPTIONS, resume=True), output_dir)
    assert differences(outcome(alone), outcome(output_dir)) == []
    assert "model_0000014.pth instead" in log_of(output_dir)
    assert "model_0000009.pth instead" in log_of(output_dir)
