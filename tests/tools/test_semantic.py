"""Semantic segmentation from end to end: toytown and a folder of one's own, trained and shown."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from segtron.data.cityscapes import SEM_SEG_LABELS
from segtron.engine import run_job

from .conftest import assert_one_sentence

CONFIGS = Path(__file__).parents[2] / "configs"
# Small frames and few channels: what is tested is the way, not how well the model learns.
FAST = str.split(
    "MODEL.DEVICE cpu MODEL.UNET_ENCODER.CHANNELS [4,8] MODEL.SEM_SEG_HEAD.CONVS_DIM 4 "
    "MODEL.SEM_SEG_HEAD.IN_FEATURES ['enc1','enc2'] DATALOADER.NUM_WORKERS 0 "
    "INPUT.MIN_SIZE_TRAIN (64,128) INPUT.CROP.SIZE [64,96] INPUT.MIN_SIZE_TEST 96 "
    "SOLVER.MAX_ITER 3 SOLVER.IMS_PER_BATCH 2 SOLVER.STEPS ()"
)


def last_metrics(output_dir: Path) -> dict[str, Any]:
    return json.loads((output_dir / "metrics.json").read_text().splitlines()[-1])


@pytest.fixture(scope="session")
def trained(datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUTPUT_DIR of a short training of a small U-Net on toytown."""
    output_dir = tmp_path_factory.mktemp("semantic") / "out"
    keys = ["MODEL.SEM_SEG_HEAD.LOSS.DICE_WEIGHT", "0.5"]
    keys += ["MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA", "inverse_log"]
    keys += ["OUTPUT_DIR", str(output_dir)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(datasets))
        config = CONFIGS / "toytown" / "unet.yaml"
        run_job(str(config), [*FAST, *keys], resume=False, eval_only=False)
    return output_dir


@pytest.fixture
def toytown(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))


def test_a_training_leaves_its_results(trained: Path) -> None:
    first, *_, last = map(json.loads, (trained / "metrics.json").read_text().splitlines())
    assert first["loss_sem_seg"] > 0 and first["loss_sem_seg_dice"] > 0
    for name in ("sem_seg/mIoU", "sem_seg/pACC", "cityscapes_sem_seg/IoU"):
        assert 0 <= last[name] <= 100
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["DATASETS"]["STUFF_CLASSES"][0] == "road"
    assert len(config["MODEL"]["SEM_SEG_HEAD"]["LOSS"]["CLASS_WEIGHTS"]) == 19

    predictions = trained / "inference" / "toytown_sem_seg_val"
    assert len(list((predictions / "labels").iterdir())) == 4
    with (predictions / "confusion_matrix.csv").open(newline="") as file:
        (_, *names), *rows = csv.reader(file)
    assert names == [label.name for label in SEM_SEG_LABELS] == [row[0] for row in rows]
    for picture in (predictions / "confusion_matrix.png", trained / "miou.png"):
        assert Image.open(picture).width > 200


def test_results_are_shown_beside_the_ground_truth(
    toytown: None, trained: Path, run_here: Any, report_content: Any
) -> None:
    code, stderr = run_here("visualize_results.py", trained, "--number", 2)
    assert code == 0, stderr
    (gallery,) = report_content(trained)["galleries"]
    assert (gallery["data_set"], gallery["total"]) == ("toytown_sem_seg_val", 4)
    qualities = [image["numbers"]["mean IoU"] for image in gallery["images"]]
    assert len(qualities) == 2 and qualities == sorted(qualities)


