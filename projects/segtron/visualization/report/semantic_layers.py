"""True and predicted classes of one image's pixels as the layers of a report."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.path import Path as Outline

from segtron.data.sem_seg import IGNORED
from segtron.evaluation.sem_seg import SemSegMetric
from segtron.visualization.colors import IGNORED_COLOR, class_color
from segtron.visualization.fates import NOT_SCORED
from segtron.visualization.report.layers import (
    ImageLayers,
    Region,
    Tally,
    TallyKey,
    largest_first,
    map_outlines,
)


def semantic_layers(
    image: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray, metadata: Any
) -> ImageLayers:
    """Outline the classes of an image, and what was taken for what.

    Among the errors are the pixels of one class that were taken for another one, in the other
    one's colour.

    Args:
        image: (H, W, 3) RGB uint8.
        ground_truth: (H, W) uint8, classes 0 to K - 1 or `IGNORED`.
        prediction: (H, W) uint8, classes 0 to K - 1.
        metadata: the K names (`stuff_classes`), and colours if there are any.
    """
    colors = metadata.get("stuff_colors")
    num_classes = len(metadata.stuff_classes)
    metric = SemSegMetric(metadata.stuff_classes)
    metric.update("image", prediction, ground_truth)
    overall = metric.compute().overall

    true = map_outlines(ground_truth)
    ignored = _not_scored(true.pop(IGNORED, None))
    is_wrong = (prediction != ground_truth) & (ground_truth != IGNORED)
    # 0 is what is right; K classes make K * K pairs, so that 16 bits hold those of 255.
    pairs = ground_truth.astype(np.uint16) * num_classes + prediction + 1
    wrong = map_outlines(np.where(is_wrong, pairs, 0).astype(np.uint16))
    wrong.pop(0, None)
    return ImageLayers(
        image,
        [*ignored, *_classes(true, colors)],
        _classes(map_outlines(prediction), colors),
        [
            *ignored,
            *largest_first(
                Region(
                    outline,
                    category=(pair - 1) % num_classes,
                    color=class_color((pair - 1) % num_classes, colors),
                    fate="wrong class",
                    is_category=(pair - 1) // num_classes,
                )
                for pair, outline in wrong.items()
            ),
        ],
        {
            "mean IoU": _defined(overall["mIoU"]),
            "pixel accuracy": _defined(overall["pACC"]),
        },
        _tallies(metric.confusion_matrix()),
    )


def _classes(outlines: dict[int, Outline], colors: Any) -> list[Region]:
    return largest_first(
        Region(outline, index, class_color(index, colors)) for index, outline in outlines.items()
    )


def _not_scored(outline: Outline | None) -> list[Region]:
    return [] if outline is None else [Region(outline, None, IGNORED_COLOR, NOT_SCORED)]


def _tallies(matrix: np.ndarray) -> dict[TallyKey, Tally]:
    """What was taken for what, in percent of the labelled pixels.

    Args:
        matrix: (K, K) pixels; the row says what they are, the column what they were taken for.
    """
    shares = 100 * matrix / max(matrix.sum(), 1)
    return {
        (column, None, "found") if row == column else (column, row, "wrong class"): Tally(
            float(shares[row, column])
        )
        for row, column in np.argwhere(shares > 0).tolist()
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
