"""What several cores gain in scoring saved files."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from segtron.benchmarks.comparison import Comparison, time_comparisons
from segtron.benchmarks.frames import Frames
from segtron.benchmarks.report import Row
from segtron.benchmarks.saved_frames import SavedFrames
from segtron.benchmarks.ways import timed
from segtron.machine import num_usable_cores

# Each frame so often: with few images, cores wait for the last one.
REPEATS = 4


def compare_workers(
    frames: Frames, folder: Path, *, num_instances: int, num_pairs: int
) -> list[Row]:
    """Time scoring of saved files on all cores that this process may use against one at a time, by
    the clock on the wall. The scores have to be equal to the last bit.

    Args:
        frames: with at least so many predicted instances.
        folder: for files, one that isn't there yet.
        num_instances: predicted in each frame.
        num_pairs: runs of each way that count.

    Returns:
        Rows; none where there is only one core.
    """
    num_workers = num_usable_cores()
    if num_workers == 1:
        return []
    saved = SavedFrames(frames, folder, num_instances=num_instances, repeats=REPEATS)
    images = f"{REPEATS * len(frames)} images"
    return time_comparisons(
        [
            Comparison(
                f"{task} from files, {images}, {num_workers} workers",
                "1 worker (both by the clock on the wall)",
                *(
                    timed(functools.partial(score, workers), clock=time.perf_counter)
                    for workers in (num_workers, 1)
                ),
                0.0,
            )
            for task, score in saved.scorers().items()
        ],
        num_pairs,
    )
