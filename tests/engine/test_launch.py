"""Launching: whose error is shown, and which jobs are none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
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


# One process waits for ever; what the other does comes from the command line.
WAITING = """
import os
import signal
import sys
import time

import torch.distributed as dist
from segtron import command_line
from segtron.engine import launch
from segtron.engine.signals import Interrupted, StopNotice


def work(how):
    notice = StopNotice()
    with notice.listening():
        dist.barrier()
        if dist.get_rank() == 1:
            print("ready", flush=True)
            if how == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "raises":
                raise RuntimeError("a bug")
        while how != "waits" or notice.signal_name is None:
            time.sleep(0.05)
        raise Interrupted


def main():
    launch(work, (sys.argv[1],), num_processes=2)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
"""


def start_waiting(tmp_path: Path, how: str) -> subprocess.Popen:
    script = tmp_path / "job.py"
    script.write_text(WAITING)
    return subprocess.Popen(
        [sys.executable, str(script), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [("is killed", 2, "process 1 of the job was killed"), ("raises", 1, "RuntimeError: a bug")],
)
def test_nobody_waits_for_a_process_that_died(
    tmp_path: Path, how: str, code: int, said: str
) -> None:
    process = start_waiting(tmp_path, how)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == code, stderr
    assert said in stderr


def test_a_clusters_notice_reaches_all_processes(tmp_path: Path) -> None:
    process = start_waiting(tmp_path, "waits")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 75, stderr
    assert "Traceback" not in stderr


# A notice in one process, and a checkpoint that takes longer than the grace of those that wait.
STOPPING = """
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch.distributed as dist
from segtron import command_line
from segtron.engine import launch
from segtron.engine.hooks import LeaveOnNotice


def work(path):
    if dist.get_rank() == 0:
        time.sleep(3)
        Path(path).touch()
    hook = LeaveOnNotice()
    hook.trainer = SimpleNamespace(is_interrupted=True, iter=5)
    hook.after_step()


def main():
    sys.modules["segtron.engine.launch"]._GRACE_SECONDS = 0.5
    launch(work, (sys.argv[1],), num_processes=2)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
"""


def test_all_wait_for_the_checkpoint_of_a_notice(tmp_path: Path) -> None:
    script, checkpoint = tmp_path / "job.py", tmp_path / "checkpoint"
    script.write_text(STOPPING)
    done = subprocess.run(
        [sys.executable, str(script), str(checkpoint)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 75, done.stderr
    assert checkpoint.exists()


# On a machine of 16 cores: all of them, for an argument below 0, or eight from the argument on.
THREADS = """
import os
import sys

import torch
from segtron.engine import launch


def allowed_cores():
    first = int(sys.argv[1])
    return set(range(16)) if first < 0 else set(range(first, first + 8))


sys.modules["segtron.engine.launch"].allowed_cores = allowed_cores


def work():
    print(torch.get_num_threads(), flush=True)


if __name__ == "__main__":
    launch(work, (), num_processes=1)  # those that the environment says
"""


def run_threads(tmp_path: Path, processes: Sequence[tuple[int, dict[str, str]]]) -> list[str]:
    """What processes print, each with its first core and environment."""
    script = tmp_path / "job.py"
    script.write_text(THREADS)
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(first_core)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} | environment,
        )
        for first_core, environment in processes
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), ended
    return [line for stdout, _ in ended for line in stdout.split()]


def ranks() -> list[dict[str, str]]:
    """The environments of a job's two processes on one machine, as torchrun and srun set them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    job |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return [job | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]


def test_processes_share_cores_that_all_may_use(tmp_path: Path) -> None:
    assert run_threads(tmp_path, [(-1, rank) for rank in ranks()]) == ["8", "8"]


def test_processes_keep_cores_that_are_their_own(tmp_path: Path) -> None:
    first, second = ranks()
    assert run_threads(tmp_path, [(0, first), (8, second)]) == ["8", "8"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_processes": 0}, "is no job"),
        ({"num_processes": 1, "num_machines": 2}, "need --dist-url"),
        ({"num_processes": 1, "num_machines": 2, "dist_url": "localhost"}, "is no address"),
        (
            {"num_processes": 1, "num_machines": 2, "machine_rank": 2},
            "--num-gpus 1, --num-machines 2 and --machine-rank 2 is no job",
        ),
    ],
)
def test_what_is_no_job_is_refused(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        launch(print, (), **options)
