"""tools/predict.py --tile as a user runs it, and what its overlays show of large images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data import large_image
from segtron.data.large_image import LargeImage
from segtron.data.pixels import Window
from segtron.inference import tiled_overlay
from segtron.inference.tiled_overlay import draw_large, is_large
from segtron.inference.window_masks import WindowMasks

from .conftest import assert_one_sentence

TOOL = Path(__file__).parents[2] / "tools" / "predict.py"


def run(tiny_run, inputs, out, *more):
    command = [sys.executable, TOOL, "--config-file", tiny_run / "config.yaml", "--input", inputs]
    command += ["--output", out, *more, "MODEL.DEVICE", "cpu"]
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)


def test_tiles_of_a_mosaic_and_a_small_image(tiny_run, tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    small = cv2.imread(str(tiny_run / "images" / "a.png"))
    cv2.imwrite(str(images / "small.png"), small)
    cv2.imwrite(str(images / "large.png"), np.tile(small, (5, 3, 1)))
    (images / "none.png").write_bytes(b"no image")
    done = run(
        *(tiny_run, images, tmp_path / "out", "--save", "overlay,coco,csv"),
        *("--tile", "128", "--overlap", "32", "--batch-size", "3"),
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 3 images predicted" in done.stdout and "none.png" in done.stderr
    plain = run(tiny_run, images / "small.png", tmp_path / "plain", "--save", "coco")
    assert plain.returncode == 0, plain.stderr
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    of_small = [entry for entry in found if entry["file_name"] == "small.png"]
    expected = json.loads((tmp_path / "plain" / "predictions.json").read_text())
    for entry in of_small + expected:
        del entry["image_id"]
    assert of_small == expected
    of_large = [entry for entry in found if entry["file_name"] == "large.png"]
    assert of_large and all(entry["segmentation"]["size"] == [320, 288] for entry in of_large)
    assert all(mask_util.decode(entry["segmentation"]).any() for entry in of_large)
    with Image.open(tmp_path / "out" / "large.png") as overlay:
        assert min(overlay.size) >= 288


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--tile", "100"), "--tile 100 is no size for tiles"),
        (("--overlap", "300"), "--overlap 300 is of tiles, so it needs --tile, too"),
        (("--tile-scale", "2"), "--tile-scale 2.0 is of tiles, so it needs --tile, too"),
        (("--tile", "--overlap", "600"), "--overlap 600 doesn't go with tiles of 1024 pixels"),
    ],
)
def test_a_mistake_is_one_sentence(tiny_run, tmp_path, options, sentence):
    done = run(tiny_run, tiny_run / "images", tmp_path / "out", *options)
    assert_one_sentence(done.returncode, done.stderr, [sentence])


def test_what_is_taken_for_a_size(tiny_run, tmp_path):
    done = run(tiny_run, tiny_run / "images", tmp_path / "out", "--tile", "MODEL.DEVICE", "cpu")
    assert done.returncode == 2
    assert "MODEL.DEVICE is no number of pixels; before what is not meant for --tile" in done.stderr


@pytest.fixture
def small_previews(monkeypatch):
    monkeypatch.setattr(large_image, "PREVIEW_SIDE", 600)
    monkeypatch.setattr(tiled_overlay, "PREVIEW_SIDE", 600)


METADATA = Metadata(name="test", thing_classes=["fig"], stuff_classes=["sky", "fig"])
METADATA.set(thing_colors=[(255, 0, 0)], stuff_colors=[(0, 0, 255), (255, 0, 0)])


def large_output():
    """One object, near the middle, in an image of 1200 x 2400; another class below row 600."""
    instances = Instances((1200, 2400))
    instances.pred_boxes = Boxes(torch.tensor([[1000.0, 200, 1400, 400], [0, 0, 8, 8]]))
    instances.scores, instances.pred_classes = torch.tensor([0.9, 0.4]), torch.tensor([0, 0])
    windows = (Window(1000, 200, 1400, 400), Window(0, 0, 8, 8))
    instances.pred_masks = WindowMasks((1200, 2400), ((w, np.ones(w.shape, bool)) for w in windows))
    classes = torch.zeros(1200, 2400, dtype=torch.uint8)
    classes[600:] = 1
    return {"instances": instances, "sem_seg_classes": classes}


@pytest.mark.parametrize("kind", ["instances", "sem_seg_classes", "panoptic_seg"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_overlays_are_scaled_down(small_previews, kind, on_disk):
    image = np.full((1200, 2400, 3), 128, np.uint8)
    output = large_output()
    if kind == "panoptic_seg":
        ids = output["sem_seg_classes"].numpy().astype(np.uint16)
        ids[200:400, 1000:1400] = 2
        things = {"id": 2, "category_id": 0, "isthing": True, "score": 0.9}
        stuff = {"id": 1, "category_id": 1, "isthing": False}
        output["panoptic_seg"] = torch.from_numpy(ids), [stuff, things]
    else:
        output = {kind: output[kind]}
    assert is_large(image, output)
    if on_disk:
        image = LargeImage(image.shape[:2], [image[:500], image[500:]])
    picture = draw_large(image, output, METADATA, 0.5)
    # The preview of 300 x 600, enlarged as small images are.
    assert picture.shape == (512, 1024, 3)
    # A colour on grey: far from the object there is that of the class, or none.
    on_object, below = picture[128, 512].astype(int), picture[450, 512].astype(int)
    if kind == "instances":
        assert np.ptp(on_object) > 40 and np.ptp(below) < 5
    elif kind == "sem_seg_classes":
        assert np.ptp(below) > 40
    else:
        assert np.ptp(on_object) > 40 and np.ptp(below) > 40


def test_small_outputs_and_those_without_tiles_are_drawn_as_ever(small_previews):
    output = large_output()
    assert not is_large(np.zeros((600, 600, 3), np.uint8), output)
    dense = Instances((1200, 2400), pred_masks=torch.zeros(0, 1200, 2400))
    assert not is_large(np.zeros((1200, 2400, 3), np.uint8), {"instances": dense})
