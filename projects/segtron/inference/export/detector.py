"""Mask R-CNN's inference on one image as a graph of tensor operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.projects.point_rend import PointRendMaskHead
from detectron2.structures import Boxes
from torch import nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

from segtron.inference.export.class_choice import of_class
from segtron.inference.export.point_rend import point_rend_masks


class Detections(NamedTuple):
    """The instances of one image, by descending score of the boxes."""

    boxes: torch.Tensor  # (N, 4) float32, (x0, y0, x1, y1) in pixels of the network's input
    scores: torch.Tensor  # (N,) float32
    classes: torch.Tensor  # (N,) int64
    masks: torch.Tensor  # (N, M, M) float32, 0 to 1, each for the area of its box


class Detector(nn.Module):
    """The proposal and ROI heads of a Mask R-CNN, in evaluation mode, for one image.

    The same steps as in Detectron2's `RPN.forward` and `StandardROIHeads.forward`, whose Python
    code looks at values to choose its way (is a box empty? are there boxes at all?), which no
    exported graph can. Here numbers of boxes are lengths of tensors and nothing else. Two things
    are left out: Detectron2 drops boxes that are not finite, which only a model that has diverged
    has; and where there are more than a thousand boxes it suppresses those of each class by
    themselves, which gives the same up to rounding.
    """

    def __init__(self, model: GeneralizedRCNN) -> None:
        """
        Args:
            model: one that `support.task_of` lets pass; its layers are shared, not copied.
        """
        super().__init__()
        self.proposals = model.proposal_generator
        self.heads = model.roi_heads

    def forward(self, features: Mapping[str, torch.Tensor], size: torch.Tensor) -> Detections:
        """
        Args:
            features: of the backbone, name -> (1, C, H, W).
            size: (2,) int64, height and width of the image without what was added to it.
        """
        height, width = size.float().unbind()
        limits = torch.stack([width, height, width, height])
        proposals = self._propose([features[name] for name in self.proposals.in_features], limits)
        box_features = [features[name] for name in self.heads.box_in_features]
        boxes, scores, classes = self._classify(box_features, proposals, limits)
        scores, masks = self._segment(features, boxes, scores, classes)
        return Detections(boxes, scores, classes, masks)

    def _propose(self, features: Sequence[torch.Tensor], limits: torch.Tensor) -> torch.Tensor:
        """Boxes that may hold an object, (P, 4)."""
        rpn = self.proposals
        boxes, scores, levels = [], [], []
        for level, (logits, deltas, anchors) in enumerate(
            zip(*rpn.rpn_head(features), self._anchors(features), strict=True)
        ):
            logits = logits[0].permute(1, 2, 0).flatten()
            deltas = deltas[0].unflatten(0, (-1, 4)).permute(2, 3, 0, 1).flatten(0, 2)
            number = torch.sym_min(logits.shape[0], rpn.pre_nms_topk[False])
            best, places = logits.topk(number)
            boxes.append(rpn.box2box_transform.apply_deltas(deltas[places], anchors[places]))
            scores.append(best)
            levels.append(torch.full_like(places, level))
        found = _clip(torch.cat(boxes), limits)
        kept = torch.nonzero(_are_larger_than(found, rpn.min_box_size))[:, 0]
        found = found[kept]
        kept_levels = torch.cat(levels)[kept]
        best = batched_nms(found, torch.cat(scores)[kept], kept_levels, rpn.nms_thresh)
        return found[best[: rpn.post_nms_topk[False]]]

    def _anchors(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """As `DefaultAnchorGenerator`: for each level (H * W * A, 4)."""
        generator = self.proposals.anchor_generator
        anchors = []
        for feature, stride, cell in zip(
            features, generator.strides, generator.cell_anchors, strict=True
        ):
            height, width = feature.shape[-2:]
            rows, columns = (
                (torch.arange(length, dtype=torch.float32) + generator.offset) * stride
                for length in (height, width)
            )
            x = columns[None, :].expand(height, width)
            y = rows[:, None].expand(height, width)
            shifts = torch.stack([x, y, x, y], dim=-1)
            anchors.append((shifts[:, :, None] + cell).flatten(0, 2))
        return anchors

    def _classify(
        self, features: Sequence[torch.Tensor], proposals: torch.Tensor, limits: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes (N, 4), scores (N,) and classes (N,) of the objects in proposals (P, 4)."""
        predictor = self.heads.box_predictor
        pooled = pool(self.heads.box_pooler, features, proposals)
        logits, deltas = predictor(self.heads.box_head(pooled))
        probabilities = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=1)
        probabilities = probabilities[:, :-1]
        boxes = predictor.box2box_transform.apply_deltas(deltas, proposals)
        boxes = _clip(boxes.unflatten(1, (-1, 4)), limits)
        rows, classes = torch.nonzero(probabilities > predictor.test_score_thresh).unbind(dim=1)
        scores = probabilities[rows, classes]
        boxes = boxes[rows, 0] if boxes.shape[1] == 1 else boxes[rows, classes]
        best = batched_nms(boxes, scores, classes, predictor.test_nms_thresh)
        if predictor.test_topk_per_image >= 0:
            best = best[: predictor.test_topk_per_image]
        return boxes[best], scores[best], classes[best]

    def _segment(
        self,
        features: Mapping[str, torch.Tensor],
        boxes: torch.Tensor,
        scores: torch.Tensor,
        classes: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """New scores (N,), where there is a head that judges masks, and masks (N, M, M)."""
        head = self.heads.mask_head
        if isinstance(head, PointRendMaskHead):
            return scores, point_rend_masks(head, features, boxes, classes)
        mask_features = [features[name] for name in self.heads.mask_in_features]
        pooled = pool(self.heads.mask_pooler, mask_features, boxes)
        masks = of_class(head.layers(pooled), classes).sigmoid()
        judge = getattr(head, "mask_iou_head", None)
        if judge is not None:
            scores = scores * of_class(judge(pooled, masks[:, None]), classes).clamp(0.0, 1.0)
        return scores, masks


def pool(pooler: ROIPooler, features: Sequence[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """As `ROIPooler.forward` for one image.

    Args:
        pooler: on features of several strides.
        features: (1, C, H, W) each.
        boxes: (N, 4).

    Returns:
        (N, C, height, width) of the pooler's output size.
    """
    levels = assign_boxes_to_levels(
        [Boxes(boxes)],
        pooler.min_level,
        pooler.max_level,
        pooler.canonical_box_size,
        pooler.canonical_level,
    )
    rois = F.pad(boxes, (1, 0))  # the image's number, 0, comes first
    pooled = boxes.new_zeros(boxes.shape[0], features[0].shape[1], *pooler.output_size)
    for level, (feature, layer) in enumerate(zip(features, pooler.level_poolers, strict=True)):
        places = torch.nonzero(levels == level)[:, 0]
        # Not by the layer itself, which may be Segtron's own, for eager computation.
        part = roi_align(
            feature,
            rois[places],
            layer.output_size,
            layer.spatial_scale,
            layer.sampling_ratio,
            layer.aligned,
        )
        pooled = pooled.index_put((places,), part)
    return pooled


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Non-maximum suppression within each group: groups are moved apart, and none overlaps another.

    The rule of `torchvision.ops.batched_nms`, which looks at the number of boxes first.

    Args:
        boxes: (N, 4), no coordinate below 0.
        scores: (N,).
        groups: (N,) int64.
        threshold: the largest IoU that two boxes of a group may have.

    Returns:
        (M,) int64, the boxes that are kept, by descending score.
    """
    # One number more, since there may be no box.
    largest = F.pad(boxes.flatten(), (0, 1)).max()
    offsets = groups.to(boxes.dtype) * (largest + 1)
    return nms(boxes + offsets[:, None], scores, threshold)


def _clip(boxes: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    return torch.minimum(boxes.clamp(min=0), limits)


def _are_larger_than(boxes: torch.Tensor, side: float) -> torch.Tensor:
    return ((boxes[:, 2:] - boxes[:, :2]) > side).all(dim=1)
