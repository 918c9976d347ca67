from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as mask_util

from segtron.benchmarks.frames import Frames

SIZE = (64, 128)


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Frames:
    return Frames(tmp_path_factory.mktemp("frames"), 2, size=SIZE, most_instances=12, seed=1)


def test_records_are_those_of_the_readers(frames):
    assert len(frames) == 2
    for records in (frames.instance_records, frames.sem_seg_records, frames.panoptic_records):
        assert len({record["image_id"] for record in records}) == 2
        for record in records:
            assert (record["height"], record["width"]) == SIZE
            ids = cv2.imread(record["instance_ids_file_name"], cv2.IMREAD_UNCHANGED)
            assert ids.dtype == np.uint16
    assert len(list(frames.panoptic_json.with_suffix("").glob("*.png"))) == 2
    assert len(list(frames.gt_folder.glob("*/*_gtFine_labelIds.png"))) == 2


def test_instances(frames):
    instances = frames.instances(1, 10)["instances"]
    assert instances.pred_masks.shape == (10, *SIZE)
    assert instances.pred_masks.dtype == torch.bool
    scores = instances.scores.tolist()
    assert scores == sorted(scores, reverse=True)
    for mask, (x0, y0, x1, y1) in zip(
        instances.pred_masks, instances.pred_boxes.tensor.tolist(), strict=True
    ):
        rows, columns = np.nonzero(mask.numpy())
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
    boxes = frames.boxes(1, 10)["instances"]
    assert not boxes.has("pred_masks")
    torch.testing.assert_close(boxes.pred_boxes.tensor, instances.pred_boxes.tensor)


def test_sem_seg(frames):
    scores = frames.sem_seg(0)["sem_seg"]
    assert scores.shape == (19, *SIZE)
    label_ids = frames.label_ids(0)
    # Of Cityscapes' train ids some: road, car.
    np.testing.assert_array_equal(label_ids == 7, (scores.argmax(dim=0) == 0).numpy())
    np.testing.assert_array_equal(label_ids == 26, (scores.argmax(dim=0) == 13).numpy())


def test_outputs_are_new_each_time(frames):
    """Evaluators may write into what they are given."""
    ids, segments = frames.panoptic(0)["panoptic_seg"]
    expected = ids.clone()
    ids[:] = 0
    segments[0]["category_id"] = -1
    again, segments_again = frames.panoptic(0)["panoptic_seg"]
    assert torch.equal(again, expected)
    assert segments_again[0]["category_id"] >= 0
    assert len(segments_again) == frames.num_segments(0)


def test_coco_json(frames, tmp_path):
    records = frames.write_coco_json(tmp_path / "coco.json", repeats=3)
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [record["image_id"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4, 5, 6]
    num = sum(len(record["annotations"]) for record in frames.instance_records)
    assert [a["id"] for a in content["annotations"]] == list(range(1, 3 * num + 1))
    for annotation in content["annotations"]:
        assert mask_util.area(annotation["segmentation"]) == annotation["area"]
        np.testing.assert_array_equal(
            mask_util.toBbox(annotation["segmentation"]), annotation["bbox"]
        )
    first, third = (
        [a["bbox"] for a in content["annotations"] if a["image_id"] == i] for i in (1, 3)
    )
    assert first == third
