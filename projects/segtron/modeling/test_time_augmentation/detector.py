"""Instances, and panoptic segments, from several views of an image."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import nn

from segtron.modeling.mask_pasting import use_paste_masks
from segtron.modeling.meta_arch import UnifiedPanopticFPN
from segtron.modeling.output_size import to_output_size
from segtron.modeling.test_time_augmentation.averaging import AveragingModel
from segtron.modeling.test_time_augmentation.box_merging import FoundBoxes, merge_boxes
from segtron.modeling.test_time_augmentation.views import View


class AveragingDetector(AveragingModel):
    """A model with boxes that predicts several views of an image and merges what it finds.

    After Detectron2's `GeneralizedRCNNWithTTA`: boxes are found in each view and merged
    (`merge_boxes`); then each view gives masks for all merged boxes, which are averaged. Other than
    there, features are computed once a view, and the boxes vote. Scores that a mask head changes by
    how good it takes its mask for (`MaskIoUHead`) are averaged, too.

    Of a `UnifiedPanopticFPN` the semantic branch's probabilities are averaged, and merged with the
    instances as the model does it. Then "sem_seg" has probabilities, (K, height, width), as that of
    `AveragingSegmentor`.

    It holds the features of all views of one image.
    """

    @configurable
    def __init__(
        self, model: nn.Module, *, nms_threshold: float, max_detections: int, **kwargs: Any
    ) -> None:
        """
        Args:
            model: a `GeneralizedRCNN` or a `UnifiedPanopticFPN`, perhaps distributed.
            nms_threshold: see `merge_boxes`.
            max_detections: the most instances of an image.
            **kwargs: see `AveragingModel`.
        """
        super().__init__(model, **kwargs)
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        return super().from_config(cfg, model) | {
            "nms_threshold": cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
            "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    def _predict_image(self, image: torch.Tensor, height: int, width: int) -> dict[str, Any]:
        views = list(self._views(image))
        all_features, found = [], []
        sem_seg: torch.Tensor | None = None
        for view in views:
            images = self.model.preprocess_image([{"image": view.image}])
            features = self.model.backbone(images.tensor)
            all_features.append(features)
            found.append(self._boxes(view, images, features, height, width))
            if isinstance(self.model, UnifiedPanopticFPN):
                probabilities = self._probabilities(view, features, height, width)
                sem_seg = probabilities if sem_seg is None else sem_seg.add_(probabilities)
        instances = self._with_masks(
            merge_boxes(found, iou_threshold=self.nms_threshold, most=self.max_detections),
            zip(views, all_features, strict=True),
            (height, width),
        )
        use_paste_masks(instances)
        instances = detector_postprocess(instances, height, width)
        if sem_seg is None:
            return {"instances": instances}
        sem_seg.div_(len(views))
        return {
            "sem_seg": sem_seg,
            "instances": instances,
            "panoptic_seg": self.model.merge(instances, sem_seg),
        }

    def _boxes(
        self, view: View, images: Any, features: dict[str, torch.Tensor], height: int, width: int
    ) -> FoundBoxes:
        """What is found in a view."""
        proposals, _ = self.model.proposal_generator(images, features, None)
        [found], _ = _finding_boxes(self.model.roi_heads)(images, features, proposals, None)
        boxes = view.boxes_in_output(found.pred_boxes.tensor, height, width)
        return FoundBoxes(boxes, found.scores, found.pred_classes)

    def _probabilities(
        self, view: View, features: dict[str, torch.Tensor], height: int, width: int
    ) -> torch.Tensor:
        """Of the classes of pixels, (K, height, width)."""
        [logits], _ = self.model.sem_seg_head(features, None)
        size = tuple(view.image.shape[-2:])
        logits = to_output_size(logits, size, height, width)
        return view.pixels_in_output(logits.float().softmax(dim=0))

    def _with_masks(
        self,
        merged: FoundBoxes,
        views: Iterator[tuple[View, dict[str, torch.Tensor]]],
        size: tuple[int, int],
    ) -> Instances:
        """Instances with the mean of the masks, (N, 1, M, M), that each view gives for them."""
        instances = Instances(
            size,
            pred_boxes=Boxes(merged.boxes),
            scores=merged.scores,
            pred_classes=merged.classes,
        )
        outputs = []
        for view, features in views:
            in_view = Instances(
                tuple(view.image.shape[-2:]),
                pred_boxes=Boxes(view.boxes_in_view(merged.boxes, *size)),
                scores=merged.scores,
                pred_classes=merged.classes,
            )
            [output] = self.model.roi_heads.forward_with_given_boxes(features, [in_view])
            if not output.has("pred_masks"):
                return instances
            output.pred_masks = view.pixels_in_output(output.pred_masks)
            outputs.append(output)
        instances.pred_masks = torch.stack([output.pred_masks for output in outputs]).mean(dim=0)
        if outputs[0].has("box_scores"):
            instances.box_scores = merged.scores
            instances.scores = torch.stack([output.scores for output in outputs]).mean(dim=0)
        return instances


def _finding_boxes(roi_heads: nn.Module) -> nn.Module:
    """The same ROI heads with the same layers, but without masks. The model's own stay as they are,
    for other threads may predict with them."""
    boxes_only = copy.copy(roi_heads)
    boxes_only.mask_on = False
    return boxes_only
