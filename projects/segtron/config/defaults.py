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
    _add_sem_seg_head(cfg)
    _add_panoptic(cfg)
    _add_unet_encoder(cfg)
    _add_solver(cfg)
    _add_test(cfg)
    return cfg


def _add_datasets(cfg: CfgNode) -> None:
    # Data sets of one's own. Each entry is a mapping:
    #   {name: fruits_train, type: coco_instance, json: train.json, images: train}
    #   {name: plots_train, type: semantic, images: train, labels: masks, classes: [soil, crop]}
    #   {name: yard_train, type: coco_panoptic, json: train.json, panoptic: png, images: train}
    # Relative paths are relative to the file that the entry stands in (to the working directory
    # when it is given on the command line). The name can then stand in DATASETS.TRAIN and
    # DATASETS.TEST.
    cfg.DATASETS.REGISTER = []
    # Names of the thing classes, in the order of the model's outputs. Taken from the data when
    # empty, and written to OUTPUT_DIR/config.yaml, so that a trained model can name its classes
    # where the data is not.
    cfg.DATASETS.THING_CLASSES = []
    # The same for the classes of semantic segmentation, which Detectron2 calls stuff.
    cfg.DATASETS.STUFF_CLASSES = []


def _add_input(cfg: CfgNode) -> None:
    # INPUT.COLOR_AUG_SSD (PointRend's key) turns on random brightness, contrast, saturation and
    # hue.

    # Chance that a training image is turned upside down, on top of INPUT.RANDOM_FLIP. For views
    # from above (microscopes, drones, satellites), where down is no direction.
    cfg.INPUT.VERTICAL_FLIP_PROB = 0.0

    # INPUT.CROP cuts before images are resized, as in Detectron2, or after: then all crops of TYPE
    # "absolute" have one size however images are scaled, as is usual in semantic segmentation.
    cfg.INPUT.CROP.AFTER_RESIZE = False
    # INPUT.CROP.SINGLE_CATEGORY_MAX_AREA (PointRend's key) is the largest share of a crop that one
    # class may fill; ten tries are made. It needs semantic ground truth.


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


