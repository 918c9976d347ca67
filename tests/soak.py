#!/usr/bin/env python
"""Kill a training again and again, resume it each time, and compare what comes out with the same
training left alone: weights, optimizer, averaged weights and curves have to be equal to the last
bit.

    make soak            # 20 kills, about eight minutes on two CPU cores

Half of the kills come at a random moment, the others while a checkpoint is being written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from segtron.data.toytown import make_toytown

ROOT = Path(__file__).parents[1]
# Small, but with all that a resumed training has to bring back: sampled proposals, flips and sizes
# at random, momentum, a schedule, averaged weights, a best value, evaluations in between.
CONFIG = ROOT / "configs" / "toytown" / "mask_rcnn_lite0_FPN.yaml"
OPTIONS = (
    "INPUT.MIN_SIZE_TRAIN (72,96) INPUT.MIN_SIZE_TEST 96 DATALOADER.NUM_WORKERS 1 SOLVER.STEPS () "
    "MODEL.FPN.OUT_CHANNELS 16 MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.0 TEST.DETECTIONS_PER_IMAGE "
    "20 MODEL.ROI_BOX_HEAD.FC_DIM 32 MODEL.ROI_MASK_HEAD.CONV_DIM 16 MODEL.DEVICE cpu "
    "MODEL.RPN.POST_NMS_TOPK_TEST 40 SOLVER.IMS_PER_BATCH 2 SOLVER.EMA.ENABLED True"
)
# What no two runs share.
_TIMES = ("time", "eta_seconds")


def run_training(
    datasets: Path, output_dir: Path, options: Sequence[Any], *, resume: bool = False
) -> subprocess.Popen:
    """Start `tools/train_net.py`; its output goes to `output_dir`.log."""
    command = [sys.executable, ROOT / "tools" / "train_net.py", "--config-file", CONFIG]
    command += ["--resume"] if resume else []
    command += [*OPTIONS.split(), *options, "OUTPUT_DIR", output_dir]
    with output_dir.with_suffix(".log").open("a") as log:
        return subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=log,
            env=os.environ | {"DETECTRON2_DATASETS": str(datasets)},
        )


def finish(process: subprocess.Popen, output_dir: Path) -> None:
    """Wait for a training that should succeed."""
    if process.wait() != 0:
        raise RuntimeError(output_dir.with_suffix(".log").read_text()[-3000:])


def kill(process: subprocess.Popen) -> bool:
    """Kill with SIGKILL; says whether the process was still running."""
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return was_running


def kill_while_writing(process: subprocess.Popen, output_dir: Path, number: int = 1) -> bool:
    """Kill while the `number`-th checkpoint from now is being written; says whether one was."""
    seen = set()
    while process.poll() is None:
        seen.update(output_dir.glob(".model_*.pth"))
        if len(seen) >= number:
            return kill(process)
        time.sleep(0.0005)
    return False


def outcome(output_dir: Path) -> dict[str, Any]:
    """What has to be equal: the final checkpoint, and the curves without times."""
    final = torch.load(output_dir / "model_final.pth", weights_only=True)
    for name in list(final["trainer"]["hooks"].get("RecentScalars", {})):
        if name.endswith(_TIMES):
            del final["trainer"]["hooks"]["RecentScalars"][name]
    lines = [json.loads(line) for line in (output_dir / "metrics.json").read_text().splitlines()]
    curves = [
        {name: value for name, value in line.items() if not name.endswith(_TIMES)} for line in lines
    ]
    average = torch.load(output_dir / "model_final_ema.pth", weights_only=True)
    return {"final": final, "average": average, "curves": curves}


def differences(first: Any, second: Any, where: str = "") -> list[str]:
    """The places at which two outcomes are not equal to the last bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        # As bytes, for a NaN is as good as another.
        same = first.dtype == second.dtype and torch.equal(first, second)
        return [] if same else [where]
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return [
            place
            for key in first
            for place in differences(first[key], second[key], f"{where}/{key}")
        ]
    if (
        isinstance(first, list | tuple)
        and isinstance(second, list | tuple)
        and len(first) == len(second)
    ):
        return [
            place
            for number, pair in enumerate(zip(first, second, strict=True))
            for place in differences(*pair, f"{where}/{number}")
        ]
    same = first == second or (first != first and second != second)
    return [] if same else [f"{where}: {str(first)[:80]} and {str(second)[:80]}"]


def soak(folder: Path, *, num_kills: int, iterations: int, seed: int) -> list[str]:
    """Train once left alone, and with kills as often as it takes to have so many of them.

    Args:
        folder: for data and runs.
        num_kills: how often a training is killed, in all.
        iterations: of the whole training.
        seed: of the moments.

    Returns:
        The places where the outcomes differ; nothing if all is well.
    """
    datasets = folder / "datasets"
    make_toytown(datasets / "toytown", train=6, val=3, size=(96, 192), seed=3)
    options = ["SOLVER.MAX_ITER", iterations, "SOLVER.CHECKPOINT_PERIOD", 7]
    options += ["SOLVER.CHECKPOINTS_KEPT", 3, "TEST.EVAL_PERIOD", max(iterations // 4, 1)]
    alone, killed = folder / "alone", folder / "killed"
    start = time.perf_counter()
    finish(run_training(datasets, alone, options), alone)
    seconds = time.perf_counter() - start
    print(f"left alone: {seconds:.0f} s")

    moments = random.Random(seed)
    kills, places = 0, []
    for number in range(num_kills):
        killed = folder / f"killed_{number}"
        kills += _train_with_kills(
            datasets, killed, options, moments, most=num_kills - kills, longest=min(seconds, 30)
        )
        finish(_go_on(datasets, killed, options), killed)
        places += differences(outcome(alone), outcome(killed), killed.name)
        if kills == num_kills:
            return places
    return [*places, f"killed {kills} times only"]


def _train_with_kills(
    datasets: Path,
    output_dir: Path,
    options: Sequence[Any],
    moments: random.Random,
    *,
    most: int,
    longest: float,
) -> int:
    """Train with up to `most` kills, each after `longest` seconds at most; how many there were. A
    process that starts when all is done already is no training, and its end no kill."""
    last = output_dir / "last_checkpoint"
    for attempt in range(most):
        process = _go_on(datasets, output_dir, options)
        if attempt % 2:
            number = moments.randint(1, 5)
            how = f"while writing checkpoint {number}"
            hit = kill_while_writing(process, output_dir, number)
        else:
            delay = moments.uniform(0, longest)
            time.sleep(delay)
            how, hit = f"after {delay:.1f} s", kill(process)
        newest = last.read_text() if last.exists() else "none"
        sentence = f"killed {how}, last checkpoint {newest}"
        print(sentence if hit else "ended before it was killed", flush=True)
        if not hit:
            finish(process, output_dir)
        if newest == "model_final.pth":
            return attempt + hit
    return most


def _go_on(datasets: Path, output_dir: Path, options: Sequence[Any]) -> subprocess.Popen:
    """Resume, or start where a run was killed before there was one."""
    has_run = (output_dir / "config.yaml").exists()
    return run_training(datasets, output_dir, options, resume=has_run)


def main() -> int:
    """Soak, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = soak(
            Path(folder), num_kills=args.kills, iterations=args.iterations, seed=args.seed
        )
    print("\n".join(places) or f"{args.kills} kills: equal to the last bit")
    return 1 if places else 0


if __name__ == "__main__":
    sys.exit(main())
