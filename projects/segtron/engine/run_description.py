"""OUTPUT_DIR/run.json: how, where and from which code a training was started, and started again."""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import segtron
from segtron.files import replacing, write_json
from segtron.machine import describe_hardware, library_versions
from segtron.run_files import RUN_FILE

logger = logging.getLogger(__name__)

_LIBRARIES = ("torch", "torchvision", "detectron2", "numpy", "cv2", "segtron")
# All that is written of the environment, which may hold secrets.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "DETECTRON2_DATASETS",
    "SLURM_JOB_ID",
    "WORLD_SIZE",
)
_MOST_PATCH_BYTES = 5_000_000
_GIT_SECONDS = 20
# No watcher of the repository's choice is started; files above a megabyte count as binary.
_GIT_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.bigFileThreshold=1m")


@dataclass(frozen=True)
class Code:
    """The state of a git repository.

    Attributes:
        commit: that is checked out.
        branch: None if that is none.
        patch: what differs from the commit, as `git apply` takes it, with new Python files; not
            with changes of binary files.
        is_cut: whether files at the end of the patch were left out for its size.
    """

    commit: str
    branch: str | None
    patch: bytes
    is_cut: bool


def describe_run(
    argv: Sequence[str], *, seed: int, precision: str, num_processes: int, first_iteration: int
) -> dict[str, Any]:
    """Describe a start of a training.

    Args:
        argv: the command line.
        seed: that is used, chosen or drawn.
        precision: what the model is computed in, such as "float32".
        num_processes: of the job.
        first_iteration: 0, or where a resumed training goes on.

    Returns:
        Plain values. Of the environment only a few variables that have no secrets, and nothing that
        names the machine.
    """
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(argv),
        "first_iteration": first_iteration,
        "seed": seed,
        "precision": precision,
        "processes": num_processes,
        "machine": describe_hardware(),
        "versions": {**library_versions(_LIBRARIES), "cuda": torch.version.cuda},
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def write_run_description(output_dir: Path, description: dict[str, Any], code: Code | None) -> None:
    """Add a start to OUTPUT_DIR/run.json, a list of all of them.

    What differs from the commit goes into `run.patch` beside it, for later starts `run_2.patch` and
    so on, unless it is that of the start before.

    Args:
        output_dir: the folder.
        description: see `describe_run`. With `first_iteration` 0 it begins the list anew.
        code: that the training runs, None if unknown.

    Raises:
        UserError: a file can't be written.
    """
    starts = _read_starts(output_dir / RUN_FILE) if description["first_iteration"] else []
    if code is not None:
        description = {
            **description,
            "git": {
                "commit": code.commit,
                "branch": code.branch,
                "changed": bool(code.patch) or code.is_cut,
                "patch": _write_patch(output_dir, code.patch, starts) if code.patch else None,
                "patch_is_cut": code.is_cut,
            },
        }
    write_json(output_dir / RUN_FILE, [*starts, description], indent=1)


def read_code(folder: Path | None = None) -> Code | None:
    """The state of the repository that has a folder's `__init__.py`.

    Args:
        folder: None for that of the package `segtron`.

    Returns:
        None where there is no git, or the folder is not part of a repository, as when the package
        was installed.
    """
    folder = folder or Path(segtron.__file__).parent
    try:
        # A folder that is ignored or new may lie in somebody else's repository.
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
        commit = _git(top, "rev-parse", "HEAD").decode().strip()
        branch = _git(top, "branch", "--show-current").decode().strip()
        patch, is_cut = _read_patch(top)
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("The state of git is unknown: %s", error)
        return None
    return Code(commit, branch or None, patch, is_cut)


def _read_patch(top: Path) -> tuple[bytes, bool]:
    patch = b""
    for part in _differences(top):
        patch += part
        if len(patch) > _MOST_PATCH_BYTES:
            # The files that are whole.
            return patch[: patch.rfind(b"\ndiff --git ", 0, _MOST_PATCH_BYTES) + 1], True
    return patch, False


def _differences(top: Path) -> Iterator[bytes]:
    """What was changed, and then each Python file that is not in the repository yet."""
    plain = ("--no-color", "--no-ext-diff", "--no-textconv")
    yield _git(top, "diff", "HEAD", *plain)
    new = _git(top, "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py")
    for path in new.split(b"\0")[:-1]:
        # Exits with 1 where two files differ.
        arguments = ("diff", "--no-index", *plain, "--", "/dev/null", os.fsdecode(path))
        yield _git(top, *arguments, may_exit_with=(0, 1))


def _git(folder: Path, *arguments: str, may_exit_with: Sequence[int] = (0,)) -> bytes:
    """What git prints. It writes nothing."""
    # Other than the repository of a hook that this may be started from.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    process = subprocess.run(
        ["git", *_GIT_OPTIONS, "-C", str(folder), *arguments],
        env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_GIT_SECONDS,
    )
    if process.returncode not in may_exit_with:
        process.check_returncode()
    return process.stdout


def _read_starts(path: Path) -> list[Any]:
    try:
        starts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        logger.warning("%s can't be read (%s) and is begun anew.", path, error)
        return []
    return starts if isinstance(starts, list) else [starts]


def _write_patch(output_dir: Path, patch: bytes, starts: Sequence[Any]) -> str:
    """Write a patch unless the start before had the same; gives the name of its file."""
    name = "run.patch" if not starts else f"run_{len(starts) + 1}.patch"
    last = _patch_of(starts[-1]) if starts else None
    if last is not None and _same(output_dir / last, patch):
        return last
    with replacing(output_dir / name) as temporary:
        temporary.write_bytes(patch)
    return name


def _patch_of(start: Any) -> str | None:
    """The name of a start's patch, as this module gives one."""
    git = start.get("git") if isinstance(start, dict) else None
    name = git.get("patch") if isinstance(git, dict) else None
    return name if isinstance(name, str) and re.fullmatch(r"run(_\d+)?\.patch", name) else None


def _same(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
