"""train_net.py from end to end on toytown, and what it says to a user's mistakes."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog

from segtron.data import catalog
from segtron.data.toytown import make_toytown

from .conftest import assert_one_sentence

ROOT = Path(__file__).parents[2]
TRAIN_NET = ROOT / "tools" / "train_net.py"
CONFIG = ROOT / "configs" / "toytown" / "mask_rcnn_lite0_FPN.yaml"
# Small frames and few proposals: what is tested is the way, not how well the model learns.
FAST = (
    "INPUT.MIN_SIZE_TRAIN (96,) INPUT.MIN_SIZE_TEST 96 DATALOADER.NUM_WORKERS 0 SOLVER.STEPS () "
    "MODEL.FPN.OUT_CHANNELS 16 MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.0 TEST.DETECTIONS_PER_IMAGE "
    "20 MODEL.ROI_BOX_HEAD.FC_DIM 32 MODEL.ROI_MASK_HEAD.CONV_DIM 16 "
    "MODEL.RPN.POST_NMS_TOPK_TEST 40"
)


def run(datasets: Path, *args: Any, launcher: tuple[str, ...] = ()) -> Any:
    """Run train_net.py in a process of its own."""
    return subprocess.run(
        [sys.executable, *launcher, str(TRAIN_NET), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"DETECTRON2_DATASETS": str(datasets)},
    )


def metrics_of(output_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output_dir / "metrics.json").read_text().splitlines()]


@pytest.fixture(scope="session")
def trained(datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUTPUT_DIR of a short training."""
    output_dir = tmp_path_factory.mktemp("run") / "out"
    schedule = ["SOLVER.MAX_ITER", 3, "SOLVER.IMS_PER_BATCH", 2, "OUTPUT_DIR", output_dir]
    done = run(datasets, "--config-file", CONFIG, *FAST.split(), *schedule)
    assert done.returncode == 0, done.stderr
    assert "No GPU found" in done.stdout or torch.cuda.is_available()
    assert "COCO protocol" in done.stdout
    assert "Cityscapes protocol" in done.stdout
    return output_dir


def test_a_training_leaves_its_results(trained: Path) -> None:
    for name in ("config.yaml", "model_final.pth", "last_checkpoint", "log.txt", "loss.png"):
        assert (trained / name).stat().st_size > 0
    assert (trained / "ap.png").stat().st_size > 0
    # Not the CPU that it ran on: the config goes to other machines, too.
    assert yaml.safe_load((trained / "config.yaml").read_text())["MODEL"]["DEVICE"] == "cuda"
    predictions = trained / "inference" / "toytown_instance_seg_val"
    assert json.loads((predictions / "coco_instances_results.json").read_text())
    losses, scores = metrics_of(trained)
    assert losses["iteration"] == 2
    # Each is a median over the iterations, so their sum is only near the median of the total.
    assert losses["total_loss"] == pytest.approx(
        sum(v for k, v in losses.items() if k.startswith("loss_")), rel=0.1
    )
    assert scores["iteration"] == 3
    assert 0 <= scores["segm/AP"] <= 100
    assert 0 <= scores["cityscapes_segm/AP"] <= 100


def test_resuming_goes_on_and_scoring_repeats_the_score(datasets: Path, trained: Path) -> None:
    config = ["--config-file", trained / "config.yaml"]
    resumed = run(datasets, *config, "--resume", "SOLVER.MAX_ITER", 5)
    assert resumed.returncode == 0, resumed.stderr
    final = metrics_of(trained)[-1]
    assert final["iteration"] == 5
    assert "earlier_run" not in resumed.stdout

    scored = run(datasets, *config, "--eval-only")
    assert scored.returncode == 0, scored.stderr
    again = metrics_of(trained)[-1]
    assert "iteration" not in again
    for name in ("segm/AP", "bbox/AP50", "cityscapes_segm/AP"):
        assert again[name] == pytest.approx(final[name], abs=1e-6)


def test_cityscapes_and_toytown_are_interchangeable(
    datasets: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copy(trained / "model_final.pth", tmp_path)
    done = run(
        datasets,
        *("--config-file", trained / "config.yaml", "--eval-only", "OUTPUT_DIR", tmp_path),
        *("DATASETS.TEST", "('cityscapes_fine_instance_seg_val',)"),
    )
    assert done.returncode == 0, done.stderr
    assert "Cityscapes protocol" in done.stdout


def test_a_missing_toytown_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_here: Any
) -> None:
    # A small one; and weights that are missing end the run once the data was read.
    small = functools.partial(make_toytown, train=1, val=1, size=(96, 192))
    monkeypatch.setattr(catalog, "make_toytown", small)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "new"))
    keys = ["MODEL.WEIGHTS", tmp_path / "gone.pth", "OUTPUT_DIR", tmp_path / "out"]
    code, stderr = run_here("train_net.py", "--config-file", CONFIG, "--eval-only", *keys)
    assert (code, "gone.pth does not exist" in stderr) == (2, True), stderr
    assert len(list((tmp_path / "new/toytown/leftImg8bit/val").glob("*/*.png"))) == 1


# Only a first stage, which looks at every anchor (4,608 of them): nothing is drawn at random.
FIXED = (
    "MODEL.META_ARCHITECTURE ProposalNetwork MODEL.RPN.BATCH_SIZE_PER_IMAGE 5000 "
    "MODEL.RPN.POSITIVE_FRACTION 1.0 SOLVER.OPTIMIZER SGD INPUT.RANDOM_FLIP none SEED 7 "
    "DATASETS.TEST () SOLVER.MAX_ITER 4 SOLVER.IMS_PER_BATCH 2 SOLVER.WARMUP_ITERS 0 "
    "SOLVER.BASE_LR 0.01 DATALOADER.ASPECT_RATIO_GROUPING False"
)


