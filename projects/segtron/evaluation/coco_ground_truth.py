"""Ground truth for the COCO protocol, of any registered set with instances."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pycocotools.mask as mask_util
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from segtron.data.category_ids import thing_category_ids
from segtron.data.classes import is_panoptic, known_metadata
from segtron.data.coco import standard_segmentation
from segtron.data.detectron2_panoptic import complete_panoptic
from segtron.data.masks import as_rle
from segtron.data.panoptic import annotations_of


@dataclass(frozen=True)
class CocoGroundTruth:
    """Images and annotations in COCO's form.

    Attributes:
        images: each with id, height, width.
        annotations: each with id (from 1), image_id, category_id, bbox (XYWH), area, iscrowd, and
            segmentation (polygons or RLE) where the set has one.
        category_ids: the dataset's ids of the classes, in the model's order.
        class_names: their names.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    category_ids: list[int]
    class_names: list[str]

    def with_masks(self) -> CocoGroundTruth:
        """The same with only the annotations that have a mask."""
        masked = [annotation for annotation in self.annotations if _has_mask(annotation)]
        return CocoGroundTruth(self.images, masked, self.category_ids, self.class_names)

    def num_instances(self, category_id: int) -> int:
        """How many instances of a class have to be found (crowds need not be)."""
        return sum(
            annotation["category_id"] == category_id and not annotation["iscrowd"]
            for annotation in self.annotations
        )


def load_coco_ground_truth(dataset_name: str) -> CocoGroundTruth:
    """The ground truth of a registered set.

    Where the set comes from a COCO JSON this is the JSON itself, with its official areas and crowd
    flags; else it is made from the set's dicts, in memory. A panoptic set's JSON of instances may
    be missing: its segments are instances, too.
    """
    metadata = known_metadata(dataset_name, "thing_classes")
    category_ids = thing_category_ids(dataset_name).tolist()
    json_file = metadata.get("json_file")
    if json_file is not None and (not is_panoptic(dataset_name) or PathManager.exists(json_file)):
        with PathManager.open(json_file, "rb") as file:
            content = json.load(file)
        images = [
            {"id": image["id"], "height": int(image["height"]), "width": int(image["width"])}
            for image in content["images"]
        ]
        annotations = content.get("annotations", [])
    else:
        records = complete_panoptic(dataset_name, DatasetCatalog.get(dataset_name))
        images, annotations = _from_dicts(records, category_ids)

    return completed_ground_truth(images, annotations, category_ids, list(metadata.thing_classes))


def completed_ground_truth(
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    category_ids: list[int],
    class_names: list[str],
) -> CocoGroundTruth:
    """Ground truth with all that the protocol needs and annotations may lack: crowd flags, areas,
    and ids that are its own.

    Args:
        images: each with id, height, width.
        annotations: as COCO has them. Those of other classes or images are left out.
        category_ids: of the classes, in the model's order.
        class_names: theirs.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    known = set(category_ids)
    kept = [
        annotation
        for annotation in annotations
        if annotation["category_id"] in known and annotation["image_id"] in sizes
    ]
    # Ids anew: converters number from 0 or give one number twice, which pycocotools confuses.
    return CocoGroundTruth(
        images,
        [
            _completed(annotation, number, sizes[annotation["image_id"]])
            for number, annotation in enumerate(kept, start=1)
        ],
        category_ids,
        class_names,
    )


def _from_dicts(dicts: list[dict], category_ids: list[int]) -> tuple[list[dict], list[dict]]:
    images = [
        {"id": entry["image_id"], "height": entry["height"], "width": entry["width"]}
        for entry in dicts
    ]
    annotations = []
    for entry in dicts:
        for instance in annotations_of(entry):
            annotation = {
                "image_id": entry["image_id"],
                "category_id": category_ids[instance["category_id"]],
                "bbox": BoxMode.convert(
                    list(instance["bbox"]), instance["bbox_mode"], BoxMode.XYWH_ABS
                ),
            }
            optional = ("iscrowd", "area", "segmentation")
            annotations.append(annotation | {k: instance[k] for k in optional if k in instance})
    return images, annotations


def _completed(annotation: dict, number: int, size: tuple[int, int]) -> dict:
    """An annotation with what COCO's scorer insists on and converters often leave out."""
    given = {key: value for key, value in annotation.items() if value is not None}
    completed = {"iscrowd": 0} | given | {"id": number}
    if "segmentation" in completed:
        # pycocotools would take a polygon of two corners for a box.
        completed["segmentation"] = standard_segmentation(completed["segmentation"])
    if "area" not in completed:
        if _has_mask(completed):
            completed["area"] = float(mask_util.area(as_rle(completed["segmentation"], *size)))
        else:
            completed["area"] = completed["bbox"][2] * completed["bbox"][3]
    return completed


def _has_mask(annotation: dict) -> bool:
    return bool(annotation.get("segmentation"))
