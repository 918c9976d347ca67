"""Fixtures that several folders of tests share."""

from __future__ import annotations

import json
import logging
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.utils.logger import setup_logger

from segtron.config import load_config

# A Mask R-CNN as small as Detectron2 allows.
TINY_MODEL = {
    "META_ARCHITECTURE": "GeneralizedRCNN",
    "DEVICE": "cpu",
    "MASK_ON": True,
    "WEIGHTS": "",
    "BACKBONE": {"NAME": "build_resnet_fpn_backbone"},
    "RESNETS": {
        "DEPTH": 18,
        "RES2_OUT_CHANNELS": 64,
        "NORM": "BN",
        "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    },
    "FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"], "OUT_CHANNELS": 16},
    "ANCHOR_GENERATOR": {"SIZES": [[8], [16], [32], [64], [128]]},
    "RPN": {"IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"], "POST_NMS_TOPK_TEST": 20},
    "ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["p2", "p3", "p4", "p5"]},
    "ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 1, "FC_DIM": 16},
    "ROI_MASK_HEAD": {"NAME": "MaskRCNNConvUpsampleHead", "NUM_CONV": 1, "CONV_DIM": 8},
}

# What makes a PointRend of it, with three classes.
TINY_POINT_REND = {
    "ROI_MASK_HEAD": {
        "NAME": "PointRendHead",
        "POINT_HEAD_ON": True,
        "POOLER_TYPE": "",
        "POOLER_RESOLUTION": 14,
        "OUTPUT_SIDE_RESOLUTION": 7,
        "FC_DIM": 16,
        "IN_FEATURES": ["p2"],
    },
    "POINT_HEAD": {
        "NUM_CLASSES": 3,
        "FC_DIM": 16,
        "SUBDIVISION_STEPS": 3,
        "IN_FEATURES": ["p2"],
    },
}


@pytest.fixture
def set_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A data set's name that is only the test's; it is in no catalog afterwards."""
    name = f"set_for_{request.node.name}"
    yield name
    MetadataCatalog.remove(name)
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)


@pytest.fixture(autouse=True)
def fresh_loggers() -> None:
    """Loggers as a program starts with, whatever an earlier test's job made of them."""
    setup_logger.cache_clear()
    for name in ("fvcore", "detectron2", "segtron"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


@pytest.fixture
def no_parts_stay(monkeypatch) -> Iterator[None]:
    """What `load_parts` imports is gone after the test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        if not hasattr(sys.modules[name], "__path__") and "." not in name:
            del sys.modules[name]


@pytest.fixture
def run_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    """Runs a script in this process, which spares it the imports; gives exit code, stdout, stderr.

    It takes the script's path and its arguments.
    """

    def run(script: Path, *args: Any) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", [script.name, *map(str, args)])
        with pytest.raises(SystemExit) as ending:
            runpy.run_path(str(script), run_name="__main__")
        return ending.value.code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def report_content() -> Callable[[Path], dict[str, Any]]:
    """Reads what the report of a run shows."""

    def read(run: Path) -> dict[str, Any]:
        text = (run / "report" / "report.html").read_text(encoding="utf-8")
        return json.loads(text.partition('id="content">')[2].partition("</script>")[0])

    return read


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """A folder as a training leaves it: config.yaml and model_final.pth of a tiny, untrained model.

    Beside them `images` (a.png, b.png, 96 x 64) and `annotations.json` with two classes, of ids 3
    and 7: in each image a square of the first, in b.png also a crowd of the second.
    """
    folder = tmp_path_factory.mktemp("tiny_run")
    (folder / "images").mkdir()
    for name, shade in (("a", 60), ("b", 120)):
        image = np.full((64, 96, 3), shade, np.uint8)
        image[10:30, 20:40] = (200, 40, 40)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
    square = {"bbox": [20, 10, 20, 20], "area": 400, "iscrowd": 0, "category_id": 3}
    square["segmentation"] = [[20, 10, 40, 10, 40, 30, 20, 30]]
    crowd = {"bbox": [60, 0, 20, 64], "area": 1280, "iscrowd": 1, "category_id": 7}
    crowd["segmentation"] = {"size": [64, 96], "counts": [60 * 64, 20 * 64, 16 * 64]}
    annotations = [square | {"image_id": 11}, square | {"image_id": 12}, crowd | {"image_id": 12}]
    content = {
        "images": [
            {"id": 11 + i, "file_name": f"{name}.png", "height": 64, "width": 96}
            for i, name in enumerate("ab")
        ],
        "annotations": [a | {"id": i + 1} for i, a in enumerate(annotations)],
        "categories": [{"id": 3, "name": "square"}, {"id": 7, "name": "cost in $"}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    entry = {"name": "tiny", "type": "coco_instance"}
    entry |= {"json": "annotations.json", "images": "images"}
    config = {
        "MODEL": TINY_MODEL,
        "DATASETS": {"REGISTER": [entry], "TRAIN": ["tiny"], "TEST": ["tiny"]},
        "INPUT": {"MIN_SIZE_TRAIN": [64], "MIN_SIZE_TEST": 64},
        "SEED": 1,
        "OUTPUT_DIR": str(folder),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(load_config(folder / "config.yaml"))
    torch.save({"model": model.state_dict()}, folder / "model_final.pth")
    return folder
