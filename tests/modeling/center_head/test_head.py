"""CenterHead: its losses by hand, the way to the pixels, and what it says about mistakes."""

import pytest
import torch
from torch.nn import functional as F

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.center_head import CenterHead, CenterTargets, center_targets

from ..semantic_heads.conftest import random_features, randomize, shapes

PYRAMID = shapes(res2=(2, 4), res3=(3, 8), res4=(4, 16), res5=(5, 32))
THING = {"isthing": True, "iscrowd": 0}


def build(features=PYRAMID, **options):
    cfg = get_default_config()
    for key, value in (
        {"IN_FEATURES": list(features), "CONVS_DIM": 8, "NORM": "GN"} | options
    ).items():
        cfg.MODEL.CENTER_HEAD[key] = value
    cfg.freeze()
    torch.manual_seed(0)
    return CenterHead(cfg, features)


def test_losses_by_hand():
    head = build(CENTER_LOSS_WEIGHT=3.0, OFFSET_LOSS_WEIGHT=0.5)
    generator = torch.Generator().manual_seed(0)
    heatmap = torch.rand(2, 1, 8, 12, generator=generator)
    offsets = torch.randn(2, 2, 8, 12, generator=generator)
    targets = CenterTargets(
        heatmap=torch.rand(2, 5, 7, generator=generator),
        offsets=torch.randn(2, 2, 5, 7, generator=generator),
        is_labelled=torch.rand(2, 5, 7, generator=generator) < 0.7,
        is_thing=torch.rand(2, 5, 7, generator=generator) < 0.3,
    )
    losses = head.losses((heatmap, offsets), targets)
    center, offset = [], []
    for i in range(2):
        for row in range(5):
            for column in range(7):
                if targets.is_labelled[i, row, column]:
                    error = heatmap[i, 0, row, column] - targets.heatmap[i, row, column]
                    center.append(error**2)
                if targets.is_thing[i, row, column]:
                    offset += [
                        abs(offsets[i, axis, row, column] - targets.offsets[i, axis, row, column])
                        for axis in range(2)
                    ]
    assert losses.keys() == {"loss_center", "loss_offset"}
    torch.testing.assert_close(losses["loss_center"], 3.0 * sum(center) / len(center))
    torch.testing.assert_close(losses["loss_offset"], 0.5 * 2 * sum(offset) / len(offset))


@pytest.mark.parametrize("labelled", [True, False])
def test_without_a_pixel_of_a_thing_losses_are_zero_and_connected(labelled):
    head = build()
    features = random_features(PYRAMID, 33, 40)
    segments = [THING | {"isthing": False}] if labelled else []
    pan_seg = torch.full((1, 33, 40), int(labelled))
    predictions, losses = head(features, pan_seg, [segments])
    assert predictions is None
    assert losses["loss_offset"] == 0
    assert (losses["loss_center"] > 0) == labelled
    sum(losses.values()).backward()
    # Processes that train together wait for the gradient of every parameter.
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("size", [(37, 61), (1, 1), (64, 32)])
@pytest.mark.parametrize("options", [{}, {"COMMON_STRIDE": 2}, {"CONV": "separable"}])
def test_predictions_cover_any_image(size, options):
    head = build(**options).eval()
    features = random_features(PYRAMID, *size, batch=2)
    predictions, losses = head(features)
    assert losses == {}
    covered = [-(-side // 4) * 4 for side in size]
    assert predictions.heatmap.shape == (2, 1, *covered)
    assert predictions.offsets.shape == (2, 2, *covered)
    pan_seg = torch.ones(2, *size, dtype=torch.int64)
    assert all(loss > 0 for loss in head.train()(features, pan_seg, [[THING]] * 2)[1].values())


def test_predictions_are_interpolated_and_offsets_are_in_pixels():
    features = shapes(res2=(2, 4), res3=(3, 8))
    head = build(features, NORM="").eval()
    randomize(head, 0.4)
    inputs = random_features(features, 24, 40)
    with torch.no_grad():
        x = head.decode(inputs)
        assert x.shape == (1, 8, 6, 10)
        heatmap = head.center_predictor(head.center_conv(x))
        offsets = 4 * head.offset_predictor(head.offset_conv(x))
        predictions, _ = head(inputs)
    for found, cells in zip(predictions, (heatmap, offsets), strict=True):
        expected = F.interpolate(cells, (24, 40), mode="bilinear", align_corners=False)
        torch.testing.assert_close(found, expected)


def test_interpolated_offsets_of_cells_are_those_of_pixels():
    """What cells should say, if each says what holds in its middle, is right in all pixels."""
    pan_seg = torch.ones(1, 32, 48, dtype=torch.int64)
    targets = center_targets(pan_seg, [[THING]], sigma=8.0)
    cells = F.avg_pool2d(targets.offsets, 4)
    between = (..., slice(2, -2), slice(2, -2))  # beyond the outermost middles nothing is known
    found = F.interpolate(cells, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[between], targets.offsets[between])


def test_predictions_are_float32_under_autocast():
    head = build().eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        predictions, _ = head(random_features(PYRAMID, 32, 32))
    assert [prediction.dtype for prediction in predictions] == [torch.float32] * 2


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({}, [8, 8, 8]),
        ({"COMMON_STRIDE": 2, "CONVS_DIM": 6}, [6, 6, 6, 6]),
        ({"CHANNELS": [7, 6, 9]}, [7, 6, 9]),
    ],
)
def test_channels_of_the_steps(options, widths):
    head = build(**options | {"NORM": ""})
    assert [step.convs[1].weight.shape[0] for step in head.steps] == widths
    assert head.center_predictor.weight.shape == (1, widths[-1], 1, 1)
    assert head.offset_predictor.weight.shape == (2, widths[-1], 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"IN_FEATURES": ["res6"]}, "CENTER_HEAD.IN_FEATURES asks for res6"),
        ({"COMMON_STRIDE": 8}, "CENTER_HEAD.IN_FEATURES: res2 .*CenterHead wants strides"),
        ({"COMMON_STRIDE": 0}, "CENTER_HEAD.COMMON_STRIDE is 0; it must be 1 or more"),
        ({"CONVS_DIM": 0}, "CENTER_HEAD.CONVS_DIM is 0"),
        ({"CHANNELS": [8, 8]}, "CENTER_HEAD.CHANNELS has 2 entries, but .* 3 up-steps"),
        ({"NORM": "batch"}, "CENTER_HEAD.NORM is 'batch'"),
        ({"CONV": "depthwise"}, "CENTER_HEAD.CONV is 'depthwise'"),
        ({"SIGMA": 0.0}, "CENTER_HEAD.SIGMA is 0.0; it must be a number of pixels above 0"),
        ({"SIGMA": float("nan")}, "CENTER_HEAD.SIGMA is nan"),
        ({"CENTER_LOSS_WEIGHT": -1.0}, "CENTER_LOSS_WEIGHT is -1.0; it must be 0 or more"),
        ({"OFFSET_LOSS_WEIGHT": float("nan")}, "OFFSET_LOSS_WEIGHT is nan"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)
