"""datasets/convert.py as a user runs it."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from segtron.config import load_config
from segtron.data.converters import formats
from segtron.data.converters.formats import COMMON_FLAGS, FORMATS, Format

COMMAND = Path(__file__).parents[2] / "datasets" / "convert.py"


@pytest.fixture
def convert(run_script: Callable[..., tuple[Any, str, str]]) -> Callable[..., tuple[Any, str, str]]:
    """Run the command in this process; gives exit code, stdout and stderr."""
    return functools.partial(run_script, COMMAND)


def write_labelme(folder: Path, name: str, *labels: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.png"), np.full((20, 30, 3), 99, np.uint8))
    points = [[2, 3], [6, 3], [6, 8], [2, 8]]
    shapes = [{"label": label, "points": points, "shape_type": "polygon"} for label in labels]
    content = {"shapes": shapes, "imagePath": f"{Path(name).name}.png"}
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """What LabelMe saved of six photographs in three folders."""
    for number in range(6):
        write_labelme(tmp_path / "photos", f"f{number % 3}/{number}", "cat", "dog")
    return tmp_path / "photos"


def assert_one_sentence(ending: tuple[Any, str, str], *words: str) -> None:
    code, _, stderr = ending
    assert code == 2 and "Traceback" not in stderr
    (line,) = stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_from_labelme_to_a_config_that_loads(convert, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    code, stdout, _ = convert("labelme", photos, out, "--val-share", "0.34", "--group-by", "folder")
    assert code == 0
    assert "6 images, 12 objects" in stdout and "train: 4, val: 2 images" in stdout
    assert "dropped" not in stdout
    (folder,) = {i["file_name"][:2] for i in json.loads((out / "val.json").read_text())["images"]}
    train = json.loads((out / "train.json").read_text())["images"]
    assert folder not in {image["file_name"][:2] for image in train}
    text = stdout[stdout.index("_BASE_") :].replace(
        "_BASE_: ", f"_BASE_: {Path(__file__).parents[2]}/"
    )
    (tmp_path / "mine.yaml").write_text(text)
    cfg = load_config(tmp_path / "mine.yaml")
    assert list(cfg.DATASETS.TRAIN) == ["mine_train"] and cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert yaml.safe_load(text)["OUTPUT_DIR"] == "output/mine"


def test_what_is_left_out_is_counted(convert, photos: Path, tmp_path: Path) -> None:
    write_labelme(photos, "x", "__ignore__", "cat")
    code, stdout, _ = convert("labelme", photos, tmp_path / "out")
    assert code == 0
    assert f"dropped: 1, listed in {tmp_path / 'out' / 'dropped.csv'}" in stdout


def test_lists_of_images_and_of_classes(convert, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("0\nf1/4.png\n")
    (tmp_path / "classes.txt").write_text("dog\ncat\ncow\n")
    options = ("--val-list", tmp_path / "val.txt", "--class-list", tmp_path / "classes.txt")
    code, _, _ = convert("labelme", photos, tmp_path / "out", *options, "--link")
    assert code == 0
    content = json.loads((tmp_path / "out" / "val.json").read_text())
    assert [i["file_name"] for i in content["images"]] == ["f0/0.png", "f1/4.png"]
    assert [c["name"] for c in content["categories"]] == ["dog", "cat", "cow"]
    assert (tmp_path / "out" / "images" / "f0" / "0.png").samefile(photos / "f0" / "0.png")


def test_to_labelme_to_cvat_and_back(convert, photos: Path, tmp_path: Path) -> None:
    convert("labelme", photos, tmp_path / "a")
    code, stdout, _ = convert("to-labelme", tmp_path / "a" / "annotations.json", tmp_path / "b")
    assert code == 0 and "6 images, 12 objects" in stdout
    code, _, _ = convert("labelme", tmp_path / "b", tmp_path / "c")
    assert code == 0
    before, after = ((tmp_path / n / "annotations.json").read_bytes() for n in "ac")
    assert before == after
    code, _, _ = convert("to-cvat", tmp_path / "a" / "annotations.json", tmp_path / "d")
    assert code == 0
    code, stdout, _ = convert("cvat", tmp_path / "d", tmp_path / "e")
    assert code == 0 and "6 images, 12 objects" in stdout


@pytest.mark.parametrize("name", [*FORMATS, "to-labelme", "to-cvat"])
def test_help_has_an_example(convert, name: str) -> None:
    code, stdout, _ = convert(name, "--help")
    assert code == 0 and f"python datasets/convert.py {name} " in stdout


@pytest.mark.parametrize("name", FORMATS)
def test_a_source_that_is_not_there(convert, tmp_path: Path, name: str) -> None:
    assert_one_sentence(convert(name, tmp_path / "no" / "such", tmp_path / "out"), "no/such")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--group-by", "folder"), ["--val-share or --val-list"]),
        (("--val-share", "0"), ["--val-share is 0"]),
        (("--val-share", "0.5", "--group-by", "("), ["regular expression"]),
        (("--class-list", "no.txt"), ["no.txt"]),
        (("--images", "no"), ["no"]),
    ],
)
def test_mistakes_end_in_one_sentence(convert, photos, tmp_path, options, words) -> None:
    assert_one_sentence(convert("labelme", photos, tmp_path / "out", *options), *words)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(convert, photos: Path, tmp_path: Path) -> None:
    before = sorted(photos.rglob("*"))
    assert_one_sentence(convert("labelme", photos, photos), "is not empty")
    assert sorted(photos.rglob("*")) == before


def test_formats_are_listed(convert) -> None:
    code, stdout, _ = convert("--help")
    assert code == 0 and all(name in stdout for name in FORMATS)
    code, _, stderr = convert("labelbox", "a", "b")
    assert code == 2 and "invalid choice: 'labelbox'" in stderr


def test_the_flags_that_formats_can_not_have_are_those_of_all(convert, monkeypatch) -> None:
    bare = Format("a format", "a file", open, (), "bare a b")
    monkeypatch.setattr(formats, "FORMATS", {**FORMATS, "bare": bare})
    flags = set()
    for arguments in (["--help"], ["bare", "--help"]):
        code, stdout, _ = convert(*arguments)
        assert code == 0
        flags.update(re.findall(r"(?<!\S)--[a-z-]+(?=[],\s])", stdout))
    assert flags == set(COMMON_FLAGS)


@pytest.mark.usefixtures("no_parts_stay")
def test_a_format_of_ones_own(convert, photos: Path, tmp_path: Path, monkeypatch) -> None:
    """As docs/converting.md has it."""
    monkeypatch.setattr(formats, "FORMATS", dict(FORMATS))
    monkeypatch.chdir(tmp_path)
    page = (COMMAND.parents[1] / "docs" / "converting.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    Path("outlines.py").write_text(code, encoding="utf-8")
    rows = [f"f{number % 3}/{number}.png,cat,2 3 6 3 6 8 2 8" for number in range(6)]
    (photos / "outlines.csv").write_text("\n".join(["picture,class,outline", *rows]))
    (command,) = re.findall(r"^python datasets/convert.py (--parts .*)$", page, re.MULTILINE)
    assert convert(*command.split())[0] == 0
    content = json.loads(Path("datasets/mine/annotations.json").read_text())
    assert len(content["images"]) == len(content["annotations"]) == 6
    assert len(json.loads(Path("datasets/mine/val.json").read_text())["images"]) == 1
    # Anywhere on the command line, and with what stands in its help.
    monkeypatch.setattr(formats, "FORMATS", dict(FORMATS))
    del sys.modules["outlines"]
    code, stdout, _ = convert("outlines", "--help", "--parts", "outlines.py")
    assert code == 0 and f"python datasets/convert.py {command}" in stdout
    assert "--images" in stdout and "the folder of the pictures" in stdout


def test_parts_that_are_not_there(convert, photos: Path, tmp_path: Path) -> None:
    arguments = ("labelme", photos, tmp_path / "out", "--parts", tmp_path / "no.py")
    assert_one_sentence(convert(*arguments), "no.py is no Python file")


def test_parts_without_a_file(convert) -> None:
    code, _, stderr = convert("--parts")
    assert code == 2 and "expected one argument" in stderr
    assert stderr.startswith("usage: convert.py [-h] [--parts FILE] FORMAT ...\n")


def test_a_shortened_flag_is_not_taken_for_parts(convert, photos: Path, tmp_path: Path) -> None:
    code, _, stderr = convert("--part", tmp_path / "own.py", "labelme", photos, tmp_path / "out")
    assert code == 2 and "Traceback" not in stderr
    assert not (tmp_path / "out").exists()
