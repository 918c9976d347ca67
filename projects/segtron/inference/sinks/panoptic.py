"""The sink `panoptic`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from segtron.data.category_ids import Category, dataset_ids
from segtron.evaluation.panoptic_files import (
    PANOPTIC_JSON,
    category_entries,
    panoptic_file,
    save_segments,
)
from segtron.inference.prediction import Prediction
from segtron.inference.sinks.base import SINKS, Sink
from segtron.inference.sinks.json_text import text_file, write_list
from segtron.inference.sources.base import Source
from segtron.visualization.panoptic_map import panoptic_name


@SINKS.register()
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

    def files_of(self, image_name: str) -> list[Path]:
        """One file an image."""
        return [panoptic_file(self.output_dir, image_name)]

    def files_of_all(self, sources: Sequence[Source]) -> list[Path]:
        """One file for all."""
        return [self.output_dir / PANOPTIC_JSON]

    def write(self, prediction: Prediction) -> dict[str, Any]:
        """Write an image's PNG.

        Returns:
            What the JSON will have of it: `image`, `annotation`, and the `categories` of its
            segments.
        """
        panoptic = prediction.segments(self.metadata)
        segments, categories = [], []
        for number, segment in enumerate(panoptic.segments, start=1):
            category = self._category(int(segment["category_id"]), bool(segment["isthing"]))
            categories.append(category)
            score = {"score": float(segment["score"])} if "score" in segment else {}
            segments.append(
                {"id": number, "category_id": category.id, "category_name": category.name, **score}
            )
        image, annotation = save_segments(
            self.output_dir,
            prediction.file.name,
            panoptic.numbers,
            segments,
            image_id=prediction.number,
            file_name=prediction.file.name,
        )
        return {
            "image": image,
            "annotation": annotation,
            "categories": category_entries(dict.fromkeys(categories)),
        }

    def finish(self, records: Iterable[dict[str, Any]]) -> None:
        """Write the JSON: all known categories, and those that were found beside them."""
        names = self.metadata.get("panoptic_classes") or []
        things = self.metadata.get("thing_classes") or []
        known = [self._category(i, name in things) for i, name in enumerate(names)]
        categories = {entry["id"]: entry for entry in category_entries(known)}
        with text_file(self.output_dir / PANOPTIC_JSON) as file:
            file.write('{"annotations": ')
            write_list(file, (record["annotation"] for record in records))
            file.write(',\n"images": ')
            write_list(file, (record["image"] for record in records))
            for record in records:
                for entry in record["categories"]:
                    categories.setdefault(entry["id"], entry)
            entries = json.dumps(list(categories.values()), ensure_ascii=False)
            file.write(f',\n"categories": {entries}}}\n')

    def _category(self, index: int, is_thing: bool) -> Category:
        """What stands for a class in the files.

        Where things and stuff are numbered apart and ids aren't known, stuff is counted on after
        the things.
        """
        unified = self.metadata.get("panoptic_classes") is not None
        kind = "thing" if is_thing and not unified else "stuff"
        counted = index + 1
        if not is_thing and not unified:
            counted += len(self.metadata.get("thing_classes") or [])
        return Category(
            dataset_ids(self.metadata, kind).get(index, counted),
            panoptic_name({"category_id": index, "isthing": is_thing}, self.metadata),
            is_thing,
        )
