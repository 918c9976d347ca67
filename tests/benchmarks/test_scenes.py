from __future__ import annotations

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label

from segtron.benchmarks.scenes import Scene, draw_scene
from segtron.data.cityscapes import FIRST_INSTANCE_ID, SEM_SEG_LABELS, THING_LABELS, label_ids_of

SIZE = (256, 512)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(3, number, SIZE, 40) for number in range(6)]


def test_the_same_seed_gives_the_same_frame(scenes):
    again = draw_scene(3, 2, SIZE, 40)
    for name in ("instance_ids", "classes", "segment_ids"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scenes[2], name))
    assert again.segments == scenes[2].segments
    for ours, other in zip(again.instances, scenes[2].instances, strict=True):
        assert (ours.label_id, ours.score) == (other.label_id, other.score)
        np.testing.assert_array_equal(ours.mask, other.mask)
    assert not np.array_equal(draw_scene(4, 2, SIZE, 1).instance_ids, again.instance_ids)
    assert not np.array_equal(scenes[1].instance_ids, again.instance_ids)


def test_ground_truth_is_cityscapes_and_has_everything(scenes):
    all_ids = np.concatenate([np.unique(scene.instance_ids) for scene in scenes])
    labels = label_ids_of(all_ids)
    assert set(labels.tolist()) <= set(id2label)
    things = [label.id for label in THING_LABELS]
    is_thing = np.isin(labels, things)
    num_instances = np.count_nonzero(is_thing & (all_ids >= FIRST_INSTANCE_ID)) / len(scenes)
    assert 20 <= num_instances <= 60
    assert (is_thing & (all_ids < FIRST_INSTANCE_ID)).any()  # groups
    assert np.isin(labels, [label.id for label in SEM_SEG_LABELS if not label.hasInstances]).any()
    assert np.isin(labels, [label.id for label in id2label.values() if label.ignoreInEval]).any()
    for scene in scenes:
        assert scene.instance_ids.shape == SIZE
        assert scene.instance_ids.dtype == np.uint16


def test_instances_of_every_quality(scenes):
    best_ious = []
    for scene in scenes:
        assert len(scene.instances) == 40
        for rows, columns, mask, label_id, score in scene.instances:
            window = scene.instance_ids[rows, columns]
            assert mask.shape == window.shape
            assert mask.any()
            assert label_id in [label.id for label in THING_LABELS]
            assert 0 < score < 1
            best_ious.append(
                max(
                    np.count_nonzero(mask & (window == i)) / np.count_nonzero(mask | (window == i))
                    for i in np.unique(window[mask])
                )
            )
    for low, high in ((0, 0.3), (0.3, 0.7), (0.7, 0.9), (0.9, 1.01)):
        assert any(low <= iou < high for iou in best_ious)


def test_classes_are_right_for_the_most_part(scenes):
    train_ids = np.full(256, 255)
    train_ids[[label.id for label in SEM_SEG_LABELS]] = range(len(SEM_SEG_LABELS))
    for scene in scenes:
        truth = train_ids[label_ids_of(scene.instance_ids)]
        assert scene.classes.dtype == np.uint8
        assert scene.classes.max() < len(SEM_SEG_LABELS)
        accuracy = np.mean((scene.classes == truth)[truth != 255])
        assert 0.8 < accuracy < 0.999


def test_segments_and_their_map_agree(scenes):
    for scene in scenes:
        listed = [segment["id"] for segment in scene.segments]
        assert set(np.unique(scene.segment_ids).tolist()) - {0} == set(listed)
        assert len(listed) == len(set(listed))
        for segment in scene.segments:
            label = SEM_SEG_LABELS[segment["category_id"]]
            assert segment["isthing"] == label.hasInstances


def test_a_frame_of_very_few_pixels():
    scene = draw_scene(0, 0, (16, 32), 5)
    assert scene.classes.shape == (16, 32)
    assert len(scene.instances) == 5
