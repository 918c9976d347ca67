"""A user's own parts, from Python files that a command line names."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from segtron.errors import UserError


def load_parts(files: Iterable[Path]) -> None:
    """Import Python files, which enter data sets, heads, metrics, augmentations, sinks or formats
    to convert in registries.

    They are programs of the user: they can do whatever programs can. Each is imported once, under
    its own name, and finds what lies beside it.

    Args:
        files: their paths.

    Raises:
        UserError: one is no Python file, or has the name of a module that is loaded already.
    """
    for path in files:
        _load(path.resolve())


def _load(path: Path) -> None:
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"--parts {path} is no Python file; name one with parts of your own")
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return
        raise UserError(
            f"--parts {path} has the name of a module that is loaded already; rename it"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses and pickle look for it
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
