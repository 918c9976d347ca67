"""Starting the processes of a job: one, several on this machine, or those that torchrun started."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence, Set
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm

from segtron.engine.signals import REQUEUE_EXIT_CODE, SIGNALS, Interrupted
from segtron.errors import UserError
from segtron.machine import allowed_cores
from segtron.wording import count_of

# How long processes may take to end by themselves when one has failed, and to obey SIGTERM then.
_GRACE_SECONDS = 5


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
            that is none; or what `function` raised as one, or a process was killed.
        Interrupted: the job was asked to stop.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and "LOCAL_RANK" in os.environ:
        _join_torchrun(function, args)
        return
    if num_processes < 1 or num_machines < 1 or not 0 <= machine_rank < num_machines:
        raise UserError(
            f"--num-gpus {num_processes}, --num-machines {num_machines} and --machine-rank "
            f"{machine_rank} is no job; count processes and machines from 1, the machine's rank "
            "from 0"
        )
    gpus = torch.cuda.device_count()
    if gpus and num_processes > gpus:
        raise UserError(
            f"--num-gpus is {num_processes}, but this machine has {count_of(gpus, 'GPU')}; lower it"
        )
    if num_machines > 1 and dist_url is None:
        raise UserError("several machines need --dist-url tcp://HOST:PORT, the same on all of them")
    if dist_url is not None and not dist_url.startswith(("tcp://", "file://")):
        raise UserError(f"--dist-url {dist_url} is no address; it looks like tcp://HOST:PORT")
    if num_processes * num_machines == 1:
        function(*args)
        return
    if dist_url is None:
        dist_url = f"tcp://127.0.0.1:{_free_port()}"
    _run_processes(
        _join_machine, (function, args, num_processes, num_machines, machine_rank, dist_url)
    )


def _run_processes(worker: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Run `worker(local_rank, *args)` in processes until all have ended, or one has failed.

    Notices of a cluster are passed on to the processes. When one fails, the others get a moment to
    end by themselves, and are killed then, so that nothing waits for what never comes.
    """
    num_processes = args[2]
    context = mp.start_processes(worker, args, num_processes, join=False)

    notices: list[int] = []

    def pass_on(number: int, _: object) -> None:
        notices.append(number)
        for process in context.processes:
            if process.is_alive():
                os.kill(process.pid, number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        while not context.join(grace_period=_GRACE_SECONDS):
            pass
    except mp.ProcessRaisedException as error:
        # It carries the other process's traceback as text.
        _, user_error, sentence = str(error).rpartition(f"{UserError.__name__}: ")
        if user_error:
            raise UserError(sentence.strip()) from error
        raise
    except mp.ProcessExitedException as error:
        # A notice may come before a process listens, or a second time.
        was_noticed = error.signal_name in [signal.Signals(number).name for number in notices]
        if error.exit_code == REQUEUE_EXIT_CODE or was_noticed:
            raise Interrupted from error
        if error.signal_name == signal.SIGKILL.name:
            raise UserError(
                f"process {error.error_index} of the job was killed, and so the others are ended; "
                "if it was for memory, lower SOLVER.IMS_PER_BATCH or DATALOADER.NUM_WORKERS"
            ) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _join_machine(
    local_rank: int,
    function: Callable[..., None],
    args: tuple[Any, ...],
    num_processes: int,
    num_machines: int,
    machine_rank: int,
    dist_url: str,
) -> None:
    """What a process does that `launch` started."""
    _join_group(
        local_rank,
        num_processes,
        init_method=dist_url,
        rank=machine_rank * num_processes + local_rank,
        world_size=num_processes * num_machines,
    )
    _call_with_its_share(function, args, num_processes)


def _join_group(local_rank: int, processes_here: int, **group: Any) -> None:
    """Join the job's processes, over NCCL on GPUs and over gloo on CPUs."""
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if on_gpus else "gloo", **group)
    comm.create_local_process_group(processes_here)


def _call_with_its_share(
    function: Callable[..., None], args: tuple[Any, ...], processes_here: int
) -> None:
    """Call `function` with this process's share of the machine's cores."""
    if processes_here > 1:
        cores = allowed_cores() or set(range(os.cpu_count() or 1))
        of_all = comm.all_gather(cores, comm.get_local_process_group())
        torch.set_num_threads(_share_of_cores(cores, of_all))
    try:
        function(*args)
    except UserError as error:
        # Under the one name by which it is known when it comes from another process.
        raise UserError(error.sentence) from error
    # Not when it fails: the other processes would fail as well, for want of this one, and perhaps
    # end before it. The error that is shown is that of the first to end.
    if dist.is_initialized():
        dist.destroy_process_group()


def _share_of_cores(cores: Set[int], of_all: Sequence[Set[int]]) -> int:
    """How many threads a process should have.

    The processes that one program starts on a machine (`launch` itself, torchrun) may all use the
    same cores, and each gets its part of them. Those that srun binds to cores of their own
    (`--cpus-per-task`) have nothing to divide. No variable tells the two apart, for torchrun runs
    under SLURM, too; but the processes can tell each other which cores they may use.

    Args:
        cores: that this process may use.
        of_all: those of each process on this machine, this one among them.
    """
    return max(1, len(cores) // sum(not cores.isdisjoint(others) for others in of_all))


def _join_torchrun(function: Callable[..., None], args: tuple[Any, ...]) -> None:
    local_rank = int(os.environ["LOCAL_RANK"])
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if processes_here > gpus:
            raise UserError(
                f"torchrun started {processes_here} processes, but this machine has "
                f"{count_of(gpus, 'GPU')}; give it --nproc-per-node {gpus}"
            )
    _join_group(local_rank, processes_here)
    _call_with_its_share(function, args, processes_here)
