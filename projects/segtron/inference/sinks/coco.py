"""The sink `coco`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances

from segtron.evaluation.coco import instances_to_coco_results
from segtron.inference.model_classes import category_ids
from segtron.inference.prediction import Prediction, encoded_masks
from segtron.inference.sinks.base import SINKS, Sink
from segtron.inference.sinks.json_text import text_file, write_list
from segtron.inference.sources.base import Frame, Source


@SINKS.register()
class CocoSink(Sink):
    """`predictions.json`: COCO's result format, a list with an entry for each instance.

    Entries are {file_name, category_name, image_id, category_id, bbox, score, segmentation}:
    `bbox` is [x, y, width, height], `segmentation` a compressed RLE. `image_id` counts the images
    from 1, unreadable ones included; `category_id` is the data set's own id of the class where it
    is known, else the model's class counted from 1. The names stand beside the ids for those who
    can't know them. Of frames there are also `frame` (number in the video, from 0) and `seconds`.

    See https://cocodataset.org/#format-results
    """

    name = "coco"
    needs = ("instances",)

    def files_of_all(self, sources: Sequence[Source]) -> list[Path]:
        """One file for all."""
        return [self.output_dir / "predictions.json"]

    def write(self, prediction: Prediction) -> list[dict[str, Any]]:
        """An image's entries."""
        instances = prediction.instances(self.min_score)
        classes = instances.pred_classes.tolist()
        ids = np.array(category_ids(self.metadata, max([-1, *classes]) + 1))
        fields = dict(instances.get_fields())
        has_masks = fields.pop("pred_masks", None) is not None
        without_masks = Instances(instances.image_size, **fields)
        results = instances_to_coco_results(without_masks, prediction.number, ids)
        if has_masks:
            for result, mask in zip(results, encoded_masks(instances), strict=True):
                result["segmentation"] = mask
        file = prediction.file
        time = (
            {"frame": file.index, "seconds": round(file.seconds, 3)}
            if isinstance(file, Frame)
            else {}
        )
        return [
            {"file_name": file.name, **time, "category_name": self.class_name(index)} | result
            for result, index in zip(results, classes, strict=True)
        ]

    def finish(self, records: Iterable[list[dict[str, Any]]]) -> None:
        """Write the list."""
        with text_file(self.output_dir / "predictions.json") as file:
            write_list(file, (entry for entries in records for entry in entries))
            file.write("\n")
