"""What is made of predictions: overlays, COCO results, a table."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.catalog import Metadata
from detectron2.structures import Instances

from segtron.errors import UserError
from segtron.evaluation.coco import instances_to_coco_results
from segtron.files import replacing
from segtron.inference.predictor import category_ids
from segtron.inference.sources import ImageFile
from segtron.visualization.drawing import MOST_LABELS, InstanceVisualizer
from segtron.visualization.layout import write_picture


@dataclass(frozen=True)
class Prediction:
    """What a sink gets.

    Attributes:
        file: the image's file.
        number: its place among the images, counted from 1.
        image: (H, W, 3) uint8, BGR.
        output: the model's output for it, on the CPU.
    """

    file: ImageFile
    number: int
    image: np.ndarray
    output: dict[str, Any]

    def instances(self, min_score: float) -> Instances:
        """The instances of at least a score.

        Raises:
            UserError: the model predicts none.
        """
        if "instances" not in self.output:
            raise UserError(
                f"this model predicts {', '.join(self.output)} but no instances, which --save "
                "overlay, coco and csv are made of; give it a config with an instance model"
            )
        instances = self.output["instances"]
        return instances[instances.scores >= min_score]


class Sink(ABC):
    """Takes predictions one by one and makes files of them, which appear whole or not at all.

    Example:
        >>> with sink.opened():
        ...     sink.write(prediction)
    """

    def __init__(self, output_dir: Path, metadata: Metadata, min_score: float) -> None:
        """
        Args:
            output_dir: where the files go.
            metadata: names of the classes, and if known their colours and ids in the data set.
            min_score: instances below it are left out.
        """
        self.output_dir = output_dir
        self.metadata = metadata
        self.min_score = min_score

    @abstractmethod
    def targets(self, images: Sequence[ImageFile]) -> list[Path]:
        """The files that it will write for these images."""

    @abstractmethod
    def write(self, prediction: Prediction) -> None:
        """Take one prediction."""

    @contextmanager
    def opened(self) -> Iterator[Sink]:
        """Hold open what `write` writes to; files for all predictions appear at a good end."""
        yield self

    def _class_name(self, index: int) -> str:
        names = self.metadata.get("thing_classes") or []
        return names[index] if index < len(names) else str(index)


class OverlaySink(Sink):
    """Each image with its instances drawn over it, under the image's name."""

    def targets(self, images: Sequence[ImageFile]) -> list[Path]:
        """One picture an image."""
        return [self.output_dir / image.name for image in images]

    def write(self, prediction: Prediction) -> None:
        """Draw and write."""
        visualizer = InstanceVisualizer(prediction.image[:, :, ::-1], self.metadata)
        instances = prediction.instances(self.min_score)
        visualizer.draw_instance_predictions(instances)
        if len(instances) > MOST_LABELS:
            visualizer.draw_class_counts(instances.pred_classes.tolist())
        write_picture(self.output_dir / prediction.file.name, visualizer.output.get_image())


class CocoSink(Sink):
    """`predictions.json`: COCO's result format, a list with an entry for each instance.

    Entries are {file_name, category_name, image_id, category_id, bbox, score, segmentation}:
    `bbox` is [x, y, width, height], `segmentation` a compressed RLE. `image_id` counts the images
    from 1, unreadable ones included; `category_id` is the data set's own id of the class where it
    is known, else the model's class counted from 1. The names stand beside the ids for those who
    can't know them.

    See https://cocodataset.org/#format-results
    """

    def targets(self, images: Sequence[ImageFile]) -> list[Path]:
        """One file for all."""
        return [self.output_dir / "predictions.json"]

    @contextmanager
    def opened(self) -> Iterator[Sink]:
        """Hold the list open."""
        with (
            replacing(self.output_dir / "predictions.json") as temporary,
            temporary.open("w", encoding="utf-8") as self._file,
        ):
            self._file.write("[")
            self._separator = "\n"
            yield self
            self._file.write("\n]\n")

    def write(self, prediction: Prediction) -> None:
        """Add an image's instances."""
        instances = prediction.instances(self.min_score)
        ids = category_ids(self.metadata, max([-1, *instances.pred_classes.tolist()]) + 1)
        results = instances_to_coco_results(instances, prediction.number, np.array(ids))
        for result, index in zip(results, instances.pred_classes.tolist(), strict=True):
            names = {"file_name": prediction.file.name, "category_name": self._class_name(index)}
            entry = names | result
            self._file.write(self._separator + json.dumps(entry, ensure_ascii=False))
            self._separator = ",\n"


class CsvSink(Sink):
    """`predictions.csv`: a line for each instance, see `COLUMNS`; lengths and areas in pixels."""

    COLUMNS = ("file_name", "class", "score", "x", "y", "width", "height", "area")

    def targets(self, images: Sequence[ImageFile]) -> list[Path]:
        """One file for all."""
        return [self.output_dir / "predictions.csv"]

    @contextmanager
    def opened(self) -> Iterator[Sink]:
        """Hold the table open."""
        with (
            replacing(self.output_dir / "predictions.csv") as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            self._writer = csv.writer(file)
            self._writer.writerow(self.COLUMNS)
            yield self

    def write(self, prediction: Prediction) -> None:
        """Add an image's instances; the area is that of the box where there is no mask."""
        instances = prediction.instances(self.min_score)
        boxes = instances.pred_boxes
        areas = (
            instances.pred_masks.sum(dim=(1, 2)) if instances.has("pred_masks") else boxes.area()
        )
        for i, (x0, y0, x1, y1) in enumerate(boxes.tensor.tolist()):
            numbers = (x0, y0, x1 - x0, y1 - y0)
            self._writer.writerow(
                [
                    prediction.file.name,
                    self._class_name(int(instances.pred_classes[i])),
                    f"{float(instances.scores[i]):.4f}",
                    *(f"{number:.2f}" for number in numbers),
                    round(float(areas[i])),
                ]
            )


# What --save can name.
SINKS: dict[str, type[Sink]] = {"overlay": OverlaySink, "coco": CocoSink, "csv": CsvSink}


def build_sinks(
    names: Sequence[str],
    output_dir: Path,
    metadata: Metadata,
    *,
    draw_score: float,
    save_score: float,
) -> list[Sink]:
    """Make sinks by name.

    Args:
        names: keys of `SINKS`.
        output_dir: where the files go.
        metadata: see `Sink`.
        draw_score: lowest score of an instance that is drawn.
        save_score: lowest score of an instance that is written to the other files.

    Raises:
        UserError: a name is unknown.
    """
    for name in names:
        if name not in SINKS:
            raise UserError(f"--save {name!r} is unknown; known are {', '.join(SINKS)}")
    return [
        SINKS[name](output_dir, metadata, draw_score if name == "overlay" else save_score)
        for name in dict.fromkeys(names)
    ]
