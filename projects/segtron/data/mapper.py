"""From a standard dict to what a model is fed."""

from __future__ import annotations

from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetMapper, detection_utils
from detectron2.projects.point_rend import ColorAugSSDTransform

from segtron.data.image_io import read_image
from segtron.data.panoptic_targets import as_numbers, instances_of, read_places, sem_seg_of
from segtron.data.sem_seg import IGNORED, read_sem_seg
from segtron.errors import UserError


def build_augmentations(cfg: CfgNode, is_train: bool) -> list[T.Augmentation | T.Transform]:
    """The augmentations that the INPUT keys ask for, in the order in which they run.

    In training: colour, crop, resize, flips; or resize before crop. In inference: resize.
    """
    augmentations: list[T.Augmentation | T.Transform] = detection_utils.build_augmentation(
        cfg, is_train
    )
    if not is_train:
        return augmentations
    if cfg.INPUT.VERTICAL_FLIP_PROB > 0:
        augmentations.append(
            T.RandomFlip(cfg.INPUT.VERTICAL_FLIP_PROB, horizontal=False, vertical=True)
        )
    if cfg.INPUT.CROP.ENABLED:
        # The resize is the first.
        augmentations.insert(1 if cfg.INPUT.CROP.AFTER_RESIZE else 0, _build_crop(cfg))
    if cfg.INPUT.COLOR_AUG_SSD:
        augmentations.insert(0, ColorAugSSDTransform(img_format=cfg.INPUT.FORMAT))
    return augmentations


def _build_crop(cfg: CfgNode) -> T.Augmentation:
    crop = cfg.INPUT.CROP
    if crop.SINGLE_CATEGORY_MAX_AREA >= 1:
        return T.RandomCrop(crop.TYPE, crop.SIZE)
    return T.RandomCrop_CategoryAreaConstraint(
        crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA, ignored_category=IGNORED
    )


def check_image_size(record: dict[str, Any], image: np.ndarray) -> None:
    """Make sure that an image has the size that its standard dict gives; sets a size that it lacks.

    Args:
        record: a standard dict.
        image: (H, W, C).

    Raises:
        UserError: names the image and both sizes.
    """
    try:
        detection_utils.check_image_size(record, image)
    except detection_utils.SizeMismatchError as error:
        height, width = image.shape[:2]
        raise UserError(
            f"image {record['file_name']} is {width} x {height}, but its annotations say "
            f"{record['width']} x {record['height']}; did one of them get resized or rotated?"
        ) from error


class SegmentationMapper(DatasetMapper):
    """Detectron2's mapper, made to take labels in whatever form they come, and to name bad files.

    Semantic label files are read by their encoding (`segtron.data.sem_seg`). Of panoptic ground
    truth (`segtron.data.panoptic`) all targets are made, so its label file is the only one read.
    Masks that come as run-length encoding are fed as bitmaps whatever INPUT.MASK_FORMAT says, since
    they can't become polygons; so one config serves polygons and encodings alike.
    """

    @configurable
    def __init__(self, is_train: bool, **kwargs: Any) -> None:
        """Take `DatasetMapper`'s arguments.

        Args:
            is_train: whether annotations and semantic labels are wanted.
            **kwargs: as for `detectron2.data.DatasetMapper`.
        """
        super().__init__(is_train, **kwargs)
        self._needs_sem_seg = any(
            isinstance(augmentation, T.RandomCrop_CategoryAreaConstraint)
            for augmentation in self.augmentations.augs
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Arguments from the INPUT and MODEL keys."""
        arguments = super().from_config(cfg, is_train)
        arguments["augmentations"] = build_augmentations(cfg, is_train)
        return arguments

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Map one image.

        Args:
            dataset_dict: in Detectron2's standard format; not changed.

        Returns:
            The dict with `image`, (C, H, W) uint8. In training also, where there are annotations,
            `instances` with `gt_boxes`, `gt_classes` and `gt_masks`, without crowds and without
            what the augmentations cut off; where there is a label file, `sem_seg`, (H, W) int64,
            255 where there is no class; and where there is panoptic ground truth all of these and
            `pan_seg`, (H, W) int64: i + 1 in the pixels of `segments_info[i]`, 0 in void.

        Raises:
            UserError: the image or its label file is missing, unreadable or of another size than
                the other or the annotations; a label file has a value that is no class; or an
                augmentation needs a label file and there is none.
        """
        record = dict(dataset_dict)
        image = read_image(record["file_name"], format=self.image_format)
        check_image_size(record, image)
        places = read_places(record) if self.is_train and "segments_info" in record else None
        sem_seg = self._read_sem_seg(record, places) if self.is_train else None
        if sem_seg is None and self.is_train and self._needs_sem_seg:
            raise UserError(
                f"INPUT.CROP.SINGLE_CATEGORY_MAX_AREA is below 1, but image {record['file_name']} "
                "has no semantic labels to measure it by; set it to 1.0"
            )
        augmented = T.AugInput(image, sem_seg=sem_seg)
        transforms = self.augmentations(augmented)
        image = augmented.image
        # ascontiguousarray: flips leave negative strides, which torch does not take.
        record["image"] = torch.from_numpy(image.transpose(2, 0, 1).copy())
        if places is not None:
            self._add_panoptic_targets(record, as_numbers(transforms.apply_segmentation(places)))
            return record
        if sem_seg is not None:
            record["sem_seg"] = torch.from_numpy(augmented.sem_seg.astype(np.int64))
        annotations = record.pop("annotations", None)
        if self.is_train and annotations is not None:
            record["annotations"] = [dict(annotation) for annotation in annotations]
            self._transform_annotations(record, transforms, image.shape[:2])
        return record

    def _read_sem_seg(self, record: dict[str, Any], places: np.ndarray | None) -> np.ndarray | None:
        """The classes that augmentations look at or move; those of segments follow from these."""
        if places is None:
            return read_sem_seg(record) if "sem_seg_file_name" in record else None
        if not self._needs_sem_seg:
            return None
        return sem_seg_of(as_numbers(places), record["segments_info"])

    def _add_panoptic_targets(self, record: dict[str, Any], places: np.ndarray) -> None:
        segments = record["segments_info"]
        record["pan_seg"] = torch.from_numpy(places)
        record["sem_seg"] = torch.from_numpy(sem_seg_of(places, segments).astype(np.int64))
        record["instances"] = instances_of(places, segments)

    def _transform_annotations(
        self, record: dict[str, Any], transforms: T.TransformList, image_shape: tuple[int, int]
    ) -> None:
        annotations = [
            detection_utils.transform_instance_annotations(annotation, transforms, image_shape)
            for annotation in record.pop("annotations")
            if not annotation.get("iscrowd", 0)
        ]
        for annotation in annotations:
            if isinstance(annotation.get("segmentation"), np.ndarray):
                # pycocotools decodes into memory that can't be written, which torch warns of.
                annotation["segmentation"] = annotation["segmentation"].copy()
        polygons = all(isinstance(a.get("segmentation"), list) for a in annotations)
        instances = detection_utils.annotations_to_instances(
            annotations,
            image_shape,
            mask_format=self.instance_mask_format if polygons else "bitmask",
        )
        if self.recompute_boxes and instances.has("gt_masks"):
            # What a crop leaves of an object can have a smaller box than what it leaves of its box.
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        record["instances"] = detection_utils.filter_empty_instances(instances)
