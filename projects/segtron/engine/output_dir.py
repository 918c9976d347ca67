"""OUTPUT_DIR: what a run owns in it, and how an earlier run is kept from a new one."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from segtron.errors import UserError

logger = logging.getLogger(__name__)

# What a run writes, as patterns below OUTPUT_DIR. Whatever else lies there is not touched.
_RUN_FILES = (
    "*.pth",
    "last_checkpoint",
    "config.yaml",
    "metrics.json",
    "log.txt*",
    "loss.png",
    "ap.png",
    "inference",
    "visualizations",
)


def check_writable(output_dir: Path) -> None:
    """Make sure that files can be written in a folder, which is made if need be.

    Raises:
        UserError: it is a file, or can't be made or written.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR {output_dir} cannot be written ({error.strerror}); choose another"
        ) from error


def set_earlier_run_aside(output_dir: Path) -> None:
    """Move what an earlier run wrote into `earlier_run_<n>` below the same folder.

    So a new run neither overwrites results nor mixes its curves with those of another.
    """
    if not any((output_dir / name).exists() for name in ("metrics.json", "last_checkpoint")):
        return
    numbers = [
        int(path.name.rsplit("_", 1)[-1])
        for path in output_dir.glob("earlier_run_*")
        if path.name.rsplit("_", 1)[-1].isdigit()
    ]
    aside = output_dir / f"earlier_run_{max(numbers, default=0) + 1}"
    aside.mkdir()
    for pattern in _RUN_FILES:
        for path in list(output_dir.glob(pattern)):
            path.rename(aside / path.name)
    logger.info("%s held an earlier run: it is in %s now.", output_dir, aside)