@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        ((), ("--num-gpus", "2")),
        (("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"), ()),
    ],
    ids=["num-gpus", "torchrun"],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="the point is two processes on CPUs")
def test_two_processes_learn_as_one(
    datasets: Path, tmp_path: Path, launcher: tuple[str, ...], options: tuple[str, ...]
) -> None:
    def losses(name: str, launcher: tuple[str, ...], options: tuple[str, ...]) -> Any:
        keys = [*FAST.split(), *FIXED.split(), "OUTPUT_DIR", tmp_path / name]
        done = run(datasets, "--config-file", CONFIG, *options, *keys, launcher=launcher)
        assert done.returncode == 0, done.stderr
        weights = torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"]
        return metrics_of(tmp_path / name)[-1]["total_loss"], weights

    loss_of_one, weights_of_one = losses("one", (), ())
    loss_of_two, weights_of_two = losses("two", launcher, options)
    assert loss_of_two == pytest.approx(loss_of_one, rel=1e-4)
    torch.testing.assert_close(weights_of_two, weights_of_one, rtol=1e-3, atol=1e-5)


def coco(folder: Path, **changes: Any) -> Path:
    """A config for one image with one square; `changes` replace parts of its COCO JSON."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16], "area": 256}
    square |= {"segmentation": [[8, 8, 24, 8, 24, 24, 8, 24]], "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [square],
        "categories": [{"id": 1, "name": "square"}],
    } | changes
    (folder / "gt.json").write_text(json.dumps(content))
    name = f"train_net_{folder.parent.name}_{folder.name}"
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
    entry = {"name": name, "type": "coco_instance", "json": "gt.json", "images": "."}
    config = {
        "_BASE_": str(CONFIG),
        "DATASETS": {"REGISTER": [entry], "TRAIN": [name], "TEST": [name]},
        "OUTPUT_DIR": str(folder / "out"),
        "MODEL": {"DEVICE": "cpu"},
        "SOLVER": {"MAX_ITER": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


def crowd_only() -> dict[str, Any]:
    rle = {"size": [48, 64], "counts": [0, 48, 63 * 48]}
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 48], "area": 48}
    return {"annotations": [entry | {"segmentation": rle, "iscrowd": 1}]}


@pytest.mark.parametrize(
    ("changes", "args", "words"),
    [
        ({}, ["MODEL.WEIGTHS", "x"], ["MODEL.WEIGTHS", "MODEL.WEIGHTS"]),
        ({}, ["MODEL.WEIGHTS", "gone.pth"], ["gone.pth does not exist"]),
        ({}, ["MODEL.ROI_HEADS.NUM_CLASSES", "5"], ["is 5", "has 1 classes"]),
        ({}, ["DATASETS.TRAIN", "('toyton_instance_seg_train',)"], ["toytown_instance_seg_train"]),
        ({}, ["DATASETS.TRAIN", "()"], ["DATASETS.TRAIN"]),
        ({}, ["--resume"], ["nothing to resume"]),
        ({}, ["--eval-only"], ["no weights"]),
        ({}, ["SOLVER.IMS_PER_BATCH", "0"], ["SOLVER.IMS_PER_BATCH"]),
        ({"images": []} | {"annotations": []}, [], ["gt.json", "lists no images"]),
        ({"annotations": []}, [], ["no image with an annotation is left"]),
        (crowd_only(), [], ["no image with an annotation is left"]),
        ({"categories": 3}, [], ["gt.json", "'categories'"]),
        (
            {"images": [{"id": 1, "file_name": "b.png", "width": 64, "height": 48}]},
            ["DATALOADER.NUM_WORKERS", "0"],
            ["b.png does not exist"],
        ),
        (
            {"images": [{"id": 1, "file_name": "b.png", "width": 64, "height": 48}]},
            ["DATALOADER.NUM_WORKERS", "1"],
            ["b.png does not exist"],
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, run_here: Any, changes: dict[str, Any], args: list[str], words: list[str]
) -> None:
    code, stderr = run_here(
        "train_net.py", "--config-file", coco(tmp_path / "own", **changes), *args
    )
    assert_one_sentence(code, stderr, words)


def test_a_mistake_leaves_an_earlier_run_untouched(tmp_path: Path, run_here: Any) -> None:
    config = coco(tmp_path / "own")
    output_dir = tmp_path / "own" / "out"
    output_dir.mkdir()
    (output_dir / "metrics.json").write_text("mine")
    (output_dir / "config.yaml").write_text("mine")
    code, _ = run_here("train_net.py", "--config-file", config, "MODEL.WEIGHTS", "gone.pth")
    assert code == 2
    assert sorted(p.name for p in output_dir.iterdir()) == ["config.yaml", "metrics.json"]
    assert (output_dir / "config.yaml").read_text() == "mine"


def test_output_dir_below_a_file_is_refused(tmp_path: Path, run_here: Any) -> None:
    (tmp_path / "file").touch()
    code, stderr = run_here(
        "train_net.py",
        "--config-file",
        coco(tmp_path / "own"),
        "OUTPUT_DIR",
        tmp_path / "file" / "out",
    )
    assert (code, "cannot be written" in stderr) == (2, True)


def test_missing_cityscapes_names_the_tree(
    tmp_path: Path, run_here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    code, stderr = run_here(
        "train_net.py", "--config-file", "Cityscapes/mask_rcnn_R_50_FPN.yaml", "MODEL.WEIGHTS", ""
    )
    assert code == 2
    assert "DETECTRON2_DATASETS" in stderr
    assert "leftImg8bit" in stderr
