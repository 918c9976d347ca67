"""Predicted segments in COCO's panoptic format: how they are saved, and how saved ones are scored.

`panoptic.json` lists images, annotations and categories; `panoptic/` has a panoptic PNG for each
image (https://cocodataset.org/#format-results, "Panoptic segmentation").
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.utils import comm

from segtron.data.category_ids import Category
from segtron.data.coco import path_below
from segtron.data.coco_panoptic import (
    ANNOTATION_FIELDS,
    FORMAT,
    check_annotations,
    read_coco_panoptic,
)
from segtron.data.each_item import for_each
from segtron.data.id_map import measure_segments
from segtron.data.json_file import read_json_lists
from segtron.data.panoptic_png import segment_ids, write_panoptic_png
from segtron.errors import UserError
from segtron.evaluation.label_files import check_pngs_of_images, png_of_image
from segtron.evaluation.panoptic_quality import (
    PanopticQualityMetric,
    SegmentError,
    SegmentMatch,
    match_segments,
)
from segtron.evaluation.saved_png import read_saved_colors, read_saved_size
from segtron.evaluation.scores import PanopticScores
from segtron.files import write_json

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
        segments: each with `id`, `category_id` (the data set's own) and perhaps `category_name` and
            `score`. Those without a pixel are left out.

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
            optional = ("category_name", "score")
            entries.append(entry | {key: segment[key] for key in optional if key in segment})
    return entries


def category_entries(categories: Iterable[Category]) -> list[dict[str, Any]]:
    """Categories as a JSON of the format has them."""
    return [
        {"id": category.id, "name": category.name, "isthing": int(category.is_thing)}
        for category in categories
    ]


class ImageEntries(NamedTuple):
    """What a JSON of the format has of one image."""

    image: dict[str, Any]
    annotation: dict[str, Any]


def save_segments(
    output_dir: str | Path,
    name: Hashable,
    ids: np.ndarray,
    segments: Iterable[Mapping[str, Any]],
    *,
    image_id: Hashable,
    file_name: str,
) -> ImageEntries:
    """Write an image's PNG, and make what the JSON says of it.

    Args:
        output_dir: the folder that the JSON will lie in.
        name: what the PNG is called after, see `panoptic_file`.
        ids: (H, W) integers, segment ids.
        segments: see `panoptic_entries`.
        image_id: of the image, as the JSON has it.
        file_name: likewise.

    Raises:
        UserError: the name leads out of the folder, or the file can't be written.
    """
    path = panoptic_file(output_dir, name)
    write_panoptic_png(path, ids)
    height, width = ids.shape
    return ImageEntries(
        {"id": image_id, "file_name": file_name, "height": height, "width": width},
        {
            "image_id": image_id,
            "file_name": path.relative_to(Path(output_dir) / PANOPTIC_FOLDER).as_posix(),
            "segments_info": panoptic_entries(ids, segments),
        },
    )


class SavedSegments:
    """Predictions on their way to files: PNGs at once, the JSON when all images are together.

    `panoptic/` belongs to the program alone.
    """

    def __init__(
        self,
        output_dir: str | Path,
        categories: Sequence[Category],
        *,
        image_folders: Sequence[str] = (),
    ) -> None:
        """
        Args:
            output_dir: the folder that gets `panoptic.json` and `panoptic/`.
            categories: all that there are, by the data set's own ids.
            image_folders: the JSON names an image by its path below the first of them that it lies
                in; one in none of them goes by its name alone.
        """
        self._output_dir = Path(output_dir)
        self._categories = categories
        self._image_folders = image_folders
        self._entries: dict[Hashable, ImageEntries] = {}

    def check(self, image_ids: Iterable[Hashable]) -> None:
        """Make sure that the PNGs of all these images can be written.

        Raises:
            UserError: see `segtron.evaluation.label_files.check_pngs_of_images`.
        """
        check_pngs_of_images(self._output_dir / PANOPTIC_FOLDER, image_ids)

    def remove_earlier(self) -> None:
        """Remove what an earlier evaluation saved here, so that never an old JSON describes new
        PNGs. Every process has to call this before one of them adds an image.

        Raises:
            UserError: a file can't be removed.
        """
        if comm.is_main_process():
            pngs = (self._output_dir / PANOPTIC_FOLDER).rglob("*.png")
            try:
                for path in (self._output_dir / PANOPTIC_JSON, *pngs):
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(
                    f"cannot replace {error.filename}, which an earlier evaluation saved: "
                    f"{error.strerror}"
                ) from error
        comm.synchronize()

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
        image_id = record["image_id"]
        self._entries[image_id] = save_segments(
            self._output_dir,
            image_id,
            ids,
            segments,
            image_id=image_id,
            file_name=self._name_of(record["file_name"]),
        )

    def _name_of(self, file: str) -> str:
        path = Path(os.path.abspath(file))
        for folder in map(os.path.abspath, self._image_folders):
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.name

    def merge(self, other: SavedSegments) -> None:
        """Take over another process's images."""
        self._entries = other._entries | self._entries

    def write_json(self) -> Path:
        """Write the JSON for all images, by id.

        Returns:
            The file.

        Raises:
            UserError: the file can't be written.
        """
        entries = [self._entries[image_id] for image_id in sorted(self._entries)]
        content = {
            "images": [entry.image for entry in entries],
            "annotations": [entry.annotation for entry in entries],
            "categories": category_entries(self._categories),
        }
        path = self._output_dir / PANOPTIC_JSON
        write_json(path, content)
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
    allow_missing: bool = False,
    workers: int | None = None,
) -> PanopticScores:
    """Score saved predictions of any program; both sides are in COCO's panoptic format.

    Args:
        gt_json: ground truth.
        pred_json: predictions; only its annotations count.
        gt_folder: the PNGs of the ground truth; default: the folder beside the JSON, of its name
            without the suffix.
        pred_folder: those of the predictions likewise.
        allow_missing: whether images may lack a prediction; they are not scored.
        workers: images at once; default: one for each core.

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
        if not os.path.isdir(side.folder):
            raise UserError(
                f"the folder {side.folder} of the PNGs of {side.json_file} does not exist; name it "
                f"with {option}"
            )
    annotations = _with_prediction(gt, content["annotations"], pred, predictions, allow_missing)
    _check_categories({c["id"] for c in content["categories"]}, gt, pred, predictions)

    metric = PanopticQualityMetric(
        [Category(c["id"], c["name"], bool(c["isthing"])) for c in content["categories"]]
    )
    images = {image["id"]: image for image in content["images"]}

    def match(annotation: dict[str, Any]) -> tuple[Hashable, SegmentMatch]:
        image_id = annotation["image_id"]
        return image_id, _match_files(gt, annotation, pred, predictions[image_id], images[image_id])

    for image_id, matched in for_each(
        match, annotations, workers=workers, unit=" images", desc="scoring"
    ):
        metric.update(image_id, matched)
    num_missing = len(content["annotations"]) - len(annotations)
    return dataclasses.replace(metric.compute(), num_missing=num_missing)


def _with_prediction(
    gt: _Saved,
    annotations: Sequence[dict[str, Any]],
    pred: _Saved,
    predictions: Mapping[Hashable, Any],
    allow_missing: bool,
) -> list[dict[str, Any]]:
    """The annotations of the ground truth that can be scored: all, unless some may be missing."""
    wanted = [annotation["image_id"] for annotation in annotations]
    missing = [image_id for image_id in wanted if image_id not in predictions]
    if missing and (not allow_missing or len(missing) == len(wanted)):
        raise UserError(
            f"{pred.json_file} has nothing for {len(missing)} of the {len(wanted)} images of "
            f"{gt.json_file}, first of them {missing[0]!r}; add an annotation for each, with an "
            "empty 'segments_info' and a black PNG where nothing was found"
            + ("" if len(missing) == len(wanted) else ", or score the others with --allow-missing")
        )
    known = set(wanted)
    strange = [image_id for image_id in predictions if image_id not in known]
    if strange:
        raise UserError(
            f"{pred.json_file} has predictions for {len(strange)} images that {gt.json_file} has "
            f"no annotation for, first of them {strange[0]!r}; do both files belong together?"
        )
    return [annotation for annotation in annotations if annotation["image_id"] in predictions]


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
    # Before pixels are read: a small file can claim to be a huge picture.
    gt_size, pred_size = map(read_saved_size, (gt_png, pred_png))
    if gt_size != (image["height"], image["width"]):
        raise UserError(
            f"{gt_png} is {gt_size[1]} x {gt_size[0]}, but {gt.json_file} says of the image "
            f"{image['id']!r} that it is {image['width']} x {image['height']}"
        )
    if pred_size != gt_size:
        raise UserError(
            f"{pred_png} is {pred_size[1]} x {pred_size[0]}, but {gt_png} is {gt_size[1]} x "
            f"{gt_size[0]}; save predictions in the size of the image"
        )
    try:
        return match_segments(
            segment_ids(read_saved_colors(gt_png)),
            gt_annotation["segments_info"],
            segment_ids(read_saved_colors(pred_png)),
            pred_annotation["segments_info"],
        )
    except SegmentError as error:
        png, json_file = (
            (gt_png, gt.json_file) if error.side == "ground truth" else (pred_png, pred.json_file)
        )
        raise UserError(
            f"{png} and {json_file} disagree on the image {image['id']!r}: {error}; write both "
            "from the same segmentation"
        ) from error
