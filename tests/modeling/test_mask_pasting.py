"""Masks pasted by matrix products, against Detectron2's sampling of a grid."""

import copy

import pytest
import torch
from detectron2.layers import paste_masks_in_image
from detectron2.layers.mask_ops import _do_paste_mask
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances, ROIMasks

from segtron.modeling.mask_pasting import PastedMasks, paste_masks, use_paste_masks

# Of an image of 60 x 90.
AWKWARD = [
    [0, 0, 90, 60],  # the image
    [10, 5, 11, 6],  # a pixel
    [10.2, 5.3, 10.4, 5.9],  # less than one, with no centre of a pixel in it
    [10.4, 5.4, 10.6, 5.6],  # with one
    [-30, -20, 40, 30],  # beyond the top left corner
    [60, 40, 130, 95],  # beyond the bottom right one
    [-1000, -2000, 3000, 2500],  # beyond all of it
    [-50, -50, -10, -10],  # outside
    [95, 10, 120, 30],
    [10, 60, 30, 80],  # outside, with a border in common
    [90, 0, 91, 1],
    [89, 59, 90, 60],  # the last pixel
    [20, 0, 20.5, 60],  # thin
    [0, 30, 90, 30.25],
]


def random_masks(count: int, size: int = 28, seed: int = 0) -> torch.Tensor:
    """Smooth shapes, so that a border is something, with all values from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 5, 5, generator=generator) * 4
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")[:, 0]
    return (fine + torch.randn(fine.shape, generator=generator) / 2).sigmoid()


def random_boxes(count: int, height: int, width: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([width, height])
    corners = torch.rand(count, 2, generator=generator) * size * 1.2 - size * 0.1
    sides = torch.rand(count, 2, generator=generator) ** 2 * size
    return torch.cat([corners, corners + sides], dim=1)


def soft_masks(masks, boxes, height, width) -> torch.Tensor:
    """Detectron2's values before the threshold, in 64 bits."""
    values, _ = _do_paste_mask(
        masks.double()[:, None], boxes.double(), height, width, skip_empty=False
    )
    return values


def assert_same(masks, boxes, height, width) -> torch.Tensor:
    pasted = paste_masks(masks, boxes, height, width)
    assert pasted.shape == (len(masks), height, width) and pasted.dtype == torch.bool
    values = soft_masks(masks, boxes, height, width)
    is_clear = (values - 0.5).abs() > 1e-4
    assert is_clear.float().mean() > 0.99
    assert torch.equal(pasted[is_clear], (values >= 0.5)[is_clear])
    # Detectron2's function on a CPU stumbles over boxes that are wholly outside.
    reaches = (boxes[:, 2:] > 0).all(dim=1) & (boxes[:, :2] < torch.tensor([width, height])).all(1)
    theirs = paste_masks_in_image(masks[reaches].float(), boxes[reaches], (height, width))
    assert torch.equal(pasted[reaches][is_clear[reaches]], theirs[is_clear[reaches]])
    return pasted


@pytest.mark.parametrize("size", [1, 2, 7, 28, 112])
def test_random_boxes(size):
    pasted = assert_same(random_masks(40, size) ** 0.5, random_boxes(40, 60, 90), 60, 90)
    assert 0.01 < pasted.float().mean() < 0.5


@pytest.mark.parametrize("size", [7, 28])
def test_awkward_boxes(size):
    boxes = torch.tensor(AWKWARD)
    assert_same(random_masks(len(boxes), size) ** 0.5, boxes, 60, 90)
    areas = paste_masks(torch.ones(len(boxes), size, size), boxes, 60, 90).sum(dim=(1, 2))
    # But for the corners, where a mask fades in both directions.
    expected = [5400, 1, 0, 1, 40 * 30, 30 * 20, 5400, 0, 0, 0, 0, 1]
    assert areas[:12].tolist() == pytest.approx(expected, rel=0.05)


