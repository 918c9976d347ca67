"""Values that a key can't have are named before anything is built of them."""

from pathlib import Path

import pytest

from segtron.config import get_default_config, load_config
from segtron.config.checks import check_values, idle_settings
from segtron.errors import UserError

SEMANTIC = ("MODEL.META_ARCHITECTURE", "SemanticSegmentor")
HEAD = "MODEL.SEM_SEG_HEAD"
CROP = ("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE")
WINDOWS = ("TEST.SLIDING_WINDOW.ENABLED", "True")
SCALES = ("TEST.AUG.ENABLED", "True")


def test_the_defaults_pass() -> None:
    check_values(get_default_config())


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (("INPUT.RANDOM_FLIP", "both"), "INPUT.RANDOM_FLIP is 'both'; it must be one of none"),
        (("SOLVER.LR_SCHEDULER_NAME", "cosine"), "one of WarmupMultiStepLR"),
        (("TEST.BEST.MODE", "maximum"), "MODE is 'maximum'; it must be one of \"\", max, min"),
        (("SOLVER.MAX_ITER", "0"), "SOLVER.MAX_ITER is 0; it must be 1 or more"),
        (("SOLVER.CHECKPOINT_PERIOD", "0"), "SOLVER.CHECKPOINT_PERIOD is 0"),
        (("SOLVER.STEPS", "(300, 200)"), "each after the one before"),
        (("SOLVER.STEPS", "('a',)"), "a list of iterations"),
        (("DATASETS.TRAIN", "[3]"), "DATASETS.TRAIN holds 3"),
        (("DATASETS.TEST", "[['a']]"), "DATASETS.TEST holds ['a']"),
        (("INPUT.MIN_SIZE_TRAIN", "()"), "INPUT.MIN_SIZE_TRAIN is []"),
        (("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"), "wants the smallest and the largest"),
        (("INPUT.CROP.SIZE", "(1.5, 0.5)"), "at most 1"),
        (("INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", "(64,)"), "in whole pixels"),
        ((*CROP, "absolute"), "SIZE is [0.9, 0.9]; for INPUT.CROP.TYPE 'absolute'"),
        ((*CROP, "absolute_range", "INPUT.CROP.SIZE", "(64, 32)"), "the smallest and the largest"),
        (
            ("INPUT.MIN_SIZE_TRAIN", "[112, 80]", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"),
            "INPUT.MIN_SIZE_TRAIN is [112, 80]",
        ),
        (("MODEL.RESNETS.DEPTH", "51"), "DEPTH is 51; it must be one of 18, 34, 50"),
        (("MODEL.RESNETS.NORM", "XX"), "MODEL.RESNETS.NORM is 'XX'"),
        (("MODEL.BACKBONE.FREEZE_AT", "9"), "FREEZE_AT is 9; it must be one of 0, 1"),
        (("MODEL.PIXEL_MEAN", "[1, 2]"), "PIXEL_MEAN is [1, 2]; INPUT.FORMAT BGR wants 3 numbers"),
        (("MODEL.PIXEL_STD", "[1, 0, 1]"), "it must be above 0, since images are divided"),
        (("SOLVER.BACKBONE_MULTIPLIER", "-1.0"), "BACKBONE_MULTIPLIER is -1.0; it must be 0 or"),
        ((*SEMANTIC, f"{HEAD}.LOSS.DICE_WEIGHT", "1.0"), "LOSS is set, which the head SemSegFPN"),
        ((*SEMANTIC, f"{HEAD}.AUX.ENABLED", "True"), "AUX is set, which the head SemSeg"),
        (
            (*SEMANTIC, f"{HEAD}.NAME", "SemanticFPNHead", f"{HEAD}.DROPOUT", "0.1"),
            "DROPOUT is set, which the head SemanticFPNHead has no use for; take FCNHead, UNetHead",
        ),
        (
            (*SEMANTIC, f"{HEAD}.NAME", "UNetHead", f"{HEAD}.LOSS.CROSS_ENTROPY_WEIGHT", "0.0")
            + (
                f"{HEAD}.LOSS.DICE_WEIGHT",
                "1.0",
                f"{HEAD}.LOSS.CLASS_WEIGHTS_FROM_DATA",
                "inverse_log",
            ),
            "CLASS_WEIGHTS_FROM_DATA is 'inverse_log', but none of the loss's terms takes",
        ),
        (("DATASETS.STUFF_CLASSES", "['road', 2]"), "DATASETS.STUFF_CLASSES holds 2"),
        (("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "0"), "it must be 1 or more"),
        (("MODEL.SEM_SEG_HEAD.IGNORE_VALUE", "0"), "IGNORE_VALUE is 0; labels are read with 255"),
        (("MODEL.SEM_SEG_HEAD.AUX.LOSS_WEIGHT", "-0.5"), "AUX.LOSS_WEIGHT is -0.5; it must be 0"),
        (("INPUT.CROP.SINGLE_CATEGORY_MAX_AREA", "1.5"), "MAX_AREA is 1.5; it must be from 0 to 1"),
        (("INPUT.VERTICAL_FLIP_PROB", "-0.1"), "from 0 to 1"),
        ((*SEMANTIC, *WINDOWS, "TEST.SLIDING_WINDOW.SIZE", "[64]"), "SIZE is [64]; it must be hei"),
        ((*SEMANTIC, *WINDOWS, "TEST.SLIDING_WINDOW.SIZE", "[64, 0]"), "SIZE is [64, 0]"),
        ((*SEMANTIC, *WINDOWS, "TEST.SLIDING_WINDOW.STRIDE", "[9, 0.5]"), "STRIDE is [9, 0.5]"),
        (
            (*SEMANTIC, *WINDOWS, "TEST.SLIDING_WINDOW.STRIDE", "[64, 1025]"),
            "STRIDE is [64, 1025], larger than SIZE [512, 1024]",
        ),
        ((*SEMANTIC, *SCALES, "TEST.AUG.MIN_SIZES", "()"), "TEST.AUG.MIN_SIZES is []"),
        ((*SEMANTIC, *SCALES, "TEST.AUG.MIN_SIZES", "(400, -1)"), "MIN_SIZES is [400, -1]"),
        ((*SEMANTIC, *SCALES, "TEST.AUG.MAX_SIZE", "0"), "TEST.AUG.MAX_SIZE is 0"),
    ],
)
def test_a_value_that_a_key_cannot_have_is_named(
    tmp_path: Path, opts: tuple[str, ...], said: str
) -> None:
    (tmp_path / "a.yaml").touch()
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "a.yaml", opts)
    assert said in str(error.value)


