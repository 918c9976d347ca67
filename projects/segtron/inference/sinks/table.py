"""The sink `csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from segtron.inference.prediction import Prediction, mask_areas
from segtron.inference.sinks.base import SINKS, Sink
from segtron.inference.sinks.json_text import text_file
from segtron.inference.sources.base import Source


@SINKS.register()
class CsvSink(Sink):
    """`predictions.csv`: a line for each instance, see `COLUMNS`; lengths and areas in pixels."""

    name = "csv"
    needs = ("instances",)
    COLUMNS = ("file_name", "class", "score", "x", "y", "width", "height", "area")

    def files_of_all(self, sources: Sequence[Source]) -> list[Path]:
        """One file for all."""
        return [self.output_dir / "predictions.csv"]

    def write(self, prediction: Prediction) -> list[list[str]]:
        """An image's lines; the area is that of the box where there is no mask."""
        instances = prediction.instances(self.min_score)
        boxes = instances.pred_boxes
        areas = mask_areas(instances) if instances.has("pred_masks") else boxes.area().tolist()
        return [
            [
                prediction.file.name,
                self.class_name(index),
                f"{score:.4f}",
                *(f"{number:.2f}" for number in (x0, y0, x1 - x0, y1 - y0)),
                str(round(area)),
            ]
            for (x0, y0, x1, y1), index, score, area in zip(
                boxes.tensor.tolist(),
                instances.pred_classes.tolist(),
                instances.scores.tolist(),
                areas,
                strict=True,
            )
        ]

    def finish(self, records: Iterable[list[list[str]]]) -> None:
        """Write the table."""
        with text_file(self.output_dir / "predictions.csv", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.COLUMNS)
            for lines in records:
                writer.writerows(lines)