def test_one_box_far_larger_than_the_others():
    boxes = torch.tensor([[5, 5, 9, 9], [-9000, -9000, 9000, 9000], [88, 58, 95, 62]])
    assert_same(random_masks(3), boxes.float(), 60, 90)


def test_a_full_mask_covers_its_box():
    boxes = torch.tensor([[3.0, 2, 8, 9]])
    pasted = paste_masks(torch.ones(1, 28, 28), boxes, 12, 11)
    expected = torch.zeros(1, 12, 11, dtype=torch.bool)
    expected[0, 2:9, 3:8] = True
    assert torch.equal(pasted, expected)


def test_half_a_mask_by_hand():
    # Two cells on four pixels, of which the inner ones are a quarter of the way to the next cell,
    # and the outer ones to the nothing around: 3/4, 3/4, 1/4, 0. A threshold belongs to the mask.
    mask = torch.tensor([[[1.0, 0], [1, 0]]])
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    for threshold, columns in ((0.2, 3), (0.25, 3), (0.26, 2), (0.5, 2), (0.75, 2), (0.76, 0)):
        pasted = paste_masks(mask, boxes, 4, 4, threshold)
        inner = torch.arange(4) < columns
        assert torch.equal(pasted[0, 1], inner), threshold
        assert torch.equal(pasted[0, 2], inner), threshold


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.999])
def test_other_thresholds(threshold):
    # With low ones a mask reaches beyond its box. On a CPU Detectron2 cuts it off a pixel from
    # there, on a GPU it doesn't.
    masks, boxes = random_masks(30), random_boxes(30, 60, 90)
    values = soft_masks(masks, boxes, 60, 90)
    is_clear = (values - threshold).abs() > 1e-4
    pasted = paste_masks(masks, boxes, 60, 90, threshold)
    assert torch.equal(pasted[is_clear], (values >= threshold)[is_clear])
    assert pasted.any()


@pytest.mark.parametrize(
    "box", [[20, 10, 20, 30], [20, 10, 40, 10], [20, 10, 20, 10], [20.5, 10, 20.5, 30]]
)
def test_boxes_without_extent_hold_nothing(box):
    # One of them goes through the centres of pixels, where any place of the mask would do.
    boxes = torch.tensor([box, [3, 2, 8, 9]])
    pasted = paste_masks(torch.ones(2, 28, 28), boxes, 60, 90)
    assert not pasted[0].any() and pasted[1].sum() == 5 * 7


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1)])
def test_images_of_a_pixel_or_a_line(height, width):
    boxes = random_boxes(20, height, width)
    pasted = assert_same(random_masks(20) ** 0.3, boxes, height, width)
    assert pasted.any()
    whole = torch.tensor([[0.0, 0, width, height]])
    assert paste_masks(torch.ones(1, 14, 14), whole, height, width).all()


def test_no_masks():
    pasted = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), 6, 9)
    assert pasted.shape == (0, 6, 9) and pasted.dtype == torch.bool


def test_masks_that_all_lie_outside():
    boxes = torch.tensor([[-50.0, -50, -10, -10], [200, 200, 300, 300]])
    assert not paste_masks(torch.ones(2, 28, 28), boxes, 60, 90).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype):
    # A mask of 16 bits has those values; they are interpolated in 32.
    assert_same(random_masks(20).to(dtype), random_boxes(20, 60, 90), 60, 90)


def test_masks_are_views_of_something_else():
    masks = torch.stack([random_masks(10), random_masks(10, seed=5)], dim=1)
    boxes = random_boxes(10, 60, 90)
    before = masks.clone(), boxes.clone()
    for view in (masks[:, 1], masks[:, 0].transpose(1, 2), masks[:1, 0].expand(10, -1, -1)):
        assert torch.equal(
            paste_masks(view, boxes, 60, 90), paste_masks(view.clone(), boxes, 60, 90)
        )
        assert_same(view, boxes, 60, 90)
    assert torch.equal(masks, before[0]) and torch.equal(boxes, before[1])