def _add_sem_seg_head(cfg: CfgNode) -> None:
    # Semantic heads `FCNHead` and `UNetHead`. NAME, IN_FEATURES, NUM_CLASSES, IGNORE_VALUE,
    # CONVS_DIM, COMMON_STRIDE, NORM and LOSS_WEIGHT are Detectron2's keys.

    # Chance that a channel is zeroed before the score layers, in training.
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = 0.0

    # `FCNHead` (Long, Shelhamer & Darrell 2015). MODEL.SEM_SEG_HEAD.IN_FEATURES makes it an FCN-32s
    # (res5), 16s (res4, res5) or 8s (res3, res4, res5).
    cfg.MODEL.SEM_SEG_HEAD.FCN = CfgNode()
    # 3x3 convolutions with CONVS_DIM channels between the coarsest feature and its score layer,
    # where the paper has fc6 and fc7.
    cfg.MODEL.SEM_SEG_HEAD.FCN.NUM_CONV = 1
    # "learned": transposed convolutions that start bilinear; "fixed": the same, which stay so;
    # "interpolate": plain bilinear interpolation.
    cfg.MODEL.SEM_SEG_HEAD.FCN.UPSAMPLING = "learned"

    # `UNetHead` (Ronneberger, Fischer & Brox 2015): a decoder from the coarsest of IN_FEATURES up
    # to COMMON_STRIDE, which meets each feature at its stride.
    cfg.MODEL.SEM_SEG_HEAD.UNET = CfgNode()
    # Channels of each up-step, coarse to fine. Empty: CONVS_DIM in the finest, twice as many in
    # each step below it.
    cfg.MODEL.SEM_SEG_HEAD.UNET.CHANNELS = []
    # Up-steps: "transposed" convolution (the paper's), or "bilinear" interpolation.
    cfg.MODEL.SEM_SEG_HEAD.UNET.UPSAMPLING = "transposed"
    # 3x3 convolutions: "plain", or depthwise-"separable".
    cfg.MODEL.SEM_SEG_HEAD.UNET.CONV = "plain"

    # A second, small head on an earlier feature, which helps the backbone to learn; it has no part
    # in inference (Zhao et al., "PSPNet", 2017).
    cfg.MODEL.SEM_SEG_HEAD.AUX = CfgNode()
    cfg.MODEL.SEM_SEG_HEAD.AUX.ENABLED = False
    cfg.MODEL.SEM_SEG_HEAD.AUX.IN_FEATURE = "res4"
    cfg.MODEL.SEM_SEG_HEAD.AUX.CONVS_DIM = 256
    cfg.MODEL.SEM_SEG_HEAD.AUX.LOSS_WEIGHT = 0.4

    # The loss is the sum of the terms whose weight is above 0, times LOSS_WEIGHT.
    cfg.MODEL.SEM_SEG_HEAD.LOSS = CfgNode()
    # Pixel-wise cross-entropy.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CROSS_ENTROPY_WEIGHT = 1.0
    # Cross-entropy of the hard pixels only (OHEM, Shrivastava et al. 2016): those whose true class
    # gets a probability below the threshold, and at least the given share of all labelled pixels.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.OHEM_WEIGHT = 0.0
    cfg.MODEL.SEM_SEG_HEAD.LOSS.OHEM_THRESHOLD = 0.7
    cfg.MODEL.SEM_SEG_HEAD.LOSS.OHEM_MIN_KEPT = 0.1
    # Binary cross-entropy of each class against all others.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.BCE_WEIGHT = 0.0
    # Focal loss (Lin et al. 2017), which gives easy pixels less weight.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.FOCAL_WEIGHT = 0.0
    cfg.MODEL.SEM_SEG_HEAD.LOSS.FOCAL_GAMMA = 2.0
    # Soft Dice (Milletari et al. 2016), averaged over the classes in the batch.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.DICE_WEIGHT = 0.0
    # Lovász-softmax (Berman et al. 2018), which follows the IoU.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.LOVASZ_WEIGHT = 0.0
    # Brier score: squared distance between the softmax and the one-hot label, the loss of a
    # regression.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.BRIER_WEIGHT = 0.0
    # A weight for each class in cross-entropy, OHEM, BCE, focal loss and Brier score; none if
    # empty.
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS = []
    # Where CLASS_WEIGHTS is empty, compute it from DATASETS.TRAIN when a training starts:
    # "median_frequency" (Eigen & Fergus 2015) or "inverse_log" (Paszke et al., "ENet", 2016).
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA = ""


def _add_panoptic(cfg: CfgNode) -> None:
    # Semantic classes that are things: at i that of the instance head's class i. Follows from a
    # panoptic data set, whose semantic classes are both its things and its stuff.
    cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES = []

    # Meta-architecture `UnifiedPanopticFPN` (Kirillov et al., "Panoptic Feature Pyramid Networks",
    # 2019). MODEL.PANOPTIC_FPN (Detectron2's keys) says how instances and stuff are merged, and how
    # much the losses of the instances weigh; those of the semantic head: SEM_SEG_HEAD.LOSS_WEIGHT.

    # Meta-architecture `BottomUpPanoptic` (after Panoptic-DeepLab, Cheng et al. 2020): pixels of
    # things are grouped around the centres of instances. Its center head goes up from the coarsest
    # of IN_FEATURES to COMMON_STRIDE, as a U-Net does.
    cfg.MODEL.CENTER_HEAD = CfgNode()
    cfg.MODEL.CENTER_HEAD.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.CENTER_HEAD.COMMON_STRIDE = 4
    # Channels of each up-step, coarse to fine. Empty: CONVS_DIM in each.
    cfg.MODEL.CENTER_HEAD.CHANNELS = []
    cfg.MODEL.CENTER_HEAD.CONVS_DIM = 32
    # Normalization: "", "BN", "SyncBN", "GN", "LN" or "FrozenBN".
    cfg.MODEL.CENTER_HEAD.NORM = "BN"
    # 3x3 convolutions: "plain", or depthwise-"separable".
    cfg.MODEL.CENTER_HEAD.CONV = "plain"
    # Weights of the squared error of the heatmap of centres, and of the absolute error of the
    # offsets in pixels.
    cfg.MODEL.CENTER_HEAD.CENTER_LOSS_WEIGHT = 200.0
    cfg.MODEL.CENTER_HEAD.OFFSET_LOSS_WEIGHT = 0.01
    # Standard deviation in pixels of the spot that stands for a centre in the heatmap.
    cfg.MODEL.CENTER_HEAD.SIGMA = 8.0
    cfg.MODEL.BOTTOM_UP = CfgNode()
    # Lowest value of the heatmap that can be a centre.
    cfg.MODEL.BOTTOM_UP.CENTER_THRESHOLD = 0.1
    # A centre is the largest value in a square of so many pixels.
    cfg.MODEL.BOTTOM_UP.NMS_KERNEL = 7
    # Most centres in an image.
    cfg.MODEL.BOTTOM_UP.TOP_K = 200
    # Stuff of fewer pixels in an image becomes void.
    cfg.MODEL.BOTTOM_UP.STUFF_AREA_LIMIT = 256


