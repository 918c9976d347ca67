"""All that a model predicts for an image, drawn over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from segtron.visualization.drawing import MOST_LABELS, SegmentationVisualizer


def draw_prediction(
    visualizer: SegmentationVisualizer,
    output: Mapping[str, Any],
    *,
    classes: Callable[[], np.ndarray],
    min_score: float,
) -> None:
    """Draw a model's output, with legends of what labels can't tell.

    Panoptic segments are drawn alone, for they have in them what is worth showing of the others;
    where there are none, classes, and instances above them.

    Args:
        visualizer: of the image.
        output: of the model, on any device, at the image's size: `panoptic_seg`; or `sem_seg`,
            `instances` or both.
        classes: gives (H, W) uint8, the classes that `sem_seg` scores best. It is called where they
            are drawn.
        min_score: instances below it are left out.
    """
    if "panoptic_seg" in output:
        ids, segments_info = output["panoptic_seg"]
        visualizer.draw_panoptic_shares(ids.cpu(), segments_info)
        visualizer.draw_panoptic_seg(ids.cpu(), segments_info)
        return
    if "sem_seg" in output:
        found = classes()
        visualizer.draw_sem_seg(found)
        visualizer.draw_class_shares(found)
    if "instances" in output:
        instances = output["instances"].to("cpu")
        # Not by a tensor: an array of one mask would take a tensor of one truth for a number.
        instances = instances[(instances.scores >= min_score).numpy()]
        if len(instances) > MOST_LABELS:
            visualizer.draw_class_counts(instances.pred_classes.tolist())
        visualizer.draw_instance_predictions(instances)
