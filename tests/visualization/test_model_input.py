from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
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
