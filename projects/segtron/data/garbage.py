"""Garbage collection, put off."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def garbage_kept() -> Iterator[None]:
    """Look for no garbage meanwhile: to look for it over and over among a million new objects takes
    longer than to make them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
