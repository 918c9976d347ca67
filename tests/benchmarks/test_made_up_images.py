from __future__ import annotations

import cv2
import numpy as np
from detectron2.config import get_cfg
from detectron2.data import DatasetMapper

from segtron.benchmarks.made_up_images import draw_images, write_records
from segtron.data.toytown.scene import make_scene


def test_images_are_toytown_in_bgr():
    first, second = draw_images(2, (64, 128), seed=1)
    assert first.shape == (64, 128, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    assert np.array_equal(second[..., ::-1], make_scene(1, 1, 1, (64, 128)).image)


def test_records_are_what_detectron2_trains_on(tmp_path):
    arguments = {"num_objects": 12, "num_classes": 80}
    records = write_records(tmp_path, 2, (64, 128), 0, **arguments)
    [image, _] = draw_images(2, (64, 128), seed=0)
    assert np.array_equal(cv2.imread(records[0]["file_name"]), image)
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (64,), "none"
    cfg.MODEL.MASK_ON, cfg.INPUT.MASK_FORMAT = True, "bitmask"
    mapped = DatasetMapper(cfg, is_train=True)(records[0])
    assert mapped["image"].shape == (3, 64, 128)
    instances = mapped["instances"]
    assert len(instances) == 12
    assert instances.gt_boxes.inside_box((64, 128)).all()
    assert len(instances.gt_classes.unique()) > 4
    areas = instances.gt_masks.tensor.sum(dim=(1, 2))
    assert areas.min() > 10
    assert areas.max() > 4 * areas.min()
    assert records == write_records(tmp_path, 2, (64, 128), 0, **arguments)
    assert records != write_records(tmp_path, 2, (64, 128), 1, **arguments)
