"""Grouping against Detectron2's, against all distances, and against scenes worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segtron.modeling import grouping
from segtron.modeling.grouping import (
    find_centers,
    group_pixels,
    mean_probabilities,
    merge_bottom_up,
)

from .panoptic_deeplab import load

reference = load("post_processing")
NMS = {"threshold": 0.1, "nms_kernel": 7, "top_k": 200}


def random_heatmap(seed, height, width):
    return torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) - 0.3


def nearest_by_all_distances(centers, offsets):
    """As (H, W) int64, counted from 1, from distances in double precision."""
    _, height, width = offsets.shape
    y, x = np.mgrid[:height, :width]
    points = np.stack([y, x]) + offsets.numpy().astype(np.float64)
    distances = [np.hypot(*(points - np.reshape(c, (2, 1, 1)))) for c in centers.tolist()]
    return torch.from_numpy(np.argmin(distances, axis=0) + 1)


class TestFindCenters:
    @pytest.mark.parametrize("size", [(40, 60), (1, 1), (1, 30), (2, 3), (5, 5)])
    @pytest.mark.parametrize("kernel", [3, 5, 7, 41])
    @pytest.mark.parametrize("threshold", [0.0, 0.1, 0.65])
    def test_equals_detectron2s(self, size, kernel, threshold):
        for seed in range(5):
            heatmap = random_heatmap(seed, *size)
            points, scores = find_centers(
                heatmap, threshold=threshold, nms_kernel=kernel, top_k=10_000
            )
            # Theirs can do with no image of one row or column.
            framed = F.pad(heatmap[None], (0, 1, 0, 1), value=-1.0)
            theirs = reference.find_instance_center(framed, threshold, kernel)
            assert torch.equal(points, theirs.float())
            assert torch.equal(scores, heatmap[tuple(theirs.T)])

    def test_keeps_the_best_in_reading_order(self):
        heatmap = random_heatmap(0, 40, 60)
        everything = find_centers(heatmap, **NMS)
        assert len(everything.points) > 20
        points, scores = find_centers(heatmap, **NMS | {"top_k": 9})
        # Theirs has one less than it is asked for, where there are more.
        theirs = reference.find_instance_center(heatmap[None].clone(), 0.1, 7, 10)
        assert torch.equal(points, theirs.float())
        assert sorted(scores.tolist()) == everything.scores.sort().values[-9:].tolist()

    def test_of_equal_scores_the_first_are_kept(self):
        heatmap = torch.zeros(9, 40)
        heatmap[4, ::8] = 0.5
        points, _ = find_centers(heatmap, **NMS | {"top_k": 3})
        assert points.tolist() == [[4, 0], [4, 8], [4, 16]]

    def test_the_threshold_is_not_reached_by_itself(self):
        heatmap = torch.zeros(9, 9)
        heatmap[2, 3] = 0.5
        assert len(find_centers(heatmap, **NMS | {"threshold": 0.5}).points) == 0
        points, scores = find_centers(heatmap, **NMS | {"threshold": 0.49})
        assert (points.tolist(), scores.tolist()) == ([[2, 3]], [0.5])

    @pytest.mark.parametrize(
        ("window", "first"),
        [
            ((slice(4, 6), slice(7, 9)), (4, 7)),
            ((slice(0, 2), slice(0, 1)), (0, 0)),
            ((slice(18, 20), slice(28, 30)), (18, 28)),
            ((slice(0, 20), slice(0, 30)), (0, 0)),  # larger than the window
        ],
    )
    def test_a_flat_peak_is_one_center(self, window, first):
        heatmap = torch.zeros(20, 30)
        heatmap[window] = 0.7
        assert find_centers(heatmap, **NMS).points.tolist() == [list(first)]

    def test_equal_peaks_suppress_each_other_only_nearby(self):
        heatmap = torch.zeros(20, 30)
        heatmap[5, 5] = heatmap[8, 8] = heatmap[8, 12] = 0.7  # 3 rows and columns, 4 columns apart
        assert find_centers(heatmap, **NMS).points.tolist() == [[5, 5], [8, 12]]
        # From below on the left to above on the right.
        assert find_centers(heatmap.flip(1), **NMS).points.tolist() == [[5, 24], [8, 17]]

    def test_nothing_there(self):
        points, scores = find_centers(torch.zeros(4, 5), **NMS)
        assert (points.shape, scores.shape) == ((0, 2), (0,))

    @pytest.mark.parametrize("kernel", [0, 1, 4])
    def test_kernels_without_a_middle(self, kernel):
        with pytest.raises(ValueError, match=f"nms_kernel is {kernel}"):
            find_centers(torch.zeros(4, 5), **NMS | {"nms_kernel": kernel})


class TestGroupPixels:
    @pytest.mark.parametrize("count", [1, 2, 7, 60])
    @pytest.mark.parametrize("spread", [0.0, 3.0, 40.0])
    def test_equals_all_distances(self, count, spread):
        generator = torch.Generator().manual_seed(count)
        for height, width in ((50, 70), (1, 9), (33, 5)):
            centers = torch.rand(count, 2, generator=generator) * torch.tensor([height, width])
            offsets = torch.randn(2, height, width, generator=generator) * spread
            mask = torch.rand(height, width, generator=generator) < 0.6
            groups = group_pixels(centers, offsets, mask)
            expected = nearest_by_all_distances(centers, offsets)
            assert groups.dtype == torch.int64
            assert torch.equal(groups, expected * mask)
            assert torch.equal(groups, reference.group_pixels(centers, offsets)[0] * mask)

    def test_most_pixels_are_decided_by_their_square(self, monkeypatch):
        compared = 0
        squared_distances = grouping._squared_distances

        def count(points, centers):
            nonlocal compared
            compared += points.shape[1]
            return squared_distances(points, centers)

        monkeypatch.setattr(grouping, "_squared_distances", count)
        centers = torch.tensor([[20.0, 20], [20, 100], [90, 60]])
        generator = torch.Generator().manual_seed(0)
        y, x = torch.meshgrid(torch.arange(120.0), torch.arange(120.0), indexing="ij")
        own = torch.randint(3, (120, 120), generator=generator)
        offsets = centers[own].permute(2, 0, 1) - torch.stack([y, x])
        offsets += 3 * torch.randn(2, 120, 120, generator=generator)
        groups = group_pixels(centers, offsets, torch.ones(120, 120, dtype=torch.bool))
        assert torch.equal(groups, own + 1)
        assert 0 < compared < 500  # of 14400 pixels; no more than there are squares near centres

    def test_of_equally_near_centers_the_first_counts(self):
        for flip in (False, True):
            centers = torch.tensor([[3.0, 30], [3, 2], [3, 12]])
            centers = centers.flip(0) if flip else centers
            groups = group_pixels(centers, torch.zeros(2, 1, 40), torch.ones(1, 40) > 0)[0]
            expected = [0] * 7 + [1] * 14 + [2] * 19  # ties at 7 and 21
            names = [1, 0, 2] if flip else [1, 2, 0]
            named = [names[place] for place in expected]
            for tie, rivals in ((7, (0, 1)), (21, (1, 2))):
                named[tie] = min(names[rival] for rival in rivals)
            assert (groups - 1).tolist() == named

    @pytest.mark.parametrize("shift", [-1e6, 1e6, 300.0, -300.0])
    def test_pixels_that_point_out_of_the_image(self, shift):
        centers = torch.tensor([[0.0, 0], [19, 29], [0, 29]])
        offsets = torch.full((2, 20, 30), shift)
        groups = group_pixels(centers, offsets, torch.ones(20, 30, dtype=torch.bool))
        assert (groups == (1 if shift < 0 else 2)).all()

    def test_offsets_that_are_no_numbers_do_no_harm(self):
        offsets = torch.zeros(2, 2, 3)
        offsets[0, 0], offsets[1, 1, 0] = torch.nan, torch.inf
        centers = torch.tensor([[1.0, 0], [1, 2]])
        groups = group_pixels(centers, offsets, torch.ones(2, 3, dtype=torch.bool))
        assert groups[1, 1:].tolist() == [1, 2]
        assert set(groups.unique().tolist()) <= {1, 2}

    def test_no_centers_and_no_pixels(self):
        offsets, mask = torch.zeros(2, 4, 5), torch.ones(4, 5, dtype=torch.bool)
        assert not group_pixels(torch.zeros(0, 2), offsets, mask).any()
        assert not group_pixels(torch.ones(3, 2), offsets, ~mask).any()

    def test_half_precision(self):
        offsets = torch.full((2, 4, 3000), 1.5, dtype=torch.float16)
        centers = torch.tensor([[3.0, 2600], [3.0, 2610]])
        groups = group_pixels(centers, offsets, torch.ones(4, 3000, dtype=torch.bool))
        assert groups[0].tolist() == [1] * 2604 + [2] * 396  # float16 knows even numbers only there


def random_scene(seed):
    """Sem_seg in patches, a smooth heatmap and offsets: what a poor model might say."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(2, 50, 2))
    num_classes = int(rng.integers(2, 7))
    things = rng.choice(num_classes, int(rng.integers(1, num_classes)), replace=False).tolist()
    scale = int(rng.integers(1, 9))
    patches = rng.integers(0, num_classes, (-(-height // scale), -(-width // scale)))
    sem_seg = patches.repeat(scale, 0).repeat(scale, 1)[:height, :width].copy()
    heatmap = rng.random((height, width), np.float32) ** rng.integers(1, 6)
    offsets = rng.normal(0, rng.choice([0, 5, 30]), (2, height, width)).astype(np.float32)
    options = {
        "threshold": float(rng.choice([0.1, 0.5, 0.9, 1.0])),
        "nms_kernel": int(rng.choice([3, 7, 15])),
        "stuff_area_limit": int(rng.choice([0, 1, 20, 300])),
    }
    arrays = (torch.from_numpy(array) for array in (sem_seg, heatmap, offsets))
    return *arrays, num_classes, sorted(things), options


def assert_same_segments(ids, segments, theirs):
    """`theirs`: (H, W), class * 1000 + number, -1 in void."""
    assert torch.equal(ids == 0, theirs == -1)
    codes = theirs[theirs != -1]
    pairs = torch.stack([ids[ids > 0].long(), codes]).unique(dim=1)
    # Each of our segments is one of theirs, and the other way round.
    assert pairs.shape[1] == len(segments) == len(codes.unique())
    for segment_id, code in pairs.T.tolist():
        assert segments[segment_id - 1]["category_id"] == code // 1000
        assert segments[segment_id - 1]["isthing"] == (code % 1000 > 0)


class TestMergeBottomUp:
    def test_equals_detectron2s_from_the_heatmap_on(self):
        num_things = 0
        for seed in range(150):
            sem_seg, heatmap, offsets, num_classes, things, options = random_scene(seed)
            limit = options.pop("stuff_area_limit")
            centers = find_centers(heatmap, top_k=10_000, **options)
            is_thing = torch.isin(sem_seg, torch.tensor(things))
            groups = group_pixels(centers.points, offsets, is_thing)
            ids, segments, kept = merge_bottom_up(
                sem_seg,
                groups,
                num_classes=num_classes,
                thing_classes=things,
                stuff_area_limit=limit,
            )
            theirs, _ = reference.get_panoptic_segmentation(
                sem_seg[None],
                heatmap[None].clone(),
                offsets,
                thing_ids=things,
                label_divisor=1000,
                stuff_area=limit,
                void_label=-1,
                top_k=None,
                **options,
            )
            assert_same_segments(ids, segments, theirs[0])
            found = [segment for segment in segments if segment["isthing"]]
            assert len(kept) == len(found)
            num_things += len(found)
            for segment in segments:
                mask = ids == segment["id"]
                if segment["isthing"]:
                    assert (groups[mask] == kept[segment["instance_id"]]).all()
                else:
                    assert segment["area"] == mask.sum() >= max(limit, 1)
        assert num_things > 300

    def test_by_hand(self):
        sem_seg = torch.tensor([[0, 0, 1, 1, 3], [0, 2, 2, 1, 3], [4, 4, 2, 3, 1]])
        groups = torch.tensor([[0, 0, 1, 1, 3], [0, 0, 0, 3, 3], [0, 0, 0, 3, 0]])
        ids, segments, kept = merge_bottom_up(
            sem_seg, groups, num_classes=5, thing_classes=[3, 1], stuff_area_limit=3
        )
        # The last pixel is of a thing, but in no group; of class 4 there is too little.
        assert ids.tolist() == [[3, 3, 1, 1, 2], [3, 4, 4, 2, 2], [0, 0, 4, 2, 0]]
        assert ids.dtype == torch.int32
        assert segments == [
            {"id": 1, "isthing": True, "category_id": 1, "instance_id": 0},
            {"id": 2, "isthing": True, "category_id": 3, "instance_id": 1},
            {"id": 3, "isthing": False, "category_id": 0, "area": 3},
            {"id": 4, "isthing": False, "category_id": 2, "area": 3},
        ]
        assert kept.tolist() == [1, 3]

    def test_of_equally_many_votes_the_lowest_class_wins(self):
        sem_seg = torch.tensor([[3, 3, 1, 1, 2]])
        options = {"num_classes": 4, "thing_classes": [1, 2, 3], "stuff_area_limit": 0}
        _, segments, _ = merge_bottom_up(sem_seg, torch.ones_like(sem_seg), **options)
        assert [segment["category_id"] for segment in segments] == [1]

    def test_things_only_stuff_only_and_nothing(self):
        ones, zeros = torch.ones(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64)
        options = {"num_classes": 2, "thing_classes": [1], "stuff_area_limit": 6}
        ids, segments, _ = merge_bottom_up(ones, ones, **options)
        assert (ids == 1).all()
        assert segments == [{"id": 1, "isthing": True, "category_id": 1, "instance_id": 0}]
        ids, segments, _ = merge_bottom_up(zeros, zeros, **options)
        assert (ids == 1).all()
        assert segments == [{"id": 1, "isthing": False, "category_id": 0, "area": 6}]
        for labels, limit in ((zeros, 7), (ones, 0)):
            ids, segments, kept = merge_bottom_up(
                labels, zeros, **options | {"stuff_area_limit": limit}
            )
            assert (ids.any().item(), segments, len(kept)) == (False, [], 0)


class TestMeanProbabilities:
    def test_equals_a_softmax_masked_for_each_segment(self):
        generator = torch.Generator().manual_seed(0)
        logits = 3 * torch.randn(5, 20, 30, generator=generator)
        ids = torch.randint(6, (20, 30), generator=generator).int()  # 4 and 5 are stuff
        classes = torch.tensor([3, 0, 3])
        expected = [logits.softmax(0)[c][ids == i + 1].mean() for i, c in enumerate(classes)]
        found = mean_probabilities(logits, ids, classes)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, torch.stack(expected))
        halves = mean_probabilities(logits.bfloat16(), ids, classes)
        torch.testing.assert_close(halves, found, atol=0.01, rtol=0.01)

    def test_large_logits_and_segments_without_a_pixel(self):
        logits = torch.tensor([[[800.0, -800]], [[-800.0, 800 - math.log(3)]], [[0.0, 800]]])
        found = mean_probabilities(logits, torch.tensor([[2, 3]]), torch.tensor([0, 0, 1]))
        torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.25]), atol=1e-4, rtol=0)
        assert mean_probabilities(
            logits, torch.tensor([[1, 1]]), torch.tensor([]).long()
        ).shape == (0,)
