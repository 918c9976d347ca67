"""What a validation loss is computed from: images as in testing, ground truth as in training."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from segtron.config import load_config
from segtron.data import build_test_loader
from segtron.data.toytown import make_toytown
from segtron.data.validation import build_validation_loader

# What would show if any of it were done: flips, colours, crops, other sizes.
AUGMENTED = {
    "MIN_SIZE_TRAIN": [32],
    "MIN_SIZE_TEST": 128,
    "MAX_SIZE_TEST": 200,
    "VERTICAL_FLIP_PROB": 1.0,
    "COLOR_AUG_SSD": True,
    "CROP": {"ENABLED": True, "TYPE": "absolute", "SIZE": [16, 16]},
}


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path):
    """Config of `tiny_run` with other annotations and keys."""

    def config(change=lambda content: None, **keys):
        content = json.loads((tiny_run / "annotations.json").read_text())
        change(content)
        name = f"validation_{tmp_path.name}"
        (tmp_path / "gt.json").write_text(json.dumps(content))
        entry = {"name": name, "type": "coco_instance", "json": "gt.json"}
        entry["images"] = str(tiny_run / "images")
        written = yaml.safe_load((tiny_run / "config.yaml").read_text())
        written["DATASETS"] = {"REGISTER": [entry], "TRAIN": [name], "TEST": [name]}
        written["INPUT"] = AUGMENTED
        written["DATALOADER"] = {"NUM_WORKERS": 0, **keys}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(written))
        return load_config(tmp_path / "config.yaml"), name

    return config


def images(loader):
    """Each batch is one image."""
    return [image for (image,) in loader]


def test_images_are_those_of_the_test_and_instances_fit_them(run):
    cfg, name = run()
    found = images(build_validation_loader(cfg, name))
    tested = images(build_test_loader(cfg, name))
    assert [image["image_id"] for image in found] == [11, 12]
    for image, other in zip(found, tested, strict=True):
        assert image["image"].shape == (3, 128, 192)
        assert torch.equal(image["image"], other["image"])
        instances = image["instances"]
        # Twice as large as in the files; the crowd is no instance.
        assert instances.gt_boxes.tensor.tolist() == [[40, 20, 80, 60]]
        assert instances.gt_classes.tolist() == [0]
        (polygons,) = instances.gt_masks.polygons
        assert polygons[0].tolist() == [40, 20, 80, 20, 80, 60, 40, 60]


@pytest.mark.parametrize("is_left_out", [True, False])
def test_empty_images_stay_out_where_the_training_leaves_them_out(run, caplog, is_left_out):
    def keep_crowd(content):
        content["annotations"] = [a for a in content["annotations"] if a["id"] != 2]

    cfg, name = run(keep_crowd, FILTER_EMPTY_ANNOTATIONS=is_left_out)
    with caplog.at_level(logging.INFO, "segtron"):
        found = images(build_validation_loader(cfg, name))
    assert [image["image_id"] for image in found] == ([11] if is_left_out else [11, 12])
    said = f"{name}: 1 of 2 images have ground truth that a GeneralizedRCNN learns from; the vali"
    assert (said in caplog.text) == is_left_out


def test_a_set_without_ground_truth_is_skipped(run, caplog):
    cfg, name = run(lambda content: content.update(annotations=[]))
    with caplog.at_level(logging.INFO, "segtron"):
        assert build_validation_loader(cfg, name) is None
    assert f"{name}: 0 of 2 images have ground truth" in caplog.text
    assert "there is no validation loss" in caplog.text


def test_what_the_architecture_does_not_learn_from_is_no_ground_truth(run):
    cfg, name = run()
    cfg = copy.deepcopy(cfg)
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    assert build_validation_loader(cfg, name) is None


@pytest.mark.parametrize("task", ["instance_seg", "sem_seg", "panoptic"])
def test_each_task_of_toytown(tmp_path, monkeypatch, task):
    make_toytown(tmp_path / "toytown", train=1, val=2, size=(64, 128), seed=3)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    name = f"toytown_{task}_val"
    architecture, fields = {
        "instance_seg": ("GeneralizedRCNN", {"instances"}),
        "sem_seg": ("SemanticSegmentor", {"sem_seg"}),
        "panoptic": ("UnifiedPanopticFPN", {"instances", "sem_seg", "pan_seg"}),
    }[task]
    config = {
        "MODEL": {"META_ARCHITECTURE": architecture},
        "DATASETS": {"TRAIN": [name], "TEST": [name]},
        "INPUT": AUGMENTED | {"MIN_SIZE_TEST": 32},
        "DATALOADER": {"NUM_WORKERS": 0},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    cfg = load_config(tmp_path / "config.yaml")
    found = images(build_validation_loader(cfg, name))
    assert len(found) == 2
    for image in found:
        assert image["image"].shape == (3, 32, 64)
        assert fields <= set(image)
        for field in fields - {"instances"}:
            assert image[field].shape == (32, 64)
        if "sem_seg" in fields:
            assert len(np.unique(image["sem_seg"])) > 3