def test_a_crop_in_pixels_may_be_larger_than_any_image(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("INPUT: {CROP: {TYPE: absolute, SIZE: [9000, 9000]}}")
    assert load_config(tmp_path / "a.yaml").INPUT.CROP.SIZE == [9000, 9000]


@pytest.mark.parametrize(
    ("asked", "architecture"),
    [
        (WINDOWS, "GeneralizedRCNN"),
        (WINDOWS, "UnifiedPanopticFPN"),
        (SCALES, "RetinaNet"),
        (SCALES, "PanopticFPN"),
    ],
)
def test_windows_and_scales_are_not_for_all_models(
    tmp_path: Path, asked: tuple[str, str], architecture: str
) -> None:
    (tmp_path / "a.yaml").touch()
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "a.yaml", ("MODEL.META_ARCHITECTURE", architecture, *asked))
    assert f"{asked[0]} is True, which Segtron does for MODEL.META_ARC" in str(error.value)
    assert f"SemanticSegmentor{' only' if asked is WINDOWS else ', '}" in str(error.value)
    assert f"not {architecture}" in str(error.value)
    cfg = load_config(tmp_path / "a.yaml", (*SEMANTIC, *asked))
    assert cfg.MODEL.META_ARCHITECTURE == "SemanticSegmentor"


def test_windows_that_are_not_asked_for_may_have_holes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("TEST: {SLIDING_WINDOW: {SIZE: [64, 64]}}")
    assert load_config(tmp_path / "a.yaml").TEST.SLIDING_WINDOW.SIZE == [64, 64]


