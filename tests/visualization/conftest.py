"""Fixtures for pictures of semantic segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segtron.evaluation import label_file


@pytest.fixture
def semantic_run(tmp_path) -> Path:
    """A scored run on a set of two images, 96 x 64, with classes of the values 3 and 7.

    The left halves are 3, the right halves 7, the upper eight rows ignored. In b.png all is
    predicted right, in a.png all is taken for 3.
    """
    folder = tmp_path / "semantic_run"
    truth = np.full((64, 96), 3, np.uint8)
    truth[:, 48:] = 7
    truth[:8] = 255
    predicted = {"a": np.full((64, 96), 3, np.uint8), "b": np.where(truth == 255, 3, truth)}
    for name, labels in predicted.items():
        image = np.full((64, 96, 3), 100, np.uint8)
        for path, content in (
            (folder / "images" / f"{name}.png", image),
            (folder / "labels" / f"{name}.png", truth),
            (label_file(folder / "inference" / "fields", f"{name}.png"), labels),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)
    entry = {"name": "fields", "type": "semantic", "images": "images", "labels": "labels"}
    entry |= {"classes": {3: "grass", 7: "cost in $"}, "palette": [[0, 200, 0], [0, 0, 200]]}
    config = {
        "DATASETS": {"REGISTER": [entry], "TRAIN": ["fields"], "TEST": ["fields"]},
        "INPUT": {"MIN_SIZE_TRAIN": [64], "MIN_SIZE_TEST": 64},
        "SEED": 1,
        "OUTPUT_DIR": str(folder),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder
