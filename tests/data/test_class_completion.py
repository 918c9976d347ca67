"""Numbers and names of classes that a config takes from its data sets."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from segtron.config import load_config
from segtron.errors import UserError

from .test_register import ENTRY, PANOPTIC_ENTRY, load, load_panoptic_config


def test_a_count_that_contradicts_the_entry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"SEM_SEG_HEAD\.NUM_CLASSES is 3.*has 2 classes"):
        load(tmp_path, ENTRY, ("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"))


def test_sets_with_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"register_test has 2 .*, toytown_sem_seg_val has 19"):
        load(tmp_path, ENTRY, ("DATASETS.TEST", "['toytown_sem_seg_val']"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("MODEL.ROI_HEADS.NUM_CLASSES", "4", r"ROI_HEADS\.NUM_CLASSES is 4.* 2 classes \(dog, cat"),
        ("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "2", r"SEM_SEG_HEAD\.NUM_CLASSES is 2.* has 4 classes"),
    ],
)
def test_counts_that_contradict_panoptic_data_are_refused(
    panoptic_folder: Path, key: str, value: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        load_panoptic_config(panoptic_folder.parent, PANOPTIC_ENTRY, (key, value))


def test_panoptic_sets_with_other_things_are_refused(
    panoptic_folder: Path, panoptic_content: dict[str, Any]
) -> None:
    # The same names, but cats are stuff there.
    panoptic_content["categories"][1]["isthing"] = 0
    (panoptic_folder / "other.json").write_text(json.dumps(panoptic_content))
    other = PANOPTIC_ENTRY | {"name": "register_other", "json": "set/other.json"}
    names = [PANOPTIC_ENTRY["name"], other["name"]]
    tree = {"DATASETS": {"REGISTER": [PANOPTIC_ENTRY, other], "TRAIN": names, "TEST": []}}
    config = panoptic_folder.parent / "config.yaml"
    config.write_text(yaml.safe_dump(tree))
    said = r"register_panoptic has 2 \(dog, cat\), register_other has 1 \(dog\)"
    with pytest.raises(UserError, match=said):
        load_config(config)


def test_builtin_panoptic_sets_say_which_classes_are_things(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("DATASETS: {TRAIN: [cityscapes_fine_panoptic_train]}")
    cfg = load_config(tmp_path / "config.yaml", ("DATASETS.TEST", "['toytown_panoptic_val']"))
    assert len(cfg.DATASETS.THING_CLASSES) == cfg.MODEL.ROI_HEADS.NUM_CLASSES == 8
    assert len(cfg.DATASETS.STUFF_CLASSES) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 19
    assert list(cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES) == [11, 12, 13, 14, 15, 16, 17, 18]


def test_sets_without_one_numbering_say_nothing_of_things(tmp_path: Path) -> None:
    names = "[toytown_sem_seg_train]"
    (tmp_path / "config.yaml").write_text(f"DATASETS: {{TRAIN: {names}, TEST: {names}}}")
    assert load_config(tmp_path / "config.yaml").MODEL.SEM_SEG_HEAD.THING_CLASSES == []


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("MODEL.META_ARCHITECTURE", "PanopticFPN", "take UnifiedPanopticFPN"),
        ("MODEL.SEM_SEG_HEAD.THING_CLASSES", "[0, 1]", "the things of toytown_panoptic_val are"),
    ],
)
def test_what_contradicts_a_panoptic_set_is_refused(
    tmp_path: Path, key: str, value: str, words: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("DATASETS: {TEST: [toytown_panoptic_val]}\n")
    with pytest.raises(UserError, match=words):
        load_config(config, [key, value])
