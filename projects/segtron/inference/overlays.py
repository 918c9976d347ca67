"""Predictions drawn over their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Instances

from segtron.inference.prediction import Prediction, encoded_masks
from segtron.inference.sources.base import Frame
from segtron.inference.tiled_overlay import draw_large, is_large
from segtron.memory import return_freed_memory
from segtron.visualization.colors import Color, class_color, vary_color
from segtron.visualization.drawing import SegmentationVisualizer
from segtron.visualization.panoptic_map import PanopticMap
from segtron.visualization.prediction import draw_prediction


class SteadyVisualizer(SegmentationVisualizer):
    """Draws all things of a class in one colour, in each picture the same: for videos, in which
    colours that vary would flicker."""

    def instance_colors(self, classes: Sequence[int], vary: bool = True) -> list[Color]:
        """The colour of each instance's class, whatever `vary` says."""
        colors = self.metadata.get("thing_colors")
        return [_in_middle_range(class_color(index, colors)) for index in classes]

    def _panoptic_colors(self, panoptic: PanopticMap) -> list[Color]:
        return [
            _in_middle_range(self.panoptic_color(segment))
            if segment["isthing"]
            else self.panoptic_color(segment)
            for segment in panoptic.segments
        ]


def draw_overlay(prediction: Prediction, metadata: Metadata, min_score: float) -> np.ndarray:
    """Draw a prediction over its image; small images are enlarged. Frames of videos have steady
    colours.

    Args:
        prediction: as a sink gets it.
        metadata: names of the classes, and if known their colours.
        min_score: instances below it are left out.

    Returns:
        (H', W', 3) uint8, RGB.
    """
    is_frame = isinstance(prediction.file, Frame)
    style = SteadyVisualizer if is_frame else SegmentationVisualizer
    return _drawn(style, prediction, metadata, min_score)


def draw_video_frame(prediction: Prediction, metadata: Metadata, min_score: float) -> np.ndarray:
    """Draw a prediction as `draw_overlay` does, in steady colours always."""
    return _drawn(SteadyVisualizer, prediction, metadata, min_score)


def _drawn(
    style: type[SegmentationVisualizer],
    prediction: Prediction,
    metadata: Metadata,
    min_score: float,
) -> np.ndarray:
    """Draw, unless another sink has done it."""
    key = (style, min_score)
    if key not in prediction.pictures:
        prediction.pictures[key] = _draw(style, prediction, metadata, min_score)
    return prediction.pictures[key]


def _draw(
    style: type[SegmentationVisualizer],
    prediction: Prediction,
    metadata: Metadata,
    min_score: float,
) -> np.ndarray:
    if is_large(prediction.image, prediction.output):
        picture = draw_large(prediction.image, prediction.output, metadata, min_score)
        # matplotlib leaves hundreds of megabytes, which other sinks need.
        return_freed_memory()
        return picture
    visualizer = style(prediction.image[:, :, ::-1], metadata)
    draw_prediction(
        visualizer,
        _drawable(prediction),
        classes=lambda: prediction.classes,
        min_score=min_score,
    )
    return visualizer.output.get_image()


def _drawable(prediction: Prediction) -> Mapping[str, Any]:
    """The output in the forms that Detectron2 has."""
    output = dict(zip(prediction.kinds, prediction.output.values(), strict=True))
    if "instances" in output and output["instances"].has("pred_masks"):
        instances = output["instances"]
        if not isinstance(instances.pred_masks, torch.Tensor):
            fields = dict(instances.get_fields())
            # An array can be indexed as tensors are; its entries are dicts.
            fields["pred_masks"] = np.array(encoded_masks(instances), dtype=object)
            output["instances"] = Instances(instances.image_size, **fields)
    return output


def _in_middle_range(color: Color) -> Color:
    """Neither too dark nor too pale for an overlay."""
    return vary_color(color, 0, 100)
