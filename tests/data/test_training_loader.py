"""Batches of a training: the same to the last bit however they are read, and with files missing."""

from __future__ import annotations

import itertools
import json
import logging
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from PIL import Image

from segtron.config import load_config
from segtron.data import SegmentationMapper, build_test_loader, build_train_loader, loaders
from segtron.errors import UnreadableFileError, UserError

Batch = list[dict[str, Any]]

# Five wide images, three high ones, a square one, each named by its place.
SIZES = [(40, 24), (24, 40), (48, 32), (30, 30), (40, 30), (24, 36), (36, 20), (44, 30), (20, 40)]
HIGH = {1, 3, 5, 8}
CONFIG = """
DATASETS: {REGISTER: [%s], TRAIN: [%s], TEST: [%s]}
INPUT:
  MIN_SIZE_TRAIN: [20, 24, 28, 32]
  MAX_SIZE_TRAIN: 64
  CROP: {ENABLED: True, TYPE: relative_range, SIZE: [0.6, 0.6]}
  COLOR_AUG_SSD: True
  VERTICAL_FLIP_PROB: 0.5
DATALOADER: {NUM_WORKERS: 0, REPEAT_THRESHOLD: 1.0}
SOLVER: {IMS_PER_BATCH: 4}
SEED: 6
"""


def encode_square(height: int, width: int) -> dict[str, Any]:
    """The run-length encoding of rows and columns 2 to 15: crops of polygons need shapely."""
    rows = [0] * 2 + [1] * 14 + [0] * (height - 16)
    pixels = [0] * 2 * height + rows * 14 + [0] * (width - 16) * height
    counts = [len(list(run)) for _, run in itertools.groupby(pixels)]
    return {"size": [height, width], "counts": counts}


def make_set(folder: Path, name: str) -> Path:
    """A small COCO set with a rare class; returns its config."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for index, (width, height) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "width": width, "height": height})
        annotations.append(
            {
                "id": index + 1,
                "image_id": index,
                "category_id": 2 if index in (2, 5) else 1,
                "bbox": [2, 2, 14, 14],
                "area": 196,
                "iscrowd": 0,
                "segmentation": encode_square(height, width),
            }
        )
    categories = [{"id": 1, "name": "often"}, {"id": 2, "name": "rarely"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "gt.json").write_text(json.dumps(content))
    entry = f"{{name: {name}, type: coco_instance, json: gt.json, images: images}}"
    (folder / "config.yaml").write_text(CONFIG % (entry, name, name))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a set that no test changes."""
    return make_set(tmp_path_factory.mktemp("training_loader"), "training_loader_whole")


@pytest.fixture
def config_to_break(tmp_path: Path) -> Path:
    """The config of a set whose images a test may break."""
    return make_set(tmp_path / "set", f"training_loader_{tmp_path.name}")


def configure(path: Path, **dataloader: Any) -> CfgNode:
    """A config with other DATALOADER keys."""
    cfg = load_config(path).clone()
    cfg.defrost()
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.7
    for key, value in dataloader.items():
        cfg.DATALOADER[key] = value
    cfg.freeze()
    return cfg


def take(cfg: CfgNode, count: int, **kwargs: Any) -> list[Batch]:
    """The first batches of a loader, whose processes end then."""
    return list(itertools.islice(build_train_loader(cfg, **kwargs), count))


def numbers(batch: Batch) -> list[int]:
    """Which images a batch has."""
    return [int(Path(image["file_name"]).stem) for image in batch]


def are_same(first: Any, second: Any) -> bool:
    """Whether two images, or lists of them, are the same to the last bit."""
    if isinstance(first, list):
        return len(first) == len(second) and all(map(are_same, first, second))
    a, b = first["instances"], second["instances"]
    return (
        first.keys() == second.keys()
        and first["file_name"] == second["file_name"]
        and torch.equal(first["image"], second["image"])
        and a.image_size == b.image_size
        and torch.equal(a.gt_boxes.tensor, b.gt_boxes.tensor)
        and torch.equal(a.gt_classes, b.gt_classes)
        and torch.equal(a.gt_masks.tensor, b.gt_masks.tensor)
    )


