"""Several views of an image: that detectors keep their outputs but for what is merged."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.modeling.postprocessing import detector_postprocess
from fvcore.transforms import HFlipTransform, NoOpTransform, TransformList

from segtron.modeling.inference import fast_copy
from segtron.modeling.test_time_augmentation import AveragingDetector
from segtron.modeling.test_time_augmentation.box_merging import FoundBoxes
from segtron.modeling.test_time_augmentation.views import views_of

from ..same_outputs import assert_equal, assert_equal_instances
from ..settled_models import batch, config
from .averaging import DETECTOR_OPTIONS

KINDS = ["mask_rcnn", "mask_iou", "point_rend", "panoptic_fpn", "panoptic_unet"]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_one_view_says_what_the_model_says(build, kind):
    model = build(kind)
    expected = [output for inputs in batch() for output in model([inputs])]  # not padded
    results = AveragingDetector(model, min_sizes=[0], flip=False, **DETECTOR_OPTIONS)(batch())
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
    averaging = AveragingDetector(model, min_sizes=[0], flip=False, **DETECTOR_OPTIONS)

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
    model = AveragingDetector(fast, min_sizes=[64, 80], flip=True, **DETECTOR_OPTIONS)
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
    ours = AveragingDetector(model, min_sizes=[0], flip=True, **DETECTOR_OPTIONS)
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
