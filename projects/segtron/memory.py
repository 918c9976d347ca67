"""How this process treats memory that it is done with."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterator

# Of glibc's mallopt, see malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 2**30


def keep_freed_memory() -> None:
    """Keep freed memory for what comes next, where the C library is glibc; elsewhere do nothing.

    glibc gives large blocks back to the system at once, and what a network's next layer needs comes
    as new pages, each of which the kernel has to clear. On a virtual machine that can take longer
    than the layer. The process stays as large as it ever was; call it in programs that compute on a
    CPU, not in libraries.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Give the system back what is free now, where the C library is glibc; elsewhere do nothing.

    Small objects that are kept, made while large ones come and go, come to lie between these. The
    gaps fit the next large ones only now and then, and glibc gives back by itself what is free
    behind the last object, not what is free between them. So a process that goes on like this
    grows by more than what it keeps.
    """
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function that only glibc has; None with other C libraries."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return None


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
