"""Hooks that Segtron adds to Detectron2's."""

from __future__ import annotations

from pathlib import Path

from detectron2.engine import HookBase

from segtron.visualization.curves import plot_curves


class CurvePlotter(HookBase):
    """Draws OUTPUT_DIR/metrics.json as curves when the training ends."""

    def __init__(self, output_dir: Path) -> None:
        """Take the folder that holds metrics.json and gets the pictures."""
        self._output_dir = output_dir

    def after_train(self) -> None:
        """Write the pictures; an interrupted training gets its curves, too."""
        plot_curves(self._output_dir / "metrics.json", self._output_dir)
