from __future__ import annotations

import json
import os
import platform
from types import SimpleNamespace

import torch

from segtron import machine
from segtron.machine import describe_hardware, library_versions, num_usable_cores


def test_hardware_is_described_without_a_name():
    hardware = describe_hardware()
    assert platform.node() not in json.dumps(hardware)
    assert hardware["cores"] == os.cpu_count()
    assert hardware["cpu"]
    assert hardware["memory_gb"] > 0
    assert len(hardware["gpus"]) == torch.cuda.device_count()


def test_gpus_by_hand(monkeypatch):
    sizes = [80 * 2**30, 24 * 2**30]
    monkeypatch.setattr(machine.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        machine.torch.cuda,
        "get_device_properties",
        lambda i: SimpleNamespace(name=f"Card {i}", total_memory=sizes[i]),
    )
    assert describe_hardware()["gpus"] == [
        {"name": "Card 0", "memory_gb": 80.0},
        {"name": "Card 1", "memory_gb": 24.0},
    ]


def test_usable_cores_are_those_that_the_process_is_bound_to(monkeypatch):
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 128)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {3, 64, 65}, raising=False)
    assert num_usable_cores() == describe_hardware()["usable_cores"] == 3
    monkeypatch.delattr(machine.os, "sched_getaffinity")
    assert num_usable_cores() == 128
    assert describe_hardware()["usable_cores"] is None


def test_versions():
    assert library_versions(["torch"]) == {
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
