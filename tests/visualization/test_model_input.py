from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import BitMasks, Boxes, Instances
from PIL import Image

from segtron.config import load_config
from segtron.errors import UserError
from segtron.visualization.model_input import draw_model_input, visualize_data


@pytest.mark.parametrize(
    ("split", "source"), [("train", "model"), ("test", "model"), ("test", "annotation")]
)
def test_pictures_and_overview_are_written(tiny_run, tmp_path, split, source):
    cfg = load_config(tiny_run / "config.yaml")
    out = tmp_path / "pictures"
    written = visualize_data(cfg, out, split=split, source=source, number=9)
    assert [path.name for path in written] == ["overview.png", "001_a.png", "002_b.png"]
    assert sorted(out.iterdir()) == sorted(written)
    with Image.open(written[1]) as image:
        # 64 x 96 is enlarged to 512 on the short side.
        assert image.size == (768, 512)
    with pytest.raises(UserError, match="would be overwritten"):
        visualize_data(cfg, out, split=split, source=source, number=9)


def test_pictures_are_the_same_at_each_call(tiny_run, tmp_path):
    cfg = load_config(tiny_run / "config.yaml", ["INPUT.COLOR_AUG_SSD", "True"])
    pictures = []
    for name in ("one", "two"):
        _, path, _ = visualize_data(cfg, tmp_path / name, split="train", source="model", number=9)
        pictures.append(np.asarray(Image.open(path)))
    np.testing.assert_array_equal(*pictures)


def test_the_number_is_a_limit(tiny_run, tmp_path):
    cfg = load_config(tiny_run / "config.yaml")
    written = visualize_data(cfg, tmp_path / "a", split="train", source="model", number=1)
    assert [path.name for path in written] == ["overview.png", "001_a.png"]


def test_colours_are_those_of_the_input_format():
    image = torch.zeros(3, 600, 600, dtype=torch.uint8)
    image[0] = 255
    metadata = Metadata(name="test")
    assert draw_model_input({"image": image}, metadata, "BGR")[5, 5].tolist() == [0, 0, 255]
    assert draw_model_input({"image": image}, metadata, "RGB")[5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("split", "source"), [("train", "model"), ("test", "model"), ("test", "annotation")]
)
def test_classes_are_drawn_beside_the_image(semantic_run, tmp_path, split, source):
    cfg = load_config(semantic_run / "config.yaml", ["INPUT.RANDOM_FLIP", "none"])
    out = tmp_path / "pictures"
    written = visualize_data(cfg, out, split=split, source=source, number=1)
    assert [path.name for path in written] == ["overview.png", "001_a.png"]
    sheet = np.asarray(Image.open(written[1])).astype(int)
    # Two panels of 768 x 512.
    assert 1536 < sheet.shape[1] < 1600 and 512 < sheet.shape[0] < 600
    left, right = (sheet[-400, x] for x in (-600, -200))
    assert sheet[-400, 200].tolist() == [100, 100, 100]
    assert left[1] > left[0] == left[2] and right[2] > right[0] == right[1]


def test_classes_and_instances_are_drawn_together():
    instances = Instances((600, 600))
    instances.gt_boxes = Boxes(torch.tensor([[100.0, 100, 300, 300]]))
    instances.gt_classes = torch.tensor([0])
    masks = torch.zeros(1, 600, 600, dtype=torch.bool)
    masks[:, 100:300, 100:300] = True
    instances.gt_masks = BitMasks(masks)
    record = {
        "image": torch.zeros(3, 600, 600, dtype=torch.uint8),
        "sem_seg": torch.zeros(600, 600, dtype=torch.int64),
        "instances": instances,
    }
    metadata = Metadata(
        name="test", stuff_colors=[(0, 0, 200)], thing_colors=[(200, 0, 0)], thing_classes=["fig"]
    )
    sheet = draw_model_input(record, metadata, "BGR").astype(int)
    height, width = sheet.shape[:2]
    overlay = sheet[height - 8 - 600 :, width - 8 - 600 :]
    red, _, blue = overlay[500, 500]
    assert blue > 90 and red == 0
    red, _, blue = overlay[250, 250]
    assert (red, blue) != (0, overlay[500, 500][2])


@pytest.mark.parametrize(
    ("split", "source"), [("train", "model"), ("test", "model"), ("test", "annotation")]
)
def test_segments_are_drawn_beside_the_image(panoptic_run, tmp_path, split, source):
    cfg = load_config(panoptic_run / "config.yaml", ["INPUT.RANDOM_FLIP", "none"])
    _, written = visualize_data(cfg, tmp_path / "out", split=split, source=source, number=1)
    sheet = np.asarray(Image.open(written)).astype(int)
    overlay = sheet[-8 - 512 : -8, -8 - 768 : -8]
    red, green, blue = overlay[500, 400]  # road
    assert green > red == blue
    red, green, blue = overlay[180, 300]  # the second car
    assert blue > 1.3 * red and blue > 1.3 * green
    hatched = overlay[4:60, 400:760]
    assert len(np.unique(hatched)) > 2 and (hatched.max(axis=2) == hatched.min(axis=2)).all()


def test_crowds_are_hatched_as_they_are_stored(panoptic_run, tmp_path):
    cfg = load_config(panoptic_run / "config.yaml")
    _, written = visualize_data(cfg, tmp_path / "out", split="test", source="annotation", number=1)
    overlay = np.asarray(Image.open(written)).astype(int)[-8 - 512 : -8, -8 - 768 : -8]
    crowd = overlay[330:440, 40:150]
    assert len(np.unique(crowd)) > 2 and (crowd.max(axis=2) == crowd.min(axis=2)).all()
