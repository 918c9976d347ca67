"""datasets/prepare_cityscapes.py as a user runs it."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segtron.data.cityscapes import load_panoptic
from segtron.data.panoptic import read_pan_seg

COMMAND = Path(__file__).parents[2] / "datasets" / "prepare_cityscapes.py"


@pytest.fixture
def prepare(run_script: Callable[..., tuple[Any, str, str]]) -> Callable[..., tuple[Any, str, str]]:
    """Run the command in this process; gives exit code, stdout and stderr."""
    return functools.partial(run_script, COMMAND)


@pytest.fixture
def root(datasets: Path, tmp_path: Path) -> Path:
    """A toytown of one's own."""
    return Path(shutil.copytree(datasets / "toytown", tmp_path / "town"))


def test_files_for_other_programs_and_for_segtron_too(
    prepare: Callable[..., tuple[Any, str, str]], root: Path
) -> None:
    before = {split: load_panoptic(root, split) for split in ("train", "val")}
    code, out, _ = prepare(root)
    assert code == 0
    for split, records in before.items():
        json_file = root / "gtFine" / f"cityscapes_panoptic_{split}.json"
        assert str(json_file) in out
        content = json.loads(json_file.read_text())
        assert [image["id"] for image in content["images"]] == [r["image_id"] for r in records]
        after = load_panoptic(root, split)
        for record, made in zip(records, after, strict=True):
            assert Path(made["pan_seg_file_name"]).parent == json_file.with_suffix("")
            assert record["segments_info"] == made["segments_info"]
            assert (read_pan_seg(record) == read_pan_seg(made)).all()


def test_a_second_run_overwrites_nothing(
    prepare: Callable[..., tuple[Any, str, str]], root: Path
) -> None:
    assert prepare(root, "--splits", "val")[0] == 0
    made = sorted(path.name for path in (root / "gtFine").iterdir())
    assert made == ["cityscapes_panoptic_val", "cityscapes_panoptic_val.json", "train", "val"]
    code, _, err = prepare(root, "--splits", "val")
    assert code == 2
    assert "cityscapes_panoptic_val.json would be overwritten" in err
    assert "Traceback" not in err


def test_mistakes_are_named(
    prepare: Callable[..., tuple[Any, str, str]], root: Path, tmp_path: Path
) -> None:
    code, _, err = prepare(tmp_path / "gone")
    assert code == 2
    assert err.startswith("error: no label files ")
    assert str(tmp_path / "gone" / "gtFine" / "train") in err
    code, _, err = prepare(root, "--splits", "extra")
    assert code == 2
    assert "invalid choice: 'extra'" in err
    code, out, _ = prepare("--help")
    assert code == 0
    assert "python datasets/prepare_cityscapes.py datasets/cityscapes" in out
