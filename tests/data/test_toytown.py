"""Toytown: the same bytes from the same seed, Cityscapes' layout, and every case a scorer meets."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.helpers.labels import id2label, labels, name2label
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from cityscapesscripts.preparation.json2labelImg import createLabelImage

from segtron.data.toytown import make_toytown, writer
from segtron.data.toytown.scene import make_scene
from segtron.errors import UserError

TRAIN, VAL = 12, 3
SIZE = (128, 256)
EVALUATED = [label for label in labels if label.hasInstances and not label.ignoreInEval]
COMMAND = Path(__file__).parents[2] / "datasets" / "make_toytown.py"


def make(root: Path, **changes) -> Path:
    settings = {"train": 2, "val": 1, "size": (64, 128), "seed": 3, "progress": False}
    make_toytown(root, **(settings | changes))
    return root


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def toytown(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("data") / "toytown", train=TRAIN, val=VAL, size=SIZE)


@pytest.fixture(scope="module")
def default_scenes() -> list:
    """The first scenes of the default training set."""
    return [make_scene(0, 0, index, (256, 512)) for index in range(12)]


def id_maps(root: Path) -> list[tuple[Path, np.ndarray]]:
    paths = sorted((root / "gtFine").glob("*/*/*_instanceIds.png"))
    return [(path, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for path in paths]


def sibling(path: Path, kind: str) -> Path:
    return path.with_name(path.name.replace("instanceIds.png", kind))


def official(path: Path) -> Annotation:
    annotation = Annotation()
    annotation.fromJsonFile(str(sibling(path, "polygons.json")))
    return annotation


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(tmp_path):
    one = digests(make(tmp_path / "one", train=5, workers=1))
    assert digests(make(tmp_path / "two", train=5, workers=2)) == one
    assert digests(make(tmp_path / "other", train=5, seed=4)) != one


def test_a_scene_depends_on_seed_split_and_index_only(tmp_path):
    few = digests(make(tmp_path / "few", train=1))
    many = digests(make(tmp_path / "many", train=4))
    scenes = {name for name in few if name.endswith(".png")}
    assert len(scenes) == 2 * 4
    assert all(many[name] == few[name] for name in scenes)
    assert not np.array_equal(
        make_scene(0, 0, 0, (64, 128)).image, make_scene(0, 1, 0, (64, 128)).image
    )


def test_files_lie_as_cityscapes_does(toytown):
    cities = {}
    for split, count in (("train", TRAIN), ("val", VAL)):
        images = sorted((toytown / "leftImg8bit" / split).glob("*/*.png"))
        assert len(images) == count
        cities[split] = {path.parent.name for path in images}
        for path in images:
            city, sequence, frame, kind = path.stem.split("_")
            assert city == path.parent.name
            assert (len(sequence), len(frame), kind) == (6, 6, "leftImg8bit")
            stem = path.stem.removesuffix("leftImg8bit")
            truth = toytown / "gtFine" / split / city
            kinds = ("polygons.json", "instanceIds.png", "labelIds.png", "color.png")
            assert all((truth / f"{stem}gtFine_{kind}").is_file() for kind in kinds)
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert image.shape == (*SIZE, 3)
            assert image.dtype == np.uint8
            assert image.std() > 15
    assert len(list((toytown / "gtFine").rglob("*.*"))) == 4 * (TRAIN + VAL)
    assert not cities["train"] & cities["val"]


def test_ids_follow_the_rules(toytown):
    for path, ids in id_maps(toytown):
        assert ids.dtype == np.uint16
        assert ids.shape == SIZE
        present = np.unique(ids)
        assert set(np.where(present >= 1000, present // 1000, present)) <= set(id2label)
        for label in labels:
            numbers = sorted(int(i) % 1000 for i in present if i >= 1000 and i // 1000 == label.id)
            assert numbers == list(range(len(numbers)))
            assert label.hasInstances or not numbers
        label_ids = cv2.imread(str(sibling(path, "labelIds.png")), cv2.IMREAD_UNCHANGED)
        assert label_ids.dtype == np.uint8
        assert np.array_equal(label_ids, np.where(ids >= 1000, ids // 1000, ids))


def test_the_official_scripts_draw_the_same_labels_from_the_polygons(toytown):
    for path, ids in id_maps(toytown):
        annotation = official(path)
        assert (annotation.imgHeight, annotation.imgWidth) == SIZE
        assert np.array_equal(np.array(createInstanceImage(annotation, "ids")), ids)
        label_ids = cv2.imread(str(sibling(path, "labelIds.png")), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(np.array(createLabelImage(annotation, "ids")), label_ids)
        color = cv2.imread(str(sibling(path, "color.png")), cv2.IMREAD_UNCHANGED)
        rgba = cv2.cvtColor(color, cv2.COLOR_BGRA2RGBA)
        assert np.array_equal(np.array(createLabelImage(annotation, "color")), rgba)


def test_labels_lie_on_what_is_seen(default_scenes):
    """The sky is brighter than what stands before it, along the labels' own border."""
    inside, outside = [], []
    for scene in default_scenes:
        sky = (scene.instance_ids == name2label["sky"].id).astype(np.uint8)
        grey = scene.image.mean(axis=2)
        ring = cv2.dilate(sky, np.ones((5, 5))) - sky
        inside.append(grey[cv2.erode(sky, np.ones((5, 5))) < sky].mean())
        outside.append(grey[ring > 0].mean())
    assert np.mean(inside) > np.mean(outside) + 20


