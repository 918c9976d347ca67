from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from segtron.memory import keep_freed_memory

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


def new_pages(what: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", COUNT_NEW_PAGES, what], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own")
def test_memory_is_used_again():
    # Ten times 32 MB; with pages of 2 MB there are few of them.
    assert new_pages("keep") * 10 <= new_pages("return")


def test_without_glibc_nothing_happens(monkeypatch):
    def without_mallopt(name: None) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without_mallopt)
    keep_freed_memory()
