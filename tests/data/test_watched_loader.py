"""What is said of data-loading processes that die, and how they end otherwise."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from segtron.data.watched_loader import MappedRecords, WatchedLoader
from segtron.errors import UnreadableFileError, UserError

RECORDS = [{"file_name": f"images/{index}.png", "number": index} for index in range(6)]


class Mapper:
    """Does to one record what a broken file or a machine out of memory would."""

    def __init__(self, trouble: str, at: int) -> None:
        self._trouble = trouble
        self._at = at

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        if record["number"] == self._at:
            if self._trouble.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, self._trouble))
                time.sleep(60)
            if self._trouble == "exit":
                os._exit(3)
            if self._trouble == "unreadable":
                raise UnreadableFileError("image b.png cannot be read; restore it")
            if self._trouble == "bug":
                raise RuntimeError("shapes do not match")
        return record | {"image": torch.tensor(record["number"])}


def loader(trouble: str, at: int, num_workers: int, **kwargs: Any) -> WatchedLoader:
    return WatchedLoader(MappedRecords(RECORDS, Mapper(trouble, at), num_workers), **kwargs)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


def numbers(batches: Iterator[list[dict[str, Any]]]) -> list[int]:
    return [int(image["image"]) for batch in batches for image in batch]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_records_are_mapped_in_order(num_workers: int) -> None:
    batches = loader("none", -1, num_workers)
    assert len(batches) == 6
    assert numbers(batches) == list(range(6))
    assert numbers(loader("none", -1, num_workers, batch_sampler=[[5, 1], [1]])) == [5, 1, 1]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (
            "SIGKILL",
            r"^a data-loading process was ended by SIGKILL while it read images/3\.png; memory has "
            r"probably run out: lower DATALOADER\.NUM_WORKERS \(now 2\), or make large images",
        ),
        ("SIGSEGV", r"ended by SIGSEGV while it read images/3\.png; if it is the same file"),
        ("SIGBUS", r"ended by SIGBUS while it read images/3\.png; shared memory has probably"),
        ("exit", r"ended by exit code 3 while it read images/3\.png; if it is the same file"),
    ],
)
def test_the_file_that_a_dead_process_was_reading_is_named(trouble: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        list(loader(trouble, 3, num_workers=2))
    assert caught.value.sentence == str(caught.value)
    assert multiprocessing.active_children() == []


def test_it_is_named_in_the_middle_of_other_work_too() -> None:
    batches = iter(loader("SIGKILL", 2, num_workers=1))
    assert next(batches)[0]["number"] == 0
    # The process reads ahead. PyTorch interrupts whatever the main process does when it dies.
    with pytest.raises(UserError, match=r"ended by SIGKILL while it read images/2\.png"):
        wait_for(lambda: False)


def test_a_process_that_dies_between_two_images_is_blamed_on_none(tmp_path: Path) -> None:
    def leave_a_trace(record: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / str(record["number"])).touch()
        return record

    images = MappedRecords(RECORDS, leave_a_trace, num_workers=1)
    batches = iter(WatchedLoader(images, batch_sampler=[[0], [1]]))
    next(batches)
    (worker,) = multiprocessing.active_children()
    wait_for(lambda: (tmp_path / "1").exists() and images.file_read_by(worker.pid) is None)
    with pytest.raises(UserError, match="ended by SIGKILL between two images; memory"):
        os.kill(worker.pid, signal.SIGKILL)
        wait_for(lambda: False)


def die_late() -> None:
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_connection_that_breaks_before_its_process_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_off(_: None) -> None:
        raise ConnectionResetError

    def read(self: torch.utils.data.DataLoader) -> Iterator[None]:
        multiprocessing.get_context("fork").Process(target=die_late).start()
        return map(break_off, [None])

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", read)
    with pytest.raises(UserError, match="ended by SIGKILL between two images"):
        list(loader("none", -1, num_workers=1))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_a_file_is_reproached_with_is_one_sentence(num_workers: int) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        list(loader("unreadable", 4, num_workers))
    assert str(caught.value) == "image b.png cannot be read; restore it"
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_bug_keeps_its_traceback(num_workers: int) -> None:
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        list(loader("bug", 1, num_workers))
    assert num_workers == 0 or "Traceback" in str(caught.value)


@pytest.mark.parametrize("way", ["closed", "forgotten", "read to the end"])
def test_processes_end_with_the_iteration(way: str) -> None:
    batches = iter(loader("none", -1, num_workers=2))
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    if way == "closed":
        batches.close()
    elif way == "forgotten":
        del batches
    else:
        assert numbers(batches) == [1, 2, 3, 4, 5]
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("name", ["TERM", "INT", "USR1"])
def test_processes_outlive_signals_that_are_meant_for_the_main_one(name: str) -> None:
    endless = itertools.cycle([[0], [1], [2]])
    batches = iter(loader("none", -1, num_workers=2, batch_sampler=endless))
    assert numbers(itertools.islice(batches, 2)) == [0, 1]  # both have begun
    workers = multiprocessing.active_children()
    # Not os.kill: from their parent it means that they shall end.
    subprocess.run(["kill", f"-{name}", *[str(worker.pid) for worker in workers]], check=True)
    assert numbers(itertools.islice(batches, 28)) == [2, *[0, 1, 2] * 9]
    assert all(worker.is_alive() for worker in workers)
    workers[0].terminate()
    workers[0].join(timeout=60)
    assert workers[0].exitcode == 0


def test_a_process_that_nothing_asks_for_is_not_started() -> None:
    batches = iter(loader("none", -1, num_workers=2))
    assert multiprocessing.active_children() == []
    batches.close()


def count_frozen(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"image": torch.tensor(gc.get_freeze_count())}


def test_collecting_garbage_leaves_shared_objects_alone() -> None:
    before = gc.get_freeze_count()
    batches = WatchedLoader(MappedRecords(RECORDS[:1], count_frozen, num_workers=1))
    assert numbers(batches)[0] > before + 1000
    assert gc.get_freeze_count() == before


def test_no_thread_of_opencv_is_there_when_processes_are_forked(monkeypatch) -> None:
    # A forked process knows of the threads, but has none of them, and waited for them.
    start, seen = torch.utils.data.DataLoader.__iter__, []

    def spying(self: WatchedLoader) -> Iterator[Any]:
        seen.append(cv2.getNumThreads())
        return start(self)

    before = cv2.getNumThreads()
    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", spying)
    cv2.setNumThreads(2)
    try:
        list(loader("none", -1, num_workers=1))
        assert seen == [1]
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
