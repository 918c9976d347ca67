"""Ground truth and predicted classes of one image side by side, and a map of the errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from segtron.data.sem_seg import IGNORED
from segtron.evaluation.scores import SemSegScores
from segtron.evaluation.sem_seg import SemSegMetric
from segtron.visualization.class_maps import class_areas
from segtron.visualization.colors import Color
from segtron.visualization.comparison import DARK, LONGEST_SIDE, Comparison, pale, panels
from segtron.visualization.drawing import SegmentationVisualizer
from segtron.visualization.layout import percent

# So many pairs of classes are named.
MOST_CONFUSIONS = 6


def draw_semantic_comparison(
    image: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray, metadata: Any
) -> Comparison:
    """Draw image, ground truth, prediction and errors as four panels.

    In the fourth, what is right is pale and what is wrong has the colour of what was predicted;
    ignored pixels are hatched in the second and the fourth.

    Args:
        image: (H, W, 3) RGB uint8.
        ground_truth: (H, W) uint8, classes 0 to K - 1 or `IGNORED`.
        prediction: (H, W) uint8, classes 0 to K - 1.
        metadata: the K names (`stuff_classes`), and colours if there are any.
    """
    metric = SemSegMetric(metadata.stuff_classes)
    metric.update("image", prediction, ground_truth)
    scores = metric.compute()
    plain = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    truth = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    truth.draw_sem_seg(ground_truth)
    truth.draw_class_shares(ground_truth)
    found = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    found.draw_sem_seg(prediction)
    _describe_classes(found, ground_truth, prediction, scores)
    errors = SegmentationVisualizer(pale(image), metadata, longest_side=LONGEST_SIDE)
    _draw_errors(errors, ground_truth, prediction)
    _describe_confusions(errors, metric.confusion_matrix())
    facts = (
        {
            "mean IoU": f"{scores.overall['mIoU']:.1f} %",
            "pixel accuracy": f"{scores.overall['pACC']:.1f} %",
        }
        if any(scores.num_ground_truth.values())
        else {}
    )
    described = ", ".join(f"{name} {value}" for name, value in facts.items())
    titles = {
        "image": "image",
        "ground_truth": "ground truth",
        "prediction": f"prediction: {described or 'no pixel to score it by'}",
        "errors": "errors, in the colour of what was predicted",
    }
    return Comparison(
        panels(titles, (plain, truth, found, errors)),
        facts,
    )


def _draw_errors(
    visualizer: SegmentationVisualizer, ground_truth: np.ndarray, prediction: np.ndarray
) -> None:
    wrong = (prediction != ground_truth) & (ground_truth != IGNORED)
    mistaken = np.where(wrong, prediction, IGNORED).astype(np.uint8)
    colors = {index: visualizer.semantic_color(index) for index in class_areas(mistaken)}
    visualizer.overlay_classes(mistaken, colors, opacity=0.9, border_color=DARK)
    visualizer.draw_ignored([ground_truth == IGNORED], DARK)


def _describe_classes(
    visualizer: SegmentationVisualizer,
    ground_truth: np.ndarray,
    prediction: np.ndarray,
    scores: SemSegScores,
) -> None:
    """Write the IoU of each class that is there, the largest first, and what was invented."""
    wanted = class_areas(ground_truth)
    entries: list[tuple[str, Color]] = []
    for index in (*wanted, *(i for i in class_areas(prediction) if i not in wanted)):
        name = visualizer.semantic_name(index)
        iou = f"IoU {scores.per_class[name]['IoU']:.1f} %" if index in wanted else "invented"
        entries.append((f"{name}  {iou}", visualizer.semantic_color(index)))
    visualizer.draw_legend(entries)


def _describe_confusions(visualizer: SegmentationVisualizer, matrix: np.ndarray) -> None:
    """Write which classes were taken for which others most, in percent of the labelled pixels."""
    shares = matrix / max(matrix.sum(), 1)
    np.fill_diagonal(shares, 0)
    worst = np.argsort(-shares, axis=None, kind="stable")[: np.count_nonzero(shares)]
    rows, columns = np.unravel_index(worst, shares.shape)
    entries = [
        (
            f"{visualizer.semantic_name(row)} taken for {visualizer.semantic_name(column)}  "
            f"{percent(shares[row, column])}",
            visualizer.semantic_color(column),
        )
        for row, column in zip(rows[:MOST_CONFUSIONS], columns, strict=False)
    ]
    visualizer.draw_legend(entries)
