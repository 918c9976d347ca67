"""Semantic label files, of folders and of configs; and the sets that a config names."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from segtron.data.checks.check import check
from segtron.data.checks.sources import sets_of_config, sets_of_paths
from segtron.errors import UserError

from .conftest import HEIGHT, WIDTH, codes, entries, good_content, picture


@pytest.fixture
def label_set(tmp_path):
    """images/, labels/ and config.yaml with classes of the values 3 and 7."""
    labels = np.full((HEIGHT, WIDTH), 3, np.uint8)
    labels[:, 30:] = 7
    labels[:4] = 255
    for folder in ("images", "labels"):
        (tmp_path / folder / "street").mkdir(parents=True)
    for seed, name in enumerate(("a", "street/b")):
        picture(seed).save(tmp_path / "images" / f"{name}.jpg")
        Image.fromarray(labels).save(tmp_path / "labels" / f"{name}.png")
    return tmp_path


def run_config(folder, entry=None, **datasets):
    given = {"name": "check_labels", "type": "semantic", "images": "images", "labels": "labels"}
    given |= {"classes": {3: "grass", 7: "sky"}} | (entry or {})
    config = {"DATASETS": {"REGISTER": [given], "TRAIN": ["check_labels"], "TEST": []} | datasets}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return check(sets_of_config(folder / "config.yaml"))


def test_nothing_is_wrong(label_set):
    found = run_config(label_set)
    assert codes(found) == {}
    assert found.sets[0].classes.objects == [2 * 36 * 30] * 2
    objects = found.sets[0].objects
    assert objects.areas.tolist() == [36 * 30] * 4
    assert all(objects.masks.read(row).sum() == 36 * 30 for row in range(4))


def rewrite(folder, change):
    path = folder / "labels" / "a.png"
    labels = np.array(Image.open(path))
    Image.fromarray(change(labels)).save(path)


def with_value(labels):
    labels[20, 20:23] = 9
    return labels


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (with_value, {"label-value": 1}),
        (lambda labels: labels[:-1], {"label-size": 1}),
        (lambda labels: np.full_like(labels, 255), {"label-ignored": 1}),
        (lambda labels: np.stack([labels] * 3, axis=2), {"label-unreadable": 1}),
    ],
)
def test_each_mistake(label_set, change, expected):
    rewrite(label_set, change)
    found = run_config(label_set)
    assert codes(found) == expected
    assert entries(found, next(iter(expected))) == ["a.jpg"]


def test_files_that_are_missing_or_shared(label_set):
    (label_set / "labels" / "a.png").unlink()
    picture(4).save(label_set / "images" / "street" / "b.png")
    found = run_config(label_set)
    assert found.problems.counts["label-missing"] == 1
    assert entries(found, "label-shared") == ["street/b.png"]


def test_masks_of_0_and_255(label_set):
    rewrite(label_set, lambda labels: np.where(labels == 7, 255, 0).astype(np.uint8))
    (label_set / "images" / "street" / "b.jpg").unlink()
    classes = {"classes": {0: "no", 1: "yes"}}
    assert codes(run_config(label_set, classes)) == {"label-binary": 1}
    assert codes(run_config(label_set, classes | {"ignore": 255})) == {"class-unused": 1}


def test_a_set_to_learn_from_and_to_test_on(label_set):
    found = run_config(label_set, TEST=["check_labels"])
    assert codes(found) == {"set-in-two-roles": 1}


def test_configs_that_are_wrong(label_set):
    with pytest.raises(UserError, match=r"folder .*nowhere does not exist"):
        run_config(label_set, {"labels": "nowhere"})
    with pytest.raises(UserError, match="no data set is called 'never_registered'"):
        run_config(label_set, TRAIN=["never_registered"])
    with pytest.raises(UserError, match="name no set"):
        run_config(label_set, TRAIN=[])
    with pytest.raises(UserError, match=r"DATASETS\.TRAIN is 5; it must be a list"):
        run_config(label_set, TRAIN=5)
    with pytest.raises(UserError, match="unknown field 'label'"):
        run_config(label_set, {"label": "labels"})
    with pytest.raises(UserError, match="does not exist"):
        sets_of_config(label_set / "gone.yaml")


def test_a_config_whose_data_is_broken_is_checked_all_the_same(folder):
    """Loading it would end at the first mistake."""
    content = good_content()
    content["annotations"][0]["bbox"] = "wide"
    del content["images"][1]["file_name"]
    (folder / "annotations.json").write_text(json.dumps(content))
    content = good_content()
    content["categories"][0]["name"] = "ox"
    (folder / "val.json").write_text(json.dumps(content))
    register = [
        {"name": f"check_{n}", "type": "coco_instance", "json": f"{n}.json", "images": "images"}
        for n in ("annotations", "val")
    ]
    datasets = {"REGISTER": register, "TRAIN": ["check_annotations"], "TEST": ["check_val"]}
    (folder / "base.yaml").write_text(yaml.safe_dump({"DATASETS": datasets}))
    (folder / "sub").mkdir()
    (folder / "sub" / "config.yaml").write_text("_BASE_: ../base.yaml\n")
    found = check(sets_of_config(folder / "sub" / "config.yaml"))
    assert codes(found) == {
        "box-value": 1, "field-missing": 1, "class-differs": 1, "file-in-two-sets": 1,
    }  # fmt: skip


def test_a_built_in_set(small_toytown, monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(small_toytown.parent))
    names = [f"toytown_{task}" for task in ("instance_seg", "panoptic", "sem_seg")]
    config = {
        "DATASETS": {
            "TRAIN": [f"{name}_train" for name in names],
            "TEST": [f"{name}_val" for name in names],
        }
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    found = check(sets_of_config(tmp_path / "config.yaml"))
    assert [one.kind for one in found.sets[:3]] == ["instances", "panoptic", "labels"]
    assert {len(one.listed) for one in found.sets} == {4}
    assert not {"label-unreadable", "png-unreadable", "reader-refuses"} & set(codes(found))
    assert not {"image-missing", "image-unreadable", "image-size"} & set(codes(found))


def test_a_converted_folder(folder):
    """As datasets/convert.py writes it: parts, label and panoptic PNGs."""
    content = good_content()
    (folder / "labels" / "sub dir").mkdir(parents=True)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 20:], labels[0] = 1, 255
    for name in ("a", "sub dir/ä"):
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
    for part, image in (("train", 7), ("val", 8)):
        of_part = {
            "images": [i for i in content["images"] if i["id"] == image],
            "annotations": [a for a in content["annotations"] if a["image_id"] == image],
            "categories": content["categories"],
        }
        (folder / f"{part}.json").write_text(json.dumps(of_part))
    (folder / "annotations.json").write_text(json.dumps(content))
    found = check(sets_of_paths([folder]))
    assert [one.kind for one in found.sets] == ["instances", "instances", "labels"]
    # The only dog is in the images to learn from.
    assert codes(found) == {"class-unused": 1}
    assert "val.json" in found.problems.kept["class-unused"][0].file
    rewrite(folder, lambda labels: np.where(labels == 1, 255, labels).astype(np.uint8))
    (folder / "labels" / "sub dir" / "ä.png").unlink()
    found = check(sets_of_paths([folder]))
    assert codes(found) == {"class-unused": 2, "label-missing": 1}
