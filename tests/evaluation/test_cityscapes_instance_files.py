from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.errors import UserError
from segtron.evaluation.cityscapes_instance_files import score_cityscapes_instances

from .reference import cityscapes_boundary_aps
from .saved_cityscapes import frame_of, official_instances, write_instances, write_png
from .scenes import BUILDING, CAR, CARAVAN, HEIGHT, WIDTH, Scene, box, random_scene


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    rng = np.random.default_rng(5)
    return write_instances(tmp_path, [random_scene(rng, digits=1) for _ in range(4)])


def list_of(results: Path, number: int) -> Path:
    return results / "lists" / f"{frame_of(number)}_pred.txt"


def assert_equals_the_official_script(monkeypatch, split, results):
    expected = official_instances(monkeypatch, split, results)
    scores = score_cityscapes_instances(split, results)
    found = [scores.overall["AP"], scores.overall["AP50"]]
    wanted = [expected["allAp"], expected["allAp50%"]]
    for name, row in expected["classes"].items():
        found += [scores.per_class[name]["AP"], scores.per_class[name]["AP50"]]
        wanted += [row["ap"], row["ap50%"]]
    np.testing.assert_allclose(found, 100 * np.array(wanted), rtol=0, atol=1e-9)
    return scores


def test_equals_the_official_script(files, monkeypatch):
    scores = assert_equals_the_official_script(monkeypatch, *files)
    assert 1 < scores.overall["AP"] < 99
    assert (scores.num_images, scores.num_missing) == (4, 0)


def test_lines_that_count_for_nothing(tmp_path, monkeypatch):
    """Empty masks and files, labels that aren't scored, and how numbers may be written."""
    scenes = [random_scene(np.random.default_rng(6)), Scene()]
    scenes[0].predict(np.zeros((HEIGHT, WIDTH), dtype=bool), CAR, 0.99)
    scenes[0].predict(box(0, 50, 0, 50), BUILDING, 0.98)
    scenes[0].predict(box(0, 50, 0, 50), CARAVAN, 0.97)
    split, results = write_instances(tmp_path, scenes)
    write_png(results / "masks" / "more.png", np.eye(HEIGHT, WIDTH, dtype=np.uint16) * 300)
    with list_of(results, 0).open("a") as file:
        file.write(f"../masks/more.png {CAR}.0 7e-1\n")
    scores = assert_equals_the_official_script(monkeypatch, split, results)
    before = str(scores)
    with list_of(results, 0).open("a") as file:
        file.write("\n  \n")
    assert str(score_cityscapes_instances(split, results)) == before


def test_a_byte_order_mark_belongs_to_no_name(files):
    split, results = files
    before = str(score_cityscapes_instances(split, results))
    for number in range(4):
        path = list_of(results, number)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert str(score_cityscapes_instances(split, results)) == before


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_change_nothing(files, workers):
    alone = score_cityscapes_instances(*files, workers=1, boundary_ratio=0.02)
    several = score_cityscapes_instances(*files, workers=workers, boundary_ratio=0.02)
    assert several.as_json() == alone.as_json()


def test_boundaries(tmp_path):
    rng = np.random.default_rng(5)
    scenes = [random_scene(rng, digits=1) for _ in range(4)]
    files = write_instances(tmp_path, scenes)
    masks = score_cityscapes_instances(*files)
    assert masks.boundary is None
    scores = score_cityscapes_instances(*files, boundary_ratio=0.02)
    aps = 100 * cityscapes_boundary_aps(scenes, 3)
    assert scores.boundary.overall == pytest.approx(
        {"AP": np.nanmean(aps), "AP50": np.nanmean(aps[:, 0])}, abs=1e-9
    )
    assert scores.boundary.per_class["car"]["AP"] == pytest.approx(aps[2].mean(), abs=1e-9)
    assert 1 < scores.boundary.overall["AP"] < masks.overall["AP"]
    content = scores.as_json()
    assert content.pop("boundary") == scores.boundary.as_json()
    assert content == masks.as_json()
    first, second = str(scores).split("\n\n")
    assert first == str(masks)
    assert second.startswith(
        "Cityscapes protocol, instances, boundary within 2% of the diagonal: 4 images, "
    )


def test_missing_predictions(files):
    split, results = files
    list_of(results, 1).unlink()
    with pytest.raises(UserError, match=rf"no prediction for 1 of 4 images, .* {frame_of(1)}"):
        score_cityscapes_instances(split, results)
    partial = score_cityscapes_instances(split, results, allow_missing=True)
    assert (partial.num_images, partial.num_missing) == (3, 1)
    assert "PARTIAL: 3 of 4 images, 1 have no prediction, " in str(partial)
    partial = score_cityscapes_instances(split, results, allow_missing=True, boundary_ratio=0.005)
    assert str(partial).count("PARTIAL: 3 of 4 images") == 2
    assert partial.as_json()["boundary"]["num_missing"] == 1
    # An empty file is a prediction.
    list_of(results, 1).touch()
    scores = score_cityscapes_instances(split, results)
    assert (scores.num_images, scores.num_missing) == (4, 0)
    assert scores.overall["AP"] < partial.overall["AP"]


