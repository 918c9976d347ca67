"""Masks of regions that share their objects' frames, against Detectron2's copies of frames."""

import copy

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

from segtron.config import load_config
from segtron.modeling.build import build_model
from segtron.modeling.mask_heads.mask_iou import area_outside
from segtron.modeling.region_masks import RegionMasks

HEIGHT, WIDTH = 60, 90
AWKWARD = [
    [0, 0, WIDTH, HEIGHT],  # the image
    [0, 0, 1, 1],
    [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT],
    [10.25, 20.5, 10.5, 40.75],  # thin
    [30, 10, 30, 40],  # no width
    [20, 10, 40, 10],  # no height
    [-20.3, -10.2, 15.1, 12.4],  # partly outside
    [80.2, 50.1, 120.7, 99.3],
    [-300.4, 5.2, 400.3, 50.9],
    [-60, -60, -20, -20],  # wholly outside
    [130, 10, 150, 30],
]


def objects(count: int) -> torch.Tensor:
    """Disks, some cut by the border, and one without a pixel."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disks = [
        np.hypot(y - rng.uniform(0, HEIGHT), x - rng.uniform(0, WIDTH)) < rng.uniform(2, 40)
        for _ in range(count - 1)
    ]
    return torch.from_numpy(np.stack([*disks, np.zeros((HEIGHT, WIDTH), bool)]))


def regions(count: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    corners = rng.uniform(-5, [WIDTH - 5, HEIGHT - 5], (count, 2))
    drawn = np.concatenate([corners, corners + rng.uniform(0.5, 60, (count, 2))], axis=1)
    return torch.tensor(np.concatenate([drawn, AWKWARD]), dtype=torch.float32)


@pytest.mark.parametrize("mask_size", [28, 7])
def test_crops_equal_those_of_copied_frames(mask_size):
    masks, boxes = objects(6), regions(400)
    numbers = torch.arange(len(boxes)) * 5 % 6
    shared = RegionMasks(masks, numbers).crop_and_resize(boxes, mask_size)
    copied = BitMasks(masks[numbers]).crop_and_resize(boxes, mask_size)
    assert shared.dtype == torch.bool
    assert shared.shape == copied.shape
    assert 0.1 < copied.float().mean() < 0.9
    # What is covered just by half may fall to either side.
    assert (shared != copied).float().mean() < 1e-4


def test_crops_of_whole_pixels_are_exact():
    """Cells of 1 x 1 and of 2 x 2 pixels, by hand."""
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 2:5, 3:6] = True
    masks = RegionMasks(mask, torch.tensor([0, 0]))
    crops = masks.crop_and_resize(torch.tensor([[2.0, 2, 6, 6], [0, 0, 8, 8]]), 4)
    assert crops[0].int().tolist() == [[0, 1, 1, 1]] * 3 + [[0, 0, 0, 0]]
    # Rows 2 and 3 are full and row 4 alone is half of its cell; so is column 3, and 4 and 5 full.
    assert crops[1].int().tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_in_16_bits_crops_are_the_same():
    masks = RegionMasks(objects(6), torch.arange(60) % 6)
    boxes = regions(49)
    plain = masks.crop_and_resize(boxes, 28)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(masks.crop_and_resize(boxes, 28), plain)
        outside = area_outside(masks, Boxes(boxes))
    assert torch.equal(outside, area_outside(masks, Boxes(boxes)))


def test_is_indexed_like_bitmaps():
    frames = objects(5)
    masks, bitmaps = RegionMasks.of_objects(BitMasks(frames)), BitMasks(frames)
    for item in (
        torch.tensor([4, 0, 0, 3]),
        torch.tensor([True, False, True, True, False]),
        torch.zeros(5, dtype=torch.bool),
        slice(1, 4),
        2,
    ):
        chosen = masks[item]
        assert len(chosen) == len(bitmaps[item])
        assert torch.equal(chosen.tensor, bitmaps[item].tensor)
        assert chosen.image_size == bitmaps.image_size
        again = chosen[torch.arange(len(chosen)).flip(0)]
        assert torch.equal(again.tensor, bitmaps[item].tensor.flip(0))
    nothing = masks[torch.zeros(5, dtype=torch.bool)]
    assert nothing.crop_and_resize(torch.zeros(0, 4), 28).shape == (0, 28, 28)
    with pytest.raises(ValueError, match="2 boxes for 5 masks"):
        masks.crop_and_resize(torch.zeros(2, 4), 28)


def test_targets_can_be_joined():
    """As ROI heads of one's own may do."""
    frames = objects(6)
    chosen = RegionMasks(frames[:4], torch.tensor([3, 1, 1]))
    for others in ([BitMasks(frames[4:])], [chosen, BitMasks(frames[2:3]), chosen[:0]]):
        images = [
            Instances((HEIGHT, WIDTH), gt_masks=masks, gt_classes=torch.zeros(len(masks)))
            for masks in (chosen, *others)
        ]
        joined = Instances.cat(images).gt_masks
        expected = torch.cat([masks.tensor for masks in (chosen, *others)])
        assert torch.equal(joined.tensor, expected)
        boxes = regions(len(joined))[: len(joined)]
        plain = BitMasks(expected).crop_and_resize(boxes, 14)
        assert (joined.crop_and_resize(boxes, 14) == plain).float().mean() > 0.999
    moved = chosen.to(torch.float32)
    assert moved.tensor.dtype == torch.bool
    with pytest.raises(ValueError, match="no list"):
        chosen[torch.tensor([[0, 1], [1, 0]])]


