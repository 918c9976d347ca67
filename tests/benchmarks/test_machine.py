from __future__ import annotations

import json
import os
import platform
import warnings
from pathlib import Path

import cv2
import pytest
import torch

from segtron.benchmarks.machine import (
    OtherPrograms,
    _busy_seconds,
    describe_machine,
    one_core,
)
from segtron.machine import num_usable_cores


def test_machine_is_described_without_its_name():
    machine = describe_machine()
    text = json.dumps(machine)
    assert platform.node() not in text
    assert machine["cores"] == os.cpu_count()
    assert machine["cpu"]
    assert machine["memory_gb"] > 0
    assert machine["versions"]["torch"] == torch.__version__
    assert {"python", "numpy", "torchvision", "cv2", "PIL", "detectron2", "pycocotools"} < set(
        machine["versions"]
    )


def test_others_are_what_this_process_is_not():
    """In 4 s on the wall all programs work 6 s, this one 3.5 s of these."""
    clocks = [iter(times) for times in ((100.0, 106.0), (1.0, 4.5), (50.0, 54.0))]
    with OtherPrograms(*(lambda clock=clock: next(clock) for clock in clocks)) as others:
        assert others.cores is None
    assert others.cores == 0.62


def test_a_system_that_does_not_say():
    with OtherPrograms(lambda: None) as others:
        pass
    assert others.cores is None


def test_busy_seconds(monkeypatch):
    line = "cpu  700 50 200 999 99 30 20 7 0 0\ncpu0"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: line)
    assert _busy_seconds() == 1000 / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores can't be chosen here")
def test_one_core_and_back():
    cores, threads = os.sched_getaffinity(0), (torch.get_num_threads(), cv2.getNumThreads())
    with pytest.raises(KeyError), one_core():
        assert len(os.sched_getaffinity(0)) == 1
        assert torch.get_num_threads() == cv2.getNumThreads() == 1
        assert describe_machine()["usable_cores"] == num_usable_cores() == 1
        raise KeyError
    assert os.sched_getaffinity(0) == cores
    assert num_usable_cores() == len(cores)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads


def test_more_processes_than_one_core_are_meant():
    message = "This DataLoader will create 2 worker processes in total."
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with one_core():
            warnings.warn(message, stacklevel=1)
            warnings.warn("another", stacklevel=1)
        warnings.warn(message, stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["another", message]
