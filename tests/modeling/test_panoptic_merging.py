"""Merging against Detectron2's rule, against scenes worked out by hand, and its invariants."""

import numpy as np
import pytest
import torch
from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.structures import Instances

from segtron.modeling import panoptic_merging
from segtron.modeling.panoptic_merging import merge_panoptic

DEFAULTS = {"overlap_threshold": 0.5, "stuff_area_limit": 1, "confidence_threshold": 0.5}


def make_instances(masks, scores, classes=None):
    masks = torch.as_tensor(np.asarray(masks))
    instances = Instances(tuple(masks.shape[1:]))
    instances.pred_masks = masks
    instances.scores = torch.tensor(scores)
    instances.pred_classes = torch.tensor(range(len(scores)) if classes is None else classes).long()
    return instances


def no_instances(height, width):
    return make_instances(np.zeros((0, height, width), bool), [])


def columns(start, stop, width=10):
    """A mask of one row."""
    mask = np.zeros((1, width), bool)
    mask[:, start:stop] = True
    return mask


def random_scene(seed):
    """Up to 30 masks, among them empty, scattered and frame-filling ones, with equal scores."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    count = rng.integers(0, 31)
    masks = np.zeros((count, height, width), bool)
    for mask in masks:
        kind = rng.integers(10)
        if kind == 0:
            mask[:] = rng.random(mask.shape) < rng.random()
        elif kind == 1:
            mask[:] = True
        elif kind > 2:
            top, left = rng.integers(height), rng.integers(width)
            mask[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
    scores = (rng.integers(0, 12, count) / 11).tolist()
    sem_seg = rng.integers(0, 6, (-(-height // 4), -(-width // 4))).repeat(4, 0).repeat(4, 1)
    options = {
        "overlap_threshold": float(rng.choice([0.0, 0.25, 0.5, 0.8])),
        "stuff_area_limit": int(rng.choice([1, 10, 100, 10_000])),
        "confidence_threshold": float(rng.choice([0.0, 0.3, 0.5, 1.0])),
    }
    instances = make_instances(masks, scores, rng.integers(0, 4, count))
    return instances, torch.as_tensor(sem_seg[:height, :width].copy()), options


def detectron2_merge(instances, sem_seg, thing_classes, options):
    """Detectron2's result; to it all classes that are things are class 0."""
    relabelled = torch.where(
        torch.isin(sem_seg, torch.tensor(thing_classes, dtype=torch.int64)), 0, sem_seg + 1
    )
    ids, segments = combine_semantic_and_instance_outputs(
        instances,
        relabelled,
        options["overlap_threshold"],
        options["stuff_area_limit"],
        options["confidence_threshold"],
    )
    for segment in segments:
        segment["category_id"] -= not segment["isthing"]
    return ids, segments


@pytest.mark.parametrize("thing_classes", [(), (0,), (1, 4), (0, 1, 2, 3, 4, 5, 9)])
def test_equals_detectron2(thing_classes):
    kept = dropped = 0
    for seed in range(200):
        instances, sem_seg, options = random_scene(seed)
        ids, segments = merge_panoptic(instances, sem_seg, thing_classes=thing_classes, **options)
        expected, expected_segments = detectron2_merge(instances, sem_seg, thing_classes, options)
        assert ids.dtype == torch.int32
        assert torch.equal(ids, expected), seed
        assert segments == expected_segments, seed
        things = sum(segment["isthing"] for segment in segments)
        kept += things
        dropped += len(instances) - things
    assert kept > 200
    assert dropped > 200


def test_the_default_thing_class_is_detectron2s():
    instances, sem_seg, options = random_scene(7)
    ids, segments = merge_panoptic(instances, sem_seg, **options)
    expected, expected_segments = combine_semantic_and_instance_outputs(
        instances, sem_seg, *options.values()
    )
    assert torch.equal(ids, expected)
    assert segments == expected_segments


def test_every_segment_has_the_pixels_it_should():
    for seed in range(200):
        instances, sem_seg, options = random_scene(seed)
        options |= {"overlap_threshold": 1.0, "stuff_area_limit": seed % 3}
        ids, segments = merge_panoptic(instances, sem_seg, thing_classes=(2, 3), **options)
        # One map can't have two ids in a pixel; so it is enough that all ids are there.
        assert [segment["id"] for segment in segments] == list(range(1, len(segments) + 1))
        assert set(ids.unique().tolist()) - {0} == {segment["id"] for segment in segments}
        for segment in segments:
            pixels = ids == segment["id"]
            if segment["isthing"]:
                i = segment["instance_id"]
                assert instances.pred_masks[i][pixels].all()
                assert segment["score"] == instances.scores[i].item()
                assert segment["category_id"] == instances.pred_classes[i].item()
            else:
                assert segment["area"] == pixels.sum()
                assert (sem_seg[pixels] == segment["category_id"]).all()
                assert segment["category_id"] not in (2, 3)


