"""Sinks from a user's own file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from segtron.errors import UserError
from segtron.inference.sinks.base import SINKS


def load_sink_file(path: Path) -> None:
    """Run a Python file, which registers sinks; see `SINKS`.

    Args:
        path: the file. It is the user's own program: it can do whatever programs can.

    Raises:
        UserError: it doesn't exist, or registers nothing.
    """
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"--sink-file {path} is no Python file; name one that registers a sink")
    known = len(list(SINKS))
    spec = importlib.util.spec_from_file_location(f"segtron_sink_file_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for what they are made of
    spec.loader.exec_module(module)
    if len(list(SINKS)) == known:
        raise UserError(
            f"--sink-file {path} registers no sink; put @SINKS.register() above its class"
        )
