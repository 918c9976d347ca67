"""Panoptic FPN whose semantic branch names all classes, things too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, PanopticFPN, build_sem_seg_head
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances

from segtron.errors import UserError
from segtron.modeling.best_classes import best_classes
from segtron.modeling.meta_arch.panoptic import check_targets, thing_classes_of
from segtron.modeling.output_size import to_output_size
from segtron.modeling.panoptic_merging import merge_panoptic


@META_ARCH_REGISTRY.register()
class UnifiedPanopticFPN(PanopticFPN):
    """Mask R-CNN and a semantic branch on one FPN (Kirillov, Girshick, He & Dollár 2019).

    The layers and their names are those of Detectron2's `PanopticFPN`. There the semantic branch
    has one class for all things; here it tells them apart, so that it can be scored and used as any
    semantic model. It is any head of the registry SEM_SEG_HEADS.

    The losses of the ROI heads are multiplied by `instance_loss_weight`; those of the semantic head
    have their own weight. As in the paper, proposals weigh the same whatever the weights of both.
    """

    @configurable
    def __init__(
        self, *, thing_classes: Sequence[int], instance_loss_weight: float = 1.0, **kwargs: Any
    ) -> None:
        """
        Args:
            thing_classes: at i the semantic class of the instance head's class i.
            instance_loss_weight: factor of all losses of the ROI heads.
            **kwargs: as for `PanopticFPN`.
        """
        super().__init__(**kwargs)
        self.thing_classes = list(thing_classes)
        self.instance_loss_weight = instance_loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        _check_options(cfg)
        options = cfg.MODEL.PANOPTIC_FPN
        # Past PanopticFPN's own, which writes the weight of the instances into the heads that it
        # knows, with a warning.
        arguments = super(PanopticFPN, cls).from_config(cfg)
        return arguments | {
            "sem_seg_head": build_sem_seg_head(cfg, arguments["backbone"].output_shape()),
            "thing_classes": thing_classes_of(cfg),
            "instance_loss_weight": options.INSTANCE_LOSS_WEIGHT,
            "combine_overlap_thresh": options.COMBINE.OVERLAP_THRESH,
            "combine_stuff_area_thresh": options.COMBINE.STUFF_AREA_LIMIT,
            "combine_instances_score_thresh": options.COMBINE.INSTANCES_CONFIDENCE_THRESH,
        }

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, torch.Tensor] | list[dict[str, Any]]:
        """
        Args:
            batched_inputs: each with "image", (C, H, W); in training with "instances" and
                "sem_seg", (H, W) int64; at inference perhaps with "height" and "width", the size of
                the output.

        Returns:
            The losses in training; else what `inference` returns.

        Raises:
            UserError: an image to train on lacks one of the two.
        """
        if not self.training:
            return self.inference(batched_inputs)
        check_targets(
            batched_inputs,
            ("instances", "sem_seg"),
            "UnifiedPanopticFPN learns from instances and semantic labels",
        )
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        sem_seg = ImageList.from_tensors(
            [inputs["sem_seg"].to(self.device) for inputs in batched_inputs],
            self.backbone.size_divisibility,
            self.sem_seg_head.ignore_value,
            self.backbone.padding_constraints,
        ).tensor
        instances = [inputs["instances"].to(self.device) for inputs in batched_inputs]
        _, semantic_losses = self.sem_seg_head(features, sem_seg)
        proposals, proposal_losses = self.proposal_generator(images, features, instances)
        _, instance_losses = self.roi_heads(images, features, proposals, instances)
        weight = self.instance_loss_weight
        weighted = {name: loss * weight for name, loss in instance_losses.items()}
        return semantic_losses | proposal_losses | weighted

    def inference(
        self, batched_inputs: list[dict[str, Any]], do_postprocess: bool = True
    ) -> list[dict[str, Any]] | tuple[list[Instances], torch.Tensor]:
        """
        Args:
            batched_inputs: as in `forward`.
            do_postprocess: bring the outputs to the size of each image, and merge them.

        Returns:
            For each image a dict with "instances", "sem_seg", (K, height, width) logits, and
            "panoptic_seg": segment ids, (height, width) int32, and segments as in `merge_panoptic`,
            with the semantic class as `category_id` of things, too. Without `do_postprocess` the
            instances and the logits of the batch as the heads give them.
        """
        detections, logits = super().inference(batched_inputs, do_postprocess=False)
        if not do_postprocess:
            return detections, logits
        outputs = []
        for inputs, found, scores in zip(batched_inputs, detections, logits, strict=True):
            height = inputs.get("height", found.image_size[0])
            width = inputs.get("width", found.image_size[1])
            sem_seg = to_output_size(scores, found.image_size, height, width)
            instances = detector_postprocess(found, height, width)
            outputs.append(
                {
                    "sem_seg": sem_seg,
                    "instances": instances,
                    "panoptic_seg": self.merge(instances, sem_seg),
                }
            )
        return outputs

    def merge(
        self, instances: Instances, sem_seg: torch.Tensor
    ) -> tuple[torch.Tensor, list[dict[str, Any]]]:
        """Panoptic segments of one image.

        Args:
            instances: with masks of the image's size.
            sem_seg: (K, H, W), scores of the classes of pixels.

        Returns:
            As "panoptic_seg" of `inference`.
        """
        ids, segments = merge_panoptic(
            instances,
            best_classes(sem_seg),
            overlap_threshold=self.combine_overlap_thresh,
            stuff_area_limit=self.combine_stuff_area_thresh,
            confidence_threshold=self.combine_instances_score_thresh,
            thing_classes=self.thing_classes,
        )
        for segment in segments:
            if segment["isthing"]:
                segment["category_id"] = self.thing_classes[segment["category_id"]]
        return ids, segments


def _check_options(cfg: CfgNode) -> None:
    num_things, thing_classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES, thing_classes_of(cfg)
    if len(thing_classes) != num_things:
        raise UserError(
            f"MODEL.SEM_SEG_HEAD.THING_CLASSES is {thing_classes}, {len(thing_classes)} classes, "
            f"but MODEL.ROI_HEADS.NUM_CLASSES is {num_things}; both must be the number of things"
        )
    if not cfg.MODEL.MASK_ON:
        raise UserError(
            "MODEL.MASK_ON is False, but UnifiedPanopticFPN makes segments of masks; set it to True"
        )
    options = cfg.MODEL.PANOPTIC_FPN
    if not options.COMBINE.ENABLED:
        raise UserError(
            "MODEL.PANOPTIC_FPN.COMBINE.ENABLED is False, but UnifiedPanopticFPN always merges "
            "instances and stuff; leave it at True"
        )
    for key in ("OVERLAP_THRESH", "INSTANCES_CONFIDENCE_THRESH"):
        if not 0 <= options.COMBINE[key] <= 1:
            raise UserError(
                f"MODEL.PANOPTIC_FPN.COMBINE.{key} is {options.COMBINE[key]}; it must be from 0 "
                "to 1"
            )
    if not options.COMBINE.STUFF_AREA_LIMIT >= 0:
        raise UserError(
            f"MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT is {options.COMBINE.STUFF_AREA_LIMIT}; "
            "it must be a number of pixels, 0 or more"
        )
    if not 0 <= options.INSTANCE_LOSS_WEIGHT < math.inf:
        raise UserError(
            f"MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT is {options.INSTANCE_LOSS_WEIGHT}; it must "
            "be 0 or more"
        )
