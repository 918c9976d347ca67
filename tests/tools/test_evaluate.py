"""tools/evaluate.py as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest

from segtron.data.panoptic_png import write_panoptic_png
from segtron.evaluation import score_cityscapes_instances, score_cityscapes_semantics

from .conftest import TOOLS, assert_one_sentence

CATEGORIES = [
    {"id": 7, "name": "road", "isthing": 0},
    {"id": 26, "name": "car", "isthing": 1},
    {"id": 24, "name": "person", "isthing": 1},
]


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    """Ground truth and predictions of one image: half a road, and a car of which 8 of 10 columns
    are found."""
    truth = np.full((10, 30), 1)
    truth[:, 20:] = 2000
    guess = np.full((10, 30), 5)
    guess[:, 10:20] = 0
    guess[:, 22:] = 9
    guess[:, 20:22] = 0
    described = {"images": [{"id": "a", "file_name": "a.jpg", "height": 10, "width": 30}]}
    described["categories"] = CATEGORIES
    for name, ids, listed in (
        ("truth", truth, {1: (7, 200), 2000: (26, 100)}),
        ("guess", guess, {5: (7, 100), 9: (26, 80)}),
    ):
        write_panoptic_png(tmp_path / name / "a.png", ids)
        listed = [{"id": i, "category_id": c, "area": n} for i, (c, n) in listed.items()]
        annotation = {"image_id": "a", "file_name": "a.png", "segments_info": listed}
        content = (described if name == "truth" else {}) | {"annotations": [annotation]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "truth.json", tmp_path / "guess.json"


def test_panoptic(files, run_here, tmp_path):
    out = tmp_path / "new folder" / "scores.json"
    code, stderr = run_here(
        "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1], "--json", out
    )
    assert code == 0, stderr
    # The road has an IoU of one half, which is no match.
    content = json.loads(out.read_text())
    assert content == {
        "PQ": 40, "SQ": 40, "RQ": 50,
        "PQ_th": 80, "SQ_th": 80, "RQ_th": 100,
        "PQ_st": 0, "SQ_st": 0, "RQ_st": 0,
        "num_images": 1,
        "num_missing": 0,
        "per_class": {
            "road": {"PQ": 0, "SQ": 0, "RQ": 0, "ground_truth": 1, "predicted": 1},
            "car": {"PQ": 80, "SQ": 80, "RQ": 100, "ground_truth": 1, "predicted": 1},
            "person": {"PQ": None, "SQ": None, "RQ": None, "ground_truth": 0, "predicted": 0},
        },
    }  # fmt: skip
    assert [path.name for path in out.parent.iterdir()] == ["scores.json"]
    code, stderr = run_here(
        "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1], "--json", out
    )
    assert_one_sentence(code, stderr, ["scores.json would be overwritten", "--json"])
    assert json.loads(out.read_text()) == content


def test_json_that_cannot_be_written_is_noticed_before(files, run_here):
    code, stderr = run_here(
        "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1],
        "--json", files[0] / "scores.json",
    )  # fmt: skip
    assert_one_sentence(code, stderr, ["cannot write", "scores.json", "--json"])
    assert "scoring" not in stderr


def test_folders_of_pngs_by_name(files, run_here, tmp_path):
    for name in ("truth", "guess"):
        (tmp_path / name).rename(tmp_path / f"{name}_png")
    command = ["evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1]]
    code, stderr = run_here(*command, "--gt-png", tmp_path / "truth_png")
    assert_one_sentence(code, stderr, ["guess", "does not exist", "--pred-png"])
    code, stderr = run_here(
        *command, "--gt-png", tmp_path / "truth_png", "--pred-png", tmp_path / "guess_png"
    )
    assert code == 0, stderr


def test_what_is_wrong_is_one_sentence(files, run_here, tmp_path):
    content = json.loads(files[1].read_text())
    content["annotations"][0]["segments_info"][1]["area"] = 81
    files[1].write_text(json.dumps(content))
    out = tmp_path / "scores.json"
    code, stderr = run_here(
        "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1], "--json", out
    )
    assert_one_sentence(code, stderr, ["a.png", "guess.json", "'a'", "segment 9", "81", "80"])
    assert not out.exists()


def test_as_a_program(files, tmp_path):
    """The table goes to stdout, and nothing else does."""
    done = subprocess.run(
        [sys.executable, TOOLS / "evaluate.py", "panoptic", "--gt", files[0], "--pred", files[1]],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines[0].startswith("Panoptic quality: 1 images, 2 ground-truth segments, 2 predicted")
    assert [line.split("|")[1].strip() for line in lines[1:-1] if "---" not in line] == [
        "class", "all", "things", "stuff", "road", "car", "person",
    ]  # fmt: skip


def test_a_task_has_to_be_named(run_here):
    code, stderr = run_here("evaluate.py")
    assert code == 2
    assert "TASK" in stderr


@pytest.mark.parametrize(
    "task", [[], ["panoptic"], ["cityscapes-instance"], ["cityscapes-semantic"], ["coco"]]
)
def test_help_has_an_example(task, run_script):
    code, out, _ = run_script(TOOLS / "evaluate.py", *task, "--help")
    assert code == 0
    name = task[0] if task else "panoptic"
    assert f"Example:\n  python tools/evaluate.py {name} --gt" in out


# Cityscapes' formats, on toytown -----------------------------------------------------------------


@pytest.fixture
def split(datasets) -> Path:
    return datasets / "toytown" / "gtFine" / "val"


@pytest.fixture
def results(split, tmp_path) -> Path:
    """Perfect predictions, but for the first image: there the cars are found twice too high."""
    folder = tmp_path / "results"
    folder.mkdir()
    for number, path in enumerate(sorted(split.glob("*/*_instanceIds.png"))):
        frame = path.name.removesuffix("_gtFine_instanceIds.png")
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        labels = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
        if number == 0:
            labels[: len(labels) // 2] = 23
        assert cv2.imwrite(str(folder / f"{frame}_labelIds.png"), labels)
        lines = []
        for instance_id in np.unique(ids[ids >= 1000]).tolist():
            mask = ids == instance_id
            if number == 0:
                mask[: len(mask) // 2] = True
            assert cv2.imwrite(str(folder / f"{frame}_{instance_id}.mask.png"), mask * np.uint8(9))
            lines.append(f"{frame}_{instance_id}.mask.png {instance_id // 1000} 0.5\n")
        (folder / f"{frame}_pred.txt").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("task", ["cityscapes-instance", "cityscapes-semantic"])
def test_cityscapes(task, split, results, run_here, tmp_path):
    if task == "cityscapes-semantic":
        for mask in results.glob("*.mask.png"):
            mask.unlink()
    written = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.json"
        code, stderr = run_here(
            "evaluate.py", task, "--gt", split, "--pred", results, "--json", out,
            "--workers", workers,
        )  # fmt: skip
        assert code == 0, stderr
        assert "scoring: 100%" in stderr
        written.append(out.read_bytes())
    assert written[0] == written[1]
    content = json.loads(written[0])
    keys = ["AP", "AP50"] if "instance" in task else ["IoU", "iIoU", "IoU_sup", "iIoU_sup"]
    assert list(content)[: len(keys)] == keys
    assert all(0 < content[key] < 100 for key in keys)
    assert (content["num_images"], content["num_missing"]) == (4, 0)
    assert content["per_class"]["car"]["predicted"] > 0

    first = sorted(split.glob("*/*_instanceIds.png"))[0].name.removesuffix(
        "_gtFine_instanceIds.png"
    )
    for path in results.glob(f"{first}_*"):
        path.unlink()
    out = tmp_path / "partial.json"
    command = ["evaluate.py", task, "--gt", split, "--pred", results, "--json", out]
    code, stderr = run_here(*command)
    assert_one_sentence(code, stderr, [str(results), "1 of 4 images", first, "--allow-missing"])
    assert not out.exists()
    code, stderr = run_here(*command, "--allow-missing")
    assert code == 0, stderr
    content = json.loads(out.read_text())
    assert all(content[key] == 100 for key in keys)
    assert (content["num_images"], content["num_missing"]) == (3, 1)


@pytest.mark.parametrize(
    ("option", "ratio"), [(["--boundary"], 0.005), (["--boundary", 0.02], 0.02)]
)
@pytest.mark.parametrize(
    ("task", "score_files", "metric"),
    [
        ("cityscapes-instance", score_cityscapes_instances, "AP"),
        ("cityscapes-semantic", score_cityscapes_semantics, "mBIoU"),
    ],
)
def test_cityscapes_boundaries(
    task, score_files, metric, option, ratio, split, results, run_here, tmp_path
):
    if task == "cityscapes-semantic":
        for mask in results.glob("*.mask.png"):
            mask.unlink()
    content = []
    for number, options in enumerate([[], option, [*option, "--workers", 2]]):
        out = tmp_path / f"{number}.json"
        code, stderr = run_here(
            "evaluate.py", task, "--gt", split, "--pred", results, "--json", out, *options
        )
        assert code == 0, stderr
        content.append(json.loads(out.read_text()))
    without, with_boundary, of_two_workers = content
    assert with_boundary == of_two_workers
    boundary = with_boundary.pop("boundary")
    assert with_boundary == without
    assert boundary == score_files(split, results, boundary_ratio=ratio).boundary.as_json()
    assert 0 < boundary[metric] < 100
    assert "car" in boundary["per_class"]


@pytest.mark.parametrize("task", ["cityscapes-instance", "cityscapes-semantic", "coco"])
@pytest.mark.parametrize("ratio", ["0", "1", "-0.1", "nan", "wide"])
def test_boundaries_of_no_width_are_refused(task, ratio, run_here, tmp_path):
    code, stderr = run_here(
        "evaluate.py", task, "--gt", tmp_path, "--pred", tmp_path, f"--boundary={ratio}"
    )
    assert code == 2
    assert "argument --boundary" in stderr and ratio in stderr
    assert "Traceback" not in stderr


def test_a_spoilt_file_leaves_nothing(split, results, run_here, tmp_path):
    mask = sorted(results.glob("*.mask.png"))[-1]
    mask.write_bytes(mask.read_bytes()[:-9])
    out = tmp_path / "scores.json"
    code, stderr = run_here(
        "evaluate.py", "cityscapes-instance", "--gt", split, "--pred", results, "--json", out
    )
    assert_one_sentence(code, stderr, [mask.name, "damaged"])
    assert not out.exists()


def test_coco(run_here, tmp_path):
    box = [2, 3, 10, 10]
    ground_truth = {
        "images": [{"id": 1, "height": 30, "width": 30}],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": box}],
    }
    result = {"image_id": 1, "category_id": 5, "bbox": box, "score": 0.5}
    gt_json, pred_json, out = (tmp_path / f"{name}.json" for name in ("gt", "pred", "scores"))
    gt_json.write_text(json.dumps(ground_truth))
    command = ["evaluate.py", "coco", "--gt", gt_json, "--pred", pred_json, "--json", out]
    pred_json.write_text(json.dumps([result | {"score": float("nan")}]))
    code, stderr = run_here(*command)
    assert_one_sentence(code, stderr, ["pred.json: entry 0", "nan"])
    assert not out.exists()
    pred_json.write_text(json.dumps([result]))
    code, stderr = run_here(*command)
    assert code == 0, stderr
    content = json.loads(out.read_text())
    found = content["AP"], content["APs"], content["bbox"]["AP75"]
    assert found == pytest.approx((100, 100, 100))
    assert content["APl"] is content["per_class"]["dog"]["AP"] is None
    assert "segm" not in content


def test_coco_boundaries(run_here, tmp_path):
    """A square of 10x10 pixels that is found one too far right, in an image with a diagonal of 50:
    the boundaries have 1 pixel."""
    square = {"image_id": 1, "category_id": 5}
    truth = square | {"id": 1, "bbox": [2, 3, 10, 10]}
    truth["segmentation"] = [[2, 3, 12, 3, 12, 13, 2, 13]]
    ground_truth = {
        "images": [{"id": 1, "height": 30, "width": 40}],
        "categories": [{"id": 5, "name": "cat"}],
        "annotations": [truth],
    }
    mask = np.zeros((30, 40), dtype=np.uint8, order="F")
    mask[3:13, 3:13] = 1
    counts = mask_util.encode(mask)["counts"].decode("ascii")
    result = square | {"segmentation": {"size": [30, 40], "counts": counts}, "score": 0.5}
    gt_json, pred_json = tmp_path / "gt.json", tmp_path / "pred.json"
    gt_json.write_text(json.dumps(ground_truth))
    pred_json.write_text(json.dumps([result]))
    content = []
    for options in ([], ["--boundary"], ["--boundary", 0.2]):
        out = tmp_path / f"{len(content)}.json"
        code, stderr = run_here(
            "evaluate.py", "coco", "--gt", gt_json, "--pred", pred_json, "--json", out, *options
        )
        assert code == 0, stderr
        content.append(json.loads(out.read_text()))
    without, narrow, wide = content
    assert "boundary" not in without
    # Masks: 90 / 110. Boundaries: 18 of 36 pixels in common, 18 / 54. All is boundary at 0.2.
    assert without["AP50"] == pytest.approx(100)
    assert narrow["boundary"]["AP50"] == 0
    assert wide["boundary"]["AP"] == without["AP"]
    for scores in (narrow, wide):
        del scores["boundary"]
        assert scores == without
