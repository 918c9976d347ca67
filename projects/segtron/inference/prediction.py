"""What a model says of an image, as sinks read it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Instances

from segtron.data.masks import encode_mask
from segtron.evaluation.model_output import predicted_sem_seg
from segtron.inference.sources.base import ImageFile
from segtron.visualization.panoptic_map import PanopticMap, panoptic_map

# Outputs that say the same in another form.
_FORMS = {"sem_seg_classes": "sem_seg"}


@dataclass(frozen=True)
class Prediction:
    """What a sink gets.

    Sinks don't look into `output`: it has forms for large images that these methods hide.

    Attributes:
        file: the image's file, or the frame of a video (`Frame`).
        number: its place among the images, counted from 1.
        image: (H, W, 3) uint8, BGR.
        output: the model's output for it, on the CPU. Masks of instances are a tensor (N, H, W), or
            in large images `WindowMasks`; and in place of `sem_seg`, (C, H, W) scores, there may be
            `sem_seg_classes`, (H, W) integers.
        pictures: what it was drawn as, for sinks that show the same.
    """

    file: ImageFile
    number: int
    image: np.ndarray
    output: dict[str, Any]
    pictures: dict[Any, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def kinds(self) -> list[str]:
        """What there is, by the names of Detectron2's outputs: `instances`, `sem_seg`,
        `panoptic_seg`."""
        return [_FORMS.get(name, name) for name in self.output]

    def instances(self, min_score: float) -> Instances:
        """The instances of at least a score, of a model that predicts some.

        Their masks may be `WindowMasks`; `encoded_masks` and `mask_areas` take both.
        """
        instances = self.output["instances"]
        return instances[instances.scores >= min_score]

    @functools.cached_property
    def classes(self) -> np.ndarray:
        """The class of each pixel, of a model that predicts some.

        Returns:
            (H, W) integers, uint8 for up to 256 classes.

        Raises:
            UserError: the model's scores are no numbers.
        """
        if "sem_seg_classes" in self.output:
            return np.asarray(self.output["sem_seg_classes"])
        return predicted_sem_seg(self.output, self.file.name, len(self.output["sem_seg"]))

    def num_classes(self, metadata: Metadata) -> int:
        """How many classes of pixels the model knows, as far as that can be told.

        Args:
            metadata: of the model.
        """
        if "sem_seg_classes" in self.output:
            return max(len(metadata.get("stuff_classes") or []), int(self.classes.max()) + 1)
        return len(self.output["sem_seg"])

    def segments(self, metadata: Metadata) -> PanopticMap:
        """The segments, of a panoptic model.

        Args:
            metadata: of the model.
        """
        return panoptic_map(*self.output["panoptic_seg"], metadata)


def encoded_masks(instances: Instances) -> list[dict[str, Any]]:
    """Masks of instances, which have some, as COCO's compressed run lengths.

    Returns:
        For each {"size": [H, W], "counts": str}.
    """
    masks = instances.pred_masks
    if isinstance(masks, torch.Tensor):
        return [encode_mask(mask) for mask in masks.numpy().astype(bool, copy=False)]
    return masks.encode()


def mask_areas(instances: Instances) -> list[int]:
    """Pixels of each mask, of instances that have some."""
    masks = instances.pred_masks
    areas = masks.sum(dim=(1, 2)) if isinstance(masks, torch.Tensor) else masks.areas()
    return [int(area) for area in areas]