def _add_unet_encoder(cfg: CfgNode) -> None:
    # Backbone `UNetEncoder`: the contracting path of the U-Net, to be trained from scratch. Its
    # features are enc1 (stride 1), enc2 (stride 2), and so on.
    cfg.MODEL.UNET_ENCODER = CfgNode()
    # Channels of each level, fine to coarse; each has half the resolution of the one before.
    cfg.MODEL.UNET_ENCODER.CHANNELS = [64, 128, 256, 512, 1024]
    # Normalization: "" (the paper's), "BN", "SyncBN", "GN", "LN", or "FrozenBN" for weights that
    # were trained with one.
    cfg.MODEL.UNET_ENCODER.NORM = "BN"
    # 3x3 convolutions: "plain", or depthwise-"separable".
    cfg.MODEL.UNET_ENCODER.CONV = "plain"
    # Chance that a channel of the coarsest level is zeroed in training.
    cfg.MODEL.UNET_ENCODER.DROPOUT = 0.0


def _add_solver(cfg: CfgNode) -> None:
    # "SGD" (Detectron2's) or "AdamW", which wants a BASE_LR about twenty times smaller and learns
    # faster where much of a model starts from random weights.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # The backbone's learning rate, as a multiple of BASE_LR: below 1 where the backbone is trained
    # already and the rest starts from random weights.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 1.0


def _add_test(cfg: CfgNode) -> None:
    # Lowest score that an instance needs to be drawn by the tools. It has no part in the scores:
    # MODEL.ROI_HEADS.SCORE_THRESH_TEST decides what is evaluated and saved.
    cfg.TEST.DRAW_SCORE_THRESH = 0.5
    # Save the panoptic segmentation of each evaluation as PNGs and JSON in COCO's format, in
    # OUTPUT_DIR/inference/<data set>/. The scores need no files; pictures of the results do.
    cfg.TEST.SAVE_PANOPTIC = False
    # Score boundaries, too (Cheng et al. 2021): instances by Boundary AP, in COCO's protocol and in
    # Cityscapes', and semantic segmentation by Boundary IoU. It is the part of an image's diagonal
    # within which a pixel belongs to a mask's boundary. The paper takes 0.02 for COCO, 0.005 for
    # Cityscapes; 0 leaves it out.
    cfg.TEST.BOUNDARY_RATIO = 0.0
    # Semantic models: predict in overlapping windows and average what they say, for images larger
    # than the crops of the training. SIZE and STRIDE are height and width in pixels of the resized
    # image.
    cfg.TEST.SLIDING_WINDOW = CfgNode()
    cfg.TEST.SLIDING_WINDOW.ENABLED = False
    cfg.TEST.SLIDING_WINDOW.SIZE = [512, 1024]
    cfg.TEST.SLIDING_WINDOW.STRIDE = [384, 768]
    # TEST.AUG (Detectron2's keys): average over images resized to each of MIN_SIZES, with FLIP also
    # over their mirror images. So far for semantic models.