def replace_line(line: str):
    return lambda results: list_of(results, 0).write_text(f"../masks/0_0.png 26 0.5\n{line}\n")


def remove_mask(results):
    (results / "masks" / "0_0.png").unlink()


def cut_mask_off(results):
    path = results / "masks" / "0_0.png"
    path.write_bytes(path.read_bytes()[:-20])


LIST = r"aville_000000_000019_pred\.txt: line 2"
BAD_RESULTS = {
    "two fields": (replace_line("../masks/0_1.png 26"), f"{LIST} has 2 fields; a line is"),
    "a space": (replace_line("../masks/0 1.png 26 1"), f"{LIST} has 4 fields; .*without spaces"),
    "score nan": (replace_line("../masks/0_1.png 26 nan"), f"{LIST} has the score nan, which"),
    "score inf": (replace_line("../masks/0_1.png 26 inf"), f"{LIST} has the score inf, which"),
    "score text": (replace_line("../masks/0_1.png 26 high"), f"{LIST} has the score high, which"),
    "label unknown": (
        replace_line("../masks/0_1.png 77 0.5"),
        f"{LIST} has the label id 77, .* 24 to 33",
    ),
    "label text": (replace_line("../masks/0_1.png car 0.5"), f"{LIST} has the label id car, which"),
    "label half": (replace_line("../masks/0_1.png 26.5 0.5"), f"{LIST} has the label id 26.5"),
    "twice": (
        replace_line("../lists/../masks/0_0.png 26 0.5"),
        rf"{LIST} names \.\./lists/\.\./masks/0_0\.png, as line 1 does; an instance has one line",
    ),
    "outside": (
        replace_line("../../gtFine/val/aville/aville_000000_000019_gtFine_instanceIds.png 26 1"),
        f"{LIST} names .*, outside of .*results",
    ),
    "absolute": (replace_line("/etc/passwd 26 1"), f"{LIST} names /etc/passwd; .* be relative"),
    "mask missing": (
        replace_line("../masks/9.png 26 1"),
        rf"{LIST} names the mask .*9\.png, which does not exist",
    ),
    "mask with a long name": (
        replace_line(f"../masks/{'9' * 5000}.png 26 1"),
        rf"{LIST} names the mask .*999\.png, which does not exist",
    ),
    "mask gone": (remove_mask, r"line 1 names the mask .*0_0\.png, which does not exist"),
    "mask cut off": (cut_mask_off, r"masks/0_0\.png is damaged \(it is cut off\); save it again"),
    "mask of another size": (
        lambda results: write_png(
            results / "masks" / "0_0.png", np.zeros((HEIGHT, WIDTH + 1), dtype=np.uint8)
        ),
        rf"the mask .*0_0\.png is {WIDTH + 1} x {HEIGHT}, but .*instanceIds\.png is {WIDTH} x",
    ),
    "mask in colour": (
        lambda results: Image.new("RGB", (WIDTH, HEIGHT)).save(results / "masks" / "0_0.png"),
        r"0_0\.png is a PNG of 8 bits a channel, colour; what is read here are one-channel PNGs of "
        "8 or 16 bits",
    ),
    "mask of 1 bit": (
        lambda results: Image.new("1", (WIDTH, HEIGHT)).save(results / "masks" / "0_0.png"),
        r"0_0\.png is a PNG of 1 bits a channel",
    ),
    "two lists": (
        lambda results: (results / f"{frame_of(0)}.txt").touch(),
        r"aville_000000_000019\.txt and .*lists/aville.*_pred\.txt are both predictions",
    ),
    "no text": (
        lambda results: list_of(results, 0).write_bytes(b"\xff\xfe\0"),
        r"_pred\.txt is no text in UTF-8",
    ),
}


@pytest.mark.parametrize("fault", BAD_RESULTS)
def test_results_that_are_refused(tmp_path, fault):
    scene = Scene()
    scene.instance_ids[box(0, 20, 0, 20)] = CAR * 1000
    for number in range(2):
        scene.predict(box(0, 20, number, 20), CAR, 0.5)
    split, results = write_instances(tmp_path, [scene])
    spoil, message = BAD_RESULTS[fault]
    spoil(results)
    with pytest.raises(UserError, match=message):
        score_cityscapes_instances(split, results)


def test_ground_truth_that_is_refused(files):
    split, results = files
    path = split / "aville" / f"{frame_of(0)}_gtFine_instanceIds.png"
    write_png(path, np.full((HEIGHT, WIDTH), 40001, dtype=np.uint16))
    with pytest.raises(UserError, match=rf"{re.escape(path.name)}: .*label id 40 in the ground tr"):
        score_cityscapes_instances(split, results)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    with pytest.raises(UserError, match=f"{re.escape(path.name)} is a PNG of .*, colour; what"):
        score_cityscapes_instances(split, results)
    with pytest.raises(UserError, match="no ground truth"):
        score_cityscapes_instances(split / "aville", results)
