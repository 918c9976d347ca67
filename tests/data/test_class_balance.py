"""Class-balanced sampling, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segtron.config import get_default_config
from segtron.data.class_balance import class_balanced_factors
from segtron.data.repeat_factors import build_repeat_factors
from segtron.errors import UserError


def factors(records: list[dict[str, Any]], most: float = 100.0, **extra: bool) -> list[float]:
    options = {"skip_unreadable": False} | extra
    return class_balanced_factors(records, most, **options).tolist()


def with_instances(*classes: list[int]) -> list[dict[str, Any]]:
    return [{"annotations": [{"category_id": c} for c in image]} for image in classes]


def test_factors_by_hand() -> None:
    # Class 0 is in three images, 1 in two, 2 in one: 1/3 each, 1/2 each, 1.
    records = with_instances([0], [0, 0, 1], [1, 2, 0], [])
    assert factors(records) == pytest.approx([1, (1 / 3 + 1 / 2) * 3, (1 / 3 + 1 / 2 + 1) * 3, 1])
    assert factors(records, most=2.0) == pytest.approx([1, 2, 2, 1])
    assert factors(records, most=1.0) == [1, 1, 1, 1]


def test_classes_that_never_meet_come_up_equally_often() -> None:
    records = with_instances(*[[0]] * 60, *[[1]] * 6, *[[2]] * 3)
    shown = np.array(factors(records))
    assert [shown[:60].sum(), shown[60:66].sum(), shown[66:].sum()] == pytest.approx([60] * 3)


def test_crowds_have_no_class_and_images_without_one_come_once() -> None:
    crowd = {"annotations": [{"category_id": 0, "iscrowd": 1}]}
    assert factors([crowd, *with_instances([0], [0], [1])]) == pytest.approx([1, 1, 1, 2])
    assert factors([crowd, crowd]) == [1, 1]


def test_things_and_stuff_of_panoptic_labels() -> None:
    sky = {"isthing": False, "iscrowd": 0, "category_id": 0}
    dog = {"isthing": True, "iscrowd": 0, "category_id": 5, "thing_category_id": 0}
    records = [{"segments_info": [sky]}, {"segments_info": [sky]}, {"segments_info": [sky, dog]}]
    assert factors(records) == pytest.approx([1, 1, (1 / 3 + 1) * 3])
    # The dog of a set of instances is the same class; the sky, which has its number, is not.
    records += with_instances([0])
    assert factors(records) == pytest.approx([1, 1, (1 / 3 + 1 / 2) * 3, 1.5])


@pytest.fixture
def semantic(tmp_path: Path) -> list[dict[str, Any]]:
    records = []
    for number, labels in enumerate([[0, 0, 255], [0, 1, 1], [255, 255, 255]]):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.array([labels], np.uint8)).save(path)
        record = {"file_name": "a.jpg", "height": 1, "width": 3, "sem_seg_file_name": str(path)}
        records.append(record)
    return records


def test_pixels_of_semantic_labels(semantic: list[dict[str, Any]]) -> None:
    assert factors(semantic) == pytest.approx([1, (1 / 2 + 1) * 2, 1])
    # Of images with both the instances count.
    both = semantic[0] | with_instances([3])[0]
    assert factors([semantic[0], semantic[1], both]) == pytest.approx([1, 3, 2])


def test_a_label_file_that_cannot_be_read(semantic: list[dict[str, Any]]) -> None:
    Path(semantic[1]["sem_seg_file_name"]).write_bytes(b"")
    with pytest.raises(UserError, match=r"1\.png"):
        factors(semantic)
    assert factors(semantic, skip_unreadable=True) == [1, 1, 1]


def test_by_config() -> None:
    cfg = get_default_config()
    cfg.DATALOADER.SAMPLER_TRAIN = "ClassBalancedTrainingSampler"
    cfg.DATALOADER.CLASS_BALANCE_MAX_REPEAT = 2.5
    found = build_repeat_factors(cfg, with_instances([0], [0], [0], [1]), 0)
    assert found.dtype == np.float64 and found.tolist() == pytest.approx([1, 1, 1, 2.5])
