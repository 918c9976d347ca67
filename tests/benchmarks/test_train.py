"""The benchmark of training steps, on images of a few pixels."""

from __future__ import annotations

import cv2
import pytest
import torch

from segtron.benchmarks import arithmetic, train
from segtron.benchmarks.compared_models import mask_rcnn
from segtron.benchmarks.made_up_images import write_records
from segtron.benchmarks.peak_memory import Peak
from segtron.modeling.precision import resolve_precision

SIZE = (64, 128)
FEW_REGIONS = ["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "128"]
PRECISION = str(resolve_precision("", "auto", torch.device("cpu"))).removeprefix("torch.")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(arithmetic, "_SECONDS", 0.01)
    monkeypatch.setattr(arithmetic, "_EXTENTS", {"cpu": arithmetic._Extent(64, 16, 8)})
    monkeypatch.setattr(train, "peak_of", lambda work, *arguments: Peak(1_000_000, None))


def test_the_whole_report(quick):
    report = train.measure_train(SIZE, 3, num_pairs=1, batch_size=1, opts=FEW_REGIONS)
    assert report.settings == {
        "pairs": 1,
        "size": [64, 128],
        "batch_size": 1,
        "seed": 3,
        "device": "cpu",
        "precision": PRECISION,
    }
    work = "Mask R-CNN R50-FPN training step, 64x128, batch 1"
    assert [(row.work, row.against) for row in report.rows] == [
        (work, "stock Detectron2"),
        (work, "torchvision"),
        (f"{work}, float32", "stock Detectron2"),
        (f"{work}, float32", "torchvision"),
        ("mask targets of 128 regions, 20 bitmaps of 64x128, 5 times", "stock Detectron2"),
    ]
    assert all(row.timing.ratio > 0 for row in report.rows)
    assert [(floor.work, floor.bound) for floor in report.floors] == [
        (work, f"multiply-adds, {PRECISION}"),
        (f"{work}, float32", "multiply-adds, float32"),
    ]
    assert [(entry.work, entry.by) for entry in report.memory] == [
        (work, "Segtron"),
        (work, "stock Detectron2"),
    ]


def test_a_step_trains(tmp_path):
    records = write_records(tmp_path, 1, SIZE, 0, num_objects=12, num_classes=80)
    model = mask_rcnn(tmp_path, cv2.imread(records[0]["file_name"]), "cpu", 0, FEW_REGIONS)
    model = train._for_training(model, SIZE, batch_size=1)
    torch.manual_seed(0)
    for losses in (
        train.our_step(model.our_cfg(), records, seed=0)(),
        train.stock_step(model.stock, records)(),
        train.torchvision_step(model.stock, records)(),
    ):
        assert {"loss_cls", "loss_rpn_cls", "loss_mask"} <= losses.keys()
        assert all(loss > 0 for loss in losses.values())
