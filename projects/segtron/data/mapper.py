"""From a standard dict to what a model is fed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetMapper, detection_utils
from detectron2.structures import Instances

from segtron.data.augmentations import build_augmentations, needs_bitmaps
from segtron.data.augmentations.filling import filled_with, is_filling
from segtron.data.augmentations.fixed_size import PadToSize, PlaceAtRandom
from segtron.data.file_encoding import open_file
from segtron.data.frame_cache import FrameCache
from segtron.data.image_io import image_decoder
from segtron.data.instance_targets import targets_by_layers, targets_by_map, targets_one_by_one
from segtron.data.lazy_input import LazyInput, LazyPicture, apply_segmentation
from segtron.data.panoptic_targets import open_classes, open_places, panoptic_targets
from segtron.data.pixels import ArrayPixels, Pixels, read_all
from segtron.data.place_map import as_numbers
from segtron.data.sem_seg import open_sem_seg
from segtron.errors import UserError


def check_image_size(record: dict[str, Any], image: Pixels) -> None:
    """Make sure that an image has the size that its standard dict gives; sets a size that it lacks.

    Args:
        record: a standard dict.
        image: its image.

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

    Augmentations say what they do before anything is decoded, as far as they look at sizes alone.
    Then crops are cut first, of image and labels, and targets are made last, of one map of numbers
    that carries all instances or segments. They equal those that Detectron2's mapper makes; shades
    of an image can differ from its by rounding, where it is resized before it is cut, or its hue is
    changed.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        cache_dir: str = "",
        fill: Sequence[int] = (128, 128, 128),
        **kwargs: Any,
    ) -> None:
        """Take `DatasetMapper`'s arguments.

        Args:
            is_train: whether annotations and semantic labels are wanted.
            cache_dir: the folder that decoded files are kept in (`segtron.data.frame_cache`); none
                where it is empty.
            fill: the shade of each channel around an image that `map` places in a larger size.
            **kwargs: as for `detectron2.data.DatasetMapper`.
        """
        super().__init__(is_train, **kwargs)
        self._fill = tuple(fill)
        self._opener = FrameCache(Path(cache_dir).expanduser()).open if cache_dir else open_file
        self._needs_sem_seg = any(
            isinstance(augmentation, T.RandomCrop_CategoryAreaConstraint)
            for augmentation in self.augmentations.augs
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Arguments from the INPUT and MODEL keys."""
        arguments = super().from_config(cfg, is_train)
        arguments["augmentations"] = build_augmentations(cfg, is_train)
        arguments["cache_dir"] = cfg.DATALOADER.CACHE_DIR
        arguments["fill"] = [round(value) for value in cfg.MODEL.PIXEL_MEAN]
        if is_train and needs_bitmaps(cfg):
            # Masks are fed in any case; Detectron2 makes boxes of them only where they are used.
            arguments |= {"use_instance_mask": True, "recompute_boxes": True}
            arguments["instance_mask_format"] = "bitmask"
        return arguments

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Map one image, see `map`."""
        return self.map(dataset_dict)

    def map(
        self, dataset_dict: dict[str, Any], size: tuple[int, int] | None = None
    ) -> dict[str, Any]:
        """Map one image.

        Args:
            dataset_dict: in Detectron2's standard format; not changed.
            size: height and width that the image is to have once it is augmented, for which it is
                cut or filled up at random; default: as the augmentations leave it.

        Returns:
            The dict with `image`, (C, H, W) uint8. In training also, where there are annotations,
            `instances` with `gt_boxes`, `gt_classes` and `gt_masks`, without crowds and without
            what the augmentations cut off; where there is a label file, `sem_seg`, (H, W) int64,
            255 where there is no class; and where there is panoptic ground truth all of these and
            `pan_seg`, (H, W) int64: i + 1 in the pixels of `segments_info[i]`, 0 in void.

        Raises:
            UserError: the image or its label file is missing, unreadable or of another size than
                the other or the annotations; a label file has, where it isn't cut off, a value that
                is no class; or an augmentation needs a label file and there is none.
        """
        record = dict(dataset_dict)
        image = self._opener(image_decoder(self.image_format), record["file_name"])
        check_image_size(record, image)
        places = self._open_places(record) if self.is_train and "segments_info" in record else None
        sem_seg = self._open_sem_seg(record, places) if self.is_train else None
        if sem_seg is None and self.is_train and self._needs_sem_seg:
            raise UserError(
                f"INPUT.CROP.SINGLE_CATEGORY_MAX_AREA is below 1, but image {record['file_name']} "
                "has no semantic labels to measure it by; set it to 1.0"
            )
        augmented = LazyInput(image, sem_seg)
        transforms = augmented.augment(self._augmentations_for(size))
        # In maps of instances and segments, which follow, 0 is nothing.
        transforms = filled_with(0, transforms)
        # A copy: flips leave negative strides, which torch does not take.
        record["image"] = torch.from_numpy(augmented.image.transpose(2, 0, 1).copy())
        if places is not None:
            picture = LazyPicture(places, apply_segmentation)
            picture.transform(transforms)
            record |= panoptic_targets(as_numbers(picture.read()), record["segments_info"])
            return record
        if sem_seg is not None:
            record["sem_seg"] = torch.from_numpy(augmented.sem_seg.astype(np.int64))
        annotations = record.pop("annotations", None)
        if self.is_train and annotations is not None:
            kept = [dict(a) for a in annotations if not a.get("iscrowd", 0)]
            record["instances"] = self._targets(kept, transforms, image.shape, augmented.shape)
        return record

    def _augmentations_for(self, size: tuple[int, int] | None) -> list[T.Augmentation]:
        augmentations = self.augmentations.augs
        if size is None:
            return augmentations
        others = [a for a in augmentations if not isinstance(a, PadToSize)]
        return [*others, PlaceAtRandom(size, self._fill)]

    def _open_places(self, record: dict[str, Any]) -> Pixels:
        places = open_places(record, self._opener)
        # Read once where they are looked at, too.
        return ArrayPixels(read_all(places)) if self._needs_sem_seg else places

    def _open_sem_seg(self, record: dict[str, Any], places: Pixels | None) -> Pixels | None:
        """The classes that augmentations look at or move; those of segments follow from these."""
        if places is None:
            known = "sem_seg_file_name" in record
            return open_sem_seg(record, self._opener) if known else None
        return open_classes(places, record["segments_info"]) if self._needs_sem_seg else None

    def _targets(
        self,
        annotations: list[dict[str, Any]],
        transforms: T.TransformList,
        shape: tuple[int, int],
        new_shape: tuple[int, int],
    ) -> Instances:
        """What is left of annotations after transforms of their image; they may be changed."""
        if not self.use_keypoint:
            for annotation in annotations:
                annotation.pop("keypoints", None)
            if is_filling(transforms):
                return targets_by_layers(annotations, transforms, shape, new_shape)
            instances = targets_by_map(
                annotations, transforms, shape, recompute_boxes=self.recompute_boxes
            )
            if instances is not None:
                return instances
        return targets_one_by_one(
            annotations,
            transforms,
            new_shape,
            recompute_boxes=self.recompute_boxes,
            mask_format=self.instance_mask_format,
            keypoint_hflip_indices=self.keypoint_hflip_indices,
        )