def test_scoring_again_in_windows_and_scales(
    toytown: None, trained: Path, tmp_path: Path, run_here: Any
) -> None:
    score = ["train_net.py", "--config-file", trained / "config.yaml", "--eval-only"]
    weights = ["MODEL.WEIGHTS", trained / "model_final.pth"]
    results = {}
    for name, keys in {
        "plain": [],
        "windows": ["TEST.SLIDING_WINDOW.ENABLED", "True", "TEST.SLIDING_WINDOW.SIZE", "[96,96]"]
        + ["TEST.SLIDING_WINDOW.STRIDE", "[96,48]"],
        "scales": ["TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "[64,96]"],
    }.items():
        code, stderr = run_here(*score, *weights, *keys, "OUTPUT_DIR", tmp_path / name)
        assert code == 0, stderr
        results[name] = last_metrics(tmp_path / name)
    assert results["plain"]["sem_seg/mIoU"] == pytest.approx(
        last_metrics(trained)["sem_seg/mIoU"], abs=1e-9
    )
    # What windows and scales do to the scores depends on the model; to its output, it is tested
    # with the predictor.
    for name in ("windows", "scales"):
        assert 0 <= results[name]["sem_seg/mIoU"] <= 100


def test_a_model_with_other_classes_starts_the_last_layer_anew(
    toytown: None, trained: Path, tmp_path: Path, run_here: Any
) -> None:
    keys = [*FAST, "MODEL.WEIGHTS", trained / "model_final.pth"]
    config = own_data(tmp_path)
    code, stderr = run_here("train_net.py", "--config-file", config, *keys)
    assert code == 0, stderr
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "sem_seg_head.predictor.weight is (19, 4, 1, 1) in the weights and (2, 4, 1, 1)" in log

    code, stderr = run_here("train_net.py", "--config-file", config, "--eval-only", *keys)
    assert code == 2
    assert "they are for 19 semantic classes, the config is for 2" in stderr


def own_data(folder: Path, **changes: Any) -> Path:
    """A config for photographs of two classes, whose label files are colour pictures.

    `changes` are those of the entries; with `label_format` "ids" the label files hold ids.
    """
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        for i in range(2):
            labels = np.zeros((60, 90), np.uint8)
            labels[:, 30 + 10 * i :] = 1
            image = rng.integers(0, 60, (60, 90, 3), np.uint8) + 120 * labels[:, :, None]
            Image.fromarray(image.astype(np.uint8)).save(folder / split / "images" / f"{i}.png")
            if changes.get("label_format") != "ids":
                labels = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)[labels]
            Image.fromarray(labels).save(folder / split / "labels" / f"{i}.png")
    entries = [
        {
            "name": f"semantic_{folder.name}_{split}",
            "type": "semantic",
            "images": f"{split}/images",
            "labels": f"{split}/labels",
            "classes": ["left", "right"],
            "palette": [[10, 20, 30], [200, 100, 50]],
            "label_format": "colors",
        }
        | changes
        for split in ("train", "val")
    ]
    tree = {
        "_BASE_": str(CONFIGS / "toytown" / "unet.yaml"),
        "DATASETS": {
            "REGISTER": entries,
            "TRAIN": [entries[0]["name"]],
            "TEST": [entries[1]["name"]],
        },
        "OUTPUT_DIR": str(folder / "out"),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    return folder / "config.yaml"


def test_own_data_from_a_config_to_pictures(tmp_path: Path, run_here: Any) -> None:
    config = own_data(tmp_path)
    keys = [*FAST, "SOLVER.MAX_ITER", 40, "SOLVER.BASE_LR", "0.02"]
    keys += ["INPUT.CROP.SINGLE_CATEGORY_MAX_AREA", "1.0"]
    code, stderr = run_here("train_net.py", "--config-file", config, *keys)
    assert code == 0, stderr
    scores = last_metrics(tmp_path / "out")
    assert scores["sem_seg/mIoU"] > 80
    assert "cityscapes_sem_seg/IoU" not in scores

    code, stderr = run_here(
        "visualize_data.py",
        *("--config-file", config, "--source", "annotation", "--output", tmp_path / "data"),
    )
    assert code == 0, stderr
    assert (tmp_path / "data" / "overview.png").stat().st_size > 0

    output = tmp_path / "predicted"
    arguments = ["--config-file", tmp_path / "out" / "config.yaml", "--output", output]
    arguments += ["--input", tmp_path / "val" / "images", "--save", "overlay,labels"]
    code, stderr = run_here("predict.py", *arguments)
    assert code == 0, stderr
    assert Image.open(output / "0.png").width >= 90
    labels = np.asarray(Image.open(output / "labels" / "0.png"))
    assert labels.shape == (60, 90)
    assert set(np.unique(labels)) <= {0, 1}
    assert (labels[:, 60:] == 1).mean() > 0.8


@pytest.mark.parametrize(
    ("damage", "changes", "words"),
    [
        ("value", {"label_format": "ids"}, ["train/labels/1.png has the value 7", "(0 to 1)"]),
        ("mode", {"label_format": "ids"}, ["labels/1.png", "Pillow mode RGB", "colors"]),
        ("colour", {}, ["labels/1.png", "colour [1, 2, 3]"]),
        ("missing", {}, ["1 of 2 images have no label file", "images/1.png"]),
        ("size", {}, ["labels/1.png is 45 x 30", "images/1.png is 90 x 60"]),
        ("palette", {"label_format": "ids"}, ["labels/1.png is a palette PNG"]),
        ("truncated", {}, ["label file", "labels/1.png cannot be read"]),
        ("binary", {"label_format": "ids"}, ["train/labels seem to be masks of 0 and 255"]),
    ],
)
def test_a_broken_label_file_is_named(
    tmp_path: Path, run_here: Any, damage: str, changes: dict[str, Any], words: list[str]
) -> None:
    config = own_data(tmp_path, **changes)
    for split in ("train", "val"):
        # The second, as what comes first may be looked at sooner than in the training.
        path = tmp_path / split / "labels" / "1.png"
        image = Image.open(path)
        if damage == "value":
            image.putpixel((0, 0), 7)
            image.save(path)
        elif damage == "mode":
            image.convert("RGB").save(path)
        elif damage == "binary":
            for file in path.parent.iterdir():
                Image.open(file).point(lambda value: 255 * value).save(file)
        elif damage == "colour":
            image.putpixel((0, 0), (1, 2, 3))
            image.save(path)
        elif damage == "missing":
            path.unlink()
        elif damage == "size":
            image.resize((45, 30), Image.Resampling.NEAREST).save(path)
        elif damage == "palette":
            image.convert("P").save(path)
        elif damage == "truncated":
            path.write_bytes(path.read_bytes()[:-30])
    code, stderr = run_here("train_net.py", "--config-file", config, *FAST)
    assert_one_sentence(code, stderr, words)


def test_a_diverged_training_ends_in_a_sentence(tmp_path: Path, run_here: Any) -> None:
    keys = [*FAST, "SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_ITERS", "0"]
    code, stderr = run_here("train_net.py", "--config-file", own_data(tmp_path), *keys)
    assert code == 2, stderr
    assert re.search(r"loss_sem_seg became (NaN|infinite) on .*0.png.*, at iteration \d", stderr)
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "The training ends: loss_sem_seg became" in log
    assert "Traceback" not in log