def test_area_outside_is_that_of_copied_frames():
    masks, boxes = objects(6), regions(40)
    numbers = torch.arange(len(boxes)) % 6
    shared = area_outside(RegionMasks(masks, numbers), Boxes(boxes))
    copied = area_outside(BitMasks(masks[numbers]), Boxes(boxes))
    torch.testing.assert_close(shared, copied)


@pytest.fixture(scope="module")
def model_and_images():
    opts = ["MODEL.DEVICE", "cpu", "MODEL.TIMM.PRETRAINED", False, "SOLVER.AMP.ENABLED", False]
    model = build_model(load_config("configs/toytown/mask_rcnn_lite0_FPN.yaml", opts))
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(2):
        frames = objects(5)[:4]
        masks = BitMasks(frames)
        instances = Instances((HEIGHT, WIDTH), gt_boxes=masks.get_bounding_boxes())
        instances.gt_classes = torch.tensor([0, 1, 2, 0])
        instances.gt_masks = masks
        pixels = torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
        images.append({"image": pixels, "instances": instances})
    return model, images


def losses(model, images):
    torch.manual_seed(0)
    with EventStorage():
        return model(images)


def test_a_model_learns_the_same(model_and_images):
    model, images = model_and_images
    before = [image["instances"].gt_masks for image in images]
    plain = copy.deepcopy(model)
    plain.roi_heads._forward_pre_hooks.clear()
    ours, theirs = losses(model, images), losses(plain, images)
    assert ours["loss_mask"] > 0
    assert ours.keys() == theirs.keys()
    for name, loss in ours.items():
        torch.testing.assert_close(loss, theirs[name], rtol=1e-4, atol=1e-6)
    # What the data loader gave is as it was.
    assert [image["instances"].gt_masks for image in images] == before


@pytest.mark.parametrize("by_name", ["all", "targets", "none"])
def test_heads_may_be_called_by_name(model_and_images, monkeypatch, by_name):
    model, images = model_and_images
    seen = []
    kind = type(model.roi_heads)

    def forward(self, images, features, proposals, targets=None):
        seen.append(targets)
        return kind_forward(self, images, features, proposals, targets)

    kind_forward = kind.forward
    monkeypatch.setattr(kind, "forward", forward)
    inputs = model.preprocess_image(images)
    features = model.backbone(inputs.tensor)
    targets = [image["instances"] for image in images]
    with EventStorage():
        proposals, _ = model.proposal_generator(inputs, features, targets)
        given = {"images": inputs, "features": features, "proposals": proposals}
        if by_name == "all":
            model.roi_heads(**given, targets=targets)
        elif by_name == "targets":
            model.roi_heads(*given.values(), targets=targets)
        else:
            model.roi_heads(*given.values(), targets)
    assert [type(image.gt_masks) for image in seen[0]] == [RegionMasks] * 2


def test_no_frame_is_copied(model_and_images, monkeypatch):
    model, images = model_and_images

    def refuse(self, item):
        raise AssertionError("a frame was copied")

    monkeypatch.setattr(BitMasks, "__getitem__", refuse)
    monkeypatch.setattr(RegionMasks, "tensor", property(lambda self: refuse(self, None)))
    assert losses(model, images)["loss_mask"] > 0


def test_images_without_objects(model_and_images):
    model, images = model_and_images
    nothing = {**images[0], "instances": images[0]["instances"][:0]}
    for batch in ([nothing, images[1]], [nothing, nothing]):
        assert all(torch.isfinite(loss) for loss in losses(model, batch).values())
