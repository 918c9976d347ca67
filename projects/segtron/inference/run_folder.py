"""The folder in which a run keeps what it needs to go on after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from detectron2.config import CfgNode

from segtron.errors import UserError
from segtron.files import write_json
from segtron.inference.journal import Journal
from segtron.inference.sinks.base import WORK_FOLDER
from segtron.modeling.checkpoint import fetch
from segtron.wording import listed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_DESCRIPTION = "run.json"
_JOURNAL = "journal"
_LOCK = "lock"


def is_unfinished(output_dir: Path) -> bool:
    """Whether a folder holds a run that did not come to its end."""
    return (output_dir / WORK_FOLDER / _DESCRIPTION).exists()


def refuse_unfinished(output_dir: Path) -> None:
    """Make sure that no run is to be gone on with.

    Raises:
        UserError: there is one.
    """
    if is_unfinished(output_dir):
        raise UserError(
            f"{output_dir} holds a run that was interrupted; go on with it with --resume, choose "
            f"another --output, or remove {output_dir / WORK_FOLDER} and what the run has written"
        )


def fingerprint(content: Any) -> str:
    """A short text by which a change of anything shows that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def describe_model(cfg: CfgNode, parts: Sequence[Path] = ()) -> dict[str, str]:
    """What a model's predictions depend on, for `open_run`.

    Args:
        cfg: with MODEL.WEIGHTS as it was loaded.
        parts: files of `load_parts`.

    Raises:
        UserError: the weights are gone.
    """
    return {
        "weights": _digest(Path(fetch(cfg.MODEL.WEIGHTS))),
        "a config": fingerprint(cfg.dump()),
        "--parts": fingerprint([_digest(path) for path in parts]),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_run(
    output_dir: Path, description: Mapping[str, str], is_there: Callable[[str], bool], resume: bool
) -> Iterator[Journal]:
    """Begin a run or go on with one. At a good end of the block its folder is removed, and likewise
    if it ends before it has begun to write.

    Args:
        output_dir: of the run.
        description: what may not change, by what the user calls it.
        is_there: see `Journal`.
        resume: whether to go on if there is something to go on with.

    Raises:
        UserError: there is an unfinished run and `resume` is false; or it was begun with something
            else, or is still going on; or the folder can't be written.
    """
    folder = output_dir / WORK_FOLDER
    # First of all, for what is there may change until then.
    with _locked(output_dir):
        is_resumed = is_unfinished(output_dir)
        if not resume:
            refuse_unfinished(output_dir)
        if is_resumed:
            _compare(output_dir, description)
        else:
            # Of a run that was over, or had hardly begun.
            (folder / _JOURNAL).unlink(missing_ok=True)
            write_json(folder / _DESCRIPTION, description)
        with _journal(folder / _JOURNAL, is_there) as journal:
            journal.has_begun = is_resumed
            try:
                yield journal
            except BaseException:
                if not journal.has_begun:
                    _remove(folder)
                raise
            _remove(folder)


@contextmanager
def _journal(path: Path, is_there: Callable[[str], bool]) -> Iterator[Journal]:
    journal = Journal(path, is_there)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def _locked(output_dir: Path) -> Iterator[None]:
    """Keep other processes out of a run."""
    path = output_dir / WORK_FOLDER / _LOCK
    while True:
        with _appending(path) as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise UserError(
                        f"another process is predicting into {output_dir}; wait for its end, or "
                        "choose another --output"
                    ) from error
            if _is_at(path, file):
                yield
                return


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Whether an open file is still there; a run that came to its end meanwhile has removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _appending(path: Path) -> BinaryIO:
    """Open a file, which is made with its folder.

    Raises:
        UserError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _compare(output_dir: Path, description: Mapping[str, str]) -> None:
    path = output_dir / WORK_FOLDER / _DESCRIPTION
    with suppress(ValueError, OSError):
        begun_with = json.loads(path.read_bytes())
        names = description | begun_with
        changed = [name for name in names if begun_with.get(name) != description.get(name)]
        if not changed:
            return
        raise UserError(
            f"the run in {output_dir} was begun with {listed(changed)} other than now; go on with "
            "what it was begun with, or choose another --output for a new one"
        )
    raise UserError(f"{path} is damaged; choose another --output and begin anew")


def _remove(folder: Path) -> None:
    # First what makes it a run, so that a kill in between leaves none that can't be gone on with.
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
