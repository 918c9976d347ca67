"""The files of a run that several parts of Segtron know, and the one reader of its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# Names in OUTPUT_DIR.
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
RUN_FILE = "run.json"
INFERENCE_FOLDER = "inference"


def read_metrics_lines(content: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of `METRICS_FILE`, each with what it says.

    What is no JSON object is left out, as the half line of a process that was killed, and so are
    objects whose `iteration` is no whole number. An evaluation without training leaves a line
    without an iteration.

    Args:
        content: of the file.

    Yields:
        A line without its end, and the names and values in it.
    """
    for line in content.split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and type(record.get("iteration", 0)) is int:
            yield line, record
