"""OUTPUT_DIR: what a run owns in it, and how an earlier run is kept from a new one."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segtron.errors import UserError
from segtron.run_files import CONFIG_FILE, INFERENCE_FOLDER, METRICS_FILE, RUN_FILE
from segtron.visualization.curves import CHARTS
from segtron.visualization.report.page import REPORT_FOLDER, is_report

logger = logging.getLogger(__name__)

# What a run writes, as patterns below OUTPUT_DIR. Beside these it owns its report; whatever else
# lies there is not touched.
_WRITTEN = (
    "*.pth",
    "last_checkpoint",
    CONFIG_FILE,
    METRICS_FILE,
    "log.txt*",
    *(chart.file_name for chart in CHARTS),
    INFERENCE_FOLDER,
    "inference_ema",
    "inference_average",
    "pictures",
    "tensorboard",
    "wandb",
    "wandb_run.json",
    "mlflow_run.json",
    RUN_FILE,
    "run*.patch",
    "visualizations",  # in runs from before there was a report
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


@contextmanager
def set_earlier_run_aside(output_dir: Path) -> Iterator[None]:
    """Keep what an earlier run wrote apart from what the block writes.

    The earlier run's files move into `earlier_run_<n>` below the same folder, so that a new run
    neither overwrites results nor mixes its curves with others. Should the new run fail before its
    first checkpoint, the earlier one comes back to its place and the failed one goes into
    `failed_run_<n>`.
    """
    if not holds_run(output_dir):
        yield
        return
    aside = _move_run(output_dir, _next_folder(output_dir, "earlier_run"))
    logger.info("%s held an earlier run: it is in %s now.", output_dir, aside)
    try:
        yield
    except BaseException:
        if not (output_dir / "last_checkpoint").exists():
            _move_run(output_dir, _next_folder(output_dir, "failed_run"))
            _move_run(aside, output_dir)
            aside.rmdir()
            logger.info("The earlier run is back in %s.", output_dir)
        raise


def holds_run(folder: Path) -> bool:
    """Whether a training has written something there, be it without a checkpoint."""
    return any((folder / name).exists() for name in (METRICS_FILE, "last_checkpoint"))


def _next_folder(output_dir: Path, stem: str) -> Path:
    numbers = [path.name.rpartition("_")[2] for path in output_dir.glob(f"{stem}_*")]
    number = max((int(number) for number in numbers if number.isdigit()), default=0) + 1
    return output_dir / f"{stem}_{number}"


def _move_run(source: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for pattern in _WRITTEN:
        for path in list(source.glob(pattern)):
            path.rename(target / path.name)
    # Not a folder of that name that is somebody's own.
    if is_report(source / REPORT_FOLDER):
        (source / REPORT_FOLDER).rename(target / REPORT_FOLDER)
    return target
