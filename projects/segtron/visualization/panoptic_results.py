"""Predicted segments of a run, each image with its ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.data.catalog import Metadata
from tqdm import tqdm

from segtron.data import load_dataset_dicts
from segtron.data.category_ids import Category, dataset_segments, panoptic_categories
from segtron.data.classes import class_metadata
from segtron.data.coco import path_below
from segtron.data.image_io import read_image, read_image_size
from segtron.data.panoptic import read_pan_seg
from segtron.data.panoptic_png import read_panoptic_png
from segtron.data.sem_seg import check_label_size
from segtron.errors import UserError
from segtron.evaluation.panoptic_files import PANOPTIC_FOLDER, PANOPTIC_JSON, read_predictions
from segtron.evaluation.panoptic_quality import PanopticQualityMetric, SegmentMatch, match_segments
from segtron.evaluation.scores import PanopticScores
from segtron.visualization.report.layers import ImageLayers
from segtron.visualization.report.panoptic_layers import Side, panoptic_layers


class _Matched(NamedTuple):
    """Both sides of an image, by the data set's own ids of the classes."""

    true_ids: np.ndarray
    found_ids: np.ndarray
    match: SegmentMatch
    scores: PanopticScores


@dataclass(frozen=True)
class PanopticResult:
    """The segments of one image, what is there and what was predicted.

    The maps are read again where they are needed: those of a whole data set fill the memory.

    Attributes:
        record: its standard dict.
        predicted_file: panoptic PNG with the prediction.
        segments: of the prediction, `category_id` as in the data set.
        quality: the image's PQ, 0 to 1; 1 if there is nothing to score.
        metadata: of the data set, as `class_metadata` gives it.
    """

    record: Mapping[str, Any]
    predicted_file: Path
    segments: Sequence[Mapping[str, Any]]
    quality: float
    metadata: Metadata

    def layers(self) -> ImageLayers:
        """See `panoptic_layers`."""
        matched = _match(
            self.record,
            self.predicted_file,
            self.segments,
            self.metadata.name,
            panoptic_categories(self.metadata.name),
        )
        classes = self.metadata.stuff_dataset_id_to_contiguous_id
        things = self.metadata.thing_dataset_id_to_contiguous_id
        found = [
            {
                **segment,
                "category_id": classes[segment["category_id"]],
                "isthing": segment["category_id"] in things,
            }
            for segment in self.segments
        ]
        return panoptic_layers(
            read_image(self.record["file_name"], "RGB"),
            Side(matched.true_ids, self.record["segments_info"]),
            Side(matched.found_ids, found),
            matched.match,
            matched.scores,
            self.metadata,
        )


def load_panoptic_results(name: str, folder: Path) -> list[PanopticResult]:
    """Bring saved predictions and ground truth of a data set together.

    Args:
        name: a registered panoptic set, whose dicts have what `segtron.data.panoptic` lists.
        folder: with predictions in COCO's panoptic format, as TEST.SAVE_PANOPTIC leaves them.

    Returns:
        One for each image, in the data set's order.

    Raises:
        UserError: a prediction is missing, faulty or not of this data set, or the data set is
            missing or has no such ground truth.
    """
    records = load_dataset_dicts([name], filter_empty=False)
    metadata = class_metadata(name)
    if metadata.get("panoptic_classes") is None or any("segments_info" not in r for r in records):
        raise UserError(
            f"{name} has no panoptic ground truth in one numbering of things and stuff, which is "
            "what pictures of panoptic results need"
        )
    json_file = folder / PANOPTIC_JSON
    predictions = {entry["image_id"]: entry for entry in read_predictions(json_file)}
    image_ids = [record["image_id"] for record in records]
    for image_id in [
        *(i for i in image_ids if i not in predictions),
        *(predictions.keys() - image_ids),
    ]:
        raise UserError(
            f"{json_file} and {name} don't have the same images: only one of them has "
            f"{image_id!r}; was it made from another version of the data? Score the model again"
        )
    categories = panoptic_categories(name)
    results = []
    for record in tqdm(records, unit=" images", desc=name):
        entry = predictions[record["image_id"]]
        where = f"{json_file}: image {record['image_id']!r}"
        file = path_below(folder / PANOPTIC_FOLDER, entry["file_name"], where)
        segments = entry["segments_info"]
        quality = _match(record, file, segments, name, categories).scores.overall["PQ"]
        results.append(
            PanopticResult(
                record, file, segments, 1.0 if np.isnan(quality) else quality / 100, metadata
            )
        )
    return results


def _match(
    record: Mapping[str, Any],
    predicted_file: Path,
    segments: Sequence[Mapping[str, Any]],
    name: str,
    categories: Sequence[Category],
) -> _Matched:
    true_ids = read_pan_seg(record)
    check_label_size(predicted_file, read_image_size(predicted_file, "label file"), record)
    found_ids = read_panoptic_png(predicted_file)
    metric = PanopticQualityMetric(categories)
    try:
        match = match_segments(
            true_ids, dataset_segments(record["segments_info"], name), found_ids, segments
        )
        metric.update(record["image_id"], match)
    except ValueError as error:
        raise UserError(
            f"{predicted_file}: {error}; was it made from another version of the data? Score the "
            "model again"
        ) from error
    return _Matched(true_ids, found_ids, match, metric.compute())
