from __future__ import annotations

import json
import os
import platform

import cv2
import pytest
import torch

from segtron.benchmarks.machine import describe_machine, num_usable_cores, one_core


def test_machine_is_described_without_its_name():
    machine = describe_machine()
    text = json.dumps(machine)
    assert platform.node() not in text
    assert machine["cores"] == os.cpu_count()
    assert machine["cpu"]
    assert machine["memory_gb"] > 0
    assert machine["versions"]["torch"] == torch.__version__
    assert {"python", "numpy", "cv2", "PIL", "detectron2", "pycocotools"} < set(machine["versions"])


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