@pytest.mark.parametrize("is_grouped", [True, False])
@pytest.mark.parametrize(
    "sampler", ["TrainingSampler", "RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler"]
)
def test_starting_later_gives_the_same_to_the_last_bit(
    config_file: Path, sampler: str, is_grouped: bool
) -> None:
    keys = {"SAMPLER_TRAIN": sampler, "ASPECT_RATIO_GROUPING": is_grouped}
    whole = take(configure(config_file, **keys), 11)
    for num_workers, first in ((0, 7), (1, 1), (2, 0), (2, 7), (3, 7)):
        cfg = configure(config_file, **keys, NUM_WORKERS=num_workers)
        # More batches than are read ahead.
        assert are_same(take(cfg, 4, first_batch=first), whole[first : first + 4])
    assert not are_same(whole[:4], whole[1:5])
    if is_grouped:
        assert all(len({n in HIGH for n in numbers(batch)}) == 1 for batch in whole)


def test_an_epoch_shows_each_image_once_and_each_time_another_way(config_file: Path) -> None:
    batches = take(configure(config_file, ASPECT_RATIO_GROUPING=False), 18)
    samples = list(itertools.chain.from_iterable(batches))
    for start in range(0, 72, 9):
        assert sorted(numbers(samples[start : start + 9])) == list(range(9))
    of_one = [sample for sample in samples if numbers([sample]) == [4]]
    pairs = itertools.combinations(of_one, 2)
    assert not any(are_same(first, second) for first, second in pairs)


