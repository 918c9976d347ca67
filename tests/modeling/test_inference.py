"""The fast copy of a model against the model: the same outputs, and the model as it was."""

import copy
import gc
import weakref
from collections import Counter
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ROIAlign
from detectron2.modeling import SemanticSegmentor
from detectron2.structures import pairwise_iou
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from segtron.config import load_config
from segtron.modeling.build import build_model
from segtron.modeling.inference import fast_copy, prepare_for_inference
from segtron.modeling.mask_pasting import PastedMasks
from segtron.modeling.roi_align import CellROIAlign
from segtron.modeling.test_time_augmentation.segmentor import AveragingSegmentor

from .same_outputs import assert_equal
from .settled_models import MODELS, batch, config, settle
from .test_time_augmentation.averaging import averaging_config

CONFIGS = Path(__file__).parents[2] / "configs"


@torch.no_grad()
def predict(model: nn.Module) -> list[dict]:
    return model(batch())


def categories(ids: torch.Tensor, segments: list[dict]) -> torch.Tensor:
    """Of each pixel, -1 where there is none."""
    table = torch.full((int(ids.max()) + 1,), -1)
    for segment in segments:
        table[segment["id"]] = segment["category_id"]
    return table[ids.long()]


def assert_close_instances(result, expected) -> None:
    """Most have a counterpart of their class, place, score and shape."""
    overlaps = pairwise_iou(expected.pred_boxes, result.pred_boxes)
    overlaps *= expected.pred_classes[:, None] == result.pred_classes
    best, index = overlaps.max(dim=1)
    is_found = best > 0.7
    assert is_found.float().mean() >= 0.75
    result, expected = result[index[is_found]], expected[is_found]
    assert result.scores.dtype == torch.float32 and result.pred_boxes.tensor.dtype == torch.float32
    # A single score of an untrained head moves more than those of trained ones do (a hundredth on
    # average, 0.18 at most in 1,263): by whichever way a sum is rounded.
    moved = (result.scores - expected.scores).abs()
    assert moved.mean() < 0.02 and moved.max() < 0.1
    if not expected.has("pred_masks"):
        return
    # Half of the pixels would differ by chance, and untrained masks are noise: where a box moves by
    # the part of a pixel, so do they.
    differing = (result.pred_masks != expected.pred_masks).sum()
    assert differing < 0.35 * expected.pred_boxes.area().sum()


def assert_close(results: list[dict], expected: list[dict]) -> None:
    """As close as 8 bits let random weights be."""
    for ours, theirs in zip(results, expected, strict=True):
        assert list(ours) == list(theirs)
        if "sem_seg" in theirs:
            logits, true_logits = ours["sem_seg"], theirs["sem_seg"]
            assert logits.dtype == torch.float32 and logits.shape == true_logits.shape
            assert (logits - true_logits).abs().mean() < 0.1 * true_logits.std()
            assert (logits.argmax(0) == true_logits.argmax(0)).float().mean() > 0.93
            # In 16 bits one of a hundred pixels would have two such classes.
            top = logits.topk(2, dim=0).values
            assert (top[0] == top[1]).float().mean() < 1e-3
        if "instances" in theirs:
            assert_close_instances(ours["instances"], theirs["instances"])
        if "panoptic_seg" in theirs:
            same = categories(*ours["panoptic_seg"]) == categories(*theirs["panoptic_seg"])
            assert same.float().mean() > 0.8


@pytest.mark.parametrize("kind", MODELS)
def test_the_same_in_32_bits(build, kind):
    model = build(kind)
    fast = fast_copy(model, torch.float32)
    assert type(fast) is type(model) and not fast.training
    expected, result = predict(model), predict(fast)
    assert_equal(result, expected)
    assert_equal(predict(fast), result)  # nothing is left of the first time


@pytest.mark.parametrize("kind", MODELS)
def test_close_in_16_bits(build, kind):
    model = build(kind)
    expected, result = predict(model), predict(fast_copy(model, torch.bfloat16))
    assert_close(result, expected)
    # It did compute otherwise.
    for name in ("sem_seg", "instances"):
        if name in expected[0]:
            tensors = (x[0][name] for x in (result, expected))
            first, second = (getattr(x, "scores", x) for x in tensors)
            assert (first - second).abs().max() > 1e-4


def test_a_config_of_toytown_on_a_network_of_timm():
    opts = ["MODEL.DEVICE", "cpu", "MODEL.TIMM.PRETRAINED", "False", "MODEL.TIMM.NORM", "BN"]
    opts += ["MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", "20"]
    opts += ["TEST.DETECTIONS_PER_IMAGE", "8", "TEST.PRECISION", "float32"]
    cfg = load_config(CONFIGS / "toytown/panoptic_unet_lite0.yaml", opts)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(cfg)
        settle(model)
    fast = prepare_for_inference(cfg, model)
    assert not any(isinstance(m, _BatchNorm) for m in fast.backbone.bottom_up.network.modules())
    assert_equal(predict(fast), predict(model))


