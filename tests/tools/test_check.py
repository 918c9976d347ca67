"""datasets/check.py as users run it."""

from __future__ import annotations

import functools
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from .conftest import TOOLS, assert_one_sentence

SCRIPT = TOOLS.parent / "datasets" / "check.py"


@pytest.fixture
def check_here(run_script):
    """Run the script in this process; gives exit code, stdout and stderr."""
    return functools.partial(run_script, SCRIPT)


@pytest.fixture
def folder(tmp_path, tiny_run) -> Path:
    """A copy of images and annotations of `tiny_run`."""
    root = tmp_path / "mine"
    root.mkdir()
    shutil.copytree(tiny_run / "images", root / "images")
    shutil.copy(tiny_run / "annotations.json", root)
    return root


def change(folder, function):
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


def test_a_good_folder(folder, check_here):
    code, out, _ = check_here(folder)
    assert code == 0
    assert "2 images, 3 objects, 2 classes" in out
    assert "0 errors" in out


def test_errors_and_warnings(folder, check_here, tmp_path):
    change(folder, lambda content: content["annotations"][0].update(area=1))
    report = tmp_path / "new folder" / "report.json"
    code, out, _ = check_here(folder, "--json", report)
    assert code == 0 and "warning area-wrong (1)" in out
    assert json.loads(report.read_text())["codes"]["area-wrong"]["count"] == 1
    assert check_here(folder, "--strict")[0] == 1
    (folder / "images" / "a.png").write_bytes(b"no picture")
    code, out, _ = check_here(folder)
    assert code == 1 and "error image-unreadable (1)" in out
    code, out, _ = check_here(folder, "--skip-images")
    assert code == 0 and "image-unreadable" not in out


def test_the_report_overwrites_no_data(folder, check_here, tmp_path):
    path = folder / "annotations.json"
    before = path.read_bytes()
    for given in (path, folder):
        code, out, err = check_here(given, "--json", folder / "images" / ".." / path.name)
        assert code == 2 and "is no report; choose another --json" in err and not out
    assert path.read_bytes() == before
    new = tmp_path / "new.json"
    code, _, err = check_here(path, "--fix", new, "--json", new)
    assert code == 2 and "is no report" in err and not new.exists()


def test_names_that_no_terminal_can_show(folder, check_here, tmp_path):
    change(folder, lambda content: content["categories"][0].update(name="\ud800\x1b[31m\n"))
    change(folder, lambda content: content["images"][0].update(file_name="\x1b[31m.png"))
    code, out, _ = check_here(folder, "--json", tmp_path / "r.json", "--statistics", tmp_path / "s")
    out.encode()
    assert code == 1 and "\x1b" not in out
    json.loads((tmp_path / "r.json").read_text())


def test_mending(folder, check_here, tmp_path):
    def break_it(content):
        content["annotations"][0] |= {"bbox": [0, 0, 5, 5], "iscrowd": None, "id": 2}
        content["annotations"].append(content["annotations"][1] | {"id": 9, "segmentation": []})

    change(folder, break_it)
    out_file = tmp_path / "elsewhere" / "mended.json"
    report = tmp_path / "report.json"
    code, out, _ = check_here(folder / "annotations.json", "--fix", out_file, "--json", report)
    assert code == 0
    assert "mended.json: 4 changes" in out
    content = json.loads(report.read_text())
    assert {change["code"] for change in content["changes"]} == {
        "box-off", "crowd-missing", "annotation-id-repeated", "mask-empty",
    }  # fmt: skip
    assert content["codes"]["box-off"]["count"] == 1
    assert "annotations[3]: removed (id 9)" in out
    # What is left is that of the new file.
    last = out.rpartition("2 images")[2]
    assert "box-off" not in last and "mask-empty" not in last
    new = json.loads(out_file.read_text())
    assert new["annotations"][0]["bbox"] == [20, 10, 20, 20]
    before = out_file.read_bytes()
    code, _, stderr = check_here(folder / "annotations.json", "--fix", out_file)
    assert_one_sentence(code, stderr, ["mended.json", "would be overwritten", "--fix"])
    assert out_file.read_bytes() == before


def test_statistics(folder, check_here, tmp_path):
    code, out, _ = check_here(folder, "--statistics", tmp_path / "pages")
    assert code == 0 and "statistics.html" in out
    (of_set,) = json.loads((tmp_path / "pages" / "statistics.json").read_text())["sets"]
    assert (of_set["images"], of_set["objects"], of_set["crowds"]) == (2, 3, 1)


def test_a_config(tiny_run, check_here):
    code, out, _ = check_here("--config-file", tiny_run / "config.yaml")
    assert code == 0 and "set-in-two-roles" in out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], ["PATH", "--config-file"]),
        (["gone.json"], ["gone.json does not exist"]),
        (["{folder}", "--config-file", "x.yaml"], ["either"]),
        (["{folder}", "--images", "nowhere"], ["folder nowhere does not exist"]),
        (["{folder}/images"], ["annotations.json"]),
        (["--config-file", "gone.yaml"], ["gone.yaml"]),
        (
            ["{folder}/annotations.json", "{folder}/annotations.json", "--fix", "x.json"],
            ["one COCO JSON"],
        ),
        (["{folder}", "--json", "/proc/none/x.json"], ["cannot write /proc/none/x.json"]),
        (["{folder}", "--statistics", "/proc/none"], ["cannot write /proc/none"]),
    ],
)
def test_users_mistakes(folder, check_here, args, words):
    code, _, stderr = check_here(*[arg.format(folder=folder) for arg in args])
    assert_one_sentence(code, stderr, words)


def test_broken_json_with_all_options(folder, check_here, tmp_path):
    path = folder / "annotations.json"
    whole = path.read_bytes()
    rng = random.Random(0)
    ended = set()
    for number in range(40):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        out = tmp_path / f"{number}.json"
        options = ["--fix", out] if number % 2 else ["--statistics", tmp_path / "pages"]
        code, _, stderr = check_here(path, "--json", tmp_path / "report.json", *options)
        assert code in (0, 1, 2) and "Traceback" not in stderr
        if code == 2:
            assert len(stderr.strip().splitlines()) == 1
        ended.add(code)
    assert {1, 2} <= ended


def test_pictures_of_all_kinds(folder, check_here):
    """16 bits, grey, palettes and transparency can be read and are compared."""
    shades = np.arange(64 * 96).reshape(64, 96)
    for name, image in (
        ("a", Image.fromarray((shades * 10).astype(np.uint16))),
        ("b", Image.fromarray((shades // 24).astype(np.uint8)).convert("P")),
    ):
        image.save(folder / "images" / f"{name}.png")
    code, out, _ = check_here(folder)
    assert code == 0, out


def test_a_converted_layout_is_named_by_its_folder(folder, check_here):
    shutil.copy(folder / "annotations.json", folder / "train.json")
    shutil.copy(folder / "annotations.json", folder / "val.json")
    code, out, _ = check_here(folder)
    assert code == 1 and "file-in-two-sets (2)" in out
    assert "annotations.json" not in out
    config = {"DATASETS": {"TRAIN": ["toytown_instance_seg_train"], "TEST": "x"}}
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    code, _, stderr = check_here("--config-file", folder / "c.yaml")
    assert_one_sentence(code, stderr, ["DATASETS.TEST", "must be a list"])
