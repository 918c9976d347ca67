"""Predicted classes of a run, each image with its ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from segtron.data import load_dataset_dicts
from segtron.data.classes import class_metadata
from segtron.data.image_io import read_ids, read_image
from segtron.data.sem_seg import IGNORED, check_label_size, read_sem_seg
from segtron.errors import UserError
from segtron.evaluation.label_files import LabelFiles, label_values
from segtron.evaluation.sem_seg import SemSegMetric, image_id_of
from segtron.visualization.report.layers import ImageLayers
from segtron.visualization.report.semantic_layers import semantic_layers


@dataclass(frozen=True)
class SemanticResult:
    """The classes of one image, what is there and what was predicted.

    The maps are read again where they are needed: those of a whole data set fill the memory.

    Attributes:
        record: its standard dict.
        predicted_file: label file with the prediction.
        values: (K,) integers, at i the value of class i in that file.
        quality: mean IoU over the classes that are there, 0 to 1; 1 if there are none.
        metadata: of the data set.
    """

    record: Mapping[str, Any]
    predicted_file: Path
    values: np.ndarray
    quality: float
    metadata: Any

    def layers(self) -> ImageLayers:
        """See `semantic_layers`."""
        return semantic_layers(
            read_image(self.record["file_name"], "RGB"),
            read_sem_seg(self.record),
            read_predicted_classes(self.predicted_file, self.values, self.record),
            self.metadata,
        )


def load_semantic_results(name: str, folder: Path) -> list[SemanticResult]:
    """Bring saved predictions and ground truth of a data set together.

    Args:
        name: a registered data set with semantic labels.
        folder: what the evaluation of this set was given to save to, see `LabelFiles`.

    Returns:
        One for each image with ground truth, in the data set's order.

    Raises:
        UserError: a prediction or a label file is missing or not of this data set, or the data set
            is.
    """
    records = load_dataset_dicts([name], filter_empty=False)
    records = [record for record in records if record.get("sem_seg_file_name") is not None]
    if not records:
        raise UserError(f"{name} has no ground truth that its predictions could be compared with")
    metadata = class_metadata(name)
    values = label_values(metadata, len(metadata.stuff_classes))
    label_files = LabelFiles(folder, name)
    results = []
    for record in tqdm(records, unit=" images", desc=name):
        predicted_file = label_files.of(record)
        prediction = read_predicted_classes(predicted_file, values, record)
        metric = SemSegMetric(metadata.stuff_classes)
        try:
            metric.update(image_id_of(record), prediction, read_sem_seg(record))
        except ValueError as error:
            raise UserError(f"{record['sem_seg_file_name']}: {error}; correct the file") from error
        mean_iou = metric.compute().overall["mIoU"]
        quality = 1.0 if np.isnan(mean_iou) else mean_iou / 100
        results.append(SemanticResult(record, predicted_file, values, quality, metadata))
    return results


def read_predicted_classes(path: Path, values: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """Read a label file that the evaluation saved.

    Args:
        path: the file.
        values: (K,) integers, at i the value of class i in it.
        record: standard dict of the image.

    Returns:
        (height, width) uint8, classes 0 to K - 1.

    Raises:
        UserError: the file is missing or unreadable, has another size than the image or a value
            that is no class.
    """
    saved = read_ids(path)
    check_label_size(path, saved.shape, record)
    table = np.full(2**16, IGNORED, np.uint8)
    table[values] = np.arange(len(values))
    classes = table[saved]
    strange = saved[classes == IGNORED]
    if strange.size:
        raise UserError(
            f"label file {path} has the value {strange[0]}, which is no class of the data set; "
            "was it made from another version of the data? Score the model again"
        )
    return classes
