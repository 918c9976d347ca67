"""Launching: whose error is shown, and which jobs are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segtron.engine import launch
from segtron.errors import UserError

# The second process fails and takes two seconds to end; the first can't go on without it.
SCRIPT = """
import time
from multiprocessing.util import Finalize

import torch.distributed as dist
from segtron.engine import launch
from segtron.errors import UserError


def work():
    if dist.get_rank() == 1:
        Finalize(None, time.sleep, args=(2,), exitpriority=10)
        raise UserError("image b.png is truncated")
    dist.barrier()


if __name__ == "__main__":
    try:
        launch(work, (), num_processes=2)
    except UserError as error:
        print(error.sentence)
"""


def test_the_sentence_of_the_process_that_failed_is_shown(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )
    assert done.stdout.strip() == "image b.png is truncated", done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_processes": 0}, "is no job"),
        ({"num_processes": 1, "num_machines": 2}, "need --dist-url"),
        ({"num_processes": 1, "num_machines": 2, "dist_url": "localhost"}, "is no address"),
        ({"num_processes": 1, "num_machines": 2, "machine_rank": 2}, "is no job"),
    ],
)
def test_what_is_no_job_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        launch(print, (), **options)