def test_grouped_or_not_a_sample_is_the_same(config_file: Path) -> None:
    # Its position is that in the order, not that in a batch.
    found = {}
    for is_grouped in (True, False):
        batches = take(configure(config_file, ASPECT_RATIO_GROUPING=is_grouped), 9)
        first = {}
        for sample in itertools.chain.from_iterable(batches):
            first.setdefault(sample["file_name"], sample)
        found[is_grouped] = [first[name] for name in sorted(first)]
    assert are_same(found[True], found[False])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_two_processes_share_what_one_gets(
    config_file: Path, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = configure(config_file, NUM_WORKERS=num_workers)
    alone = take(cfg, 6, seed=2, first_batch=3)
    monkeypatch.setattr(loaders.comm, "get_world_size", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(loaders.comm, "get_rank", lambda rank=rank: rank)
        shares.append(take(cfg, 6, seed=2, first_batch=3))
    assert all(len(batch) == 2 for share in shares for batch in share)
    assert are_same([a + b for a, b in zip(*shares, strict=True)], alone)


def test_the_seed_is_the_configs_unless_one_is_given(config_file: Path) -> None:
    cfg = configure(config_file)
    assert are_same(take(cfg, 3), take(cfg, 3, seed=6))
    assert not are_same(take(cfg, 3), take(cfg, 3, seed=7))
    cfg = load_config(config_file, ("SEED", "-1"))
    np.random.seed(1)  # from which Detectron2 draws
    drawn = [take(cfg, 3), take(cfg, 3)]
    assert not are_same(*drawn)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_trainings_own_random_numbers_stay_as_they_are(
    config_file: Path, num_workers: int
) -> None:
    cfg = configure(config_file, NUM_WORKERS=num_workers)

    def draw() -> tuple[float, float, float]:
        return float(np.random.rand()), random.random(), float(torch.rand(()))

    def seed() -> None:
        np.random.seed(3)
        random.seed(3)
        torch.manual_seed(3)

    seed()
    expected = [draw() for _ in range(4)]
    seed()
    batches = iter(build_train_loader(cfg))
    drawn = []
    for _ in range(3):
        drawn.append(draw())
        next(batches)
    assert [*drawn, draw()] == expected


def break_images(config: Path, *indices: int) -> None:
    """Leave the first half of the files, which Pillow opens and can't decode."""
    for index in indices:
        path = config.parent / "images" / f"{index}.png"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_image_ends_the_training(config_to_break: Path, num_workers: int) -> None:
    break_images(config_to_break, 4)
    with pytest.raises(UnreadableFileError) as caught:
        take(configure(config_to_break, NUM_WORKERS=num_workers), 9)
    said = str(caught.value)
    assert said.startswith(f"image {config_to_break.parent}/images/4.png cannot be read (")
    assert said.endswith("; restore or remove it")
    assert "\n" not in said


def skipping(config: Path, **keys: Any) -> CfgNode:
    return configure(config, SKIP_UNREADABLE=True, **keys)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_another_image_takes_the_place_of_an_unreadable_one(
    config_to_break: Path, num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    before = take(configure(config_to_break), 20)
    break_images(config_to_break, 4, 8)
    logging.getLogger("segtron").propagate = True
    train_loader = build_train_loader(skipping(config_to_break, NUM_WORKERS=num_workers))
    batches = list(itertools.islice(train_loader, 20))
    replaced: dict[int, list[int]] = {4: [], 8: []}
    for batch, original in zip(batches, before, strict=True):
        for image, expected in zip(batch, original, strict=True):
            (old,), (new,) = numbers([expected]), numbers([image])
            if old in replaced:
                replaced[old].append(new)
            else:
                assert are_same(image, expected)
    # Wide ones for a wide one, high ones for a high one; and not always the same one.
    assert set(replaced[4]) <= {0, 2, 6, 7}
    assert set(replaced[8]) <= {1, 3, 5}
    assert len(set(replaced[4])) > 1
    counts = {int(Path(name).stem): count for name, count in train_loader.skipped.items()}
    # A broken one may be drawn for another broken one, never within one group here.
    assert counts == {index: len(others) for index, others in replaced.items()}
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert sorted(w.split(" cannot be read")[0] for w in warnings) == [
        f"Another image takes the place of an unreadable one: image {path}"
        for path in sorted(train_loader.skipped)
    ]


def test_replacements_do_not_depend_on_how_they_are_read(config_to_break: Path) -> None:
    break_images(config_to_break, 0, 1, 4)
    whole = take(skipping(config_to_break), 12)
    for num_workers in (0, 1, 3):
        cfg = skipping(config_to_break, NUM_WORKERS=num_workers)
        assert are_same(take(cfg, 5, first_batch=7), whole[7:])


def test_when_a_whole_group_is_unreadable_the_other_one_steps_in(config_to_break: Path) -> None:
    break_images(config_to_break, *HIGH)
    batches = take(skipping(config_to_break), 12)
    assert {n for batch in batches for n in numbers(batch)} == {0, 2, 4, 6, 7}


def test_images_outside_the_subset_replace_none(config_to_break: Path) -> None:
    subset = {"SAMPLER_TRAIN": "RandomSubsetTrainingSampler", "ASPECT_RATIO_GROUPING": False}
    chosen = {n for b in take(configure(config_to_break, **subset), 12) for n in numbers(b)}
    assert len(chosen) == 6
    broken = sorted(chosen)[:3]
    break_images(config_to_break, *broken)
    found = {n for b in take(skipping(config_to_break, **subset), 12) for n in numbers(b)}
    assert found == chosen - set(broken)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_set_of_unreadable_images_ends_the_training(
    config_to_break: Path, num_workers: int
) -> None:
    break_images(config_to_break, *range(9))
    said = r"^none of the 9 training images can be read: image .*\.png cannot be read \(.*remove it"
    with pytest.raises(UserError, match=said):
        take(skipping(config_to_break, NUM_WORKERS=num_workers), 1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_of_another_size_than_its_annotations_is_not_skipped(
    config_to_break: Path, num_workers: int
) -> None:
    Image.new("RGB", (24, 40)).save(config_to_break.parent / "images" / "4.png")
    with pytest.raises(UserError, match=r"4\.png is 24 x 40, but its annotations say 40 x 30"):
        take(skipping(config_to_break, NUM_WORKERS=num_workers), 9)


def test_the_file_that_killed_a_process_is_named(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DeadlyMapper(SegmentationMapper):
        def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
            if dataset_dict["file_name"].endswith("/7.png"):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(dataset_dict)

    monkeypatch.setattr(loaders, "SegmentationMapper", DeadlyMapper)
    said = r"ended by SIGKILL while it read .*/images/7\.png; memory has probably run out"
    with pytest.raises(UserError, match=said):
        take(configure(config_file, NUM_WORKERS=2), 9)
    with pytest.raises(UserError, match=said):
        list(build_test_loader(configure(config_file, NUM_WORKERS=2), "training_loader_whole"))


def test_a_loader_can_be_read_again_and_left_at_any_time(config_file: Path) -> None:
    train_loader = build_train_loader(configure(config_file, NUM_WORKERS=2), first_batch=2)
    first, second = iter(train_loader), iter(train_loader)
    read: list[Iterator[Batch]] = [next(first), next(second), next(second)]
    assert are_same(read[0], read[1])
    assert not are_same(read[0], read[2])
    assert len(multiprocessing.active_children()) == 4
    del first
    second.close()
    assert multiprocessing.active_children() == []
