"""The sink `overlay`."""

from __future__ import annotations

from pathlib import Path

from segtron.inference.overlays import draw_overlay
from segtron.inference.prediction import Prediction
from segtron.inference.sinks.base import SINKS, Sink
from segtron.visualization.layout import write_picture


@SINKS.register()
class OverlaySink(Sink):
    """Each image with its segments, or its classes and instances, drawn over it; under its name."""

    name = "overlay"
    needs = ("panoptic_seg", "instances", "sem_seg")
    draws = True

    def files_of(self, image_name: str) -> list[Path]:
        """One picture an image."""
        return [self.path_of(image_name)]

    def write(self, prediction: Prediction) -> None:
        """Draw and write."""
        picture = draw_overlay(prediction, self.metadata, self.min_score)
        write_picture(self.path_of(prediction.file.name), picture)
