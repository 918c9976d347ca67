"""Predicted instances of a run, each image with its ground truth."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segtron.data import load_dataset_dicts
from segtron.data.classes import class_metadata
from segtron.data.image_io import read_image
from segtron.data.panoptic import annotations_of
from segtron.errors import UserError
from segtron.evaluation.image_quality import InstanceMatch, match_instances
from segtron.evaluation.masks import as_rle
from segtron.visualization.comparison import Comparison
from segtron.visualization.instance_comparison import draw_instance_comparison
from segtron.visualization.report_instance_layers import instance_layers
from segtron.visualization.report_layers import ImageLayers

RESULTS_FILE = "coco_instances_results.json"


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

    def draw(self) -> Comparison:
        """See `draw_instance_comparison`."""
        return draw_instance_comparison(*self._sides())

    def layers(self) -> ImageLayers:
        """See `instance_layers`."""
        return instance_layers(*self._sides())

    def _sides(self) -> tuple[Any, ...]:
        """What both of them take."""
        return (
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
        UserError: the file is no COCO results with masks, or not of this data set; or the data set
            is missing.
    """
    records = load_dataset_dicts([name], filter_empty=False)
    image_ids = {record["image_id"] for record in records}
    predictions = _read_results(name, folder / RESULTS_FILE, image_ids)
    metadata = class_metadata(name)
    results = []
    for record in tqdm(records, unit=" images", desc=name):
        kept = [p for p in predictions[record["image_id"]] if p["score"] >= min_score]
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


def _read_results(name: str, path: Path, image_ids: set[Any]) -> dict[Any, list[dict[str, Any]]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); score the model again") from error
    if not isinstance(entries, list):
        raise UserError(f"{path} is not a list of COCO results; score the model again")
    to_contiguous = class_metadata(name).get("thing_dataset_id_to_contiguous_id")
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, entry in enumerate(entries):
        try:
            category = entry["category_id"]
            contiguous = category if to_contiguous is None else to_contiguous[category]
            if entry["image_id"] not in image_ids:
                raise KeyError(entry["image_id"])
            by_image[entry["image_id"]].append(
                {
                    "category_id": contiguous,
                    "score": float(entry["score"]),
                    "segmentation": entry["segmentation"],
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: entry {number} is no COCO result with a mask for {name} ({error!r}); "
                "was it made from another version of the data? Score the model again"
            ) from error
    return by_image
