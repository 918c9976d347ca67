"""Several views of an image: what is merged of them, and that models keep their outputs else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.modeling.postprocessing import detector_postprocess
from fvcore.transforms import HFlipTransform, NoOpTransform, TransformList
from torch import nn

from segtron.modeling.inference import fast_copy, prepare_for_inference
from segtron.modeling.test_time_augmentation import AveragingBottomUp, AveragingDetector
from segtron.modeling.test_time_augmentation.box_merging import FoundBoxes, merge_boxes
from segtron.modeling.test_time_augmentation.views import View, views_of

from .test_inference import assert_equal, assert_equal_instances, batch, build, config

__all__ = ["build"]  # a fixture

KINDS = ["mask_rcnn", "mask_iou", "point_rend", "panoptic_fpn", "panoptic_unet"]
OPTIONS = {"max_size": 200, "nms_threshold": 0.5, "max_detections": 8}


def found(*entries):
    """Of (x0, y0, x1, y1, score, class)."""
    rows = torch.tensor(entries, dtype=torch.float32).reshape(-1, 6)
    return FoundBoxes(rows[:, :4], rows[:, 4], rows[:, 5].long())


def test_views_of_an_image():
    image = torch.arange(3 * 10 * 20, dtype=torch.uint8).reshape(3, 10, 20)
    views = list(views_of(image, (0, 20), 30, flip=True))
    assert [tuple(view.image.shape[1:]) for view in views] == [(10, 20)] * 2 + [(15, 30)] * 2
    assert [view.is_mirrored for view in views] == [False, True, False, True]
    assert torch.equal(views[1].image.flip(-1), image)
    assert torch.equal(views[1].pixels_in_output(views[1].image), image)
    assert len(list(views_of(image, (5,), 30, flip=False))) == 1


def test_boxes_of_a_mirrored_view():
    view = View(torch.zeros(3, 50, 100), is_mirrored=True)
    boxes = torch.tensor([[10.0, 5.0, 30.0, 25.0]])
    # Of an output of 100 x 400: twice as high, four times as wide.
    output = view.boxes_in_output(boxes, 100, 400)
    assert output.tolist() == [[280.0, 10.0, 360.0, 50.0]]
    assert torch.equal(view.boxes_in_view(output, 100, 400), boxes)


def test_boxes_vote_by_their_scores():
    first = found((0, 0, 10, 10, 0.9, 1), (50, 50, 60, 60, 0.8, 0))
    second = found((0, 0, 10, 13, 0.3, 1), (0, 0, 10, 10, 0.6, 2))
    merged = merge_boxes([first, second], iou_threshold=0.5, most=10)
    # The votes of one object: 0.9 and 0.3, so (0.9 * 10 + 0.3 * 13) / 1.2 = 10.75.
    expected = [[0, 0, 10, 10.75], [50, 50, 60, 60], [0, 0, 10, 10]]
    torch.testing.assert_close(merged.boxes, torch.tensor(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(merged.scores, torch.tensor([0.6, 0.4, 0.3]))
    assert merged.classes.tolist() == [1, 0, 2]


def test_a_view_has_one_vote():
    """That of its most certain box."""
    first = found((0, 0, 10, 10, 0.5, 0), (0, 0, 10, 11, 0.4, 0))
    merged = merge_boxes([first, found()], iou_threshold=0.99, most=10)
    assert merged.boxes[0].tolist() == [0, 0, 10, 10]
    torch.testing.assert_close(merged.scores, torch.tensor([0.25, 0.25]))


@pytest.mark.parametrize("views", [1, 3])
def test_nothing_is_found(views):
    merged = merge_boxes([found()] * views, iou_threshold=0.5, most=10)
    assert [tuple(part.shape) for part in merged] == [(0, 4), (0,), (0,)]


def test_the_most_certain_stay():
    boxes = found(*((20 * i, 0, 20 * i + 10, 10, i / 10, 0) for i in range(6)))
    merged = merge_boxes([boxes], iou_threshold=0.5, most=2)
    torch.testing.assert_close(merged.scores, torch.tensor([0.5, 0.4]))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_one_view_says_what_the_model_says(build, kind):
    model = build(kind)
    expected = [output for inputs in batch() for output in model([inputs])]  # not padded
    results = AveragingDetector(model, min_sizes=[0], flip=False, **OPTIONS)(batch())
    for result, output in zip(results, expected, strict=True):
        if "sem_seg" in output:
            probabilities = output["sem_seg"].softmax(dim=0)
            torch.testing.assert_close(result["sem_seg"], probabilities, rtol=0, atol=1e-5)
            result["sem_seg"] = output["sem_seg"]
    assert_equal(results, expected)
    assert model.roi_heads.mask_on


@pytest.mark.parametrize("precision", [None, torch.float32])
def test_threads_share_a_model(build, precision):
    """One predicts an image while another one is looking for boxes."""
    model = build("mask_rcnn") if precision is None else fast_copy(build("mask_rcnn"), precision)
    averaging = AveragingDetector(model, min_sizes=[0], flip=False, **OPTIONS)

    @torch.no_grad()
    def predict():
        return averaging(batch()[:1])

    [expected] = predict()
    looks_for_boxes, may_go_on = threading.Event(), threading.Event()

    def wait(*_):
        if threading.current_thread() is not threading.main_thread():
            looks_for_boxes.set()
            assert may_go_on.wait(60)

    handle = model.roi_heads.box_head.register_forward_pre_hook(wait)
    try:
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(predict)
            assert looks_for_boxes.wait(60)
            try:
                results = predict()
            finally:
                may_go_on.set()
            results += other.result()
    finally:
        handle.remove()
    assert expected["instances"].has("pred_masks")
    assert_equal(results, [expected, expected])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mask_rcnn", "mask_iou", "panoptic_fpn"])
def test_a_mirrored_image_gives_the_mirrored_output(build, kind):
    fast = fast_copy(build(kind), torch.float32)
    model = AveragingDetector(fast, min_sizes=[64, 80], flip=True, **OPTIONS)
    image = batch()[0]["image"]
    [output], [mirrored] = (model([{"image": x}]) for x in (image, image.flip(-1)))
    instances, others = output["instances"], mirrored["instances"]
    x0, y0, x1, y1 = others.pred_boxes.tensor.unbind(dim=1)
    others.pred_boxes.tensor = torch.stack([96 - x1, y0, 96 - x0, y1], dim=1)
    others.pred_masks = others.pred_masks.flip(-1)
    assert_equal_instances(others, instances)
    if kind == "panoptic_fpn":
        torch.testing.assert_close(
            mirrored["sem_seg"].flip(-1), output["sem_seg"], rtol=0, atol=1e-4
        )
        assert (mirrored["panoptic_seg"][0].flip(-1) != output["panoptic_seg"][0]).sum() < 20


@torch.no_grad()
def test_masks_are_those_of_detectron2(build):
    """For the same boxes."""
    model = build("mask_rcnn")
    cfg = config("mask_rcnn")
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MAX_SIZE = [0, 0], 200
    reference = GeneralizedRCNNWithTTA(cfg, model, tta_mapper=_mirrored)
    inputs = batch()[0]
    [expected] = reference([inputs | {"height": 64, "width": 96}])
    ours = AveragingDetector(model, min_sizes=[0], flip=True, **OPTIONS)
    boxes = expected["instances"]
    merged = FoundBoxes(boxes.pred_boxes.tensor, boxes.scores, boxes.pred_classes)
    views = list(views_of(inputs["image"], [0], 200, flip=True))
    features = []
    for view in views:
        images = model.preprocess_image([{"image": view.image}])
        features.append(model.backbone(images.tensor))
    result = ours._with_masks(merged, zip(views, features, strict=True), (64, 96))
    assert_equal_instances(detector_postprocess(result, 64, 96), boxes)


def _mirrored(inputs):
    """The two views that the mapper of Detectron2 would make, without resizing."""
    image = inputs["image"]
    return [
        inputs | {"transforms": TransformList([NoOpTransform()])},
        inputs
        | {"image": image.flip(-1), "transforms": TransformList([HFlipTransform(image.shape[-1])])},
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mask_rcnn", AveragingDetector),
        ("panoptic_fpn", AveragingDetector),
        ("bottom_up", AveragingBottomUp),
    ],
)
def test_what_the_config_asks_for(build, kind, expected):
    cfg = config(kind)
    cfg.TEST.AUG.ENABLED = True
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MAX_SIZE = [0, 80], 300
    model = prepare_for_inference(cfg, build(kind))
    assert type(model) is expected and not model.training
    assert (model.min_sizes, model.max_size, model.flip) == ((0, 80), 300, True)
    if expected is AveragingDetector:
        assert (model.nms_threshold, model.max_detections) == (0.5, 8)
    assert type(model.model) is type(build(kind)) and model.model is not build(kind)


@torch.no_grad()
def test_one_view_of_a_bottom_up_model(build):
    model = build("bottom_up")
    expected = [output for inputs in batch() for output in model([inputs])]
    results = AveragingBottomUp(model, min_sizes=[0], max_size=0, flip=False)(batch())
    for result, output in zip(results, expected, strict=True):
        probabilities = output["sem_seg"].softmax(dim=0)
        torch.testing.assert_close(result["sem_seg"], probabilities, rtol=0, atol=1e-5)
        result["sem_seg"] = output["sem_seg"]
    assert_equal(results, expected)


@torch.no_grad()
def test_a_mirrored_image_gives_the_mirrored_maps(build):
    model = AveragingBottomUp(build("bottom_up"), min_sizes=[64, 80], max_size=200, flip=True)
    image = batch()[0]["image"]
    maps = []
    model.model.output = lambda *found: maps.append(found) or {}
    try:
        for x in (image, image.flip(-1)):
            model([{"image": x, "height": 128, "width": 192}])
    finally:
        del model.model.output
    (logits, heatmap, offsets), (others, other_heatmap, other_offsets) = maps
    other_offsets[1] *= -1
    for ours, theirs in ((others, logits), (other_heatmap, heatmap), (other_offsets, offsets)):
        torch.testing.assert_close(ours.flip(-1), theirs, rtol=0, atol=2e-3)
    assert offsets.abs().mean() > 1


@pytest.mark.parametrize("kind", [AveragingDetector, AveragingBottomUp])
def test_it_only_predicts(kind):
    options = OPTIONS if kind is AveragingDetector else {"max_size": 200}
    averaging = kind(nn.Module().train(), min_sizes=[0], flip=True, **options)
    with pytest.raises(RuntimeError, match="call eval"):
        averaging([])


def test_boxes_without_an_area_take_no_place():
    some = found((1, 1, 9, 9, 0.5, 1), (4, 4, 4, 8, 0.9, 1), (2, 2, 2, 2, 0.8, 0))
    merged = merge_boxes([some, some], iou_threshold=0.5, most=1)
    assert merged.boxes.tolist() == [[1, 1, 9, 9]] and merged.scores.tolist() == [0.5]
    nothing = found((4, 4, 4, 8, 0.9, 1))
    assert len(merge_boxes([nothing, nothing], iou_threshold=0.5, most=1).boxes) == 0
