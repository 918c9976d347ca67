"""Regions pooled cell by cell, against torchvision's sample by sample in 64 bits."""

import copy

import pytest
import torch
import torchvision
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import nn

from segtron.modeling.roi_align import CellROIAlign, CellROIPooler, use_cell_roi_align

SIZE = (40, 56)  # of an image, of which features have a quarter
SCALE = 0.25
# In pixels.
AWKWARD = [
    [0, 0, 56, 40],  # the image
    [4, 4, 12, 36],
    [0, 0, 4, 4],  # a cell
    [13, 7, 14, 8],  # a quarter of one
    [20, 10, 20, 30],  # no width
    [20, 10, 40, 10],  # no height
    [20, 10, 20, 10],  # neither
    [-16, -8, 8, 12],  # partly outside: above and left
    [48, 32, 80, 64],  # below and right
    [-100, 10, 200, 20],  # on both sides
    [-60, -60, -20, -20],  # wholly outside
    [80, 10, 120, 30],
    [-6, -6, 2, 2],  # the first samples lie a cell before the border, more or less
    [50, 36, 66, 48],
    [56, 40, 60, 44],  # begins where the image ends
    [52, 36, 56, 40],  # the last cell
]


def awkward_regions(num_images: int, shift: float = 1 / 16) -> torch.Tensor:
    """All awkward boxes in each image.

    Bins of a seventh of them would have samples at just a cell from the border, where they end to
    count: on which side they are would hang on rounding. So boxes are shifted a little. Sixteenths
    are exact.
    """
    found = torch.tensor(AWKWARD) + shift
    return torch.cat(
        [torch.cat([torch.full((len(found), 1), float(i)), found], 1) for i in range(num_images)]
    )


