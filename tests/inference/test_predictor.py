from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import DefaultPredictor

from segtron.config import load_config
from segtron.config.defaults import get_default_config
from segtron.data.image_io import read_image
from segtron.errors import UserError
from segtron.inference import (
    ImageFile,
    Images,
    Predictor,
    build_sinks,
    category_ids,
    find_sources,
    model_metadata,
    predict_files,
)


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor(load_config(tiny_run / "config.yaml"), str(tiny_run / "model_final.pth"))


@pytest.fixture
def images(tiny_run, tmp_path):
    """A folder with one readable image, one cut off, and one that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(tiny_run / "images" / "b.png", folder / "b.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8).tobytes()
    (folder / "a.png").write_bytes((tiny_run / "images" / "a.png").read_bytes()[:90])
    (folder / "c.png").write_bytes(noise)
    return folder


def csv_sink(predictor, folder):
    return build_sinks(["csv"], folder, predictor.metadata, draw_score=0.5, save_score=0.0)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
@pytest.mark.parametrize("averaged", [False, True])
def test_images_as_thin_as_can_be(tiny_run, shape, averaged):
    opts = ["TEST.AUG.ENABLED", str(averaged), "TEST.AUG.MIN_SIZES", "[32]"]
    cfg = load_config(tiny_run / "config.yaml", opts)
    predictor = Predictor(cfg, str(tiny_run / "model_final.pth"))
    (output,) = predictor([np.full((*shape, 3), 99, np.uint8)])
    assert output["instances"].image_size == shape


def test_outputs_are_detectron2s(tiny_run):
    precise = load_config(tiny_run / "config.yaml", ["TEST.PRECISION", "float32"])
    predictor = Predictor(precise, str(tiny_run / "model_final.pth"))
    image = read_image(tiny_run / "images" / "a.png", "BGR")
    weights = ["MODEL.WEIGHTS", str(tiny_run / "model_final.pth")]
    expected = DefaultPredictor(load_config(tiny_run / "config.yaml", weights))(image)["instances"]
    found = predictor([image])[0]["instances"]
    assert len(found) > 0
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor)
    assert torch.equal(found.pred_masks, expected.pred_masks)


def test_each_image_of_a_batch_keeps_its_size(predictor):
    sizes = [(64, 96), (40, 90), (200, 50)]
    outputs = predictor([np.zeros((*size, 3), np.uint8) for size in sizes])
    assert [output["instances"].image_size for output in outputs] == sizes


def test_the_order_of_channels_follows_the_config(tiny_run):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :, 0] = 255
    weights = str(tiny_run / "model_final.pth")
    inputs = {}
    for order in ("BGR", "RGB"):
        cfg = load_config(tiny_run / "config.yaml", ["INPUT.FORMAT", order])
        predictor = Predictor(cfg, weights)
        predictor.model.register_forward_pre_hook(
            lambda _, args, order=order: inputs.update({order: args[0][0]["image"]})
        )
        predictor([image])
    assert inputs["BGR"][:, 5, 5].tolist() == [255, 0, 0]
    assert inputs["RGB"][:, 5, 5].tolist() == [0, 0, 255]


def test_no_images_no_outputs(predictor):
    assert predictor([]) == []


def test_a_model_needs_fitting_weights(tiny_run, tmp_path):
    cfg = load_config(tiny_run / "config.yaml")
    with pytest.raises(UserError, match=r"MODEL\.WEIGHTS is empty"):
        Predictor(cfg)
    with pytest.raises(UserError, match="absent.pth does not exist"):
        Predictor(cfg, str(tmp_path / "absent.pth"))
    other = load_config(
        tiny_run / "config.yaml",
        ["DATASETS.REGISTER", "[]", "DATASETS.TRAIN", "()", "DATASETS.TEST", "()"]
        + ["MODEL.ROI_HEADS.NUM_CLASSES", "5"],
    )
    with pytest.raises(UserError, match="for 2 classes, the config is for 5"):
        Predictor(other, str(tiny_run / "model_final.pth"))


def test_classes_have_names_with_the_data_and_without(tiny_run, tmp_path):
    cfg = load_config(tiny_run / "config.yaml")
    assert model_metadata(cfg) is MetadataCatalog.get("tiny")
    # As after a training, on a machine without the data.
    (tmp_path / "config.yaml").write_text(
        cfg.dump()
        .replace("name: tiny", "name: gone")
        .replace("- tiny", "- gone")
        .replace(str(tiny_run), str(tmp_path))
    )
    gone = model_metadata(load_config(tmp_path / "config.yaml"))
    assert gone.thing_classes == ["square", "cost in $"]
    nameless = load_config(
        tiny_run / "config.yaml",
        ["DATASETS.REGISTER", "[]", "DATASETS.TRAIN", "()", "DATASETS.TEST", "()"],
    )
    assert model_metadata(nameless).get("thing_classes") is None


def test_panoptic_models_have_names_with_the_data_and_without():
    with_data = ["DATASETS.TEST", "('toytown_panoptic_val',)"]
    without = ["DATASETS.THING_CLASSES", "['fig']", "DATASETS.STUFF_CLASSES", "['sky', 'fig']"]
    without += ["MODEL.SEM_SEG_HEAD.THING_CLASSES", "[1]"]
    base = get_default_config()
    known, unknown = base.clone(), base.clone()
    known.merge_from_list(with_data)
    unknown.merge_from_list(without)
    metadata = model_metadata(known)
    assert len(metadata.panoptic_classes) == len(metadata.stuff_classes) == 19
    assert metadata.thing_classes == metadata.panoptic_classes[11:]
    assert category_ids(metadata, 2) == [24, 25]
    metadata = model_metadata(unknown)
    assert metadata.panoptic_classes == metadata.stuff_classes == ["sky", "fig"]
    assert metadata.thing_classes == ["fig"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_unreadable_images_cost_themselves_only(predictor, images, tmp_path, batch_size):
    sinks = csv_sink(predictor, tmp_path / "out")
    summary = predict_files(predictor, find_sources([str(images)]), sinks, batch_size=batch_size)
    assert summary.predicted == 1
    assert len(summary.unreadable) == 2
    assert "a.png" in summary.unreadable[0] and "c.png" in summary.unreadable[1]
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        assert {row["file_name"] for row in csv.DictReader(file)} == {"b.png"}


def test_nothing_readable_is_a_mistake_and_leaves_nothing(predictor, images, tmp_path):
    (images / "b.png").unlink()
    sinks = csv_sink(predictor, tmp_path / "out")
    with pytest.raises(UserError, match=r"a\.png .*1 more images"):
        predict_files(predictor, find_sources([str(images)]), sinks)
    assert list((tmp_path / "out").iterdir()) == []


def test_earlier_results_are_not_overwritten(predictor, images, tmp_path):
    (tmp_path / "predictions.csv").write_text("mine")
    with pytest.raises(UserError, match=r"predictions\.csv would be overwritten"):
        predict_files(
            predictor, find_sources([str(images)]), csv_sink(predictor, tmp_path), batch_size=2
        )
    assert (tmp_path / "predictions.csv").read_text() == "mine"
    sinks = csv_sink(predictor, images / "b.png")
    with pytest.raises(UserError, match="is a file; name a folder"):
        predict_files(predictor, [Images([ImageFile(images / "b.png", "b.png")])], sinks)