def test_what_a_copy_in_32_bits_is_made_of(build):
    fast = fast_copy(build("mask_rcnn"), torch.float32)
    types = Counter(type(module) for module in fast.modules())
    assert types[CellROIAlign] == 8 and ROIAlign not in types
    assert not any(issubclass(kind, _BatchNorm) for kind in types)
    assert {p.dtype for p in fast.parameters()} == {torch.float32}
    assert all(
        p.is_contiguous(memory_format=torch.channels_last)
        for p in fast.parameters()
        if p.dim() == 4
    )
    found, _ = fast.roi_heads(*roi_inputs(fast))
    assert type(found[0].pred_masks) is PastedMasks


@torch.no_grad()
def roi_inputs(model):
    images = model.preprocess_image(batch())
    features = model.backbone(images.tensor)
    proposals, _ = model.proposal_generator(images, features, None)
    return images, features, proposals


def test_what_a_copy_in_16_bits_is_made_of(build):
    fast = fast_copy(build("panoptic_fpn"), torch.bfloat16)
    precise = {name for name, p in fast.named_parameters() if p.dtype == torch.float32}
    assert precise == {
        f"{layer}.layer.{parameter}"
        for layer in (
            "roi_heads.box_predictor.cls_score",
            "roi_heads.box_predictor.bbox_pred",
            "sem_seg_head.predictor",
        )
        for parameter in ("weight", "bias")
    }
    others = {p.dtype for name, p in fast.named_parameters() if name not in precise}
    assert others == {torch.bfloat16}
    _, features, proposals = roi_inputs(fast)
    assert {feature.dtype for feature in features.values()} == {torch.bfloat16}
    assert proposals[0].proposal_boxes.tensor.dtype == torch.float32
    # Group norm has too few weights to matter.
    unet = fast_copy(build_model(norm_of(config("unet"), "GN")), torch.bfloat16)
    norms = [m for m in unet.modules() if isinstance(m, nn.GroupNorm)]
    assert norms and {norm.weight.dtype for norm in norms} == {torch.float32}
    assert len(predict(unet)) == 2


def norm_of(cfg: CfgNode, norm: str) -> CfgNode:
    cfg.MODEL.UNET_ENCODER.NORM = cfg.MODEL.SEM_SEG_HEAD.NORM = norm
    return cfg


