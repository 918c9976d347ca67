from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from segtron.memory import keep_freed_memory, return_freed_memory

COUNT_NEW_PAGES = """
import resource, sys, torch
from segtron.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
    keep_freed_memory()
torch.zeros(2**23).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.zeros(2**23).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

# 100 KB come and go, with 1 KB before each that stays.
MEASURE_WHAT_IS_RETURNED = """
import os
from segtron.memory import return_freed_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
kept, freed = [], []
for _ in range(4000):
    kept.append(bytearray(1_000))
    freed.append(bytearray(100_000))
freed.clear()
before = resident()
return_freed_memory()
print(before - resident())
"""

only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own")


def run(script: str, *arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@only_glibc
def test_memory_is_used_again():
    # Ten times 32 MB; with pages of 2 MB there are few of them.
    assert run(COUNT_NEW_PAGES, "keep") * 10 <= run(COUNT_NEW_PAGES, "return")


@only_glibc
def test_what_is_free_between_small_objects_is_given_back():
    assert run(MEASURE_WHAT_IS_RETURNED) > 2e8  # of 4e8


def test_without_glibc_nothing_happens(monkeypatch):
    def without_its_functions(name: None) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without_its_functions)
    keep_freed_memory()
    return_freed_memory()
