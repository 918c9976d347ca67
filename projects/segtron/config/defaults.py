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
    _add_dataloader(cfg)
    _add_input(cfg)
    _add_model(cfg)
    _add_timm(cfg)
    _add_mask_head(cfg)
    _add_sem_seg_head(cfg)
    _add_panoptic(cfg)
    _add_unet_encoder(cfg)
    _add_solver(cfg)
    _add_test(cfg)
    _add_log(cfg)
    # SEED (Detectron2's key), 0 or more, makes a training repeatable; below 0 a seed is drawn, and
    # stands in OUTPUT_DIR/config.yaml. With DETERMINISTIC only algorithms are used whose results
    # are the same every time, which on GPUs takes longer; on CPUs they are in any case.
    cfg.DETERMINISTIC = False
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


def _add_dataloader(cfg: CfgNode) -> None:
    # What becomes of an image or label file that can't be read in a training: it ends it, or
    # another image takes its place. Those left out are named in the log and counted
    # (skipped_images in metrics.json).
    cfg.DATALOADER.SKIP_UNREADABLE = False
    # The share of the images that DATALOADER.SAMPLER_TRAIN RandomSubsetTrainingSampler trains on;
    # which ones follows from SEED.
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 1.0
    # DATALOADER.SAMPLER_TRAIN (Detectron2's key) also takes ClassBalancedTrainingSampler, which
    # shows images of rare classes more often (docs/augmentations.md); but none more than so many
    # times as often as the one that is shown least.
    cfg.DATALOADER.CLASS_BALANCE_MAX_REPEAT = 20.0
    # A folder on a fast disk where decoded images and label files are kept, so that a crop reads
    # its own rows and decodes nothing; "" keeps none. It takes 3 bytes a pixel of images, 1 or 2 of
    # label files: for the 2,975 images of Cityscapes' train 19 GB, with panoptic labels 31 GB. When
    # the disk is full the rest is decoded each time. It may be removed at any time.
    cfg.DATALOADER.CACHE_DIR = ""


def _add_log(cfg: CfgNode) -> None:
    cfg.LOG = CfgNode()
    # Where metrics go besides the log and metrics.json: "tensorboard", "wandb", "mlflow". Each
    # needs its package (pip install tensorboard wandb mlflow).
    cfg.LOG.WRITERS = []
    cfg.LOG.WANDB_PROJECT = "segtron"
    cfg.LOG.MLFLOW_EXPERIMENT = "segtron"
    # Every so many iterations draw what the model predicts for the first PICTURES_NUMBER images of
    # the first set in DATASETS.TEST: OUTPUT_DIR/pictures/, and to the writers. 0 leaves it out.
    cfg.LOG.PICTURES_PERIOD = 0
    cfg.LOG.PICTURES_NUMBER = 4


