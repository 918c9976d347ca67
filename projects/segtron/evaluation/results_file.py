"""Writing results so that a reader never finds half a file."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any


def write_json(path: str, content: Any) -> None:
    """Write JSON under a temporary name in the same folder, then rename it to `path`."""
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False) as file:
        try:
            json.dump(content, file)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
