"""What was found in files is found again, until they change."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from segtron.data import cityscapes, record_cache
from segtron.data.cityscapes import load_instances, load_panoptic, load_sem_seg
from segtron.data.record_cache import remember
from segtron.data.toytown import make_toytown


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is kept, also of small data sets."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(record_cache, "FEWEST_FILES", 1)
    return tmp_path / "cache" / "segtron" / "dataset-dicts"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "data" / f"{name}.png" for name in "abc"]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text(path.stem)
    return paths


class Finder:
    """Finds something else each time."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> list[Any]:
        self.times += 1
        return [[self.times, "é", None], {"x": 1.5}, True]


def found_by(finder: Finder, files: list[Path], name: str = "set") -> Any:
    return remember(name, files[0].parent, files, finder)[0][0]


def test_found_once(files: list[Path], cache: Path) -> None:
    finder = Finder()
    first = remember("set", files[0].parent, files, finder)
    assert remember("set", files[0].parent, files, finder) == first == Finder()()
    assert finder.times == 1
    assert [path.suffix for path in sorted(cache.iterdir())] == [".json", ".lock"]


def test_a_change_is_seen(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    finder = Finder()
    assert found_by(finder, files) == 1
    before = files[1].stat()
    files[1].write_text("longer")
    os.utime(files[1], ns=(0, before.st_mtime_ns))
    assert found_by(finder, files) == 2  # by its size
    os.utime(files[1], ns=(0, before.st_mtime_ns + 1))
    assert found_by(finder, files) == 3  # by its time
    assert found_by(finder, files[:2]) == 4
    assert found_by(finder, files[::-1]) == 5
    files[0].rename(files[0].with_name("d.png"))
    assert found_by(finder, [files[0].with_name("d.png"), *files[1:]]) == 6
    monkeypatch.setattr(record_cache, "_FORMAT", "segtron dataset dicts 0")
    assert found_by(finder, files[1:]) == 7


def test_other_sets_are_apart(files: list[Path], tmp_path: Path) -> None:
    finder = Finder()
    assert found_by(finder, files) == 1
    assert found_by(finder, files, "other") == 2
    assert remember("set", tmp_path, files, finder)[0][0] == 3
    assert [found_by(finder, files), found_by(finder, files, "other")] == [1, 2]


@pytest.mark.parametrize("damage", ["", "x", "{}\n[]", "cut", "changed", "[" * 100000])
def test_what_is_damaged_is_made_again(files: list[Path], cache: Path, damage: str) -> None:
    finder = Finder()
    found_by(finder, files)
    (kept,) = cache.glob("*.json")
    content = kept.read_text()
    damaged = {"cut": content[:-3], "changed": content.replace("1.5", "2.5")}.get(damage, damage)
    kept.write_text(damaged)
    assert found_by(finder, files) == 2
    assert found_by(finder, files) == 2
    head, body = kept.read_text().split("\n")
    assert json.loads(body)[0][0] == 2 and json.loads(head)["format"]


def test_small_sets_are_not_kept(
    files: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_cache, "FEWEST_FILES", 4)
    finder = Finder()
    assert [found_by(finder, files), found_by(finder, files)] == [1, 2]
    assert not cache.exists()


def test_where_nothing_can_be_written_all_is_found_anew(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = Finder()
    (tmp_path / "cache").write_text("a file, not a folder")
    assert [found_by(finder, files), found_by(finder, files)] == [1, 2]
    monkeypatch.delenv("XDG_CACHE_HOME")

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert found_by(finder, files) == 3


def find_slowly(files: list[Path], results: Any) -> None:
    record_cache.FEWEST_FILES = 1

    def find() -> list[Any]:
        time.sleep(0.2)
        return [os.getpid()]

    results.put(remember("set", files[0].parent, files, find)[0])


@pytest.mark.skipif(record_cache.fcntl is None, reason="no locks")
def test_of_several_processes_one_finds(files: list[Path]) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=find_slowly, args=(files, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(found) == 1


@pytest.mark.parametrize("load", [load_instances, load_sem_seg, load_panoptic])
def test_dicts_are_the_same(tmp_path: Path, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "toytown"
    make_toytown(root, train=3, val=1, size=(96, 192), seed=1, workers=1, progress=False)
    first = load(root, "train")
    monkeypatch.setattr(cityscapes, "read_ids", None)
    monkeypatch.setattr(cityscapes, "read_image_size", None)
    monkeypatch.setattr(cityscapes.InstanceIds, "read", None)
    assert load(root, "train") == first
    # By another way to the same place the dicts have that way's names.
    monkeypatch.chdir(tmp_path)
    (record, *_) = load(Path("toytown"), "train")
    assert record["file_name"].startswith("toytown/leftImg8bit/train/")
    assert record["height"] == first[0]["height"]
    assert record.get("annotations") == first[0].get("annotations")


def test_labels_made_later_are_taken(tmp_path: Path) -> None:
    root = tmp_path / "toytown"
    make_toytown(root, train=1, val=1, size=(96, 192), seed=1, workers=1, progress=False)
    assert load_sem_seg(root, "val")[0]["sem_seg_file_name"].endswith("_labelIds.png")
    (labels,) = (root / "gtFine" / "val").glob("*/*_labelIds.png")
    labels.with_name(labels.name.replace("labelIds", "labelTrainIds")).write_bytes(b"")
    assert load_sem_seg(root, "val")[0]["sem_seg_file_name"].endswith("_labelTrainIds.png")
