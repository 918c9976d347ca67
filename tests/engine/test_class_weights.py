"""Class weights that a training takes from its data: filled in once, and not silently changed."""

from pathlib import Path

import numpy as np
import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from PIL import Image

from segtron.config import get_default_config
from segtron.engine.class_weights import fill_class_weights
from segtron.errors import UserError

NAME = "engine_class_weights"


@pytest.fixture
def cfg(tmp_path: Path):
    """A config whose data has 99,999 pixels of class 0 and one of class 1."""
    labels = np.zeros((250, 400), np.uint8)
    labels[0, 0] = 1
    for name in ("image", "labels"):
        Image.fromarray(labels).save(tmp_path / f"{name}.png")
    record = {"file_name": str(tmp_path / "image.png"), "height": 250, "width": 400}
    record |= {"image_id": "a", "sem_seg_file_name": str(tmp_path / "labels.png")}
    DatasetCatalog.register(NAME, lambda: [record])
    cfg = get_default_config()
    cfg.DATASETS.TRAIN = (NAME,)
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2
    yield cfg
    DatasetCatalog.remove(NAME)


def filled(cfg: CfgNode, method: str) -> CfgNode:
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA = method
    return fill_class_weights(cfg)


def test_a_frequent_class_keeps_a_weight_above_zero(cfg: CfgNode) -> None:
    result = filled(cfg, "median_frequency")
    # Frequencies 0.99999 and 0.00001, median 0.5.
    assert result.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS == [0.5, 5e4]
    assert result.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA == ""
    assert cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS == []


def test_nothing_is_asked_for_nothing_changes(cfg: CfgNode) -> None:
    assert filled(cfg, "") is cfg


def test_weights_from_two_sources_are_refused(cfg: CfgNode) -> None:
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS = [1.0, 2.0]
    with pytest.raises(UserError, match="CLASS_WEIGHTS is given, too"):
        filled(cfg, "inverse_log")


def test_an_unknown_method_is_refused(cfg: CfgNode) -> None:
    with pytest.raises(UserError, match="is 'enet'; known: median_frequency, inverse_log"):
        filled(cfg, "enet")


def test_data_without_labels_is_refused(cfg: CfgNode) -> None:
    DatasetCatalog.get(NAME)[0].pop("sem_seg_file_name")
    with pytest.raises(UserError, match="1 of 1 images have no semantic labels"):
        filled(cfg, "inverse_log")
    # An architecture of which nobody knows what it learns from.
    cfg.MODEL.META_ARCHITECTURE = "MyOwn"
    with pytest.raises(UserError, match="images without semantic labels"):
        filled(cfg, "inverse_log")
