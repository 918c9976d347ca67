"""Data loaders: data that contradicts the config."""

import json
from pathlib import Path

import pytest

from segtron.config import load_config
from segtron.data import build_test_loader, build_train_loader
from segtron.errors import UserError


def test_other_classes_than_the_configs_are_refused(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    content = {"images": [], "annotations": [], "categories": categories}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    entry = "{name: loaders_other, type: coco_instance, json: gt.json, images: .}"
    # As a training on other data wrote it: as many classes, in another order.
    (tmp_path / "config.yaml").write_text(
        f"DATASETS: {{REGISTER: [{entry}], TRAIN: [loaders_other], TEST: [loaders_other], "
        "THING_CLASSES: [cat, dog]}\nMODEL: {ROI_HEADS: {NUM_CLASSES: 2}}"
    )
    cfg = load_config(tmp_path / "config.yaml")
    said = r"loaders_other has 2 classes \(dog, cat\), but the config is for 2 .*cat, dog"
    with pytest.raises(UserError, match=said):
        build_train_loader(cfg)
    with pytest.raises(UserError, match=said):
        build_test_loader(cfg, "loaders_other")


def test_a_semantic_model_needs_semantic_labels(tiny_run: Path) -> None:
    semantic = ("MODEL.META_ARCHITECTURE", "SemanticSegmentor")
    cfg = load_config(tiny_run / "config.yaml", semantic)
    said = r"tiny: 2 of 2 images have no semantic labels, first of them .*a\.png, and a Sem"
    with pytest.raises(UserError, match=said):
        build_train_loader(cfg)
