"""How often an epoch shows each image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from detectron2.config import CfgNode

from segtron.config.defaults import get_default_config
from segtron.data.repeat_factors import build_repeat_factors
from segtron.errors import UserError


def config(sampler: str, **values: Any) -> CfgNode:
    cfg = get_default_config()
    cfg.DATALOADER.SAMPLER_TRAIN = sampler
    for key, value in values.items():
        cfg.DATALOADER[key] = value
    return cfg


def records_with(*classes: list[int]) -> list[dict[str, Any]]:
    return [{"annotations": [{"category_id": c} for c in image]} for image in classes]


def test_each_image_once() -> None:
    factors = build_repeat_factors(config("TrainingSampler"), records_with([], [1], [2, 2]), 0)
    assert factors.dtype == np.float64
    assert factors.tolist() == [1, 1, 1]


def test_images_of_rare_classes_come_more_often() -> None:
    # Class 0 is in all 4 images, class 1 in two, class 2 in one. Threshold 1: class 1 is worth
    # sqrt(1 / 0.5), class 2 sqrt(1 / 0.25) = 2.
    records = records_with([0], [0, 0, 1], [1, 2, 0], [0])
    cfg = config("RepeatFactorTrainingSampler", REPEAT_THRESHOLD=1.0)
    assert build_repeat_factors(cfg, records, 0) == pytest.approx([1, 2**0.5, 2, 1])
    cfg = config("RepeatFactorTrainingSampler", REPEAT_THRESHOLD=1.0, REPEAT_SQRT=False)
    assert build_repeat_factors(cfg, records, 0) == pytest.approx([1, 2, 4, 1])
    # Its default, 0, repeats nothing.
    assert build_repeat_factors(config("RepeatFactorTrainingSampler"), records, 0).tolist() == [
        1,
        1,
        1,
        1,
    ]


def test_things_of_panoptic_sets_count_in_the_numbers_of_instances() -> None:
    tree = {"isthing": 0, "category_id": 0}
    dog = {"isthing": 1, "category_id": 5, "thing_category_id": 1}
    panoptic = [{"segments_info": [tree]}, {"segments_info": [tree, dog]}]
    cfg = config("RepeatFactorTrainingSampler", REPEAT_THRESHOLD=1.0, REPEAT_SQRT=False)
    factors = build_repeat_factors(cfg, [*panoptic, *records_with([1], [])], 0)
    assert factors == pytest.approx([1, 2, 2, 1])


def test_semantic_sets_have_nothing_to_go_by() -> None:
    records = [{"file_name": "a.png", "sem_seg_file_name": "a_mask.png"}]
    with pytest.raises(UserError, match=r"goes by the classes of instances, and image a\.png has"):
        build_repeat_factors(config("RepeatFactorTrainingSampler"), records, 0)


def test_a_subset_is_drawn_from_the_seed() -> None:
    records = records_with(*[[0]] * 40)
    cfg = config("RandomSubsetTrainingSampler", RANDOM_SUBSET_RATIO=0.3)
    subsets = [tuple(build_repeat_factors(cfg, records, seed).tolist()) for seed in range(20)]
    assert all(sorted(subset) == [0.0] * 28 + [1.0] * 12 for subset in subsets)
    assert len(set(subsets)) == 20
    assert tuple(build_repeat_factors(cfg, records, 7).tolist()) == subsets[7]


@pytest.mark.parametrize("ratio", [0.0, 0.2, 1.1, -1.0])
def test_a_subset_has_an_image_at_least(ratio: float) -> None:
    cfg = config("RandomSubsetTrainingSampler", RANDOM_SUBSET_RATIO=ratio)
    with pytest.raises(UserError, match=rf"RANDOM_SUBSET_RATIO is {ratio}; of 4 images"):
        build_repeat_factors(cfg, records_with([0], [0], [0], [0]), 0)
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 1.0
    assert build_repeat_factors(cfg, records_with([0], [0]), 0).tolist() == [1, 1]


def test_an_unknown_sampler_is_named() -> None:
    with pytest.raises(UserError, match="SAMPLER_TRAIN is 'Sampler'; it must be one of Training"):
        build_repeat_factors(config("Sampler"), records_with([0]), 0)
