"""Samples whose images are mixed: partners, seeds, unreadable files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode

from segtron.config import get_default_config
from segtron.data import SegmentationMapper
from segtron.data.mixing import MixedSamples, Mixer, build_mixer
from segtron.data.mixing.partners import Partners
from segtron.data.training_loader import TrainLoader
from segtron.data.training_stream import ProcessBatches, TrainingStream
from segtron.errors import UnreadableFileError, UserError

from ..painted_scenes import paint_scenes

CLASSES = {"sem_seg_file_name": "b.png"}
INSTANCES: dict[str, Any] = {"annotations": []}


def test_partners_have_the_same_kinds_of_labels() -> None:
    records = [CLASSES, INSTANCES, CLASSES | INSTANCES, INSTANCES, {}, INSTANCES]
    partners = Partners(records, np.ones(6))
    np.random.seed(0)
    drawn = [{partners.draw(i) for _ in range(60)} for i in range(6)]
    assert drawn == [{0}, {1, 3, 5}, {2}, {1, 3, 5}, {4}, {1, 3, 5}]


def test_partners_come_as_often_as_images_do_and_none_that_is_left_out() -> None:
    partners = Partners([CLASSES] * 4, np.array([2.0, 0.0, 6.0, 0.0]))
    np.random.seed(0)
    counts = np.bincount([partners.draw(1) for _ in range(4000)], minlength=4)
    assert counts[1] == counts[3] == 0
    assert 2.7 < counts[2] / counts[0] < 3.3


def test_a_mixer_is_made_where_it_is_asked_for() -> None:
    cfg = get_default_config()
    assert build_mixer(cfg) is None
    cfg.INPUT.MOSAIC.PROB = 0.1
    assert isinstance(build_mixer(cfg), Mixer)


def test_chances_and_sizes() -> None:
    asked: list[Any] = []

    def map_to(name: str) -> Any:
        def map_one(size: tuple[int, int] | None) -> dict[str, Any]:
            asked.append((name, size))
            shape = size or (30, 20)
            image = torch.zeros((3, *shape), dtype=torch.uint8)
            return {"image": image, "sem_seg": torch.zeros(shape, dtype=torch.int64)}

        return map_one

    np.random.seed(0)
    mixer = Mixer(mosaic_prob=0.3, mosaic_size=(40, 50), copy_paste_prob=0.6)
    kinds = []
    for _ in range(300):
        asked.clear()
        mixed = mixer.mix(map_to("first"), map_to("partner"))
        names, sizes = zip(*asked, strict=True)
        assert names[0] == "first" and set(names[1:]) <= {"partner"}
        shape = tuple(mixed["image"].shape[1:])
        assert shape == ((30, 20) if sizes[0] is None else (40, 50))
        if len(asked) % 2 == 0 and len(asked) != 4:
            assert sizes[-1] == shape  # what is pasted is as large
        kinds.append(len(asked) - (1 if len(asked) in (2, 5) else 0))
    mosaics = sum(kind == 4 for kind in kinds)
    assert 65 < mosaics < 115


def config(**prob: float) -> CfgNode:
    cfg = get_default_config()
    cfg.MODEL.MASK_ON, cfg.INPUT.MIN_SIZE_TRAIN = True, (60,)
    cfg.INPUT.MOSAIC.SIZE = [50, 60]
    cfg.INPUT.COPY_PASTE.PROB = prob.get("paste", 0.0)
    cfg.INPUT.MOSAIC.PROB = prob.get("mosaic", 0.0)
    return cfg


def loader(
    cfg: CfgNode, records: list[dict[str, Any]], *, skip: bool = False, workers: int = 0
) -> TrainLoader:
    stream = TrainingStream(np.ones(len(records)), 2, 4)
    samples = MixedSamples(
        records,
        SegmentationMapper(cfg),
        workers,
        mixer=build_mixer(cfg),
        partners=Partners(records, np.ones(len(records))),
        stream=stream,
        seed=4,
        skip_unreadable=skip,
    )
    return TrainLoader(samples, ProcessBatches(stream, 0, 2))


def first(batches: TrainLoader, number: int) -> list[bytes]:
    found = []
    for _, batch in zip(range(number), batches, strict=False):
        found += [image["image"].numpy().tobytes() for image in batch]
    return found


def test_samples_are_functions_of_seed_and_position(tmp_path: Path) -> None:
    records = [scene.records["panoptic"] for scene in paint_scenes(tmp_path, 5)]
    cfg = config(paste=0.5, mosaic=0.5)
    expected = first(loader(cfg, records), 6)
    assert len(set(expected)) == 12
    assert first(loader(cfg, records), 6) == expected
    assert first(loader(cfg, records, workers=2), 6) == expected
    # One sample alone, without those before.
    batches = loader(cfg, records)
    samples = batches.dataset
    (later,) = [b for i, b in zip(range(5), batches.batch_sampler, strict=False) if i == 4]
    assert samples[later[1]]["image"].numpy().tobytes() == expected[9]


def test_a_partner_that_cannot_be_read_is_named_or_skipped(tmp_path: Path) -> None:
    records = [scene.records["instances"] for scene in paint_scenes(tmp_path, 4)]
    broken = records[2]["file_name"]
    Path(broken).write_bytes(b"no image")
    cfg = config(mosaic=1.0)
    with pytest.raises(UnreadableFileError, match="scene 2.png"):
        first(loader(cfg, records), 4)
    batches = loader(cfg, records, skip=True)
    expected = first(batches, 8)
    # Two of sixteen images at least, and some of 48 partners.
    assert set(batches.skipped) == {broken}
    assert batches.skipped[broken] > 4
    assert first(loader(cfg, records, skip=True), 8) == expected


def test_an_image_is_its_own_partner_where_no_other_can_be_read(tmp_path: Path) -> None:
    records = [scene.records["semantic"] for scene in paint_scenes(tmp_path, 3)]
    for record in records[1:]:
        Path(record["file_name"]).write_bytes(b"")
    samples = loader(config(mosaic=1.0), records, skip=True).dataset
    samples._partners = Partners([CLASSES] * 3, np.array([0.0, 1.0, 1.0]))
    assert samples.map_record(0)["image"].shape == (3, 50, 60)
    assert set(samples._unreadable) == {record["file_name"] for record in records[1:]}


@pytest.mark.parametrize("prob", [{"paste": 1.0}, {"mosaic": 1.0}])
def test_instances_without_masks_are_a_sentence(tmp_path: Path, prob: dict[str, float]) -> None:
    (scene,) = paint_scenes(tmp_path, 1)
    record = scene.records["instances"]
    boxes = [{k: v for k, v in a.items() if k != "segmentation"} for a in record["annotations"]]
    samples = loader(config(**prob), [record | {"annotations": boxes}]).dataset
    with pytest.raises(UserError, match="without masks|has no mask"):
        samples.map_record(0)


def test_models_without_masks_are_fed_tight_boxes(tmp_path: Path) -> None:
    records = [scene.records["instances"] for scene in paint_scenes(tmp_path, 3)]
    cfg = config(paste=1.0)
    cfg.MODEL.MASK_ON = False
    fed = loader(cfg, records).dataset.map_record(0)["instances"]
    tight = fed.gt_masks.get_bounding_boxes().tensor
    assert len(fed) > 2 and fed.gt_boxes.tensor.equal(tight)