def _add_input(cfg: CfgNode) -> None:
    # docs/augmentations.md shows what all of these do, and says in which order. Where one of them
    # fills up pixels or mixes images, masks are bitmaps whatever INPUT.MASK_FORMAT says.

    # INPUT.COLOR_AUG_SSD (PointRend's key) turns on random brightness, contrast, saturation and
    # hue of fixed strength.

    # Chance that a training image is turned upside down, on top of INPUT.RANDOM_FLIP. For views
    # from above (microscopes, drones, satellites), where down is no direction.
    cfg.INPUT.VERTICAL_FLIP_PROB = 0.0

    # INPUT.CROP cuts before images are resized, as in Detectron2, or after: then all crops of TYPE
    # "absolute" have one size however images are scaled, as is usual in semantic segmentation.
    cfg.INPUT.CROP.AFTER_RESIZE = False
    # Fill up images that are smaller than a crop of TYPE "absolute" that comes AFTER_RESIZE, at the
    # right and the bottom: with MODEL.PIXEL_MEAN, labels with void.
    cfg.INPUT.CROP.PAD = False
    # INPUT.CROP.SINGLE_CATEGORY_MAX_AREA (PointRend's key) is the largest share of a crop that one
    # class may fill; ten tries are made. It needs semantic ground truth.

    # Large-scale jitter (Ghiasi et al. 2021) in place of INPUT.MIN_SIZE_TRAIN and INPUT.CROP: an
    # image is resized to fit into SIZE (height, width) times a factor from RANGE, then cut and
    # filled up to SIZE.
    cfg.INPUT.SCALE_JITTER = CfgNode()
    cfg.INPUT.SCALE_JITTER.ENABLED = False
    cfg.INPUT.SCALE_JITTER.RANGE = [0.1, 2.0]
    cfg.INPUT.SCALE_JITTER.SIZE = [1024, 1024]

    # Colours, as torchvision's ColorJitter: brightness, contrast and saturation change by a factor
    # from 1 - value to 1 + value, the hue by up to value turns (at most 0.5). 0 leaves one out.
    cfg.INPUT.COLOR_JITTER = CfgNode()
    cfg.INPUT.COLOR_JITTER.BRIGHTNESS = 0.0
    cfg.INPUT.COLOR_JITTER.CONTRAST = 0.0
    cfg.INPUT.COLOR_JITTER.SATURATION = 0.0
    cfg.INPUT.COLOR_JITTER.HUE = 0.0

    # Chance that an image is turned about its centre by an angle between the two of ANGLES, in
    # degrees. Its size stays; corners are filled up with MODEL.PIXEL_MEAN, labels with void.
    cfg.INPUT.ROTATION = CfgNode()
    cfg.INPUT.ROTATION.PROB = 0.0
    cfg.INPUT.ROTATION.ANGLES = [-10.0, 10.0]

    # Transforms of the library albumentations (pip install -e '.[albumentations]'), in their order.
    # Each is a mapping of its class's name and parameters:
    #   {name: GaussNoise, std_range: [0.02, 0.1], p: 0.3}
    cfg.INPUT.ALBUMENTATIONS = []
    # The same for augmentations of one's own, which are registered in
    # `segtron.data.augmentations.AUGMENTATIONS`.
    cfg.INPUT.AUGMENTATIONS = []

    # Copy-paste (Ghiasi et al. 2021): with a chance of PROB objects of another training image are
    # pasted, each with a chance of OBJECT_PROB. What has less than a share of MIN_VISIBLE of its
    # pixels left is no object any more.
    cfg.INPUT.COPY_PASTE = CfgNode()
    cfg.INPUT.COPY_PASTE.PROB = 0.0
    cfg.INPUT.COPY_PASTE.OBJECT_PROB = 0.5
    cfg.INPUT.COPY_PASTE.MIN_VISIBLE = 0.1

    # Chance that an image is one of four in a mosaic of SIZE (height, width).
    cfg.INPUT.MOSAIC = CfgNode()
    cfg.INPUT.MOSAIC.PROB = 0.0
    cfg.INPUT.MOSAIC.SIZE = [640, 640]