def test_windows_may_touch_without_overlap(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("TEST: {SLIDING_WINDOW: {STRIDE: [512, 1024]}}")
    load_config(tmp_path / "a.yaml", (*SEMANTIC, *WINDOWS))


def test_more_checkpoints_averaged_than_kept() -> None:
    cfg = get_default_config()
    cfg.SOLVER.AVERAGE_LAST, cfg.SOLVER.CHECKPOINTS_KEPT = 4, 3
    with pytest.raises(UserError, match="AVERAGE_LAST is 4, but SOLVER.CHECKPOINTS_KEPT is 3"):
        check_values(cfg)
    cfg.SOLVER.CHECKPOINTS_KEPT = 4
    check_values(cfg)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("WARMUP_FACTOR", -5.0),
        ("WARMUP_FACTOR", float("nan")),
        ("BACKBONE_MULTIPLIER", float("inf")),
        ("GAMMA", -1.0),
        ("MOMENTUM", 2.0),
        ("WEIGHT_DECAY", -1.0),
        ("WARMUP_ITERS", -5),
    ],
)
def test_optimizers_without_sense(key: str, value: float) -> None:
    cfg = get_default_config()
    cfg.SOLVER[key] = value
    with pytest.raises(UserError, match=f"SOLVER.{key} is"):
        check_values(cfg)


@pytest.mark.parametrize(("key", "value"), [("CLIP_VALUE", 0.0), ("NORM_TYPE", -3.0)])
def test_clipping_without_sense(key: str, value: float) -> None:
    cfg = get_default_config()
    cfg.SOLVER.CLIP_GRADIENTS[key] = value
    check_values(cfg)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    with pytest.raises(UserError, match=f"CLIP_GRADIENTS.{key} is {value}"):
        check_values(cfg)


def test_seeds_and_nesterov() -> None:
    cfg = get_default_config()
    cfg.SEED = 10**12
    with pytest.raises(UserError, match="SEED is 1000000000000"):
        check_values(cfg)
    cfg.SEED, cfg.SOLVER.NESTEROV, cfg.SOLVER.MOMENTUM = 1, True, 0.0
    with pytest.raises(UserError, match="NESTEROV is True"):
        check_values(cfg)


def test_the_defaults_leave_nothing_idle() -> None:
    cfg = get_default_config()
    cfg.DATASETS.TEST = ("a",)
    assert idle_settings(cfg) == []


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (["TEST.EVAL_PERIOD", 50], "TEST.EVAL_PERIOD 50; give"),
        (["TEST.VALIDATION_LOSS", True], "TEST.VALIDATION_LOSS True; give"),
        (
            ["LOG.PICTURES_PERIOD", 7, "TEST.EVAL_PERIOD", 50],
            "TEST.EVAL_PERIOD 50 and LOG.PICTURES_PERIOD 7; give",
        ),
    ],
)
def test_what_needs_a_test_set_is_idle_without_one(opts: list, said: str) -> None:
    cfg = get_default_config()
    assert idle_settings(cfg) == []  # the final evaluation is nobody's wish
    cfg.merge_from_list(opts)
    assert idle_settings(cfg) == [
        f"DATASETS.TEST is empty, so nothing comes of {said} it a data set"
    ]
    cfg.DATASETS.TEST = ("a",)
    assert idle_settings(cfg) == []


@pytest.mark.parametrize(
    ("decay", "said"),
    [(0.0, "0.0, so the average of the weights is the weights"), (1.0, "1.0, so the average")],
)
def test_averages_that_are_none(decay: float, said: str) -> None:
    cfg = get_default_config()
    cfg.SOLVER.EMA.DECAY = decay
    assert idle_settings(cfg) == []
    cfg.SOLVER.EMA.ENABLED = True
    (sentence,) = idle_settings(cfg)
    assert sentence.startswith(f"SOLVER.EMA.DECAY is {said}")


def test_a_head_that_does_not_rescore_masks() -> None:
    cfg = get_default_config()
    cfg.MODEL.ROI_MASK_HEAD.NAME = "InstanceMaskHead"
    cfg.MODEL.ROI_MASK_HEAD.MASK_IOU.ENABLED = True
    assert idle_settings(cfg) == []
    cfg.MODEL.ROI_MASK_HEAD.NAME = "PointRendMaskHead"
    (sentence,) = idle_settings(cfg)
    assert "the head PointRendMaskHead (MODEL.ROI_MASK_HEAD.NAME) doesn't rescore" in sentence


def test_a_warm_up_to_the_end() -> None:
    cfg = get_default_config()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = 100, 99
    assert idle_settings(cfg) == []
    cfg.SOLVER.WARMUP_ITERS = 100
    (sentence,) = idle_settings(cfg)
    assert sentence.startswith("SOLVER.WARMUP_ITERS 100 is not below SOLVER.MAX_ITER 100, so")
