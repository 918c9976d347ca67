"""Averaged weights of two processes: the same in both, and those of one at the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from detectron2.evaluation.testing import flatten_results_dict
from PIL import Image

from segtron.config import load_config
from segtron.engine.scoring import evaluate
from segtron.engine.trainer import Trainer
from segtron.engine.validation_loss import validation_results
from segtron.modeling.checkpoint import load_weights

from .ema_shard import train

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="the point is two processes on CPUs"
)

BATCH_NORM, GROUP_NORM = "BN", "GN"
# A batch has an image for each process; one process scores two images of three.
SIZES = {"train": 4, "val": 3}


def write_images(folder: Path, number: int, seed: int) -> None:
    """Photographs of noise around a brighter square, the second of two classes."""
    generator = np.random.default_rng(seed)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(number):
        labels = np.zeros((32, 40), np.uint8)
        top, left = generator.integers(0, 16, 2)
        labels[top : top + 14, left : left + 20] = 1
        # Each image has a brightness of its own: so have the statistics of each process.
        pixels = generator.integers(0, 60, (32, 40, 3)) + 60 * labels[..., None] + 30 * i
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{i}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{i}.png")


def write_config(folder: Path, name: str, norm: str) -> Path:
    """A U-Net of two levels, four iterations, nothing drawn at random but the order."""
    registered = [
        {
            "name": f"ema_{split}",
            "type": "semantic",
            "images": str(folder / split / "images"),
            "labels": str(folder / split / "labels"),
            "classes": ["ground", "square"],
        }
        for split in SIZES
    ]
    config = {
        "MODEL": {
            "META_ARCHITECTURE": "SemanticSegmentor",
            "DEVICE": "cpu",
            "WEIGHTS": "",
            "BACKBONE": {"NAME": "UNetEncoder"},
            "UNET_ENCODER": {"CHANNELS": [4, 8], "NORM": norm},
            "SEM_SEG_HEAD": {
                "NAME": "UNetHead",
                "IN_FEATURES": ["enc1", "enc2"],
                "COMMON_STRIDE": 1,
                "CONVS_DIM": 4,
                "NORM": norm,
            },
        },
        "DATASETS": {"REGISTER": registered, "TRAIN": ["ema_train"], "TEST": ["ema_val"]},
        "DATALOADER": {"NUM_WORKERS": 0, "ASPECT_RATIO_GROUPING": False},
        "INPUT": {"MIN_SIZE_TRAIN": [32], "MIN_SIZE_TEST": 32, "RANDOM_FLIP": "none"},
        "SOLVER": {
            "MAX_ITER": 6,
            "IMS_PER_BATCH": 2,
            "BASE_LR": 0.1,
            "WARMUP_ITERS": 0,
            "STEPS": [],
            "EMA": {"ENABLED": True, "DECAY": 0.9},
        },
        "TEST": {"EVAL_PERIOD": 2, "VALIDATION_LOSS": True},
        "SEED": 3,
        "OUTPUT_DIR": str(folder / name),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings by two processes, and one of them also by one."""
    folder = tmp_path_factory.mktemp("ema")
    for seed, (split, number) in enumerate(SIZES.items()):
        write_images(folder / split, number, seed)
    configs = [write_config(folder, f"two_{norm}", norm) for norm in (BATCH_NORM, GROUP_NORM)]
    script = Path(__file__).with_name("ema_shard.py")
    done = subprocess.run(
        [sys.executable, str(script), *map(str, configs)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    with torch.random.fork_rng():
        train(str(write_config(folder, f"one_{GROUP_NORM}", GROUP_NORM)))
    return folder


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=True)
    return content.get("model", content)


@pytest.mark.parametrize("norm", [BATCH_NORM, GROUP_NORM])
def test_both_processes_have_the_average_that_is_saved(folder: Path, norm: str) -> None:
    """Weights and, once they are scored, statistics of batch norms; to the last bit."""
    output_dir = folder / f"two_{norm}"
    saved = weights_of(output_dir / "model_final_ema.pth")
    raw = weights_of(output_dir / "model_final.pth")
    assert any(not torch.equal(saved[name], raw[name]) for name in saved if "running" not in name)
    assert any("running_mean" in name for name in saved) == (norm == BATCH_NORM)
    for rank in range(2):
        average = weights_of(output_dir / f"average_{rank}.pth")
        for name, tensor in saved.items():
            assert torch.equal(average[name], tensor), (rank, name)


@pytest.mark.parametrize("norm", [BATCH_NORM, GROUP_NORM])
def test_one_process_gives_the_saved_average_the_scores_of_two(folder: Path, norm: str) -> None:
    cfg = load_config(folder / f"two_{norm}.yaml", ["OUTPUT_DIR", str(folder / f"again_{norm}")])
    trainer = Trainer(cfg, cfg.SEED)
    model = trainer.checkpointer.model
    load_weights(model, str(folder / f"two_{norm}" / "model_final_ema.pth"), strict=True)
    found = flatten_results_dict(evaluate(cfg, model, trainer.test_loaders))
    found |= validation_results(model, trainer.validation_loaders)
    lines = (folder / f"two_{norm}" / "metrics.json").read_text().splitlines()
    last = json.loads(lines[-1])
    assert {name.removeprefix("ema/") for name in last if name.startswith("ema/")} == set(found)
    for name, value in found.items():
        assert last[f"ema/{name}"] == pytest.approx(value, rel=1e-6, nan_ok=True), name
    # Other weights have other losses: those of the last iteration have.
    assert last["validation/total_loss"] != pytest.approx(
        last["ema/validation/total_loss"], rel=1e-3
    )


def test_two_processes_average_what_one_averages(folder: Path) -> None:
    """At the same batch, with a norm that each image has for itself."""
    one, two = (
        weights_of(folder / f"{number}_{GROUP_NORM}" / "model_final_ema.pth")
        for number in ("one", "two")
    )
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
