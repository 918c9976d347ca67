"""Outputs in the forms that large images have, against the same in Detectron2's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances

from segtron.inference import (
    ImageFile,
    Prediction,
    build_sinks,
    encoded_masks,
    mask_areas,
)
from segtron.inference.window_masks import WindowMasks

from .fake_runs import METADATA, contents


def both_forms(number=3):
    """One prediction with a tensor of masks and scores of classes, and one without."""
    random = np.random.default_rng(0)
    masks = torch.from_numpy(random.random((3, 40, 50)) < 0.4)
    masks[1] = False
    instances = Instances((40, 50))
    instances.pred_boxes = Boxes(torch.tensor([[1.0, 2, 30, 20], [0, 0, 5, 5], [9, 9, 40, 39]]))
    instances.scores = torch.tensor([0.9, 0.2, 0.7])
    instances.pred_classes = torch.tensor([1, 0, 1])
    instances, masks = instances[:number], masks[:number]
    compact = Instances((40, 50), **instances.get_fields())
    instances.pred_masks = masks
    windows = WindowMasks((40, 50))
    windows.extend(masks)
    compact.pred_masks = windows
    scores = torch.from_numpy(random.random((3, 40, 50), np.float32))
    image = random.integers(0, 255, (40, 50, 3), np.uint8)
    file = ImageFile(Path("a.png"), "a.png")
    return (
        Prediction(file, 1, image, {"instances": instances, "sem_seg": scores}),
        Prediction(
            file, 1, image, {"instances": compact, "sem_seg_classes": scores.argmax(0).byte()}
        ),
    )


@pytest.mark.parametrize("name", ["overlay", "coco", "csv", "labels"])
@pytest.mark.parametrize("min_score", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_the_files_are_the_same(tmp_path, name, min_score, number):
    written = []
    for i, prediction in enumerate(both_forms(number)):
        out = tmp_path / str(i)
        (sink,) = build_sinks([name], out, METADATA, draw_score=min_score, save_score=min_score)
        sink.check(prediction)
        sink.finish([sink.write(prediction)])
        written.append(contents(out))
    assert written[0] == written[1]
    assert len(written[0]) == 1


def test_masks_are_read_alike():
    plain, compact = (prediction.instances(0.5) for prediction in both_forms())
    assert encoded_masks(plain) == encoded_masks(compact)
    assert mask_areas(plain) == mask_areas(compact) == plain.pred_masks.sum((1, 2)).tolist()


def test_the_number_of_classes_is_known_or_the_least_possible():
    plain, compact = both_forms()
    assert plain.num_classes(METADATA) == compact.num_classes(METADATA) == 3
    assert compact.num_classes(Metadata(name="none")) == 3
    few = replace(compact, output={"sem_seg_classes": torch.zeros(2, 2, dtype=torch.uint8)})
    assert few.num_classes(METADATA) == 3
    assert few.num_classes(Metadata(name="none")) == 1
