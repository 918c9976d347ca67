"""DATASETS.REGISTER: `semantic` and `coco_panoptic` entries, and what a config takes from them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from segtron.config import load_config
from segtron.data import register
from segtron.data.classes import class_metadata
from segtron.data.panoptic import read_pan_seg
from segtron.data.sem_seg import read_sem_seg
from segtron.errors import UserError

ENTRY = {
    "name": "register_test",
    "type": "semantic",
    "images": "images",
    "labels": "labels",
    "classes": ["sky", "ground"],
}


def load(folder: Path, entry: dict[str, Any], opts: tuple[str, ...] = ()) -> Any:
    for name in ("images", "labels"):
        (folder / name).mkdir(exist_ok=True)
    tree = {"DATASETS": {"REGISTER": [entry], "TRAIN": ["register_test"], "TEST": []}}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    return load_config(folder / "config.yaml", opts)


def test_names_count_and_metadata_follow_from_the_entry(tmp_path: Path) -> None:
    palette = [[70, 130, 180], [81, 0, 81]]
    cfg = load(tmp_path, ENTRY | {"palette": palette})
    assert cfg.DATASETS.STUFF_CLASSES == ["sky", "ground"]
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 2
    metadata = MetadataCatalog.get("register_test")
    assert metadata.evaluator_type == "sem_seg"
    assert metadata.stuff_classes == ["sky", "ground"]
    assert metadata.stuff_colors == [(70, 130, 180), (81, 0, 81)]
    assert metadata.ignore_label == 255
    assert metadata.stuff_dataset_id_to_contiguous_id == {0: 0, 1: 1}


def test_a_mapping_names_the_values_of_label_files(tmp_path: Path) -> None:
    cfg = load(tmp_path, ENTRY | {"classes": {255: "cell", 0: "background"}})
    assert cfg.DATASETS.STUFF_CLASSES == ["background", "cell"]
    assert MetadataCatalog.get("register_test").stuff_dataset_id_to_contiguous_id == {0: 0, 255: 1}
    Image.fromarray(np.zeros((1, 2, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    Image.fromarray(np.array([[255, 0]], np.uint8)).save(tmp_path / "labels" / "a.png")
    (record,) = DatasetCatalog.get("register_test")
    assert read_sem_seg(record).tolist() == [[1, 0]]
    # A config that a training wrote can be read again.
    (tmp_path / "again.yaml").write_text(cfg.dump())
    assert load_config(tmp_path / "again.yaml").DATASETS.REGISTER == cfg.DATASETS.REGISTER


def test_colours_and_ignored_colours_reach_the_reader(tmp_path: Path) -> None:
    entry = {"palette": [[0, 0, 9], [0, 9, 0]], "ignore": [9, 9, 9], "label_format": "colors"}
    load(tmp_path, ENTRY | entry)
    Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    pixels = np.array([[[0, 9, 0], [9, 9, 9], [0, 0, 9]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "labels" / "a.png")
    (record,) = DatasetCatalog.get("register_test")
    assert read_sem_seg(record).tolist() == [[1, 255, 0]]


def test_three_ignored_values_are_no_colour(tmp_path: Path) -> None:
    load(tmp_path, ENTRY | {"ignore": [253, 254, 255]})
    Image.fromarray(np.zeros((1, 5, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    pixels = np.array([[253, 0, 254, 1, 255]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "labels" / "a.png")
    (record,) = DatasetCatalog.get("register_test")
    assert read_sem_seg(record).tolist() == [[255, 0, 255, 1, 255]]


def test_a_palette_is_in_the_order_of_the_values(tmp_path: Path) -> None:
    palette = [[1, 1, 1], [2, 2, 2]]
    cfg = load(tmp_path, ENTRY | {"classes": {0: "background", 255: "cell"}, "palette": palette})
    assert cfg.DATASETS.STUFF_CLASSES == ["background", "cell"]
    assert MetadataCatalog.get("register_test").stuff_colors == [(1, 1, 1), (2, 2, 2)]
    # What yaml writes sorted has to be read as it was written.
    unsorted = "classes: {255: cell, 0: background}, palette: [[1, 1, 1], [2, 2, 2]]"
    (tmp_path / "config.yaml").write_text(
        "DATASETS: {REGISTER: [{name: register_test, type: semantic, images: images, "
        f"labels: labels, {unsorted}}}]}}"
    )
    with pytest.raises(UserError, match=r"order \[255, 0\]; with a 'palette', .* ascending"):
        load_config(tmp_path / "config.yaml")


def test_masks_of_0_and_255_are_refused_unless_255_has_a_meaning(tmp_path: Path) -> None:
    load(tmp_path, ENTRY)
    Image.fromarray(np.zeros((1, 2, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    Image.fromarray(np.array([[255, 0]], np.uint8)).save(tmp_path / "labels" / "a.png")
    with pytest.raises(UserError, match=r"labels seem to be masks of 0 and 255"):
        DatasetCatalog.get("register_test")
    for meaning in ({"ignore": 255}, {"classes": {0: "background", 255: "cell"}}):
        load(tmp_path, ENTRY | meaning)
        assert len(DatasetCatalog.get("register_test")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": "sky"}, "'classes' is 'sky'; it must be a list of names"),
        ({"classes": []}, r"'classes' is \[\]"),
        ({"classes": ["sky", 3]}, "'classes' holds 3, which is no name"),
        ({"classes": ["sky", "sky"]}, "'classes' names 'sky' twice"),
        ({"classes": {-1: "sky", 0: "ground"}}, "'classes' has a key that is no label value"),
        ({"classes": ["sky"]}, r"'classes' has the one name 'sky'.* \[background, sky\]"),
        ({"classes": [str(i) for i in range(256)]}, "256 names; at most 255"),
        ({"palette": [[0, 0, 0]]}, "'palette' has 1 colours and 'classes' 2 names"),
        ({"palette": [[0, 0], [1, 1]]}, "'palette' is .* list of colours"),
        ({"palette": [[1, 1, 1], [1, 1, 1]]}, "'palette' has the colour .* twice"),
        ({"ignore": "none"}, "'ignore' is 'none'"),
        ({"ignore": [0]}, "0 is a class and in 'ignore'"),
        ({"ignore": [[1, 2, 3]]}, r"'ignore' holds \[1, 2, 3\]; label files are no pictures"),
        ({"label_format": "rgb"}, "'label_format' is 'rgb'; it must be one of ids, indices"),
        ({"ignore": [9, 1, 8]}, "1 is a class and in 'ignore'"),
        (
            {"label_format": "colors", "palette": [[0, 0, 0], [1, 1, 1]], "ignore": [9, 8]},
            "'ignore' holds 9; label files are pictures here",
        ),
        (
            {
                "label_format": "colors",
                "palette": [[0, 0, 0], [1, 1, 1]],
                "classes": {0: "sky", 1: "ground"},
            },
            "make 'classes' a list of names",
        ),
        ({"name": ""}, r"DATASETS\.REGISTER\[0\] has no 'name'"),
        ({"label_format": "colors"}, "give each class one in 'palette'"),
        ({"label_suffix": 3}, "'label_suffix' is 3; it must be a text"),
        ({"lables": "x"}, "unknown field 'lables'; known: name, type, images, labels, classes"),
    ],
)
def test_mistakes_in_an_entry_are_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, ENTRY | change)


PANOPTIC_ENTRY = {
    "name": "register_panoptic",
    "type": "coco_panoptic",
    "json": "set/gt.json",
    "panoptic": "set/panoptic",
    "images": "set/images",
}


def load_panoptic_config(folder: Path, entry: dict[str, Any], opts: tuple[str, ...] = ()) -> Any:
    names = ["register_panoptic"]
    tree = {"DATASETS": {"REGISTER": [entry], "TRAIN": names, "TEST": names}}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    return load_config(folder / "config.yaml", opts)


def assert_classes_are_known(cfg: Any) -> None:
    assert cfg.DATASETS.THING_CLASSES == ["dog", "cat"]
    assert cfg.DATASETS.STUFF_CLASSES == ["dog", "tree", "sky", "cat"]
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == cfg.MODEL.RETINANET.NUM_CLASSES == 2
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 4
    assert cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES == [0, 3]


def test_classes_of_panoptic_data_follow_from_its_json(
    panoptic_folder: Path, panoptic_ids: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")  # paths are relative to the config
    root = panoptic_folder.parent
    cfg = load_panoptic_config(root, PANOPTIC_ENTRY)
    assert_classes_are_known(cfg)
    metadata = MetadataCatalog.get("register_panoptic")
    assert metadata.evaluator_type == "coco_panoptic_seg"
    assert (metadata.ignore_label, metadata.label_divisor) == (255, 1000)
    assert metadata.panoptic_json == str(root / "set" / "gt.json")
    assert metadata.panoptic_root == str(root / "set" / "panoptic")
    assert metadata.image_root == str(root / "set" / "images")
    assert metadata.thing_classes == metadata.stuff_classes == ["dog", "tree", "sky", "cat"]
    assert class_metadata("register_panoptic").thing_classes == ["dog", "cat"]
    _, record = DatasetCatalog.get("register_panoptic")
    np.testing.assert_array_equal(read_pan_seg(record), panoptic_ids)


def test_a_saved_config_keeps_the_classes_when_the_data_are_gone(
    panoptic_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = panoptic_folder.parent
    cfg = load_panoptic_config(root, PANOPTIC_ENTRY)
    (root / "again").mkdir()
    (root / "again" / "config.yaml").write_text(cfg.dump())
    # As in another process, which has never seen the data.
    monkeypatch.delitem(register._registered, "register_panoptic")
    DatasetCatalog.remove("register_panoptic")
    MetadataCatalog.remove("register_panoptic")
    shutil.rmtree(panoptic_folder)
    again = load_config(root / "again" / "config.yaml")
    assert_classes_are_known(again)
    assert again.DATASETS.REGISTER == cfg.DATASETS.REGISTER
    with pytest.raises(UserError, match=r"cannot read the annotations .*gt\.json"):
        DatasetCatalog.get("register_panoptic")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"panoptic": ...}, r"\(register_panoptic\) has no 'panoptic'"),
        ({"panoptic": 3}, "'panoptic' is 3; it must be a text"),
        ({"labels": "x"}, "unknown field 'labels'; known: name, type, json, panoptic, images"),
        ({"json": "set/gone.json"}, r"cannot read the annotations .*gone\.json"),
    ],
)
def test_mistakes_in_a_panoptic_entry_are_named(
    panoptic_folder: Path, change: dict[str, Any], message: str
) -> None:
    entry = {k: v for k, v in (PANOPTIC_ENTRY | change).items() if v is not ...}
    with pytest.raises(UserError, match=message):
        load_panoptic_config(panoptic_folder.parent, entry)
