"""The example of docs/extending.md, as a user would have it: a file that the tools are told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segtron.data.cityscapes import SEM_SEG_LABELS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
TRAIN = ROOT / "tools" / "train_net.py"
PARTS = ["--parts", "my_parts.py"]
TWO = ["--num-gpus", "2"]  # processes
FAST = [
    *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("MODEL.TIMM.PRETRAINED", "False", "MODEL.SEM_SEG_HEAD.NAME", "LinearHead"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    head, metric, data = blocks
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_parts.py").write_text(head + metric + data)
    return folder


def test_it_trains_and_scores(folder: Path, datasets: Path) -> None:
    config = ROOT / "configs" / "toytown" / "fcn_8s_lite0.yaml"
    run = subprocess.run(
        [
            sys.executable,
            TRAIN,
            "--parts",
            "my_parts.py",
            "--num-gpus",
            "2",
            "--config-file",
            config,
            *FAST,
            "OUTPUT_DIR",
            "out",
        ],
        cwd=folder,
        env=os.environ | {"DETECTRON2_DATASETS": str(datasets)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    scores = json.loads((folder / "out" / "metrics.json").read_text().splitlines()[-1])
    expected = error_of_saved_labels(folder / "out", datasets / "toytown")
    assert scores["cover/error"] == pytest.approx(expected, rel=1e-9)
    assert "sem_seg/mIoU" in scores


def test_its_data_set_is_trained_on_and_scored(folder: Path) -> None:
    (folder / "plates").mkdir()
    Image.new("RGB", (64, 48), (90, 90, 90)).save(folder / "plates" / "a.png")
    table = "image,class,x0,y0,x1,y1\na.png,sign,5,5,30,40\na.png,plate,35,10,60,30\n"
    (folder / "plates" / "boxes.csv").write_text(table)
    config = ROOT / "configs" / "quick" / "mask_rcnn_lite0_FPN.yaml"
    keys = ["DATASETS.TRAIN", "('plates',)", "DATASETS.TEST", "('plates',)", *FAST[:-2]]
    keys += [
        "INPUT.MIN_SIZE_TRAIN",
        "(48,)",
        "INPUT.MIN_SIZE_TEST",
        "48",
        "OUTPUT_DIR",
        "plates_out",
    ]
    run = subprocess.run(
        [sys.executable, TRAIN, *PARTS, "--config-file", config, *keys],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    trained = yaml.safe_load((folder / "plates_out" / "config.yaml").read_text())
    assert trained["DATASETS"]["THING_CLASSES"] == ["plate", "sign"]
    assert trained["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == 2
    scores = json.loads((folder / "plates_out" / "metrics.json").read_text().splitlines()[-1])
    assert "segm/AP-sign" in scores
    report = [ROOT / "tools" / "visualize_results.py", "plates_out"]
    for more, code in (([], 2), (PARTS, 0)):
        shown = subprocess.run(
            [sys.executable, *report, *more], cwd=folder, capture_output=True, text=True
        )
        assert shown.returncode == code, shown.stderr


def error_of_saved_labels(output_dir: Path, root: Path) -> float:
    """The metric once more, of the files that the evaluation left."""
    errors = []
    for path in (output_dir / "inference" / "toytown_sem_seg_val" / "labels").iterdir():
        [truth_file] = root.glob(
            f"gtFine/val/*/{path.stem.removesuffix('_leftImg8bit')}*labelIds.png"
        )
        predicted, truth = (np.asarray(Image.open(file)) for file in (path, truth_file))
        ids = [label.id for label in SEM_SEG_LABELS]
        is_labelled = np.isin(truth, ids)
        shares = [[np.mean(labels[is_labelled] == i) for i in ids] for labels in (predicted, truth)]
        errors.append(np.abs(np.subtract(*shares)).mean())
    assert len(errors) == 4
    return 100 * float(np.mean(errors))