def random_boxes(count: int) -> torch.Tensor:
    """In the image and around it, small ones and large ones."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([76.0, 60]) - 10
    sides = torch.rand(count, 2, generator=generator) ** 2 * 50
    return torch.cat([corners, corners + sides], dim=1)


def regions(num_images: int, count: int = 24) -> torch.Tensor:
    """Awkward ones and random ones."""
    numbers = torch.arange(count) % num_images
    found = torch.cat([numbers[:, None].float(), random_boxes(count)], dim=1)
    return torch.cat([awkward_regions(num_images), found])


def features(batch: int, channels: int = 5, size=None, seed: int = 1) -> torch.Tensor:
    height, width = size or (side // 4 for side in SIZE)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, height, width, generator=generator)


def reference(x, rois, output_size, sampling_ratio, aligned, scale=SCALE):
    """In 64 bits."""
    return torchvision.ops.roi_align(
        x.double(), rois.double(), output_size, scale, sampling_ratio, aligned
    )


def random_like(x: torch.Tensor) -> torch.Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(x.dtype)


def assert_same(x, rois, output_size=(7, 7), sampling_ratio=0, aligned=True, scale=SCALE):
    """Both the values and the gradients."""
    ours = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    theirs = x.detach().clone().double().requires_grad_()
    pooled = CellROIAlign(output_size, scale, sampling_ratio, aligned)(ours, rois)
    expected = reference(theirs, rois, output_size, sampling_ratio, aligned, scale)
    assert pooled.dtype == x.dtype and pooled.shape == expected.shape
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=1e-4)
    gradient = random_like(pooled)
    pooled.backward(gradient)
    expected.backward(gradient.double())
    assert ours.grad.dtype == x.dtype
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-4)
    return pooled.detach()


@pytest.mark.parametrize("output_size", [(7, 7), (14, 14), (3, 5), (1, 1)])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_values_and_gradients(output_size, sampling_ratio, aligned):
    pooled = assert_same(features(2), regions(2), output_size, sampling_ratio, aligned)
    assert pooled.abs().amax(dim=(1, 2, 3)).gt(0.1).float().mean() > 0.5


@pytest.mark.parametrize("output_size", [(1, 1), (2, 2)])
@pytest.mark.parametrize("aligned", [True, False])
def test_boxes_of_about_a_cell(output_size, aligned):
    """The number of samples is that of cells, rounded up: a rounding error must not add one."""
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(500, 2, generator=generator) * torch.tensor([50.0, 34])
    sides = torch.rand(500, 2, generator=generator) * 4.5
    rois = torch.cat([torch.zeros(500, 1), corners, corners + sides], dim=1)
    assert_same(features(1), rois, output_size, 0, aligned)


@pytest.mark.parametrize("output_size", [(4, 4), (8, 2), (1, 1)])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 4])
@pytest.mark.parametrize("aligned", [True, False])
def test_samples_at_exact_places(output_size, sampling_ratio, aligned):
    # At cells, between two, at the border, and a cell from it.
    rois = awkward_regions(1, shift=0.0)
    assert_same(features(1), rois, output_size, sampling_ratio, aligned)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_boxes_without_extent_or_outside(sampling_ratio, aligned):
    x = features(1).abs() + 1
    rois = awkward_regions(1, shift=0.0)
    pooled = CellROIAlign((7, 7), SCALE, sampling_ratio, aligned)(x, rois)
    is_zero = [bool((region == 0).all()) for region in pooled]
    by_box = dict(zip(map(tuple, AWKWARD), is_zero, strict=True))
    for box in [(-60, -60, -20, -20), (80, 10, 120, 30)]:
        assert by_box.pop(box)
    # Up to a cell beyond the border counts, so from half a pixel of it on where that is taken off.
    assert by_box.pop((56, 40, 60, 44)) == (not aligned)
    # Aligned, they have no sample, unless their number is fixed; else they are a cell wide.
    for box in [(20, 10, 20, 30), (20, 10, 40, 10), (20, 10, 20, 10)]:
        assert by_box.pop(box) == (aligned and sampling_ratio == 0)
    assert not any(by_box.values())


@pytest.mark.parametrize("aligned", [True, False])
def test_samples_at_the_very_border(aligned):
    # With one sample in each bin: bins of one cell, so that samples lie at whole and half cells,
    # from two cells before the border to two behind it.
    shift = 0.5 if aligned else 0.0
    starts = torch.arange(-2.5, 4.25, 0.25) + shift
    rois = torch.stack(
        [torch.tensor([0.0, x, y, x + 3, y + 3]) for x in starts.tolist() for y in (0.0, 0.5, -1.5)]
    )
    x = features(1, size=(4, 4)).abs() + 1
    pooled = assert_same(x, rois, (3, 3), 1, aligned, scale=1.0)
    assert (pooled == 0).any() and (pooled > 0).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_features_of_a_pixel_or_a_line(size, aligned, sampling_ratio):
    rois = regions(3)
    rois[:, 1:] *= torch.tensor([size[1] / 16, size[0] / 16] * 2)
    assert_same(features(3, size=size), rois, (7, 7), sampling_ratio, aligned)


@pytest.mark.parametrize("scale", [1.0, 1 / 32])
def test_scales(scale):
    assert_same(features(1, size=(40, 56)), regions(1), scale=scale)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.contiguous(),
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: torch.cat([x, x], dim=1)[:, ::2],
        lambda x: torch.cat([x, x], dim=3)[..., 3:-3],
        lambda x: x.transpose(2, 3),
        lambda x: x[:1].expand(2, -1, -1, -1),
        lambda x: x[:, :1],
    ],
    ids=["contiguous", "channels_last", "channels", "columns", "transposed", "expanded", "one"],
)
def test_memory_layouts(layout):
    x = layout(features(2))
    ours = x.clone(memory_format=torch.preserve_format).requires_grad_()
    # As a backbone would: what is pooled is no leaf.
    pooled = CellROIAlign((7, 7), SCALE, 0, True)(layout(features(2)), regions(2))
    expected = reference(x, regions(2), (7, 7), 0, True)
    torch.testing.assert_close(pooled.double(), expected, rtol=0, atol=1e-4)
    assert_same(ours, regions(2))


def test_the_gradient_goes_through_views():
    whole = features(2, channels=6).requires_grad_()
    twin = whole.detach().double().requires_grad_()
    pooled = CellROIAlign((7, 7), SCALE, 0, True)(whole[:, ::2, 1:].transpose(2, 3), regions(2))
    expected = reference(twin[:, ::2, 1:].transpose(2, 3), regions(2), (7, 7), 0, True)
    gradient = random_like(pooled).to(memory_format=torch.channels_last)
    pooled.backward(gradient)
    expected.backward(gradient.double())
    torch.testing.assert_close(whole.grad.double(), twin.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_no_regions(dtype):
    x = features(2).to(dtype).requires_grad_()
    pooled = CellROIAlign((3, 5), SCALE, 0, True)(x, torch.zeros(0, 5))
    assert pooled.shape == (0, 5, 3, 5) and pooled.dtype == dtype
    pooled.sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_16_bits(dtype, bits, sampling_ratio):
    x = features(2).to(dtype)
    rois = torch.cat([regions(2, count=60)] * 3)  # many regions add to a cell's gradient
    layer = CellROIAlign((7, 7), SCALE, sampling_ratio, True)
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    pooled = layer(ours, rois)
    expected = reference(theirs, rois, (7, 7), sampling_ratio, True)
    gradient = random_like(pooled)
    pooled.backward(gradient)
    expected.backward(gradient.double(), retain_graph=True)
    assert pooled.dtype == ours.grad.dtype == dtype
    # A weight and the result are rounded, by half a unit of the last place each; sums are not.
    # Weights add up, so what a sum of absolute values is, is a bound for the sum of their errors.
    error, slack = 2.0**-bits * 2.1, 1e-5
    of_absolute = reference(x.abs(), rois, (7, 7), sampling_ratio, True)
    assert ((pooled.double() - expected).abs() <= of_absolute * error + slack).all()
    absolute = x.double().requires_grad_()
    reference(absolute, rois, (7, 7), sampling_ratio, True).backward(gradient.double().abs())
    assert ((ours.grad.double() - theirs.grad).abs() <= absolute.grad * error + slack).all()
    # It isn't all within the slack.
    assert (of_absolute * error > 20 * slack).float().mean() > 0.4


def test_boxes_keep_their_precision_beside_features_of_16_bits():
    # Rounded to bfloat16, 1001 and 1003 are both 1000 or 1004.
    x = features(1, size=(4, 1200)).bfloat16()
    rois = torch.tensor([[0, 1001.0, 0, 1003, 4]])
    pooled = CellROIAlign((1, 1), 1.0, 1, True)(x, rois)
    expected = reference(x, rois, (1, 1), 1, True, 1.0)
    torch.testing.assert_close(pooled.double(), expected, rtol=0.02, atol=0.02)


def test_finite_differences():
    x = features(2, channels=2, size=(4, 5)).double().requires_grad_()
    rois = torch.tensor([[0, 1.0, 2, 11, 13], [1, -3, -3, 9, 30], [1, 6, 5, 7, 6]])
    for sampling_ratio in (0, 2):
        layer = CellROIAlign((2, 3), SCALE, sampling_ratio, True)
        assert torch.autograd.gradcheck(lambda x, layer=layer: layer(x, rois), (x,))


def test_regions_need_no_order_and_give_the_same_each_time():
    x, rois = features(3, channels=8).requires_grad_(), regions(3)
    layer = CellROIAlign((7, 7), SCALE, 0, True)

    def run(rois, gradient):
        pooled = layer(x, rois)
        return pooled.detach(), *torch.autograd.grad(pooled, x, gradient)

    first, gradient = run(rois, random_like(layer(x, rois)))
    again, same = run(rois, random_like(first))
    assert torch.equal(first, again) and torch.equal(gradient, same)
    order = torch.randperm(len(rois), generator=torch.Generator().manual_seed(3))
    shuffled, close = run(rois[order], random_like(first)[order])
    assert torch.equal(shuffled, first[order])
    torch.testing.assert_close(close, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    x, rois = features(2).to(dtype), regions(2)
    layer = CellROIAlign((7, 7), SCALE, 0, True)
    results = []
    for enabled in (True, False):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            pooled = layer(leaf, rois)
        assert pooled.dtype == dtype
        pooled.backward(random_like(pooled))
        results.append((pooled.detach(), leaf.grad))
    assert all(torch.equal(inside, outside) for inside, outside in zip(*results, strict=True))


def test_inference_mode():
    with torch.inference_mode():
        pooled = CellROIAlign((7, 7), SCALE, 0, True)(features(1), regions(1))
    torch.testing.assert_close(
        pooled.double(), reference(features(1), regions(1), (7, 7), 0, True), rtol=0, atol=1e-4
    )


def test_features_elsewhere_are_left_to_torchvision():
    x = features(2).to("meta")
    pooled = CellROIAlign((3, 5), SCALE, 0, True)(x, regions(2).to("meta"))
    assert pooled.shape == (len(regions(2)), 5, 3, 5) and pooled.is_meta


STRIDES = (4, 8, 16, 32)


def pooler(output_size=7, pooler_type="ROIAlignV2", sampling_ratio=0, strides=STRIDES) -> ROIPooler:
    scales = [1 / stride for stride in strides]
    return ROIPooler(output_size, scales, sampling_ratio, pooler_type, canonical_box_size=64)


@pytest.mark.parametrize("pooler_type", ["ROIAlign", "ROIAlignV2"])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_a_pooler_of_several_levels(pooler_type, sampling_ratio):
    theirs = pooler(pooler_type=pooler_type, sampling_ratio=sampling_ratio)
    ours = nn.ModuleDict({"inner": nn.ModuleList([copy.deepcopy(theirs)])})
    use_cell_roi_align(ours)
    ours = ours["inner"][0]
    for before, after in zip(theirs.level_poolers, ours.level_poolers, strict=True):
        assert type(after) is CellROIAlign
        assert (
            vars(after).items()
            >= {k: v for k, v in vars(before).items() if not k.startswith("_")}.items()
        )
    levels = [
        features(3, size=(128 // stride, 160 // stride), seed=stride).to(
            memory_format=torch.channels_last
        )
        for stride in STRIDES
    ]
    sizes = torch.logspace(0.5, 2.4, 20)
    corners = torch.rand(20, 2, generator=torch.Generator().manual_seed(4)) * 90 - 5
    found = torch.cat([corners, corners + sizes[:, None] * torch.tensor([1.0, 0.8])], dim=1)
    given = [Boxes(found), Boxes(torch.zeros(0, 4)), Boxes(found[::2] + 3)]
    results = []
    for layer in (theirs, ours):
        inputs = [level.clone().requires_grad_() for level in levels]
        pooled = layer(inputs, given)
        pooled.backward(random_like(pooled))
        results.append([pooled.detach(), *(level.grad for level in inputs)])
    for expected, result in zip(*results, strict=True):
        # 32 bits against 32 bits, whose sample positions are rounded otherwise.
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)
        assert result.abs().max() > 0.1  # all levels have a part in it


def test_a_pooler_of_one_level_and_another_shape():
    theirs = pooler((2, 6), strides=(8,))
    model = nn.Sequential(copy.deepcopy(theirs))
    use_cell_roi_align(model)
    ours = model[0]
    assert type(ours.level_poolers[0]) is CellROIAlign
    inputs = [features(1, size=(16, 20))]
    given = [Boxes(torch.cat([awkward_regions(1)[:, 1:], random_boxes(10)]) * 2)]
    expected = theirs(inputs, given)
    assert expected.shape[2:] == (2, 6)
    torch.testing.assert_close(ours(inputs, given), expected, rtol=0, atol=1e-3)


def test_nothing_else_is_replaced():
    class Special(ROIAlign):
        pass

    special = pooler()
    special.level_poolers[1] = Special(7, 1 / 8, 0, True)
    alone = ROIAlign(7, 1 / 4, 0, True)
    plain = pooler()
    model = nn.ModuleList(
        [special, pooler(pooler_type="ROIPool"), alone, nn.Conv2d(1, 1, 1), plain]
    )
    before = list(model)
    use_cell_roi_align(model)
    assert list(model)[:-1] == before[:-1]
    replaced = model[-1]
    assert type(replaced) is CellROIPooler
    use_cell_roi_align(model)  # a second time: nothing more
    assert list(model) == [*before[:-1], replaced]


def test_boxes_that_are_not_numbers_are_pooled_as_nothing():
    model = nn.ModuleList([pooler()])
    expected_by = copy.deepcopy(model[0])
    use_cell_roi_align(model)
    levels = [features(1, size=(64 // stride, 64 // stride), seed=stride) for stride in STRIDES]
    boxes = [Boxes(torch.tensor([[1.0, 2.0, 30.0, 40.0], [float("nan")] * 4]))]
    pooled = model[0](levels, boxes)
    assert pooled[0].abs().max() > 0 and (pooled[1] == 0).all()
    torch.testing.assert_close(pooled, expected_by(levels, boxes), rtol=1e-3, atol=1e-3)


def test_regions_lie_with_channels_last():
    model = nn.ModuleList([pooler()])
    use_cell_roi_align(model)
    levels = [features(1, size=(64 // stride, 64 // stride)) for stride in STRIDES]
    pooled = model[0](levels, [Boxes(torch.tensor([[1.0, 2.0, 30.0, 40.0], [0, 0, 9, 9]]))])
    assert pooled.is_contiguous(memory_format=torch.channels_last)