def detections(image_size=(30, 45)) -> Instances:
    """As a detector gives them, with some that leave no box in the image or in the output."""
    boxes = torch.cat([random_boxes(8, *image_size), torch.tensor(AWKWARD) / 2])
    found = Instances(image_size)
    found.pred_boxes = Boxes(boxes)
    found.scores = torch.linspace(1, 0.1, len(boxes))
    found.pred_classes = torch.arange(len(boxes)) % 3
    found.pred_masks = random_masks(len(boxes))[:, None]
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width"), [(30, 45), (61, 88), (10, 15)])
def test_postprocessing(height, width, dtype):
    plain, fast = detections(), detections()
    fast.pred_masks = fast.pred_masks.to(dtype)
    plain.pred_masks = fast.pred_masks.float()
    use_paste_masks(fast)
    assert isinstance(fast.pred_masks, PastedMasks) and len(fast.pred_masks) == len(plain)
    kept = copy.deepcopy(plain)
    expected = detector_postprocess(plain, height, width)
    result = detector_postprocess(fast, height, width)
    assert 0 < len(result) < len(kept)
    assert result.image_size == (height, width)
    assert set(result.get_fields()) == set(expected.get_fields())
    assert torch.equal(result.pred_boxes.tensor, expected.pred_boxes.tensor)
    assert torch.equal(result.scores, expected.scores)
    assert torch.equal(result.pred_classes, expected.pred_classes)
    # The scores tell which of the masks are left.
    index = torch.searchsorted(-kept.scores, -result.scores)
    values = soft_masks(kept.pred_masks[index, 0], result.pred_boxes.tensor, height, width)
    is_clear = (values - 0.5).abs() > 1e-4
    assert result.pred_masks.dtype == torch.bool and result.pred_masks.any()
    assert torch.equal(result.pred_masks[is_clear], expected.pred_masks[is_clear])
    assert torch.equal(result.pred_masks[is_clear], (values >= 0.5)[is_clear])


def test_the_threshold_of_the_postprocessing_counts():
    low, high = detections(), detections()
    for found in (low, high):
        use_paste_masks(found)
    low = detector_postprocess(low, 60, 90, mask_threshold=0.2).pred_masks
    high = detector_postprocess(high, 60, 90, mask_threshold=0.8).pred_masks
    assert (low >= high).all() and low.sum() > high.sum() > 0


def test_postprocessing_of_nothing():
    found = detections()[:0]
    use_paste_masks(found)
    result = detector_postprocess(found, 61, 88)
    assert result.pred_masks.shape == (0, 61, 88)
    outside = detections()[-7:-6]
    use_paste_masks(outside)
    assert len(detector_postprocess(outside, 61, 88).pred_masks) == 0


def test_selections_keep_their_kind():
    masks = PastedMasks(random_masks(5))
    for item in (slice(1, 4), torch.tensor([3, 1]), torch.arange(5) % 2 == 0):
        selected = masks[item]
        assert type(selected) is PastedMasks
        assert torch.equal(selected.tensor, masks.tensor[item])
    with pytest.raises(ValueError, match="shape"):
        masks[2]


def test_boxes_may_be_a_tensor():
    masks, boxes = PastedMasks(random_masks(5)), random_boxes(5, 60, 90)
    first, second = (masks.to_bitmasks(given, 60, 90) for given in (boxes, Boxes(boxes)))
    assert torch.equal(first.tensor, second.tensor) and first.tensor.any()


def test_other_detections_are_left_alone():
    boxes = detections()
    boxes.remove("pred_masks")
    use_paste_masks(boxes)
    assert not boxes.has("pred_masks")
    elsewhere = Instances((30, 45), pred_masks=torch.zeros(3, 1, 28, 28, device="meta"))
    use_paste_masks(elsewhere)
    assert type(elsewhere.pred_masks) is torch.Tensor
    given = Instances((30, 45), pred_masks=ROIMasks(random_masks(3)))
    use_paste_masks(given)
    assert type(given.pred_masks) is ROIMasks
