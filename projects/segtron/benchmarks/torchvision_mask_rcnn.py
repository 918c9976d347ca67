"""torchvision's Mask R-CNN with the weights of Detectron2's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from detectron2.config import CfgNode
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

# Detectron2's names without what follows the layer -> torchvision's. The ResNet is named by
# `_resnet_name`, batch norms' and convolutions' tensors have the same names in both.
_LAYERS = (
    (r"backbone\.fpn_lateral(\d)", lambda level: f"backbone.fpn.inner_blocks.{int(level) - 2}.0"),
    (r"backbone\.fpn_output(\d)", lambda level: f"backbone.fpn.layer_blocks.{int(level) - 2}.0"),
    (r"proposal_generator\.rpn_head\.conv", lambda: "rpn.head.conv.0.0"),
    (r"proposal_generator\.rpn_head\.objectness_logits", lambda: "rpn.head.cls_logits"),
    (r"proposal_generator\.rpn_head\.anchor_deltas", lambda: "rpn.head.bbox_pred"),
    (r"roi_heads\.box_head\.fc(\d)", lambda number: f"roi_heads.box_head.fc{int(number) + 5}"),
    (r"roi_heads\.box_predictor\.(\w+)", lambda name: f"roi_heads.box_predictor.{name}"),
    (
        r"roi_heads\.mask_head\.mask_fcn(\d)",
        lambda number: f"roi_heads.mask_head.{int(number) - 1}.0",
    ),
    (r"roi_heads\.mask_head\.deconv", lambda: "roi_heads.mask_predictor.conv5_mask"),
    (r"roi_heads\.mask_head\.predictor", lambda: "roi_heads.mask_predictor.mask_fcn_logits"),
)
_BLOCK = re.compile(r"backbone\.bottom_up\.(?:stem|res(\d)\.(\d+))\.(conv\d|shortcut)(\.norm)?")
_FIRST_CONVOLUTION = "backbone.body.conv1.weight"


def build_torchvision_mask_rcnn(cfg: CfgNode, size: tuple[int, int]) -> MaskRCNN:
    """Build `maskrcnn_resnet50_fpn` as it is with its published weights (frozen batch norms, three
    trained stages), but with the weights of Detectron2's.

    It computes what Detectron2's computes, of as many proposals, except that it samples regions
    half a pixel beside and rounds the anchors.

    Args:
        cfg: of Detectron2's Mask R-CNN R50-FPN with its weights, with STRIDE_IN_1X1 False, for
            images in BGR with a pixel_std of 1.
        size: height and width of the images, which are not resized.

    Returns:
        The model on the config's device, in training mode. It takes RGB of 0 to 1.
    """
    model = MaskRCNN(
        resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3),
        num_classes=cfg.MODEL.ROI_HEADS.NUM_CLASSES + 1,
        min_size=min(size),
        max_size=max(size),
        image_mean=[value / 255 for value in reversed(cfg.MODEL.PIXEL_MEAN)],
        image_std=[1 / 255] * 3,
        rpn_pre_nms_top_n_train=cfg.MODEL.RPN.PRE_NMS_TOPK_TRAIN,
        rpn_pre_nms_top_n_test=cfg.MODEL.RPN.PRE_NMS_TOPK_TEST,
        rpn_post_nms_top_n_train=cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN,
        rpn_post_nms_top_n_test=cfg.MODEL.RPN.POST_NMS_TOPK_TEST,
        box_batch_size_per_image=cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE,
        box_score_thresh=cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
    )
    tensors = torch.load(cfg.MODEL.WEIGHTS, map_location="cpu", weights_only=True)
    model.load_state_dict(torchvision_tensors(tensors))
    return model.to(cfg.MODEL.DEVICE)


def torchvision_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of Detectron2's Mask R-CNN R50-FPN in torchvision's names and order of classes.

    Args:
        tensors: Detectron2's, for images in BGR; more than the layers' own, such as `pixel_mean`,
            is left out.

    Returns:
        Tensors for images in RGB, of which some are views of Detectron2's.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        their_layer = _resnet_name(layer) or _layer_name(layer)
        if their_layer is None:
            continue
        renamed[f"{their_layer}.{kind}"] = _in_their_order(their_layer, tensor)
    renamed[_FIRST_CONVOLUTION] = renamed[_FIRST_CONVOLUTION].flip(1)
    return renamed


def _resnet_name(layer: str) -> str | None:
    found = _BLOCK.fullmatch(layer)
    if found is None:
        return None
    stage, block, convolution, norm = found.groups()
    place = "" if stage is None else f"layer{int(stage) - 1}.{block}."
    if convolution == "shortcut":
        return f"backbone.body.{place}downsample.{1 if norm else 0}"
    return f"backbone.body.{place}{convolution.replace('conv', 'bn') if norm else convolution}"


def _layer_name(layer: str) -> str | None:
    for pattern, rename in _LAYERS:
        found = re.fullmatch(pattern, layer)
        if found is not None:
            return rename(*found.groups())
    return None


def _in_their_order(layer: str, tensor: torch.Tensor) -> torch.Tensor:
    """The background is their first class, Detectron2's last; and theirs has a box and a mask,
    which nothing uses."""
    if layer.endswith("cls_score"):
        return tensor.roll(1, dims=0)
    if layer.endswith(("box_predictor.bbox_pred", "mask_fcn_logits")):
        rows_of_class = 4 if layer.endswith("bbox_pred") else 1
        return torch.cat([torch.zeros_like(tensor[:rows_of_class]), tensor])
    return tensor
