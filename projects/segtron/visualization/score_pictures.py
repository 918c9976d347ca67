"""Pictures of what an evaluation has saved of its scores."""

from __future__ import annotations

from pathlib import Path

from segtron.evaluation.coco_evaluator import ERROR_TYPES_FILES, PRECISION_RECALL_FILES, SIZES_FILES
from segtron.evaluation.sem_seg import CONFUSION_FILE
from segtron.visualization.confusion import plot_confusion
from segtron.visualization.error_types import plot_error_types
from segtron.visualization.precision_recall import plot_precision_recall
from segtron.visualization.size_breakdown import plot_sizes

# Which files are drawn, and by what.
_PLOTS = {
    CONFUSION_FILE: plot_confusion,
    f"{ERROR_TYPES_FILES}_*.json": plot_error_types,
    f"{PRECISION_RECALL_FILES}_*.json": plot_precision_recall,
    f"{SIZES_FILES}_*.json": plot_sizes,
}


def draw_scores(folder: Path) -> None:
    """Draw each file of scores in a folder, as a PNG of its name.

    Args:
        folder: what the evaluators of one data set were given to save to; it may be missing.

    Raises:
        UserError: a file can't be read, or a picture can't be written.
    """
    for pattern, plot in _PLOTS.items():
        for path in sorted(folder.glob(pattern)):
            plot(path, path.with_suffix(".png"))