def test_a_scene_worked_out_by_hand():
    masks = [columns(0, 4), columns(2, 6), columns(3, 5), columns(9, 10)]
    instances = make_instances(masks, [0.6, 0.9, 0.8, 0.4], [5, 6, 7, 8])
    sem_seg = torch.tensor([[1, 1, 1, 1, 1, 1, 3, 3, 2, 4]])
    ids, segments = merge_panoptic(instances, sem_seg, thing_classes=(2,), **DEFAULTS)
    # The second comes first, the third lies inside it, half of the first is left, the last is not
    # sure enough.
    assert ids.tolist() == [[2, 2, 1, 1, 1, 1, 3, 3, 0, 4]]
    assert segments == [
        {"id": 1, "isthing": True, "score": pytest.approx(0.9), "category_id": 6, "instance_id": 1},
        {"id": 2, "isthing": True, "score": pytest.approx(0.6), "category_id": 5, "instance_id": 0},
        {"id": 3, "isthing": False, "category_id": 3, "area": 2},
        {"id": 4, "isthing": False, "category_id": 4, "area": 1},
    ]


@pytest.mark.parametrize(("threshold", "kept"), [(0.39, 1), (0.4, 2), (0.41, 2)])
def test_an_overlap_of_exactly_the_threshold_is_kept(threshold, kept):
    instances = make_instances([columns(0, 4), columns(2, 7)], [0.9, 0.8])  # 2 of 5 are taken
    options = DEFAULTS | {"overlap_threshold": threshold}
    _, segments = merge_panoptic(instances, torch.zeros(1, 10).long(), **options)
    assert len(segments) == kept


@pytest.mark.parametrize("limit", [3, 4])
def test_stuff_of_exactly_the_limit_is_kept(limit):
    # Ten pixels of class 1, of which an instance takes seven.
    options = DEFAULTS | {"stuff_area_limit": limit}
    instances = make_instances([columns(0, 7)], [0.9])
    ids, segments = merge_panoptic(instances, torch.ones(1, 10).long(), **options)
    assert len(segments) == (2 if limit == 3 else 1)
    assert ids[0, 7:].tolist() == [2 if limit == 3 else 0] * 3


def test_a_score_of_exactly_the_threshold_is_kept():
    instances = make_instances([columns(0, 2), columns(4, 6)], [0.5, 0.4999])
    _, segments = merge_panoptic(instances, torch.zeros(1, 10).long(), **DEFAULTS)
    assert [segment["instance_id"] for segment in segments] == [0]


def test_without_instances_there_is_stuff():
    sem_seg = torch.tensor([[0, 1], [2, 2]])
    ids, segments = merge_panoptic(no_instances(2, 2), sem_seg, **DEFAULTS)
    assert ids.tolist() == [[0, 1], [2, 2]]
    assert [segment["area"] for segment in segments] == [1, 2]


def test_all_below_the_threshold():
    instances = make_instances([columns(0, 10), columns(2, 4)], [0.4, 0.1])
    ids, segments = merge_panoptic(instances, torch.zeros(1, 10).long(), **DEFAULTS)
    assert not ids.any()
    assert segments == []


def test_one_that_covers_the_image_leaves_nothing():
    masks = [columns(2, 4), columns(0, 10), columns(0, 0)]
    instances = make_instances(masks, [0.8, 0.9, 0.7])
    ids, segments = merge_panoptic(instances, torch.ones(1, 10).long(), **DEFAULTS)
    assert ids.tolist() == [[1] * 10]
    assert [segment["instance_id"] for segment in segments] == [1]


def test_inputs_are_left_alone():
    instances, sem_seg, options = random_scene(3)
    masks, labels = instances.pred_masks.clone(), sem_seg.clone()
    merge_panoptic(instances, sem_seg, **options)
    assert torch.equal(instances.pred_masks, masks)
    assert torch.equal(sem_seg, labels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_masks_of_numbers_are_masks(dtype):
    instances, sem_seg, options = random_scene(5)
    expected = merge_panoptic(instances, sem_seg, **options)
    instances.pred_masks = instances.pred_masks.to(dtype)
    ids, segments = merge_panoptic(instances, sem_seg.to(torch.uint8), **options)
    assert torch.equal(ids, expected[0])
    assert segments == expected[1]


def test_crops_made_on_a_device_equal_those_made_on_the_cpu():
    for seed in range(30):
        masks = random_scene(seed)[0].pred_masks
        order = list(range(len(masks)))[::-2]
        on_device = list(panoptic_merging._crop_on_device(masks[order]))
        for crop, expected in zip(on_device, panoptic_merging._crop(masks, order), strict=True):
            assert crop.window == expected.window
            assert np.array_equal(crop.pixels, expected.pixels)


def test_masks_are_needed_and_fit():
    instances = make_instances([columns(0, 4)], [0.9])
    with pytest.raises(ValueError, match=r"pred_masks are \(1, 10\), but sem_seg is \(2, 10\)"):
        merge_panoptic(instances, torch.zeros(2, 10).long(), **DEFAULTS)
    instances.remove("pred_masks")
    with pytest.raises(ValueError, match="no pred_masks"):
        merge_panoptic(instances, torch.zeros(1, 10).long(), **DEFAULTS)
