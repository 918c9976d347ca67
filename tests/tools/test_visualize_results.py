"""visualize_results.py as a user runs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtron.data.masks import encode_mask

Runner = Callable[..., tuple[Any, str]]


@pytest.fixture
def scored_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run with a prediction of a score of 0.4 in the first of two images."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    mask = np.zeros((64, 96), bool)
    mask[10:30, 20:40] = True
    entry = {"image_id": 11, "category_id": 3, "score": 0.4, "bbox": [20, 10, 20, 20]}
    entry["segmentation"] = encode_mask(mask)
    folder = run / "inference" / "tiny"
    folder.mkdir(parents=True)
    (folder / "coco_instances_results.json").write_text(json.dumps([entry]))
    return run


def test_a_page_is_written(
    scored_run: Path, run_here: Runner, report_content: Callable[[Path], Any]
) -> None:
    def qualities(*options: str) -> list[float]:
        code, stderr = run_here("visualize_results.py", scored_run, *options)
        assert code == 0, stderr
        (gallery,) = report_content(scored_run)["galleries"]
        return [image["numbers"]["quality"] for image in gallery["images"]]

    assert qualities("--score-threshold", "0.3") == [0, 100]
    assert report_content(scored_run)["galleries"][0]["min_score"] == 0.3
    # By the config's threshold of 0.5, nothing is found.
    assert qualities("--number", "all") == [0, 0]
    assert len(qualities("--number", "1")) == 1


@pytest.mark.parametrize("number", ["0", "-3", "some"])
def test_the_number_is_checked(scored_run: Path, run_here: Runner, number: str) -> None:
    code, stderr = run_here("visualize_results.py", scored_run, f"--number={number}")
    assert code == 2 and "--number" in stderr
    assert not (scored_run / "report").exists()


def test_a_folder_of_one_s_own_is_not_replaced(scored_run: Path, run_here: Runner) -> None:
    (scored_run / "report").mkdir()
    (scored_run / "report" / "thesis.txt").write_text("mine")
    code, stderr = run_here("visualize_results.py", scored_run)
    assert code == 2 and "is no report and would be overwritten" in stderr
    assert (scored_run / "report" / "thesis.txt").read_text() == "mine"
