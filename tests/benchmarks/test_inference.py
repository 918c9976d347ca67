"""The benchmark of prediction, on images of a few pixels."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch

from segtron.benchmarks import arithmetic, inference
from segtron.benchmarks.peak_memory import Peak
from segtron.benchmarks.timing import Run
from segtron.benchmarks.variants import inference_variants, training_variants
from segtron.config import get_default_config
from segtron.modeling.precision import resolve_precision

SIZE = (64, 128)
FEW_PROPOSALS = ["MODEL.RPN.POST_NMS_TOPK_TEST", "200"]
PRECISION = str(resolve_precision("", "auto", torch.device("cpu"))).removeprefix("torch.")


@pytest.fixture
def quick(monkeypatch):
    """Nothing is measured twice, and memory not at all."""
    monkeypatch.setattr(arithmetic, "_SECONDS", 0.01)
    monkeypatch.setattr(arithmetic, "_EXTENTS", {"cpu": arithmetic._Extent(64, 16, 8)})
    monkeypatch.setattr(inference, "peak_of", lambda work, cfg, image: Peak(1_000_000, None))


def test_the_whole_report(quick):
    report = inference.measure_inference(SIZE, 3, num_pairs=1, opts=FEW_PROPOSALS)
    assert report.settings == {
        "pairs": 1,
        "size": [64, 128],
        "images": 1,
        "seed": 3,
        "device": "cpu",
        "precision": PRECISION,
    }
    works = [(row.work, row.against) for row in report.rows]
    [mask_rcnn] = {work for work, _ in works[:2]}
    assert mask_rcnn.startswith("Mask R-CNN R50-FPN inference, 64x128, ")
    assert 20 <= int(mask_rcnn.split()[-2]) <= 100
    expected = [
        (f"{work}{variant}", against)
        for work, rivals in (
            (mask_rcnn, ("stock Detectron2", "torchvision")),
            ("Panoptic FPN R50 inference, 64x128", ("stock Detectron2",)),
            ("FCN-8s R50 inference, 64x128", ("stock Detectron2",)),
            ("U-Net R50 inference, 64x128", ("stock Detectron2",)),
        )
        for variant, against in itertools.product(("", ", float32"), rivals)
    ]
    assert works == [
        *expected,
        ("panoptic merging, 100 instances, 64x128, 5 times", "stock Detectron2"),
    ]
    assert all(row.timing.ratio > 0 for row in report.rows)
    seconds = {row.work: row.timing.ours_s for row in reversed(report.rows)}
    assert [floor.work for floor in report.floors] == [
        work for work, against in expected if against == "stock Detectron2"
    ]
    for floor in report.floors:
        assert floor.ours_s == seconds[floor.work]
        precision = "float32" if floor.work.endswith("float32") else PRECISION
        assert floor.bound == f"multiply-adds, {precision}"
    # The first convolution alone: 32 x 64 places, 64 channels, 7 x 7 x 3 products each.
    assert all(floor.amount > 32 * 64 * 64 * 147 for floor in report.floors)
    assert [(entry.work, entry.by) for entry in report.memory] == [
        (work, by)
        for work in (mask_rcnn, "Panoptic FPN R50 inference, 64x128")
        for by in ("Segtron", "stock Detectron2")
    ]
    assert mask_rcnn in str(report)


def test_a_gpu_gets_more_to_do():
    calls = []
    way = inference._way(calls.append, str, ["a", "b"], "cpu")
    run = way()
    assert isinstance(run, Run)
    assert (calls, run.result) == (["a", "b"], ["None", "None"])


def test_ways_on_a_gpu():
    for variants in (inference_variants("cuda"), training_variants("cuda")):
        assert [variant.suffix for variant in variants] == ["", ", float32", ", compiled"]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_compiled_predictor(compiled, monkeypatch):
    backbone = torch.nn.Identity()
    calls = []
    monkeypatch.setattr(backbone, "compile", lambda: calls.append("compiled"))
    model = torch.nn.Sequential()
    model.backbone = backbone
    monkeypatch.setattr(inference, "Predictor", lambda cfg: SimpleNamespace(model=model))
    cfg = get_default_config()
    cfg.MODEL.COMPILE = compiled
    assert inference._predictor(cfg).model is model
    assert calls == ["compiled"] * compiled


def test_classes_of_segments():
    ids = torch.tensor([[0, 1], [2, 2]], dtype=torch.int32)
    segments = [
        {"id": 1, "isthing": True, "category_id": 7},
        {"id": 2, "isthing": False, "category_id": 3},
    ]
    output = {"panoptic_seg": (ids, segments)}
    assert inference.classes_of_segments(output, first_stuff=79).tolist() == [[-1, 7], [82, 82]]
    nothing = {"panoptic_seg": (torch.zeros(1, 2, dtype=torch.int32), [])}
    assert inference.classes_of_segments(nothing, first_stuff=0).tolist() == [[-1, -1]]
