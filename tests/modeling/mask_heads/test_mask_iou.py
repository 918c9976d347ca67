"""Mask-IoU targets and areas by hand, and the branch's shapes and gradients."""

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import BitMasks, Boxes, PolygonMasks

from segtron.modeling.mask_heads import MaskIoUHead
from segtron.modeling.mask_heads.mask_iou import area_outside, mask_iou_targets


def bitmap(height, width, x0, y0, x1, y1):
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def polygon(x0, y0, x1, y1):
    return np.array([x0, y0, x1, y0, x1, y1, x0, y1], dtype=float)


def both_kinds(height, width, *rectangles):
    return (
        BitMasks(torch.stack([bitmap(height, width, *r) for r in rectangles])),
        PolygonMasks([[polygon(*r)] for r in rectangles]),
    )


@pytest.mark.parametrize("kind", [0, 1], ids=["bitmaps", "polygons"])
def test_area_outside_by_hand(kind):
    rectangles = [(2, 2, 8, 6)] * 6
    boxes = [
        (0, 0, 10, 10),  # all inside
        (5, 0, 10, 10),  # columns 2 to 5 outside: 3 * 4
        (2.5, 2.5, 8, 6),  # 24 - 5.5 * 3.5
        (9, 9, 10, 10),  # all outside: 24
        (3, 3, 5, 5),  # 24 - 4
        (2, 2, 8, 6),  # the box of the mask itself
    ]
    masks = both_kinds(10, 12, *rectangles)[kind]
    outside = area_outside(masks, Boxes(torch.tensor(boxes, dtype=torch.float32)))
    assert outside.tolist() == pytest.approx([0, 12, 4.75, 24, 20, 0], abs=1e-5)
    assert outside.dtype == torch.float32


def test_area_outside_of_slanted_concave_and_split_polygons():
    triangle = [np.array([0.0, 0, 4, 0, 0, 4])]  # area 8
    # An L of area 12: 4x4 without its upper right 2x2.
    corner = [np.array([0.0, 0, 2, 0, 2, 2, 4, 2, 4, 4, 0, 4])]
    two_parts = [polygon(0, 0, 2, 2), polygon(6, 0, 8, 2)[::-1].copy()]
    # The second part runs the other way round (its coordinates reversed are y, x): areas 4 and 4.
    two_parts[1] = np.array([6.0, 0, 6, 2, 8, 2, 8, 0])
    masks = PolygonMasks([triangle, triangle, corner, corner, two_parts, []])
    boxes = Boxes(
        torch.tensor(
            [
                [0, 0, 2, 2],  # 4 - 0: the slant only touches the corner (2, 2): inside 4
                [1, 1, 4, 4],  # inside: a triangle of legs 2, area 2
                [1, 1, 3, 3],  # inside: 4 less the upper right 1x1
                [2, 0, 4, 2],  # just the notch: inside 0
                [1, 0, 7, 2],  # half of each part: inside 4
                [0, 0, 1, 1],  # no polygon at all
            ],
            dtype=torch.float32,
        )
    )
    assert area_outside(masks, boxes).tolist() == pytest.approx([4, 6, 9, 12, 4, 0], abs=1e-9)


def test_polygons_agree_with_bitmaps_on_random_shapes():
    rng = np.random.default_rng(0)
    polygons = []
    for _ in range(8):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(40, 190, 9)
        around = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + 200
        polygons.append([around.reshape(-1)])
    boxes = torch.tensor([[100.0, 150, 260, 330]]).repeat(8, 1)
    masks = PolygonMasks(polygons)
    exact = area_outside(masks, Boxes(boxes))
    counted = area_outside(BitMasks.from_polygon_masks(masks, 400, 400), Boxes(boxes))
    # Rasterizing costs up to half a pixel along the outline.
    assert torch.allclose(exact, counted, atol=0.0, rtol=0.03)


@pytest.mark.parametrize("kind", [0, 1], ids=["bitmaps", "polygons"])
def test_iou_targets_by_hand(kind):
    # The object is 8x4 pixels. The box holds its left half and is 8x8, in cells of 2x2 pixels.
    masks = both_kinds(16, 16, *[(4, 2, 12, 6)] * 4)[kind]
    boxes = Boxes(torch.tensor([[0.0, 0, 8, 8]] * 4))
    target = torch.zeros(4, 4, dtype=torch.bool)
    target[1:3, 2:4] = True  # 4 cells; the 16 pixels outside are 4 cells more
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    one_more = target.clone()
    one_more[0, 3] = True
    half = target.clone()
    half[1] = False
    ious = mask_iou_targets(
        torch.stack([target, nothing, one_more, half]), torch.stack([target] * 4), masks, boxes
    )
    # perfect within the box: 4 / (4 + 4); empty; 4 / (5 + 4); 2 / (4 + 4)
    assert ious.tolist() == pytest.approx([0.5, 0.0, 4 / 9, 0.25], abs=1e-6)


def test_iou_of_empty_masks_and_boxes_without_area_is_zero():
    masks = BitMasks(torch.zeros(2, 8, 8))
    cells = torch.zeros(2, 4, 4, dtype=torch.bool)
    boxes = Boxes(torch.tensor([[0.0, 0, 4, 4], [3, 3, 3, 3]]))
    assert mask_iou_targets(cells, cells, masks, boxes).tolist() == [0.0, 0.0]


def test_the_branch_judges_each_class_and_leaves_the_masks_alone():
    head = MaskIoUHead(
        ShapeSpec(channels=6, height=7, width=7), num_classes=3, num_conv=2, conv_dim=8, fc_dim=16
    )
    features = torch.randn(5, 6, 7, 7, requires_grad=True)
    masks = torch.rand(5, 1, 14, 14, requires_grad=True)
    ious = head(features, masks)
    assert ious.shape == (5, 3)
    ious.sum().backward()
    assert masks.grad is None
    assert features.grad.abs().sum() > 0
    assert head.convs[0].weight.shape == (8, 7, 3, 3)
    assert head.convs[1].stride == (2, 2)
    assert not torch.equal(ious, head(features, 1 - masks))


def test_the_branch_needs_a_convolution():
    with pytest.raises(ValueError, match="num_conv is 0"):
        MaskIoUHead(ShapeSpec(channels=6, height=7, width=7), num_classes=3, num_conv=0)
