"""What a model learns of an image's annotations, once their image is augmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.data import detection_utils
from detectron2.structures import Boxes, Instances

from segtron.data.instance_layers import encode_masks, map_layers
from segtron.data.instance_map import map_instances
from segtron.data.lazy_input import LazyPicture, apply_segmentation
from segtron.data.place_map import as_numbers, instances_of

Annotations = Sequence[Mapping[str, Any]]


def targets_by_map(
    annotations: Annotations,
    transforms: T.TransformList,
    shape: tuple[int, int],
    *,
    recompute_boxes: bool,
) -> Instances | None:
    """The targets of annotations whose masks fit into one map of numbers.

    They are those that Detectron2's `DatasetMapper` gives, from the same instances in the same
    order: without those that the transforms cut off.

    Args:
        annotations: of one image, without crowds.
        transforms: of the image.
        shape: of the image before them, height and width.
        recompute_boxes: boxes are those of what is left of the masks, instead of the annotations'.

    Returns:
        With `gt_boxes`, `gt_classes` and `gt_masks`, bitmaps; None where there is no such map, see
        `map_instances`.
    """
    pixels = map_instances(annotations, shape) if annotations else None
    if pixels is None:
        return None
    picture = LazyPicture(pixels, apply_segmentation)
    picture.transform(transforms)
    classes = np.array([-1, *(a["category_id"] for a in annotations)], np.int64)
    instances, places = instances_of(as_numbers(picture.read()), classes)
    if recompute_boxes:
        return instances
    left = [annotations[place - 1] for place in places.tolist()]
    instances.gt_boxes = _transformed_boxes(left, transforms, instances.image_size)
    return detection_utils.filter_empty_instances(instances, by_mask=False)


def targets_by_layers(
    annotations: Annotations,
    transforms: T.TransformList,
    shape: tuple[int, int],
    new_shape: tuple[int, int],
) -> Instances:
    """The targets of annotations whose masks are moved as pixels, whatever they come as.

    Args:
        annotations: of one image, without crowds; their masks may overlap.
        transforms: of the image, which leave 0 where nothing comes to.
        shape: of the image before them, height and width.
        new_shape: of the image after them.

    Returns:
        With `gt_boxes`, tight, `gt_classes` and `gt_masks`, bitmaps, in the annotations' order:
        without those that the transforms cut off.

    Raises:
        UserError: an annotation has no mask, or one of another size than the image.
    """
    classes = np.array([-1, *(a["category_id"] for a in annotations)], np.int64)
    nothing = instances_of(np.zeros(new_shape, np.uint8), classes)
    found, places = [nothing[0]], [nothing[1]]
    for members, pixels in map_layers(encode_masks(annotations, shape), shape):
        picture = LazyPicture(pixels, apply_segmentation)
        picture.transform(transforms)
        layer = as_numbers(picture.read())
        instances, local = instances_of(layer, classes[np.append(0, members + 1)])
        found.append(instances)
        places.append(members[local - 1])
    return Instances.cat(found)[torch.from_numpy(np.argsort(np.concatenate(places)))]


def targets_one_by_one(
    annotations: list[dict[str, Any]],
    transforms: T.TransformList,
    new_shape: tuple[int, int],
    *,
    recompute_boxes: bool,
    mask_format: str,
    keypoint_hflip_indices: np.ndarray | None,
) -> Instances:
    """The targets of annotations of any kind, as Detectron2's `DatasetMapper` makes them.

    Args:
        annotations: of one image, without crowds; they are changed.
        transforms: of the image.
        new_shape: of the image after them, height and width.
        recompute_boxes: boxes are those of what is left of the masks.
        mask_format: "polygon" or "bitmask", what polygons become; all else becomes bitmaps.
        keypoint_hflip_indices: see Detectron2's `create_keypoint_hflip_indices`.

    Returns:
        With `gt_boxes`, `gt_classes`, and `gt_masks` and `gt_keypoints` where there are any.
    """
    for annotation in annotations:
        detection_utils.transform_instance_annotations(
            annotation, transforms, new_shape, keypoint_hflip_indices=keypoint_hflip_indices
        )
        if isinstance(annotation.get("segmentation"), np.ndarray):
            # pycocotools decodes into memory that can't be written, which torch warns of.
            annotation["segmentation"] = annotation["segmentation"].copy()
    polygons = all(isinstance(a.get("segmentation"), list) for a in annotations)
    instances = detection_utils.annotations_to_instances(
        annotations, new_shape, mask_format=mask_format if polygons else "bitmask"
    )
    if recompute_boxes and instances.has("gt_masks"):
        # What a crop leaves of an object can have a smaller box than what it leaves of its box.
        instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    return detection_utils.filter_empty_instances(instances)


def _transformed_boxes(
    annotations: Annotations, transforms: T.TransformList, shape: tuple[int, int]
) -> Boxes:
    # One by one, as Detectron2 does: of whole numbers it drops fractions, of others not.
    boxes = [
        detection_utils.transform_instance_annotations(
            {key: annotation[key] for key in ("bbox", "bbox_mode")}, transforms, shape
        )["bbox"]
        for annotation in annotations
    ]
    return Boxes(torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32))
