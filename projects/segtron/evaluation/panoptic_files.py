"""Predicted segments in COCO's panoptic format: how they are saved, and how saved ones are scored.

`panoptic.json` lists images, annotations and categories; `panoptic/` has a panoptic PNG for each
image (https://cocodataset.org/#format-results, "Panoptic segmentation").
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from segtron.data.coco import path_below
from segtron.data.coco_panoptic import (
    ANNOTATION_FIELDS,
    FORMAT,
    check_annotations,
    read_coco_panoptic,
)
from segtron.data.id_map import measure_segments
from segtron.data.json_file import read_json_lists
from segtron.data.panoptic_png import read_panoptic_png, write_panoptic_png
from segtron.errors import UserError
from segtron.evaluation.label_files import png_of_image
from segtron.evaluation.panoptic_quality import (
    Category,
    PanopticQualityMetric,
    SegmentError,
    SegmentMatch,
    match_segments,
)
from segtron.evaluation.scores import PanopticScores
from segtron.files import replacing

PANOPTIC_JSON = "panoptic.json"
PANOPTIC_FOLDER = "panoptic"


def panoptic_file(output_dir: str | Path, image_id: Hashable) -> Path:
    """Where the segments that were predicted in an image are saved.

    Args:
        output_dir: the folder that the evaluator was given.
        image_id: see `segtron.evaluation.label_files.png_of_image`.

    Raises:
        UserError: the id leads out of the folder.

    Example:
        >>> panoptic_file("out", "aachen_000000_000019")
        PosixPath('out/panoptic/aachen_000000_000019.png')
    """
    return png_of_image(Path(output_dir) / PANOPTIC_FOLDER, image_id)


def panoptic_entries(
    ids: np.ndarray, segments: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Predicted segments of an image as `segments_info` of a file has them.

    Args:
        ids: (H, W) integers, segment ids.
        segments: each with `id`, `category_id` (the data set's own) and perhaps `score`. Those
            without a pixel are left out.

    Returns:
        The same with `area`, `bbox` ([x, y, width, height]) and `iscrowd`, ready for JSON.
    """
    measures = measure_segments(ids)
    measured = {
        segment_id: (area, box)
        for segment_id, area, box in zip(*(m.tolist() for m in measures), strict=True)
    }
    entries = []
    for segment in segments:
        if segment["id"] in measured:
            area, (x0, y0, x1, y1) = measured[segment["id"]]
            entry = {key: segment[key] for key in ("id", "category_id")}
            entry |= {"area": area, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
            entries.append(entry | ({"score": segment["score"]} if "score" in segment else {}))
    return entries


def write_panoptic_json(
    path: Path,
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    categories: Iterable[Category],
) -> None:
    """Write the JSON that describes a folder of panoptic PNGs.

    Args:
        path: the file.
        images: each with id, file_name, height, width.
        annotations: one for each image, with image_id, file_name (of the PNG) and segments_info.
        categories: all that there are.

    Raises:
        UserError: the file can't be written.
    """
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": category.id, "name": category.name, "isthing": int(category.is_thing)}
            for category in categories
        ],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


class SavedSegments:
    """Predictions on their way to files: PNGs at once, the JSON when all images are together."""

    def __init__(self, output_dir: str | Path, categories: Sequence[Category]) -> None:
        """
        Args:
            output_dir: the folder that gets `panoptic.json` and `panoptic/`.
            categories: all that there are, by the data set's own ids.
        """
        self._output_dir = Path(output_dir)
        self._categories = categories
        self._entries: dict[Hashable, tuple[dict[str, Any], dict[str, Any]]] = {}

    def add(
        self,
        record: Mapping[str, Any],
        ids: np.ndarray,
        segments: Iterable[Mapping[str, Any]],
    ) -> None:
        """Write an image's PNG and keep what the JSON will say of it.

        Args:
            record: the image's standard dict.
            ids: (H, W) integers, segment ids.
            segments: see `panoptic_entries`.

        Raises:
            UserError: the image's id leads out of the folder, or the file can't be written.
        """
        path = panoptic_file(self._output_dir, record["image_id"])
        write_panoptic_png(path, ids)
        image = {
            "id": record["image_id"],
            "file_name": os.path.basename(record["file_name"]),
            "height": ids.shape[0],
            "width": ids.shape[1],
        }
        annotation = {
            "image_id": record["image_id"],
            "file_name": path.relative_to(self._output_dir / PANOPTIC_FOLDER).as_posix(),
            "segments_info": panoptic_entries(ids, segments),
        }
        self._entries[record["image_id"]] = (image, annotation)

    def merge(self, other: SavedSegments) -> None:
        """Take over another process's images."""
        self._entries = other._entries | self._entries

    def write_json(self) -> Path:
        """Write the JSON for all images, by id.

        Returns:
            The file.

        Raises:
            UserError: two images have one PNG, or the file can't be written.
        """
        entries = [self._entries[image_id] for image_id in sorted(self._entries)]
        image_of: dict[str, Hashable] = {}
        for image, annotation in entries:
            other = image_of.setdefault(annotation["file_name"], image["id"])
            if other != image["id"]:
                raise UserError(
                    f"the predictions of the images {other!r} and {image['id']!r} would both be "
                    f"saved as {annotation['file_name']}; let their ids differ before the suffix"
                )
        path = self._output_dir / PANOPTIC_JSON
        images, annotations = ([entry[i] for entry in entries] for i in range(2))
        write_panoptic_json(path, images, annotations, self._categories)
        return path


