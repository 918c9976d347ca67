"""Detectron2's Mask R-CNN mask head with a Dice loss and a judge of its masks."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling.roi_heads.mask_head import (
    ROI_MASK_HEAD_REGISTRY,
    MaskRCNNConvUpsampleHead,
    mask_rcnn_inference,
    mask_rcnn_loss,
)
from detectron2.structures import Instances

from segtron.errors import UserError
from segtron.modeling.losses import soft_dice_loss
from segtron.modeling.mask_heads.mask_iou import MaskIoUHead, mask_iou_targets
from segtron.modeling.norm import NORMS, Norm, resolve_norm
from segtron.modeling.options import check_choice


@ROI_MASK_HEAD_REGISTRY.register()
class InstanceMaskHead(MaskRCNNConvUpsampleHead):
    """Convolutions, an upsampling layer and a 1x1 convolution, as in Mask R-CNN (He et al. 2017).

    The layers and their names are those of Detectron2's `MaskRCNNConvUpsampleHead`, so weights can
    be exchanged with it. On top of it:

    - the loss is `bce_weight` * binary cross-entropy (`loss_mask`) plus `dice_weight` * soft Dice
      (`loss_mask_dice`), each on the mask of the object's class;
    - `mask_iou_head` learns the IoU of each mask with the ground truth (`loss_mask_iou`: half the
      squared error, averaged over the regions). At inference `instances.scores` becomes the score
      of the detection times the predicted IoU of its class, clamped to 0..1, and
      `instances.box_scores` keeps the score of the detection (Mask Scoring R-CNN, Huang et al.
      2019). The order of the instances stays that of `box_scores`.

    Without a foreground region all losses are 0 and still reach every parameter, so that processes
    that train together stay in step.
    """

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        conv_dims: list[int],
        conv_norm: Norm = "",
        bce_weight: float = 1.0,
        dice_weight: float = 0.0,
        mask_iou_head: MaskIoUHead | None = None,
        mask_iou_weight: float = 1.0,
        vis_period: int = 0,
    ) -> None:
        """
        Args:
            input_shape: shape of a region's features.
            num_classes: number of foreground classes; 1 for masks that know no class.
            conv_dims: channels of the 3x3 convolutions and, last, of the upsampling layer.
            conv_norm: normalization after the 3x3 convolutions, as in `segtron.modeling.norm`.
            bce_weight: weight of the binary cross-entropy.
            dice_weight: weight of the Dice loss; 0 leaves it out.
            mask_iou_head: the branch that judges the masks, if any.
            mask_iou_weight: weight of its loss.
            vis_period: draw predicted and true masks every so many iterations; 0 for never.
        """
        if min(bce_weight, dice_weight) < 0 or bce_weight + dice_weight == 0:
            raise UserError(
                f"MODEL.ROI_MASK_HEAD.BCE_WEIGHT is {bce_weight} and DICE_WEIGHT {dice_weight}; "
                "neither may be negative, and one must be above 0"
            )
        super().__init__(
            input_shape,
            num_classes=num_classes,
            conv_dims=conv_dims,
            conv_norm=resolve_norm(conv_norm),
            loss_weight=bce_weight,
            vis_period=vis_period,
        )
        self.dice_weight = dice_weight
        self.mask_iou_weight = mask_iou_weight
        self.mask_iou_head = mask_iou_head

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        options = cfg.MODEL.ROI_MASK_HEAD
        check_choice("MODEL.ROI_MASK_HEAD.NORM", options.NORM, NORMS)
        arguments = super().from_config(cfg, input_shape)
        arguments["bce_weight"] = options.BCE_WEIGHT
        arguments["dice_weight"] = options.DICE_WEIGHT
        if options.MASK_IOU.ENABLED:
            if options.MASK_IOU.NUM_CONV < 1:
                raise UserError(
                    f"MODEL.ROI_MASK_HEAD.MASK_IOU.NUM_CONV is {options.MASK_IOU.NUM_CONV}; "
                    "the branch needs one convolution at least"
                )
            arguments["mask_iou_weight"] = options.MASK_IOU.LOSS_WEIGHT
            arguments["mask_iou_head"] = MaskIoUHead(
                input_shape,
                num_classes=arguments["num_classes"],
                num_conv=options.MASK_IOU.NUM_CONV,
                conv_dim=options.MASK_IOU.CONV_DIM,
                fc_dim=options.MASK_IOU.FC_DIM,
            )
        return arguments

    def layers(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: (N, C, H, W), features of N regions.

        Returns:
            (N, num_classes, 2H, 2W), the logits of their masks.
        """
        # Detectron2's head is a Sequential; the branch that judges is no part of the sequence.
        for layer in self:
            if layer is not self.mask_iou_head:
                x = layer(x)
        return x

    def forward(
        self, x: torch.Tensor, instances: list[Instances]
    ) -> dict[str, torch.Tensor] | list[Instances]:
        """
        Args:
            x: (N, C, H, W), features of the regions of all images.
            instances: one for each image, together N. In training, proposals that are foreground,
                with `proposal_boxes`, `gt_classes` and `gt_masks`; at inference, detections with
                `pred_boxes`, `pred_classes` and, where they are to be rescored, `scores`.

        Returns:
            The losses in training; else `instances` with `pred_masks` (and new scores).
        """
        logits = self.layers(x)
        if self.training:
            return self.losses(x, logits, instances)
        mask_rcnn_inference(logits, instances)
        if self.mask_iou_head is not None:
            self._rescore(x, instances)
        return instances

    def losses(
        self, x: torch.Tensor, logits: torch.Tensor, instances: list[Instances]
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            x: (N, C, H, W), features of the regions.
            logits: (N, num_classes, 2H, 2W), their masks.
            instances: as in `forward`.

        Returns:
            `loss_mask`, and `loss_mask_dice` and `loss_mask_iou` where they are in use.
        """
        # Images without objects may lack `gt_masks`.
        instances = [image for image in instances if len(image) > 0]
        if not instances:
            return self._zero_losses(x, logits)
        cropped = [_crop_masks(image, logits.shape[-1]) for image in instances]
        losses = {"loss_mask": mask_rcnn_loss(logits, cropped, self.vis_period) * self.loss_weight}
        if self.dice_weight == 0 and self.mask_iou_head is None:
            return losses
        classes = cat([image.gt_classes for image in instances])
        targets = cat([image.gt_masks.cropped for image in cropped])
        mask_logits = _of_class(logits, classes)
        if self.dice_weight > 0:
            losses["loss_mask_dice"] = soft_dice_loss(mask_logits, targets) * self.dice_weight
        if self.mask_iou_head is not None:
            predicted = self.mask_iou_head(x, mask_logits.sigmoid()[:, None])
            error = _of_class(predicted, classes).float() - self._true_ious(
                mask_logits, targets, instances
            )
            losses["loss_mask_iou"] = 0.5 * error.square().mean() * self.mask_iou_weight
        return losses

    def _zero_losses(self, x: torch.Tensor, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        losses = {"loss_mask": logits.sum() * 0.0}
        if self.dice_weight > 0:
            losses["loss_mask_dice"] = logits.sum() * 0.0
        if self.mask_iou_head is not None:
            losses["loss_mask_iou"] = self.mask_iou_head(x, logits[:, :1]).sum() * 0.0
        return losses

    @staticmethod
    @torch.no_grad()
    def _true_ious(
        mask_logits: torch.Tensor, targets: torch.Tensor, instances: list[Instances]
    ) -> torch.Tensor:
        counts = [len(image) for image in instances]
        per_image = zip(
            (mask_logits > 0).split(counts), targets.split(counts), instances, strict=True
        )
        return cat(
            [
                mask_iou_targets(predicted, target, image.gt_masks, image.proposal_boxes)
                for predicted, target, image in per_image
            ]
        )

    def _rescore(self, x: torch.Tensor, instances: list[Instances]) -> None:
        masks = cat([image.pred_masks for image in instances])
        classes = cat([image.pred_classes for image in instances])
        ious = _of_class(self.mask_iou_head(x, masks), classes).float().clamp(0.0, 1.0)
        for image, image_ious in zip(
            instances, ious.split([len(image) for image in instances]), strict=True
        ):
            # Boxes given from outside come without scores.
            if image.has("scores"):
                image.box_scores = image.scores
                image.scores = image.scores * image_ious


class _CroppedMasks:
    """Ground truth cut out already, in the form in which Detectron2's loss asks for it."""

    def __init__(self, cropped: torch.Tensor) -> None:
        self.cropped = cropped

    def __len__(self) -> int:
        return len(self.cropped)

    def crop_and_resize(self, boxes: torch.Tensor, mask_size: int) -> torch.Tensor:
        return self.cropped


def _crop_masks(image: Instances, mask_size: int) -> Instances:
    """The regions of one image, their masks cut out of the ground truth once for all losses."""
    boxes = image.proposal_boxes.tensor
    cropped = image.gt_masks.crop_and_resize(boxes, mask_size).to(boxes.device)
    return Instances(
        image.image_size,
        proposal_boxes=image.proposal_boxes,
        gt_classes=image.gt_classes,
        gt_masks=_CroppedMasks(cropped),
    )


def _of_class(x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """(N, num_classes, ...) and (N,) -> (N, ...); num_classes 1 means one for all classes."""
    if x.shape[1] == 1:
        return x[:, 0]
    return x[torch.arange(len(x), device=x.device), classes]