def test_every_case_is_in_the_default_sample(default_scenes):
    seen = dict.fromkeys(("split", "cut", "tiny", "large", "crowd", "void", "absent"), 0)
    stuff: set[int] = set()
    things: set[int] = set()
    counts = []
    for scene in default_scenes:
        ids = scene.instance_ids
        present = [int(i) for i in np.unique(ids)]
        stuff |= {i for i in present if i < 1000 and not id2label[i].hasInstances}
        seen["crowd"] += any(i < 1000 and id2label[i].hasInstances for i in present)
        seen["void"] += any(i < 1000 and id2label[i].category == "void" for i in present)
        instances = [i for i in present if i >= 1000 and not id2label[i // 1000].ignoreInEval]
        counts.append(len(instances))
        classes = {i // 1000 for i in instances}
        things |= classes
        seen["absent"] += len(classes) < len(EVALUATED)
        for i in instances:
            mask = (ids == i).astype(np.uint8)
            seen["split"] += cv2.connectedComponents(mask)[0] > 2
            seen["cut"] += bool(mask[:, [0, -1]].any() or mask[[0, -1]].any())
            seen["tiny"] += int(mask.sum()) < 16 * 16
            seen["large"] += int(mask.sum()) > 96 * 96
    assert all(seen.values()), seen
    assert len(stuff) >= 12
    assert things == {label.id for label in EVALUATED}
    assert 5 <= np.mean(counts) <= 9


def test_groups_plates_and_classes_without_evaluation_occur():
    wanted = {"persongroup", "bicyclegroup", "cargroup", "license plate", "caravan"}
    for index in range(200):
        wanted -= {
            annotation.label for annotation in make_scene(0, 0, index, (64, 128)).annotations
        }
        if not wanted:
            break
    assert not wanted


@pytest.mark.parametrize("size", [(64, 64), (64, 200), (150, 101)])
def test_any_size_keeps_its_shape(size):
    scene = make_scene(1, 0, 0, size)
    assert scene.image.shape == (*size, 3)
    assert scene.instance_ids.shape == size


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def fail(job):
        calls.append(job)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_write_scene", fail)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "toytown")
    assert list(tmp_path.iterdir()) == []


def test_the_loser_of_a_race_accepts_the_winner(tmp_path, monkeypatch):
    root, write = tmp_path / "toytown", writer._write_scenes
    winner = digests(make(tmp_path / "winner"))

    def write_while_another_wins(*arguments):
        write(*arguments)
        (tmp_path / "winner").rename(root)

    monkeypatch.setattr(writer, "_write_scenes", write_while_another_wins)
    make(root)
    assert digests(root) == winner
    assert list(tmp_path.iterdir()) == [root]
    make(root)  # what is asked for is there: nothing to do
    assert digests(root) == winner


def test_other_data_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    root, write = tmp_path / "toytown", writer._write_scenes

    def write_while_another_wins(*arguments):
        write(*arguments)
        root.mkdir()
        (root / "precious").touch()

    monkeypatch.setattr(writer, "_write_scenes", write_while_another_wins)
    with pytest.raises(UserError, match="appeared"):
        make(root)
    assert [path.name for path in tmp_path.rglob("*")] == ["toytown", "precious"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "toytown").mkdir()
    assert json.loads((make(tmp_path / "toytown") / "toytown.json").read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": -1}, "-1"),
        ({"train": 0, "val": 0}, "at least one"),
        ({"size": (10, 128)}, "10 128"),
        ({"size": (64, 640)}, "64 640"),
        ({"seed": -5}, "-5"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        make(tmp_path / "toytown", **changes)
    assert list(tmp_path.iterdir()) == []


def load_command():
    spec = importlib.util.spec_from_file_location("make_toytown_command", COMMAND)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_line_makes_what_was_asked_for(tmp_path, capsys):
    out = tmp_path / "toytown"
    load_command().main(
        [str(out), "--train", "2", "--val", "1", "--size", "64", "128", "--seed", "3"]
    )
    assert str(out) in capsys.readouterr().out
    assert digests(out) == digests(make(tmp_path / "same"))


def test_command_line_refuses_a_folder_in_use(tmp_path):
    (tmp_path / "precious").touch()
    command = [sys.executable, str(COMMAND), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert str(tmp_path) in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_command_line_help_has_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        load_command().main(["--help"])
    assert "Example:\n  python datasets/make_toytown.py" in capsys.readouterr().out
