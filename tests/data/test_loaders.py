"""Data loaders: data that contradicts the config, and panoptic sets."""

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from segtron.config import load_config
from segtron.data import build_test_loader, build_train_loader
from segtron.data.loaders import load_dataset_dicts
from segtron.errors import UserError


def test_other_classes_than_the_configs_are_refused(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    content = {"images": [], "annotations": [], "categories": categories}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    entry = "{name: loaders_other, type: coco_instance, json: gt.json, images: .}"
    # As a training on other data wrote it: as many classes, in another order.
    (tmp_path / "config.yaml").write_text(
        f"DATASETS: {{REGISTER: [{entry}], TRAIN: [loaders_other], TEST: [loaders_other], "
        "THING_CLASSES: [cat, dog]}\nMODEL: {ROI_HEADS: {NUM_CLASSES: 2}}"
    )
    cfg = load_config(tmp_path / "config.yaml")
    said = r"loaders_other has 2 classes \(dog, cat\), but the config is for 2 .*cat, dog"
    with pytest.raises(UserError, match=said):
        build_train_loader(cfg)
    with pytest.raises(UserError, match=said):
        build_test_loader(cfg, "loaders_other")


def test_a_semantic_model_needs_semantic_labels(tiny_run: Path) -> None:
    semantic = ("MODEL.META_ARCHITECTURE", "SemanticSegmentor")
    cfg = load_config(tiny_run / "config.yaml", semantic)
    said = r"tiny: 2 of 2 images have no semantic labels, first of them .*a\.png, and a Sem"
    with pytest.raises(UserError, match=said):
        build_train_loader(cfg)


def panoptic_config(folder: Path, *opts: str) -> CfgNode:
    fields = "type: coco_panoptic, json: gt.json, panoptic: panoptic, images: images"
    (folder / "config.yaml").write_text(
        f"DATASETS: {{REGISTER: [{{name: loaders_panoptic, {fields}}}], "
        "TRAIN: [loaders_panoptic], TEST: [loaders_panoptic]}\n"
        "MODEL: {META_ARCHITECTURE: UnifiedPanopticFPN}\n"
        "INPUT: {MIN_SIZE_TRAIN: [0], MIN_SIZE_TEST: 0, RANDOM_FLIP: none}\n"
        "DATALOADER: {NUM_WORKERS: 0}\nSOLVER: {IMS_PER_BATCH: 2}\nSEED: 1"
    )
    return load_config(folder / "config.yaml", opts)


@pytest.mark.parametrize(
    "architecture",
    ["UnifiedPanopticFPN", "BottomUpPanoptic", "GeneralizedRCNN", "SemanticSegmentor"],
)
def test_every_model_learns_from_panoptic_sets(
    panoptic_folder: Path, panoptic_ids: np.ndarray, architecture: str
) -> None:
    cfg = panoptic_config(panoptic_folder, "MODEL.META_ARCHITECTURE", architecture)
    fed = {image["image_id"]: image for image in next(iter(build_train_loader(cfg)))}
    # b.jpg has no instance, and a Mask R-CNN learns from nothing else.
    assert sorted(fed) == ([12] if architecture == "GeneralizedRCNN" else [5, 12])
    assert fed[12]["instances"].gt_classes.tolist() == [0, 0]
    assert ((fed[12]["pan_seg"] > 0).numpy() == (panoptic_ids > 0)).all()
    if 5 in fed:
        assert (fed[5]["sem_seg"] == 255).all()
        assert len(fed[5]["instances"]) == 0
    tested = [image for (image,) in build_test_loader(cfg, "loaders_panoptic")]
    assert [image["image_id"] for image in tested] == [5, 12]


def test_missing_panoptic_files_are_named(panoptic_folder: Path) -> None:
    cfg = panoptic_config(panoptic_folder)
    (panoptic_folder / "panoptic" / "a.png").unlink()
    said = r"loaders_panoptic: label file .*panoptic/a\.png does not exist; restore"
    with pytest.raises(UserError, match=said):
        build_train_loader(cfg)
    (panoptic_folder / "panoptic" / "b.png").unlink()
    with pytest.raises(UserError, match=r"panoptic/b\.png does not exist, nor do 1 others"):
        build_test_loader(cfg, "loaders_panoptic")


def test_each_record_of_a_set_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    here, gone = str(tmp_path / "a.png"), str(tmp_path / "gone.png")
    record = {"file_name": here, "sem_seg_file_name": here, "pan_seg_file_name": here}
    records = [record, record | {"pan_seg_file_name": gone}]
    DatasetCatalog.register("loaders_made_by_code", lambda: records)
    try:
        with pytest.raises(UserError, match=r"loaders_made_by_code: label file .*/gone\.png does"):
            load_dataset_dicts(["loaders_made_by_code"], filter_empty=True)
    finally:
        DatasetCatalog.remove("loaders_made_by_code")


@pytest.mark.parametrize(
    ("architecture", "what"),
    [("UnifiedPanopticFPN", "semantic labels"), ("BottomUpPanoptic", "semantic labels")],
)
def test_panoptic_models_need_panoptic_sets(tiny_run: Path, architecture: str, what: str) -> None:
    cfg = load_config(tiny_run / "config.yaml", ("MODEL.META_ARCHITECTURE", architecture))
    said = rf"tiny: 2 of 2 images have no {what}, first of them .*a\.png, and a {architecture}"
    with pytest.raises(UserError, match=said):
        build_train_loader(cfg)


def test_a_bottom_up_model_needs_segments(
    small_toytown: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(small_toytown.parent))
    (tmp_path / "config.yaml").write_text(
        "DATASETS: {TRAIN: [toytown_sem_seg_train], TEST: [toytown_sem_seg_val]}\n"
        "MODEL: {META_ARCHITECTURE: BottomUpPanoptic}"
    )
    said = r"toytown_sem_seg_train: 4 of 4 images have no panoptic labels, .*BottomUpPanoptic"
    with pytest.raises(UserError, match=said):
        build_train_loader(load_config(tmp_path / "config.yaml"))


@pytest.mark.parametrize("filter_empty", [True, False])
def test_instance_and_panoptic_sets_together(
    small_toytown: Path, monkeypatch: pytest.MonkeyPatch, filter_empty: bool
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(small_toytown.parent))
    names = ["toytown_instance_seg_train", "toytown_panoptic_val"]
    for order in (names, names[::-1]):
        records = load_dataset_dicts(order, filter_empty=filter_empty)
        assert len(records) == 8
        assert sum("annotations" in record for record in records) == 4


def test_filtering_leaves_out_empty_images_wherever_their_set_stands(
    tiny_run: Path, panoptic_folder: Path
) -> None:
    content = json.loads((tiny_run / "annotations.json").read_text())
    # Of image 12 only the crowd, of image 11 nothing.
    content["annotations"] = content["annotations"][-1:]
    (tiny_run / "crowds.json").write_text(json.dumps(content))
    entry = f"{{name: loaders_crowds, type: coco_instance, json: {tiny_run / 'crowds.json'}, "
    (panoptic_folder / "crowds.yaml").write_text(
        f"DATASETS: {{REGISTER: [{entry} images: {tiny_run / 'images'}}}]}}"
    )
    load_config(panoptic_folder / "crowds.yaml")
    panoptic_config(panoptic_folder)
    both = ["loaders_panoptic", "loaders_crowds"]
    for names in (both, both[::-1]):
        kept = load_dataset_dicts(names, filter_empty=True)
        assert [record["image_id"] for record in kept] == [12]
        assert "segments_info" in kept[0]
        assert len(load_dataset_dicts(names, filter_empty=False)) == 4
    with pytest.raises(UserError, match="loaders_crowds: no image with an annotation is left"):
        load_dataset_dicts(["loaders_crowds"], filter_empty=True)
