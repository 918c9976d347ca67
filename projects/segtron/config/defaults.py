"""Every config key that Segtron adds to Detectron2's, with its default and what it does."""

from __future__ import annotations

from detectron2.config import CfgNode, get_cfg
from detectron2.projects.point_rend import add_pointrend_config


def get_default_config() -> CfgNode:
    """Detectron2's defaults, those of its PointRend project, and Segtron's.

    Returns:
        A fresh, unfrozen `CfgNode`.
    """
    cfg = get_cfg()
    add_pointrend_config(cfg)
    _add_datasets(cfg)
    _add_input(cfg)
    _add_model(cfg)
    _add_timm(cfg)
    _add_mask_head(cfg)
    _add_solver(cfg)
    _add_test(cfg)
    return cfg


def _add_datasets(cfg: CfgNode) -> None:
    # Data sets of one's own. Each entry is a mapping:
    #   {name: fruits_train, type: coco_instance, json: train.json, images: train}
    # Relative paths are relative to the file that the entry stands in (to the working directory
    # when it is given on the command line). The name can then stand in DATASETS.TRAIN and
    # DATASETS.TEST.
    cfg.DATASETS.REGISTER = []
    # Names of the thing classes, in the order of the model's outputs. Taken from the data when
    # empty, and written to OUTPUT_DIR/config.yaml, so that a trained model can name its classes
    # where the data is not.
    cfg.DATASETS.THING_CLASSES = []


def _add_input(cfg: CfgNode) -> None:
    # INPUT.COLOR_AUG_SSD (PointRend's key) turns on random brightness, contrast, saturation and
    # hue.

    # Chance that a training image is turned upside down, on top of INPUT.RANDOM_FLIP. For views
    # from above (microscopes, drones, satellites), where down is no direction.
    cfg.INPUT.VERTICAL_FLIP_PROB = 0.0


def _add_model(cfg: CfgNode) -> None:
    # Keep images and features in memory with channels last (NHWC): the results are the same up to
    # rounding, and convolutions are faster on CPUs, and on GPUs in half precision.
    cfg.MODEL.CHANNELS_LAST = False


def _add_timm(cfg: CfgNode) -> None:
    # Backbones `TimmBackbone` and `build_timm_fpn_backbone`: any network of the timm library that
    # gives features (`timm.create_model(..., features_only=True)`). Its features are named by
    # stride: res1 = 2, res2 = 4, res3 = 8, res4 = 16, res5 = 32. MODEL.BACKBONE.FREEZE_AT freezes
    # stages as in Detectron2's ResNet: 0 nothing, 1 the stem (all up to stride 2), 2 also the
    # stage of res2, and so on.
    cfg.MODEL.TIMM = CfgNode()
    # Name of the network in timm.
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
    # Start from ImageNet weights where MODEL.WEIGHTS is empty. tf_efficientnet_lite0's come with
    # their package from the package index; those of other networks are downloaded by timm.
    cfg.MODEL.TIMM.PRETRAINED = True
    # Which features to give.
    cfg.MODEL.TIMM.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    # What to do with the network's batch norms: "FrozenBN" keeps the statistics and affine
    # parameters of the weights that it starts from, "BN" trains them, "SyncBN" trains them over
    # all processes.
    cfg.MODEL.TIMM.NORM = "FrozenBN"


def _add_mask_head(cfg: CfgNode) -> None:
    # Mask head `InstanceMaskHead`. NUM_CONV, CONV_DIM, NORM and CLS_AGNOSTIC_MASK are Detectron2's
    # keys.

    # Weight of the pixel-wise binary cross-entropy in the mask loss.
    cfg.MODEL.ROI_MASK_HEAD.BCE_WEIGHT = 1.0
    # Weight of the Dice term in the mask loss (Milletari et al. 2016); 0 leaves it out.
    cfg.MODEL.ROI_MASK_HEAD.DICE_WEIGHT = 0.0
    # Branch that predicts each mask's IoU and rescores its instance by it
    # (Mask Scoring R-CNN, Huang et al. 2019).
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU = CfgNode()
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU.ENABLED = False
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU.NUM_CONV = 4
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU.CONV_DIM = 256
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU.FC_DIM = 1024
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU.LOSS_WEIGHT = 1.0


def _add_solver(cfg: CfgNode) -> None:
    # "SGD" (Detectron2's) or "AdamW", which wants a BASE_LR about twenty times smaller and learns
    # faster where much of a model starts from random weights.
    cfg.SOLVER.OPTIMIZER = "SGD"


def _add_test(cfg: CfgNode) -> None:
    # Lowest score that an instance needs to be drawn by the tools. It has no part in the scores:
    # MODEL.ROI_HEADS.SCORE_THRESH_TEST decides what is evaluated and saved.
    cfg.TEST.DRAW_SCORE_THRESH = 0.5
