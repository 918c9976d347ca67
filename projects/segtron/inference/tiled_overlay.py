"""Predictions of large images drawn at a size that can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.data.catalog import Metadata

from segtron.data.large_image import PREVIEW_SIDE, LargeImage, preview_of
from segtron.inference.window_masks import WindowMasks
from segtron.visualization.drawing import MASK_OPACITY, SegmentationVisualizer


def is_large(image: np.ndarray | LargeImage, output: Mapping[str, Any]) -> bool:
    """Whether a prediction is drawn by `draw_large`: one of tiles, of an image of more than
    `PREVIEW_SIDE` pixels on its longest side."""
    masks = output["instances"].get_fields().get("pred_masks") if "instances" in output else None
    is_tiled = "sem_seg_classes" in output or isinstance(masks, WindowMasks)
    return is_tiled and max(image.shape[:2]) > PREVIEW_SIDE


def draw_large(
    image: np.ndarray | LargeImage,
    output: Mapping[str, Any],
    metadata: Metadata,
    min_score: float,
) -> np.ndarray:
    """Draw what a `TiledPredictor` says, at most `PREVIEW_SIDE` pixels on the longest side.

    Each pixel of the picture shows what is predicted at its centre, so what is smaller than such a
    pixel may not be seen.

    Args:
        image: (H, W, 3) uint8, BGR.
        output: for it, not that of an image in one tile.
        metadata: names of the classes, and if known their colours.
        min_score: instances below it are left out.

    Returns:
        (h, w, 3) uint8, RGB.
    """
    preview = image.preview if isinstance(image, LargeImage) else preview_of(image)
    rows, columns = (
        _centers(length, number)
        for length, number in zip(image.shape[:2], preview.shape[:2], strict=True)
    )
    visualizer = SegmentationVisualizer(preview[:, :, ::-1], metadata)
    if "panoptic_seg" in output:
        ids, segments = output["panoptic_seg"]
        small = ids.numpy()[rows][:, columns].astype(np.int32)
        visualizer.draw_panoptic_shares(small, segments)
        visualizer.draw_panoptic_seg(small, segments)
        return visualizer.output.get_image()
    if "sem_seg_classes" in output:
        classes = output["sem_seg_classes"].numpy()[rows][:, columns]
        visualizer.draw_sem_seg(classes)
        visualizer.draw_class_shares(classes)
    if "instances" in output:
        instances = output["instances"]
        instances = instances[instances.scores >= min_score]
        numbers, shown = _painted(instances.pred_masks, rows, columns)
        kinds = instances.pred_classes.tolist()
        colors = visualizer.instance_colors([kinds[i] for i in shown])
        visualizer.draw_class_counts(kinds)
        visualizer.overlay_classes(numbers, dict(enumerate(colors, start=1)), opacity=MASK_OPACITY)
    return visualizer.output.get_image()


def _centers(length: int, number: int) -> np.ndarray:
    """Where pixels of a small picture have their centres in a large one, (number,) int64."""
    return ((np.arange(number) + 0.5) * (length / number)).astype(np.int64)


def _painted(
    masks: WindowMasks, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, Sequence[int]]:
    """Masks in a small picture, the largest below the others.

    Returns:
        (h, w) uint16: i + 1 is the i-th of the shown masks, 0 none; and the places of these.
    """
    numbers = np.zeros((len(rows), len(columns)), np.uint16)
    shown: list[int] = []
    sizes = [window.shape[0] * window.shape[1] for window in masks.windows]
    for place in np.argsort(sizes)[::-1].tolist():
        left, top, right, bottom = masks.window(place)
        low, high = np.searchsorted(rows, [top, bottom])
        first, last = np.searchsorted(columns, [left, right])
        inside = masks.pixels(place)[rows[low:high] - top][:, columns[first:last] - left]
        if inside.any() and len(shown) < np.iinfo(np.uint16).max:
            shown.append(place)
            numbers[low:high, first:last][inside] = len(shown)
    return numbers, shown
