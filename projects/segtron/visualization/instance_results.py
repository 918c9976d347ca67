"""Predicted instances of a run, each image with its ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segtron.data import load_dataset_dicts
from segtron.data.classes import class_metadata
from segtron.data.image_io import read_image
from segtron.data.json_file import read_json
from segtron.data.masks import as_rle
from segtron.data.panoptic import annotations_of
from segtron.errors import UserError
from segtron.evaluation.coco_evaluator import RESULTS_FILE
from segtron.evaluation.coco_files import check_coco_results
from segtron.evaluation.image_quality import InstanceMatch, match_instances
from segtron.visualization.report.instance_layers import instance_layers
from segtron.visualization.report.layers import ImageLayers

_MOST_CLASSES = 2**31


@dataclass(frozen=True)
class InstanceResult:
    """The instances of one image, what is there and what was predicted.

    Attributes:
        record: its standard dict.
        predictions: as COCO results, with contiguous `category_id`, of at least the score asked
            for.
        match: of the predictions to the record's annotations.
        metadata: of the data set.
    """

    record: Mapping[str, Any]
    predictions: Sequence[Mapping[str, Any]]
    match: InstanceMatch
    metadata: Any

    @property
    def quality(self) -> float:
        """See `InstanceMatch`."""
        return self.match.quality

    def layers(self) -> ImageLayers:
        """See `instance_layers`."""
        return instance_layers(
            read_image(self.record["file_name"], "RGB"),
            self.record["annotations"],
            self.predictions,
            self.match,
            self.metadata,
        )


def load_instance_results(name: str, folder: Path, min_score: float) -> list[InstanceResult]:
    """Bring saved predictions and ground truth of a data set together.

    Args:
        name: a registered data set with masks.
        folder: with `RESULTS_FILE`: COCO results, `image_id` and `category_id` as in the data set.
        min_score: predictions below it are left out.

    Returns:
        One for each image, in the data set's order.

    Raises:
        UserError: the file is no COCO results with masks, or not of this data set, see
            `check_coco_results`; or the data set is missing.
    """
    records = load_dataset_dicts([name], filter_empty=False)
    predictions = _read_results(name, folder / RESULTS_FILE, records)
    metadata = class_metadata(name)
    results = []
    for record in tqdm(records, unit=" images", desc=name):
        found = predictions.get(record["image_id"], [])
        kept = [p for p in found if p["score"] >= min_score]
        annotations = [a for a in annotations_of(record) if "segmentation" in a]
        size = record["height"], record["width"]
        match = match_instances(
            [as_rle(a["segmentation"], *size) for a in annotations],
            [a["category_id"] for a in annotations],
            [bool(a.get("iscrowd", 0)) for a in annotations],
            [p["segmentation"] for p in kept],
            [p["category_id"] for p in kept],
        )
        results.append(
            InstanceResult({**record, "annotations": annotations}, kept, match, metadata)
        )
    return results


def _read_results(
    name: str, path: Path, records: Sequence[Mapping[str, Any]]
) -> dict[Any, list[dict[str, Any]]]:
    """Image id -> its results, with contiguous `category_id`; none of images without results."""
    metadata = class_metadata(name)
    to_contiguous = metadata.get("thing_dataset_id_to_contiguous_id")
    # Without ids of its own, the classes are the model's, of which the set may have no names.
    num_classes = len(metadata.get("thing_classes") or ()) or _MOST_CLASSES
    known = range(num_classes) if to_contiguous is None else to_contiguous
    sizes = {record["image_id"]: (record["height"], record["width"]) for record in records}
    content = read_json(path, "results")
    try:
        results, tasks = check_coco_results(content, path, sizes, known)
        if "segm" not in tasks:
            raise UserError(f"{path} has boxes and no masks")
    except UserError as error:
        raise UserError(
            f"{error}; if {name} has changed since it was made, score the model again"
        ) from error
    if to_contiguous is None:
        return results
    return {
        image_id: [{**r, "category_id": to_contiguous[r["category_id"]]} for r in of_image]
        for image_id, of_image in results.items()
    }
