"""Starting the processes of a job: one, several on this machine, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import launch as launch_processes
from detectron2.utils import comm

from segtron.errors import UserError


def launch(
    function: Callable[..., None],
    args: tuple[Any, ...],
    *,
    num_processes: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
) -> None:
    """Call `function(*args)` in every process of the job, within one process group.

    Under torchrun, which sets RANK, WORLD_SIZE and LOCAL_RANK, the processes are there already, and
    the other arguments are not used. Processes talk over NCCL on GPUs and over gloo on CPUs.

    Args:
        function: called in each process; picklable.
        args: its arguments; picklable.
        num_processes: processes on this machine: one a GPU, or as many as should share the CPUs.
        num_machines: machines of the job.
        machine_rank: which of them this one is, from 0.
        dist_url: where the processes meet, "tcp://HOST:PORT"; needed with several machines.

    Raises:
        UserError: more processes than GPUs, or several machines without a `dist_url`, or with one
            that is none; or what `function` raised as one.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and "LOCAL_RANK" in os.environ:
        _join_torchrun(function, args)
        return
    if num_processes < 1 or num_machines < 1 or not 0 <= machine_rank < num_machines:
        raise UserError(
            f"{num_processes} processes on machine {machine_rank} of {num_machines} is no job; "
            "count processes and machines from 1, the machine's rank from 0"
        )
    gpus = torch.cuda.device_count()
    if gpus and num_processes > gpus:
        raise UserError(f"{num_processes} GPUs are asked for, but this machine has {gpus}")
    if num_machines > 1 and dist_url is None:
        raise UserError("several machines need --dist-url tcp://HOST:PORT, the same on all of them")
    if dist_url is not None and not dist_url.startswith(("tcp://", "file://")):
        raise UserError(f"--dist-url {dist_url} is no address; it looks like tcp://HOST:PORT")
    try:
        launch_processes(
            _call_with_its_share,
            num_processes,
            num_machines,
            machine_rank,
            dist_url or "auto",
            (function, args, num_processes),
        )
    except torch.multiprocessing.ProcessRaisedException as error:
        # It carries the other process's traceback as text.
        _, user_error, sentence = str(error).rpartition(f"{UserError.__name__}: ")
        if user_error:
            raise UserError(sentence.strip()) from error
        raise


def _call_with_its_share(
    function: Callable[..., None], args: tuple[Any, ...], processes_here: int
) -> None:
    """Call `function` with a fair share of the machine's cores."""
    if processes_here > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes_here))
    function(*args)
    # Not when it fails: the other processes would fail as well, for want of this one, and perhaps
    # end before it. The error that is shown is that of the first to end.
    if dist.is_initialized():
        dist.destroy_process_group()


def _join_torchrun(function: Callable[..., None], args: tuple[Any, ...]) -> None:
    local_rank = int(os.environ["LOCAL_RANK"])
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if processes_here > gpus:
            raise UserError(
                f"torchrun started {processes_here} processes, but this machine has {gpus} GPUs; "
                f"give it --nproc-per-node {gpus}"
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    comm.create_local_process_group(processes_here)
    _call_with_its_share(function, args, processes_here)
