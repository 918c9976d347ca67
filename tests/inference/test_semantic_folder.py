"""Semantic models over folders of images, and what is known of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from detectron2.data import MetadataCatalog
from detectron2.data.catalog import Metadata
from PIL import Image

from segtron.config import load_config
from segtron.errors import UserError
from segtron.evaluation.label_files import label_values
from segtron.inference import (
    ImageFile,
    Images,
    build_sinks,
    model_metadata,
    predict_files,
)

METADATA = Metadata(name="test", stuff_classes=["road", "car"])


def sinks(names, folder):
    return build_sinks(names, folder, METADATA, draw_score=0.5, save_score=0.0)


def files(*names):
    return [Images([ImageFile(Path("in") / name, name) for name in names])]


def predict_semantics(images):
    """A predictor that finds the second class everywhere."""
    return [
        {"sem_seg": torch.tensor([0.0, 1.0])[:, None, None].expand(2, *i.shape[:2])} for i in images
    ]


@pytest.fixture
def images(tmp_path):
    found = []
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / name)
        found.append(ImageFile(tmp_path / name, name))
    return [Images(found)]


def test_overlays_and_labels_are_written(images, tmp_path):
    out = tmp_path / "out"
    predict_files(predict_semantics, images, sinks(["overlay", "labels"], out), batch_size=2)
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert written == ["a.png", "b.jpg", "labels/a.png", "labels/b.png"]
    assert (np.asarray(Image.open(out / "labels" / "b.png")) == np.ones((20, 30))).all()
    with pytest.raises(UserError, match="would be overwritten"):
        predict_files(predict_semantics, images, sinks(["labels"], out))


def test_what_the_model_cannot_give_is_refused_before_anything_is_written(images, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="no instances, which --save csv is made of"):
        predict_files(predict_semantics, images, sinks(["overlay", "labels", "csv"], out))
    assert not [path for path in out.rglob("*") if path.is_file()]


def config(folder, **datasets):
    (folder / "config.yaml").write_text(yaml.safe_dump({"DATASETS": datasets}))
    return load_config(folder / "config.yaml")


def test_classes_have_names_with_the_data_and_without(tmp_path):
    entry = {"name": "fields", "type": "semantic", "images": "i", "labels": "l"}
    entry |= {"classes": {3: "grass", 7: "cost in $"}, "palette": [[0, 200, 0], [0, 0, 200]]}
    cfg = config(tmp_path, REGISTER=[entry], TRAIN=["fields"], TEST=["fields"])
    metadata = model_metadata(cfg)
    assert metadata is MetadataCatalog.get("fields")
    assert label_values(metadata, 2).tolist() == [3, 7]
    # As after a training, on a machine where nobody knows the set.
    gone = model_metadata(config(tmp_path, STUFF_CLASSES=["grass", "cost in $"], TEST=["nowhere"]))
    assert gone.stuff_classes == ["grass", "cost in $"]
    assert gone.get("thing_classes") is None
    assert label_values(gone, 2).tolist() == [0, 1]


def test_a_set_with_other_classes_names_none(tmp_path):
    entry = {"name": "meadows", "type": "semantic", "images": "i", "labels": "l"}
    entry |= {"classes": ["grass", "cow"]}
    cfg = config(tmp_path, REGISTER=[entry], STUFF_CLASSES=["grass", "barn"], TEST=["meadows"])
    assert model_metadata(cfg).stuff_classes == ["grass", "barn"]


def test_builtin_sets_are_known_without_their_data(tmp_path):
    metadata = model_metadata(config(tmp_path, TEST=["cityscapes_fine_sem_seg_val"]))
    assert metadata.stuff_classes[0] == "road"
    assert label_values(metadata, 19)[:3].tolist() == [7, 8, 11]
