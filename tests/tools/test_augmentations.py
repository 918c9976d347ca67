"""Trainings with each augmentation, from end to end, and pictures of what they are fed."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from detectron2.utils.registry import Registry

import segtron.data.augmentations
from segtron.config import load_config
from segtron.data.augmentations import build_augmentations, registry

from .conftest import assert_one_sentence

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "toytown"
SMALL = ["DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 2, "INPUT.MIN_SIZE_TRAIN", "(96,)"]
SMALL += ["INPUT.CROP.ENABLED", False, "SOLVER.MAX_ITER", 2, "TEST.EVAL_PERIOD", 0, "SEED", 1]
SMALL += ["DATASETS.TEST", "()", "LOG.PICTURES_PERIOD", 0, "TEST.EARLY_STOPPING.PATIENCE", 0]
SMALL += ["INPUT.MIN_SIZE_TRAIN_SAMPLING", "choice"]
SMALL += ["MODEL.DEVICE", "cpu", "TEST.BEST.ENABLED", False, "TEST.VALIDATION_LOSS", False]
JITTER = ["INPUT.SCALE_JITTER.ENABLED", True, "INPUT.SCALE_JITTER.SIZE", "[64, 128]"]
AUGMENTATIONS: dict[str, list[Any]] = {
    "scale jitter": [*JITTER, "DATALOADER.SAMPLER_TRAIN", "ClassBalancedTrainingSampler"],
    "colours": ["INPUT.COLOR_JITTER.HUE", 0.2, "INPUT.COLOR_JITTER.CONTRAST", 0.4],
    "rotation": ["INPUT.ROTATION.PROB", 1.0],
    "copy-paste": ["INPUT.COPY_PASTE.PROB", 1.0, *JITTER],
    "mosaic": ["INPUT.MOSAIC.PROB", 1.0, "INPUT.MOSAIC.SIZE", "[96, 128]"],
    "albumentations": [
        "INPUT.ALBUMENTATIONS",
        "[{'name': 'Affine', 'rotate': 20}, {'name': 'Blur', 'p': 1}]",
    ],
}
MODELS = ("mask_rcnn_lite0_FPN", "unet_lite0", "panoptic_fpn_lite0")


@pytest.fixture(autouse=True)
def on_small_data(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))


@pytest.mark.parametrize(("number", "name"), list(enumerate(AUGMENTATIONS)))
def test_a_training_with_each(tmp_path: Path, run_here: Any, number: int, name: str) -> None:
    if name == "albumentations":
        pytest.importorskip("albumentations")
    config = CONFIGS / f"{MODELS[number % len(MODELS)]}.yaml"
    keys = [*SMALL, *AUGMENTATIONS[name], "OUTPUT_DIR", tmp_path / "out"]
    code, stderr = run_here("train_net.py", "--config-file", config, *keys)
    assert code == 0, stderr
    lines = (tmp_path / "out" / "metrics.json").read_text().splitlines()
    assert json.loads(lines[-1])["total_loss"] > 0
    assert (tmp_path / "out" / "model_final.pth").exists()


@pytest.mark.parametrize("model", MODELS)
def test_pictures_of_what_is_mixed(tmp_path: Path, run_here: Any, model: str) -> None:
    mixed = ["INPUT.MOSAIC.PROB", 1.0, "INPUT.COPY_PASTE.PROB", 1.0]
    pictures = []
    for extra in ([], mixed, mixed):
        out = tmp_path / f"pictures {len(pictures)}"
        code, stderr = run_here(
            *("visualize_data.py", "--config-file", CONFIGS / f"{model}.yaml"),
            *("--output", out, "--number", 2, *SMALL, *extra),
        )
        assert code == 0, stderr
        pictures.append([path.read_bytes() for path in sorted(out.glob("*.png"))])
    assert len(pictures[0]) == 3
    assert pictures[1] == pictures[2] and not set(pictures[0]) & set(pictures[1])


def test_a_transform_that_is_none_is_a_sentence(tmp_path: Path, run_here: Any) -> None:
    pytest.importorskip("albumentations")
    keys = [*SMALL, "INPUT.ALBUMENTATIONS", "[{'name': 'Rotat'}]", "OUTPUT_DIR", tmp_path / "out"]
    code, stderr = run_here(
        "train_net.py", "--config-file", CONFIGS / "mask_rcnn_lite0_FPN.yaml", *keys
    )
    assert_one_sentence(
        code, stderr, ["INPUT.ALBUMENTATIONS[0]", "'Rotat'", "did you mean Rotate?"]
    )


@pytest.mark.usefixtures("no_parts_stay")
def test_the_example_of_an_augmentation_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_here: Any
) -> None:
    """As docs/augmentations.md has it."""
    page = (ROOT / "docs" / "augmentations.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "shear.py").write_text(code, encoding="utf-8")
    (asked,) = set(re.findall(r"INPUT\.AUGMENTATIONS \"(.*?)\"\n", page))
    fresh = Registry("AUGMENTATION")  # what the file registers goes with the test
    for module in (registry, segtron.data.augmentations):
        monkeypatch.setattr(module, "AUGMENTATIONS", fresh)
    keys = [*SMALL, "INPUT.AUGMENTATIONS", asked, "OUTPUT_DIR", tmp_path / "out"]
    config = ["--config-file", CONFIGS / "panoptic_fpn_lite0.yaml"]
    code, stderr = run_here("train_net.py", *config, *keys)
    assert_one_sentence(code, stderr, ["'RandomShear'", "--parts"])
    code, stderr = run_here("train_net.py", "--parts", tmp_path / "shear.py", *config, *keys)
    assert code == 0, stderr
    assert "RandomShear" in (tmp_path / "out" / "log.txt").read_text()


def test_the_configs_of_the_page_load(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "augmentations.md").read_text(encoding="utf-8")
    texts = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "a.yaml").write_text(text)
        cfg = load_config(tmp_path / "a.yaml")
        if not cfg.INPUT.ALBUMENTATIONS or importlib.util.find_spec("albumentations"):
            assert len(build_augmentations(cfg, True)) > 2