def _add_model(cfg: CfgNode) -> None:
    # Keep images and features in memory with channels last (NHWC): the results are the same up to
    # rounding, and convolutions are faster on CPUs, and on GPUs in half precision.
    cfg.MODEL.CHANNELS_LAST = False
    # Compute what the backbone's blocks keep for the backward pass a second time instead: about a
    # third more time a step, for less memory.
    cfg.MODEL.ACTIVATION_CHECKPOINTING = False
    # Let torch.compile make backbone and semantic head faster in training. The first batch of each
    # size takes minutes, so it pays with crops of one size and long trainings. Needs a C++ compiler
    # on CPUs.
    cfg.MODEL.COMPILE = False


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
    # The batch that BASE_LR is meant for: with another IMS_PER_BATCH the rate is in proportion to
    # it (Goyal et al. 2017), with AdamW to its square root. 0 takes BASE_LR as it is.
    cfg.SOLVER.REFERENCE_BATCH_SIZE = 0
    # The learning rate of each stage of the backbone (stem, res2, ..., as FREEZE_AT counts them;
    # the levels of a U-Net), as a multiple of that of the stage above it; the last stage has it
    # once. 1.0: all alike.
    cfg.SOLVER.LAYER_DECAY = 1.0
    # Pairs of a regular expression and a factor: parameters in whose names it is found learn by
    # that factor faster or slower, such as [["roi_heads", 2.0], ["\\.bias$", 0.5]]; all that match
    # multiply.
    cfg.SOLVER.LR_MULTIPLIERS = []
    # LR_SCHEDULER_NAME WarmupPolyLR: the rate falls as (1 - progress) ** POLY_LR_POWER, to no less
    # than POLY_LR_CONSTANT_ENDING of BASE_LR.
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0
    # SOLVER.AMP.ENABLED (Detectron2's key) computes matrix products and convolutions of a training
    # in 16 bits, on GPUs and CPUs: in "bfloat16", or (GPUs only) in "float16" with scaled
    # gradients. "auto" is bfloat16 where the device has instructions for it, else float16 on a GPU,
    # and on a CPU 32 bits after all, since there 16 would take longer.
    cfg.SOLVER.AMP.PRECISION = "auto"
    # Run each batch in so many equal parts, one after the other, and add their gradients up: a
    # large batch in the memory of a small one. Equal to the large batch but for batch norm that
    # isn't frozen, and losses that are no mean over images or pixels.
    cfg.SOLVER.ACCUMULATE = 1
    # Average the weights over the training: the average moves to the weights by 1 - DECAY a step.
    # It is scored beside them (ema/segm/AP, ...) and saved as model_final_ema.pth.
    cfg.SOLVER.EMA = CfgNode()
    cfg.SOLVER.EMA.ENABLED = False
    cfg.SOLVER.EMA.DECAY = 0.999
    # Average the weights of so many of the last checkpoints when the training ends: they are scored
    # (average/segm/AP, ...) and saved as model_average.pth. 0 leaves it out.
    cfg.SOLVER.AVERAGE_LAST = 0
    # How many of the checkpoints that are written every CHECKPOINT_PERIOD iterations stay, the
    # newest; 0 for all.
    cfg.SOLVER.CHECKPOINTS_KEPT = 0


def _add_test(cfg: CfgNode) -> None:
    # What matrix products and convolutions are computed in when a model predicts, in a training's
    # evaluations, too: "float32", "bfloat16", "float16" (slow on CPUs); or "auto": bfloat16 where
    # the device has instructions for it, else float16 on a GPU and float32 on a CPU. Scores differ
    # by a few tenths of a point at most (docs/performance.md).
    cfg.TEST.PRECISION = "auto"
    # Compute the losses on the sets of DATASETS.TEST, too, at each evaluation
    # (validation/total_loss, ...); it takes at most about as long as predicting the set.
    cfg.TEST.VALIDATION_LOSS = False
    # Keep the weights that scored best so far as model_best.pth. METRIC is any that an evaluation
    # gives, such as "segm/AP" or "validation/total_loss"; "" takes the task's main one. MODE says
    # which is better: "max", "min", or "" for the lesser one of losses, the larger one of scores.
    cfg.TEST.BEST = CfgNode()
    cfg.TEST.BEST.ENABLED = True
    cfg.TEST.BEST.METRIC = ""
    cfg.TEST.BEST.MODE = ""
    # End the training when METRIC ("": that of TEST.BEST) hasn't become better by more than
    # MIN_DELTA in PATIENCE evaluations; 0 trains to SOLVER.MAX_ITER. MODE is as above.
    cfg.TEST.EARLY_STOPPING = CfgNode()
    cfg.TEST.EARLY_STOPPING.PATIENCE = 0
    cfg.TEST.EARLY_STOPPING.METRIC = ""
    cfg.TEST.EARLY_STOPPING.MODE = ""
    cfg.TEST.EARLY_STOPPING.MIN_DELTA = 0.0
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
    # over their mirror images; 0 leaves an image as it is. See docs/test_time_augmentation.md.