def state_of(model: nn.Module) -> dict:
    """All that a copy must leave as it is."""
    return {
        "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "places": {name: tensor.data_ptr() for name, tensor in model.state_dict().items()},
        "gradients": {name: p.grad.clone() for name, p in model.named_parameters()},
        "learns": {name: p.requires_grad for name, p in model.named_parameters()},
        "modules": {name: type(module) for name, module in model.named_modules()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "own": {name: set(vars(module)) for name, module in model.named_modules()},
        "hooks": [len(module._forward_hooks) for module in model.modules()],
    }


def assert_same_state(after: dict, before: dict) -> None:
    for part in ("weights", "gradients"):
        assert list(after[part]) == list(before[part])
        assert all(torch.equal(after[part][name], x) for name, x in before[part].items())
    for part in ("places", "learns", "modules", "modes", "own", "hooks"):
        assert after[part] == before[part], part


@pytest.mark.parametrize("kind", ["point_rend", "panoptic_fcn", "bottom_up"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_model_stays_as_it_is(build, kind, precision):
    # In the middle of a training, with a frozen part in evaluation mode.
    model = copy.deepcopy(build(kind)).train()
    model.backbone.eval()
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 3 > 0)
        parameter.grad = torch.full_like(parameter, number)
    before = state_of(model)
    fast = fast_copy(model, precision)
    predict(fast)
    assert_same_state(state_of(model), before)
    assert not any(module.training for module in fast.modules())
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert all(parameter.grad is None for parameter in fast.parameters())


@pytest.mark.parametrize("kind", ["mask_iou", "panoptic_unet", "unet"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_later_changes_of_the_model_have_no_effect(build, kind, precision):
    model = copy.deepcopy(build(kind))
    fast = fast_copy(model, precision)
    before = predict(fast)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0.01)
    model.train()
    assert_equal(predict(fast), before)


def test_the_copy_of_a_model_that_forgets_activations(build):
    cfg = config("unet")
    cfg.MODEL.ACTIVATION_CHECKPOINTING = True
    model = build_model(cfg)
    model.load_state_dict(build("unet").state_dict())
    fast = fast_copy(model, torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert_equal(predict(fast), predict(build("unet")))


@pytest.mark.parametrize("kind", ["mask_rcnn", "point_rend", "mask_iou"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_images_in_which_nothing_is_found(build, kind, precision):
    fast = fast_copy(build(kind), precision)
    fast.roi_heads.box_predictor.test_score_thresh = 1.0
    for output, size in zip(predict(fast), [(64, 96), (100, 82)], strict=True):
        assert len(output["instances"]) == 0
        assert output["instances"].pred_masks.shape == (0, *size)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_copy_is_gone_when_nobody_has_it(build, precision):
    # Each evaluation of a training makes one.
    fast = fast_copy(build("panoptic_fpn"), precision)
    predict(fast)
    parts = [weakref.ref(part) for part in fast.children()]
    gc.collect()  # what the prediction left
    gc.disable()
    try:
        del fast
        assert [part() for part in parts] == [None] * len(parts)
    finally:
        gc.enable()


def test_a_copy_of_a_copy(build):
    first = fast_copy(build("panoptic_fpn"), torch.bfloat16)
    second = copy.deepcopy(first)
    before = predict(first)
    for tensor in (*first.parameters(), *first.buffers()):
        tensor.fill_(0.01)
    assert_equal(predict(second), before)


@pytest.mark.parametrize("kind", ["mask_rcnn", "point_rend"])
@torch.no_grad()
def test_masks_of_the_same_boxes(build, kind):
    # As Detectron2's `inference` takes boxes; so nothing but the masks can differ.
    model = build(kind)
    expected = model.inference(batch(), do_postprocess=False)
    for precision, mean, flips in ((torch.float32, 1e-5, 1e-3), (torch.bfloat16, 0.01, 0.02)):
        given = copy.deepcopy(expected)
        for image in given:
            image.remove("pred_masks")
        fast = fast_copy(model, precision)
        result = fast.inference(batch(), detected_instances=given, do_postprocess=False)
        for ours, theirs in zip(result, expected, strict=True):
            masks, true_masks = ours.pred_masks.float(), theirs.pred_masks
            assert masks.shape == true_masks.shape
            assert len(masks) == 8
            assert (masks - true_masks).abs().mean() < mean < 0.1 < true_masks.std()
            assert ((masks > 0.5) != (true_masks > 0.5)).float().mean() < flips


class Toy(SemanticSegmentor):
    """A model of one layer."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.layer = nn.Conv2d(3, 2, 1)

    @property
    def device(self) -> torch.device:
        return self.layer.weight.device

    def forward(self, batched_inputs):
        outputs = []
        for inputs in batched_inputs:
            height, width = inputs["image"].shape[1:]
            size = inputs.get("height", height), inputs.get("width", width)
            logits = self.layer(inputs["image"][None].float())
            outputs.append({"sem_seg": nn.functional.interpolate(logits, size)[0]})
        return outputs


@pytest.fixture
def cfg() -> CfgNode:
    cfg = averaging_config()
    cfg.TEST.PRECISION = "float32"
    return cfg


def test_a_copy_is_made_whatever_is_asked_for(cfg):
    model = Toy()
    fast = prepare_for_inference(cfg, model)
    assert type(fast) is Toy and fast is not model and model.training and not fast.training
    result, expected = predict(fast)[1]["sem_seg"], predict(model)[1]["sem_seg"]
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("key", ["SLIDING_WINDOW", "AUG"])
def test_windows_and_scales_around_the_copy(cfg, key):
    cfg.TEST[key].ENABLED = True
    model = Toy()
    averaging = prepare_for_inference(cfg, model)
    assert type(averaging) is AveragingSegmentor and not averaging.training
    assert averaging.window == ((8, 12) if key == "SLIDING_WINDOW" else None)
    assert averaging.flip == (key == "AUG")
    assert type(averaging.model) is Toy and averaging.model is not model and model.training
    before = predict(averaging)[0]["sem_seg"]
    nn.init.zeros_(model.layer.weight)
    assert torch.equal(predict(averaging)[0]["sem_seg"], before)


@pytest.mark.parametrize(
    ("name", "able", "dtype"),
    [
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
    ],
)
def test_the_precision_that_the_config_asks_for(build, monkeypatch, name, able, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    fast = prepare_for_inference(config("unet", PRECISION=name), build("unet"))
    assert {p.dtype for p in fast.backbone.parameters() if p.dim() == 4} == {dtype}


@pytest.mark.parametrize("windows", [False, True])
def test_the_model_of_several_processes_is_unwrapped(build, process_group, windows):
    model = copy.deepcopy(build("unet")).requires_grad_()
    cfg = config("unet")
    cfg.TEST.SLIDING_WINDOW.ENABLED = windows
    cfg.TEST.SLIDING_WINDOW.SIZE = [1000, 1000]
    fast = prepare_for_inference(cfg, DistributedDataParallel(model))
    inner = fast.model if windows else fast
    assert type(inner) is type(model) and inner is not model
    assert_equal(predict(inner), predict(model))