def read_predictions(json_file: Path) -> list[dict[str, Any]]:
    """Read and check a JSON of predictions, of which only the annotations are needed.

    Returns:
        Entries with `image_id`, `file_name` and `segments_info` (at least `id` and `category_id`).

    Raises:
        UserError: the file is missing, no JSON, or not of the format: names the entry.
    """
    annotations = read_json_lists(json_file, {"annotations": ANNOTATION_FIELDS}, FORMAT)[
        "annotations"
    ]
    check_annotations(annotations, json_file)
    return annotations


class _Saved(NamedTuple):
    """One side's files."""

    json_file: Path
    folder: Path

    def png(self, annotation: Mapping[str, Any]) -> Path:
        where = f"{self.json_file}: image {annotation['image_id']!r}"
        return path_below(self.folder, annotation["file_name"], where)


def score_panoptic_files(
    gt_json: Path,
    pred_json: Path,
    *,
    gt_folder: Path | None = None,
    pred_folder: Path | None = None,
) -> PanopticScores:
    """Score saved predictions of any program; both sides are in COCO's panoptic format.

    Args:
        gt_json: ground truth.
        pred_json: predictions; only its annotations count.
        gt_folder: the PNGs of the ground truth; default: the folder beside the JSON, of its name
            without the suffix.
        pred_folder: those of the predictions likewise.

    Raises:
        UserError: a file is missing, unreadable or not of the format; predictions are not for just
            the images of the ground truth, or of other categories; a PNG disagrees with its JSON on
            ids or areas, or has another size: names the file and the entry.
    """
    gt, pred = (
        _Saved(json_file, json_file.with_suffix("") if folder is None else folder)
        for json_file, folder in ((gt_json, gt_folder), (pred_json, pred_folder))
    )
    content = read_coco_panoptic(gt_json)
    if not content["annotations"]:
        raise UserError(f"{gt_json} has no annotations, so there is nothing to score")
    predictions = {annotation["image_id"]: annotation for annotation in read_predictions(pred_json)}
    for side, option in ((gt, "--gt-png"), (pred, "--pred-png")):
        if not side.folder.is_dir():
            raise UserError(
                f"the folder {side.folder} of the PNGs of {side.json_file} does not exist; name it "
                f"with {option}"
            )
    _check_images(
        gt, [annotation["image_id"] for annotation in content["annotations"]], pred, predictions
    )
    _check_categories({c["id"] for c in content["categories"]}, gt, pred, predictions)

    metric = PanopticQualityMetric(
        [Category(c["id"], c["name"], bool(c["isthing"])) for c in content["categories"]]
    )
    images = {image["id"]: image for image in content["images"]}

    def match(annotation: dict[str, Any]) -> tuple[Hashable, SegmentMatch]:
        image_id = annotation["image_id"]
        return image_id, _match_files(gt, annotation, pred, predictions[image_id], images[image_id])

    # Threads, for reading a PNG leaves Python alone; what comes back of an image is small.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        annotations = content["annotations"]
        for image_id, matched in tqdm(
            pool.map(match, annotations), total=len(annotations), unit=" images", desc="scoring"
        ):
            metric.update(image_id, matched)
    return metric.compute()


def _check_images(
    gt: _Saved, wanted: Sequence[Hashable], pred: _Saved, predictions: Mapping[Hashable, Any]
) -> None:
    missing = [image_id for image_id in wanted if image_id not in predictions]
    if missing:
        raise UserError(
            f"{pred.json_file} has nothing for {len(missing)} of the {len(wanted)} images of "
            f"{gt.json_file}, first of them {missing[0]!r}; add an annotation for each, with an "
            "empty 'segments_info' and a black PNG where nothing was found"
        )
    known = set(wanted)
    strange = [image_id for image_id in predictions if image_id not in known]
    if strange:
        raise UserError(
            f"{pred.json_file} has predictions for {len(strange)} images that {gt.json_file} has "
            f"no annotation for, first of them {strange[0]!r}; do both files belong together?"
        )


def _check_categories(
    known: set[int], gt: _Saved, pred: _Saved, predictions: Mapping[Hashable, Any]
) -> None:
    for image_id, annotation in predictions.items():
        for segment in annotation["segments_info"]:
            if segment["category_id"] not in known:
                raise UserError(
                    f"{pred.json_file}: image {image_id!r}: segment {segment['id']} is of the "
                    f"category {segment['category_id']}, which {gt.json_file} doesn't have; give "
                    "predictions the ids of its categories"
                )


def _match_files(
    gt: _Saved,
    gt_annotation: Mapping[str, Any],
    pred: _Saved,
    pred_annotation: Mapping[str, Any],
    image: Mapping[str, Any],
) -> SegmentMatch:
    """Match the segments in the PNGs of one image."""
    gt_png, pred_png = gt.png(gt_annotation), pred.png(pred_annotation)
    gt_ids, pred_ids = read_panoptic_png(gt_png), read_panoptic_png(pred_png)
    if gt_ids.shape != (image["height"], image["width"]):
        raise UserError(
            f"{gt_png} is {gt_ids.shape[1]} x {gt_ids.shape[0]}, but {gt.json_file} says of the "
            f"image {image['id']!r} that it is {image['width']} x {image['height']}"
        )
    if pred_ids.shape != gt_ids.shape:
        raise UserError(
            f"{pred_png} is {pred_ids.shape[1]} x {pred_ids.shape[0]}, but {gt_png} is "
            f"{gt_ids.shape[1]} x {gt_ids.shape[0]}; save predictions in the size of the image"
        )
    try:
        return match_segments(
            gt_ids, gt_annotation["segments_info"], pred_ids, pred_annotation["segments_info"]
        )
    except SegmentError as error:
        png, json_file = (
            (gt_png, gt.json_file) if error.side == "ground truth" else (pred_png, pred.json_file)
        )
        raise UserError(
            f"{png} and {json_file} disagree on the image {image['id']!r}: {error}; write both "
            "from the same segmentation"
        ) from error
