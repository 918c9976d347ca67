"""What is made of predictions: overlays, COCO results, a table, label files, panoptic files."""

from __future__ import annotations

import csv
import functools
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
from segtron.evaluation.label_files import label_file, label_values, write_labels
from segtron.evaluation.model_output import predicted_sem_seg
from segtron.evaluation.panoptic_files import (
    PANOPTIC_JSON,
    category_entries,
    panoptic_file,
    save_segments,
)
from segtron.evaluation.panoptic_quality import Category
from segtron.files import replacing
from segtron.inference.predictor import category_ids
from segtron.inference.sources import ImageFile
from segtron.visualization.drawing import SegmentationVisualizer
from segtron.visualization.layout import write_picture
from segtron.visualization.panoptic_map import panoptic_map, panoptic_name
from segtron.visualization.prediction import draw_prediction


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
        """The instances of at least a score, of a model that predicts some."""
        instances = self.output["instances"]
        return instances[instances.scores >= min_score]

    @functools.cached_property
    def classes(self) -> np.ndarray:
        """The class of each pixel, of a model that predicts some.

        Returns:
            (H, W) uint8.

        Raises:
            UserError: the model's scores are no numbers.
        """
        return predicted_sem_seg(self.output, self.file.name, len(self.output["sem_seg"]))


class Sink(ABC):
    """Takes predictions one by one and makes files of them, which appear whole or not at all.

    Attributes:
        name: what --save calls it.
        needs: the model's outputs that it can be made of; one of them is enough.

    Example:
        >>> with sink.opened():
        ...     sink.write(prediction)
    """

    name: str
    needs: tuple[str, ...]

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

    def check(self, prediction: Prediction) -> None:
        """Make sure that it can be made of what the model predicts.

        Raises:
            UserError: names what can be.
        """
        given = prediction.output
        if any(output in given for output in self.needs):
            return
        possible = [name for name, sink in SINKS.items() if any(o in given for o in sink.needs)]
        raise UserError(
            f"this model predicts {' and '.join(given)} but no {' or '.join(self.needs)}, which "
            f"--save {self.name} is made of; possible with this model: "
            f"{', '.join(possible) or 'none'}"
        )

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
    """Each image with its segments, or its classes and instances, drawn over it; under its name."""

    name = "overlay"
    needs = ("panoptic_seg", "instances", "sem_seg")

    def targets(self, images: Sequence[ImageFile]) -> list[Path]:
        """One picture an image."""
        return [self.output_dir / image.name for image in images]

    def write(self, prediction: Prediction) -> None:
        """Draw and write."""
        visualizer = SegmentationVisualizer(prediction.image[:, :, ::-1], self.metadata)
        draw_prediction(
            visualizer,
            prediction.output,
            classes=lambda: prediction.classes,
            min_score=self.min_score,
        )
        write_picture(self.output_dir / prediction.file.name, visualizer.output.get_image())


class LabelsSink(Sink):
    """`labels/`: a PNG of one channel an image, whose values are the data set's own ids of the
    classes (0 to K - 1 if these are unknown); 16 bit where an id is above 255, else 8 bit.

    It has the image's name, without its suffix.
    """

    name = "labels"
    needs = ("sem_seg",)

    def targets(self, images: Sequence[ImageFile]) -> list[Path]:
        """One file an image."""
        return [label_file(self.output_dir, image.name) for image in images]

    def write(self, prediction: Prediction) -> None:
        """Translate and write."""
        values = label_values(self.metadata, len(prediction.output["sem_seg"]))
        path = label_file(self.output_dir, prediction.file.name)
        write_labels(path, values[prediction.classes])


class CocoSink(Sink):
    """`predictions.json`: COCO's result format, a list with an entry for each instance.

    Entries are {file_name, category_name, image_id, category_id, bbox, score, segmentation}:
    `bbox` is [x, y, width, height], `segmentation` a compressed RLE. `image_id` counts the images
    from 1, unreadable ones included; `category_id` is the data set's own id of the class where it
    is known, else the model's class counted from 1. The names stand beside the ids for those who
    can't know them.

    See https://cocodataset.org/#format-results
    """

    name = "coco"
    needs = ("instances",)

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

    name = "csv"
    needs = ("instances",)
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


class PanopticSink(Sink):
    """`panoptic.json` and `panoptic/`: COCO's panoptic format, with a PNG an image whose colours
    are the ids of segments.

    PNGs have the image's name, without its suffix. Images are numbered from 1, unreadable ones
    included; the ids of categories are the data set's own where they are known, else the model's
    classes counted from 1. Names stand beside the ids, as `category_name` in `segments_info`.

    See https://cocodataset.org/#format-results
    """

    name = "panoptic"
    needs = ("panoptic_seg",)

    def targets(self, images: Sequence[ImageFile]) -> list[Path]:
        """One file for all, and one an image."""
        return [
            self.output_dir / PANOPTIC_JSON,
            *(panoptic_file(self.output_dir, image.name) for image in images),
        ]

    @contextmanager
    def opened(self) -> Iterator[Sink]:
        """Hold the list of annotations open; the rest of the JSON is small."""
        self._images: list[dict[str, Any]] = []
        names = self.metadata.get("panoptic_classes") or []
        things = self.metadata.get("thing_classes") or []
        categories = [self._category(i, name in things) for i, name in enumerate(names)]
        self._categories = {category.id: category for category in categories}
        with (
            replacing(self.output_dir / PANOPTIC_JSON) as temporary,
            temporary.open("w", encoding="utf-8") as self._file,
        ):
            self._file.write('{"annotations": [')
            self._separator = "\n"
            yield self
            rest = {
                "images": self._images,
                "categories": category_entries(self._categories.values()),
            }
            self._file.write("\n],\n" + json.dumps(rest, ensure_ascii=False)[1:] + "\n")

    def write(self, prediction: Prediction) -> None:
        """Write an image's PNG and add its segments."""
        panoptic = panoptic_map(*prediction.output["panoptic_seg"], self.metadata)
        segments = []
        for number, segment in enumerate(panoptic.segments, start=1):
            category = self._category(int(segment["category_id"]), bool(segment["isthing"]))
            self._categories.setdefault(category.id, category)
            score = {"score": float(segment["score"])} if "score" in segment else {}
            name = self._categories[category.id].name
            segments.append(
                {"id": number, "category_id": category.id, "category_name": name, **score}
            )
        image, annotation = save_segments(
            self.output_dir,
            prediction.file.name,
            panoptic.numbers.astype(np.int32),
            segments,
            image_id=prediction.number,
            file_name=prediction.file.name,
        )
        self._images.append(image)
        self._file.write(self._separator + json.dumps(annotation, ensure_ascii=False))
        self._separator = ",\n"

    def _category(self, index: int, is_thing: bool) -> Category:
        """What stands for a class in the files.

        Where things and stuff are numbered apart and ids aren't known, stuff is counted on after
        the things.
        """
        unified = self.metadata.get("panoptic_classes") is not None
        kind = "thing" if is_thing and not unified else "stuff"
        ids = self.metadata.get(f"{kind}_dataset_id_to_contiguous_id") or {}
        counted = index + 1
        if not is_thing and not unified:
            counted += len(self.metadata.get("thing_classes") or [])
        return Category(
            {contiguous: i for i, contiguous in ids.items()}.get(index, counted),
            panoptic_name({"category_id": index, "isthing": is_thing}, self.metadata),
            is_thing,
        )


# What --save can name.
SINKS: dict[str, type[Sink]] = {
    sink.name: sink for sink in (OverlaySink, CocoSink, CsvSink, LabelsSink, PanopticSink)
}


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
