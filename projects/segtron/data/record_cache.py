"""What was found in a data set's files, kept for the next time.

It lies in `dataset-dicts` of the user's cache folder, `$XDG_CACHE_HOME/segtron` or
`~/.cache/segtron`: a file for each data set, which is written anew when the data set changes. It
may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zlib_ng import zlib_ng

from segtron.errors import UserError
from segtron.files import replacing
from segtron.memory import garbage_kept

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger(__name__)

_FORMAT = "segtron dataset dicts 1"
# Smaller data sets are read in a second or two, and are often made for one use.
FEWEST_FILES = 100


def cache_folder() -> Path | None:
    """The folder for what is kept of data sets; None where the user has none."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(root) / "segtron" / "dataset-dicts"


def remember(
    name: str, folder: Path, files: Sequence[Path], find: Callable[[], list[Any]]
) -> list[Any]:
    """What was found in a data set's files the last time, if they are still the same.

    Of fewer than `FEWEST_FILES`, and where nothing can be kept, all is found anew each time.
    Processes that need the same at the same time wait for the first of them.

    Args:
        name: what is found, and where, in few words for a file's name.
        folder: the data set's.
        files: that it is found in, in this order; they count as the same as long as their names,
            sizes and times of the last change are.
        find: gives what JSON can hold, an entry a file.

    Returns:
        What `find` gives now, or gave.
    """
    cache = cache_folder()
    if cache is None or len(files) < FEWEST_FILES:
        return find()
    state = _state_of(files)
    path_hash = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    kept = cache / f"{name}-{path_hash}.json"
    found = _load(kept, state)
    if found is None:
        with _one_at_a_time(kept.with_suffix(".lock")):
            found = _load(kept, state)
            if found is None:
                found = find()
                _store(kept, state, found)
    return found


def _state_of(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        stat = os.stat(file)
        digest.update(f"{file.name}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _load(kept: Path, state: str) -> list[Any] | None:
    """What a file holds of files in a state; None where it is missing, damaged or of another."""
    try:
        content = kept.read_bytes()
        head, body = content.split(b"\n", 1)
        header = json.loads(head)
        expected = {"format": _FORMAT, "state": state, "check_sum": zlib_ng.crc32(body)}
        if header != expected:
            return None
        with garbage_kept():
            return json.loads(body)
    except (OSError, ValueError):
        return None


def _store(kept: Path, state: str, found: list[Any]) -> None:
    body = json.dumps(found, separators=(",", ":")).encode()
    header = {"format": _FORMAT, "state": state, "check_sum": zlib_ng.crc32(body)}
    try:
        with replacing(kept) as temporary:
            temporary.write_bytes(json.dumps(header).encode() + b"\n" + body)
    except (UserError, OSError) as error:
        logger.info("What was found in the data is not kept for the next time: %s.", error)


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Let one process of a machine in, where there are locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(lock.open("w"))  # closing it gives the lock back
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
