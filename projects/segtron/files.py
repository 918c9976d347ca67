"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segtron.errors import UserError

# What `replacing` calls its temporary files.
_TEMPORARY = re.compile(r"\..{0,40}-[0-9a-f]{12}(\.[^.]+)?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what the block writes there then takes its place.

    Until then what was at `path` stays; when the block fails nothing is left of the temporary file.
    The folder is made if it is missing.

    Yields:
        A name in the folder of `path`, with the same suffix, where nothing exists yet.

    Raises:
        UserError: the folder can't be written to, or there is no space left.

    Example:
        >>> with replacing(Path("scores.json")) as temporary:
        ...     temporary.write_text("{}")
    """
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(6)}{path.suffix}")
    try:
        with _explaining(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def plain_name(path: Path) -> Iterator[str]:
    """A name for a file that libraries without regard for hostile names can open.

    OpenCV crashes at names that are no UTF-8, and takes parts of others for a pattern or a
    protocol.

    Args:
        path: a file, which need not exist yet.

    Yields:
        The name of a link to it, for the time of the block.
    """
    with tempfile.TemporaryDirectory() as folder:
        suffix = path.suffix.lower()
        link = Path(folder, f"file{suffix if suffix.isascii() and suffix.isprintable() else ''}")
        link.symlink_to(path.absolute())
        yield str(link)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left of `replacing` in a folder.

    Nobody else may be writing there.
    """
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make sure that a file that was renamed into a folder has its name after a power cut, too."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows has no such call
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems know no syncing of folders.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write JSON in the place of `path`, whole or not at all.

    Args:
        path: the file; its folder is made.
        content: what `json.dumps` takes, without nan and infinity, which JSON has not. Half of a
            pair of surrogates, which JSON can hold and UTF-8 can't, becomes an escape.
        indent: as for `json.dumps`.

    Raises:
        UserError: as for `replacing`.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=indent)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def refuse_full_folder(folder: Path) -> None:
    """Raises UserError where `folder` is anything but missing or an empty folder."""
    if not os.path.lexists(folder):
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    what = "is not empty" if folder.is_dir() else "is not a folder"
    raise UserError(f"{folder}: {what}; name a folder that doesn't exist yet")


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, which takes its place, content and all, at the end.

    Only for folders that belong to the program alone.

    Yields:
        An empty folder.

    Raises:
        UserError: as for `replacing`.
    """
    temporary, old = (path.with_name(f".{path.name}-{secrets.token_hex(6)}") for _ in range(2))
    try:
        with _explaining(path, temporary):
            temporary.mkdir(parents=True)
        yield temporary
        with _explaining(path, temporary, old):
            if path.exists():
                path.rename(old)
            temporary.rename(path)
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def refuse_overwriting(paths: Sequence[Path], option: str = "--output") -> None:
    """Make sure, before long work, that files can be written and that nothing is in their place.

    Nothing is left in their folders, nor are these made.

    Args:
        paths: files that are about to be written; their folders may be missing yet.
        option: the command line's option that names their folder.

    Raises:
        UserError: one of them exists or can't be written.
    """
    existing, folders = [], set()
    for path in paths:
        try:
            path.stat()
            existing.append(path)
        except FileNotFoundError:
            folders.add(next(folder for folder in path.absolute().parents if folder.exists()))
        except OSError as error:
            raise _not_writable(path, error, option) from error
    if existing:
        others = f" and {len(existing) - 1} more files" if len(existing) > 1 else ""
        what = "them" if others else "it"
        raise UserError(
            f"{existing[0]}{others} would be overwritten; choose another {option} or remove {what}"
        )
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise _not_writable(folder, error, option) from error


def _not_writable(path: Path, error: OSError, option: str) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; choose another {option}")


@contextmanager
def _explaining(path: Path, *temporary: Path) -> Iterator[None]:
    """Turn a failure to write into a sentence; what else may fail in the block is left alone."""
    try:
        yield
    except OSError as error:
        # The space may be used up; or it is one of these paths that can't be made.
        ours = {str(p) for p in (path, *path.parents, *temporary)}
        if error.errno not in _FULL and str(error.filename) not in ours:
            raise
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
