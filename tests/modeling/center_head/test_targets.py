"""Targets of the centre head: against Detectron2's generator, and by hand at borders and crowds."""

import math

import numpy as np
import torch

from segtron.modeling.center_head import center_targets

from ..panoptic_deeplab import load

Generator = load("target_generator").PanopticDeepLabTargetGenerator
SIGMA = 3


def segment(isthing=True, iscrowd=0, category_id=0):
    return {"isthing": isthing, "iscrowd": iscrowd, "category_id": category_id}


def random_image(seed):
    """A map of places, and segments of which some are not in it."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 60, 2))
    segments = [
        segment(bool(rng.integers(2)), int(rng.integers(4) == 0)) for _ in range(rng.integers(9))
    ]
    places = np.zeros((height, width), np.int64)
    for _ in range(12):
        top, left = rng.integers(height), rng.integers(width)
        window = slice(top, top + rng.integers(1, 20)), slice(left, left + rng.integers(1, 20))
        places[window] = rng.integers(len(segments) + 1)
    return torch.from_numpy(places), segments


def reference(places, segments):
    """Detectron2's targets, without crowds: those are made void."""
    listed = [
        {"id": i + 1, "category_id": int(s["isthing"]), "iscrowd": 0}
        for i, s in enumerate(segments)
        if not s["iscrowd"]
    ]
    generator = Generator(255, {1}, sigma=SIGMA, ignore_stuff_in_offset=True)
    return generator(places.numpy(), listed)


def pad(tensors):
    height, width = (max(t.shape[axis] for t in tensors) + 3 for axis in (0, 1))
    padded = torch.zeros(len(tensors), height, width, dtype=torch.int64)
    for place, tensor in zip(padded, tensors, strict=True):
        place[: tensor.shape[0], : tensor.shape[1]] = tensor
    return padded


def test_equal_to_detectron2s_in_a_padded_batch():
    num_centers = 0
    for seed in range(0, 60, 4):
        images = [random_image(seed + i) for i in range(4)]
        batch = pad([places for places, _ in images])
        targets = center_targets(batch, [segments for _, segments in images], sigma=SIGMA)
        for i, (places, segments) in enumerate(images):
            height, width = places.shape
            inside = (i, ..., slice(height), slice(width))
            expected = reference(places, segments)
            num_centers += len(expected["center_points"])
            torch.testing.assert_close(targets.heatmap[inside], expected["center"])
            torch.testing.assert_close(targets.offsets[inside], expected["offset"])
            assert torch.equal(targets.is_labelled[inside].float(), expected["center_weights"][0])
            is_thing = expected["offset_weights"][0].bool()
            assert torch.equal(targets.is_thing[inside], is_thing)
            for known in (targets.is_labelled[i], targets.is_thing[i]):
                assert not known[height:].any()
                assert not known[:, width:].any()
    assert num_centers > 50


def test_by_hand():
    # A thing of three pixels, one of one pixel, void, and stuff.
    places = torch.tensor([[[1, 1, 0, 3], [1, 0, 0, 3], [2, 3, 3, 3]]])
    segments = [segment(), segment(), segment(isthing=False)]
    heatmap, offsets, is_labelled, is_thing = center_targets(places, [segments], sigma=1.0)
    assert is_labelled[0].tolist() == [[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert is_thing[0].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    third = 1 / 3  # the first one's centre of mass is (1/3, 1/3), its spot at (0, 0)
    y = torch.tensor([[third, third, 0, 0], [-2 * third, 0, 0, 0], [0, 0, 0, 0]])
    x = torch.tensor([[third, -2 * third, 0, 0], [third, 0, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(offsets[0], torch.stack([y, x]))
    for row in range(3):
        for column in range(4):
            squares = [(row - y) ** 2 + column**2 for y in (0, 2)]
            assert math.isclose(heatmap[0, row, column], math.exp(-min(squares) / 2), rel_tol=1e-5)


def test_a_spot_ends_after_three_standard_deviations_and_at_the_border():
    places = torch.zeros(2, 30, 40, dtype=torch.int64)
    places[0, 0, 39] = places[1, 15, 20] = 1
    heatmap = center_targets(places, [[segment()], [segment()]], sigma=2.5).heatmap
    reach = 9
    assert (heatmap[0] > 0).nonzero().min(0).values.tolist() == [0, 39 - reach]
    assert (heatmap[0] > 0).nonzero().max(0).values.tolist() == [reach, 39]
    assert (heatmap[1] > 0).nonzero().min(0).values.tolist() == [15 - reach, 20 - reach]
    assert (heatmap[1] > 0).nonzero().max(0).values.tolist() == [15 + reach, 20 + reach]
    assert heatmap[1, 15, 20] == 1


def test_crowds_are_unknown_and_have_no_center():
    places = torch.tensor([[[1, 1, 2, 2]]])
    segments = [segment(iscrowd=1), segment(isthing=False)]
    heatmap, offsets, is_labelled, is_thing = center_targets(places, [segments], sigma=SIGMA)
    assert not heatmap.any()
    assert not offsets.any()
    assert is_labelled[0].tolist() == [[0, 0, 1, 1]]
    assert not is_thing.any()


def test_images_without_segments():
    targets = center_targets(torch.zeros(2, 5, 6, dtype=torch.int64), [[], []], sigma=SIGMA)
    assert targets.heatmap.shape == (2, 5, 6)
    assert targets.offsets.shape == (2, 2, 5, 6)
    assert not any(tensor.any() for tensor in targets)
