"""The config that a conversion prints trains as it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from segtron.data.converters.coco_files import Written
from segtron.data.converters.summary import config_for, summarise

PARTS = {"annotations": 5, "train": 4, "val": 1}


def test_the_summary_counts(tmp_path: Path) -> None:
    written = Written(classes=["cat", "dog"], objects=Counter(dog=2, cat=1), parts=PARTS, dropped=3)
    text = summarise(written, tmp_path)
    for words in ("5 images, 3 objects", "dog: 2", "train: 4, val: 1 images", "dropped: 3"):
        assert words in text
    many = Written(objects=Counter({f"c{i}": 1 for i in range(30)}), parts={"annotations": 1})
    assert "1 image, 30 objects" in summarise(many, tmp_path)
    assert "and 10 more classes" in summarise(many, tmp_path)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("coco_instance", {}),
        ("coco_panoptic", {"panoptic": True, "labels": True}),
        ("semantic", {"labels": True}),
    ],
)
@pytest.mark.parametrize("parts", [PARTS, {"annotations": 5}])
def test_the_config_names_what_was_written(tmp_path: Path, kind, more, parts) -> None:
    written = Written(classes=["a: b", "ü"], objects=Counter(x=1), parts=parts, **more)
    config = yaml.safe_load(config_for(written, tmp_path / "my data"))
    entries = config["DATASETS"]["REGISTER"]
    assert [entry["type"] for entry in entries] == [kind] * len(entries)
    names = [entry["name"] for entry in entries]
    assert config["DATASETS"]["TRAIN"] + config["DATASETS"]["TEST"] == names
    assert names == (["my_data_train", "my_data_val"] if "val" in parts else ["my_data"])
    assert (Path(__file__).parents[3] / config["_BASE_"]).is_file()
    for entry in entries:
        assert Path(entry["images"]).is_relative_to(tmp_path / "my data")
    if kind == "semantic":
        assert entries[0]["classes"] == ["a: b", "ü"]
