"""A data loader that says which file one of its processes was reading when that process died.

A decoder that crashes, or the kernel when memory runs out, ends a process with no exception to pass
on, and PyTorch knows only its number.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

import cv2
import torch.utils.data
from detectron2.data import DatasetFromList
from detectron2.data.build import trivial_batch_collator

from segtron.errors import UserError

_NOTHING = -1
_SECONDS_TO_DIE = 2


class MappedRecords(torch.utils.data.Dataset):
    """Standard dicts, each mapped when it is asked for.

    Processes share the memory of the dicts, and leave a note of which one they are at.
    """

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        mapper: Callable[[dict[str, Any]], dict[str, Any]],
        num_workers: int,
    ) -> None:
        """Take dicts to map.

        Args:
            records: standard dicts.
            mapper: from a standard dict to what a model is fed.
            num_workers: how many processes will read at once; 0 is the main process alone.
        """
        self.num_workers = num_workers
        self._records = DatasetFromList(records, copy=False)
        self._mapper = mapper
        # For each process its number, and the index of the record that it is at.
        self._notes = multiprocessing.RawArray("q", 2 * num_workers)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.map_record(index)

    def map_record(self, index: int) -> dict[str, Any]:
        """Map one record, and say meanwhile that it is being read."""
        with self._noted(index):
            return self._mapper(self._records[index])

    def file_name(self, index: int) -> str:
        """The image file of a record."""
        return self._records[index]["file_name"]

    def file_read_by(self, process: int) -> str | None:
        """The image file that a process, given by its number, is at, or was at when it died."""
        for owner, index in zip(self._notes[::2], self._notes[1::2], strict=True):
            if owner == process and index != _NOTHING:
                return self.file_name(index)
        return None

    @contextlib.contextmanager
    def _noted(self, index: int) -> Iterator[None]:
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            yield
            return
        self._notes[2 * worker.id : 2 * worker.id + 2] = [os.getpid(), index]
        try:
            yield
        finally:
            self._notes[2 * worker.id + 1] = _NOTHING


class WatchedLoader(torch.utils.data.DataLoader):
    """Batches as lists of mapped dicts, read by processes whose end is explained.

    Closing what `iter` gives, or forgetting it, ends its processes.
    """

    def __init__(self, dataset: MappedRecords, **kwargs: Any) -> None:
        """Make a loader.

        Args:
            dataset: what is read, and by how many processes.
            **kwargs: as for `torch.utils.data.DataLoader`: which batches to read.
        """
        super().__init__(
            dataset,
            num_workers=dataset.num_workers,
            collate_fn=trivial_batch_collator,
            worker_init_fn=_prepare_worker,
            # Without one of its own it would draw from the training's.
            generator=torch.Generator(),
            **kwargs,
        )

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Read the batches.

        Raises:
            UserError: what the mapper raises, its sentence alone; or a process died, which names
                the file that it was reading.
        """
        others = set(multiprocessing.active_children())
        with _one_opencv_thread():
            batches = super().__iter__()
        workers = [p for p in multiprocessing.active_children() if p not in others]
        if not workers:
            yield from batches
            return
        watch = _Watch(self.dataset, workers)
        _explain_deaths_of_children()
        failure: UserError | None = None
        try:
            yield from batches
        except Exception as error:
            # Or the error would keep alive what raised it, and so the other processes. What it says
            # of its own process is text.
            traceback.clear_frames(error.__traceback__)
            failure = _sentence_alone(error) or watch.explain_failure()
            if failure is None:
                raise
        finally:
            watch.end()
            del batches
        if failure is not None:
            raise failure  # not up there, where it would keep the other error


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Let OpenCV end its threads, for a process that is forked now would wait for them forever."""
    number = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(number)


def _sentence_alone(error: Exception) -> UserError | None:
    """What another process had to say to the user, without its traceback."""
    return type(error)(error.sentence) if isinstance(error, UserError) else None


class _Watch:
    """The processes that read for one iteration over a loader."""

    def __init__(
        self, dataset: MappedRecords, workers: Sequence[multiprocessing.process.BaseProcess]
    ) -> None:
        self._dataset = dataset
        self._workers = workers
        _watches.add(self)

    def explain_failure(self) -> UserError | None:
        """What to tell when reading failed, None if it was not because a process died."""
        # The main process can find a connection broken before the process at its other end is gone.
        ending = wait([worker.sentinel for worker in self._workers], timeout=_SECONDS_TO_DIE)
        for worker in self._workers:
            if worker.sentinel in ending:
                worker.join(timeout=_SECONDS_TO_DIE)
        return self.explain_death()

    def explain_death(self) -> UserError | None:
        """What to tell of a process that died, None if all live or ended in good order."""
        dead = [worker for worker in self._workers if worker.exitcode]
        if not dead:
            return None
        # The one that a signal ended, if there is one; others may have ended for want of it.
        worker = min(dead, key=lambda worker: worker.exitcode)
        file_name = self._dataset.file_read_by(worker.pid)
        return UserError(
            f"a data-loading process was ended by {_cause(worker.exitcode)} "
            + ("between two images" if file_name is None else f"while it read {file_name}")
            + f"; {_remedy(worker.exitcode)}lower DATALOADER.NUM_WORKERS "
            f"(now {len(self._workers)}), or make large images smaller"
        )

    def end(self) -> None:
        """Explain no more deaths."""
        _watches.discard(self)


_watches: weakref.WeakSet[_Watch] = weakref.WeakSet()


def _cause(exit_code: int) -> str:
    if exit_code > 0:
        return f"exit code {exit_code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-exit_code).name
    return f"signal {-exit_code}"


def _remedy(exit_code: int) -> str:
    """What comes before the remedy that always may help: less memory."""
    if exit_code == -signal.SIGKILL:
        return "memory has probably run out: "
    if exit_code == -signal.SIGBUS:
        return "shared memory has probably run out: make /dev/shm larger, "
    return "if it is the same file each time repair or remove it, else "


class _ChildHandler:
    """A handler of SIGCHLD that gives PyTorch's error the name of a file.

    PyTorch's own handler raises it wherever the main process happens to be, such as in the middle
    of a training step, where no one would expect an error of a data loader.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        try:
            self._handler(signal_number, frame)
        except RuntimeError as error:
            for watch in list(_watches):
                explained = watch.explain_death()
                if explained is not None:
                    watch.end()
                    raise explained from error
            raise


def _explain_deaths_of_children() -> None:
    """Put a `_ChildHandler` round PyTorch's handler, which its first loader with processes sets."""
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if callable(handler) and not isinstance(handler, _ChildHandler):
        signal.signal(signal.SIGCHLD, _ChildHandler(handler))


def _prepare_worker(worker: int) -> None:
    # Else each collection of garbage would write into all objects of the main process, and so end
    # the sharing of their memory.
    gc.freeze()
    # PyTorch limits its own threads. OpenCV would start as many as there are cores in each process.
    cv2.setNumThreads(1)
    # Ctrl-C, and what `timeout`, systemd or Slurm send, reaches all processes of a job. What comes
    # of it is the main process's to say, which may want to finish what it is at.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS has none
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_told_by_parent, daemon=True).start()


def _end_when_told_by_parent() -> None:
    parent = multiprocessing.parent_process().pid
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)
