"""What FCNHead and UNetHead share: the way to the image, losses, the auxiliary head, features."""

import pytest
import torch
from torch.nn import functional as F

from segtron.errors import UserError

from .conftest import WatchingLoss, build, random_features, shapes

PYRAMID = shapes(res2=(4, 4), res3=(4, 8), res4=(4, 16))
HEADS = ["FCNHead", "UNetHead"]


def watched(name, **options):
    head = build(name, PYRAMID, **options)
    head.loss = WatchingLoss()
    return head


def targets(height, width, batch=1):
    return torch.zeros(batch, height, width, dtype=torch.int64)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("size", [(37, 61), (1, 1), (33, 64)])
def test_training_sees_the_pixels_that_inference_gives(name, size):
    head = watched(name)
    features = random_features(PYRAMID, *size, batch=2)
    result, losses = head.train()(features, targets(*size, batch=2))
    assert result is None
    assert set(losses) == {"loss_sem_seg", "loss_sem_seg_dice"}
    assert head.loss.logits.shape == (2, 3, *size)
    logits, losses = head.eval()(features)
    assert losses == {}
    assert torch.equal(head.loss.logits, logits[..., : size[0], : size[1]])


@pytest.mark.parametrize("upsampling", ["learned", "fixed", "interpolate"])
def test_an_impulse_stays_in_its_place(upsampling):
    # 61 x 37 pixels are 16 x 10 cells of stride 4. Resizing 64 x 40 pixels to the image would move
    # the last cells by 3 pixels.
    features = shapes(res2=(1, 4))
    head = build("FCNHead", features, NUM_CLASSES=1, FCN__NUM_CONV=0, FCN__UPSAMPLING=upsampling)
    head.loss = WatchingLoss()
    head.scores["res2"].weight.data.fill_(1.0)
    for i, j in ((1, 1), (7, 5), (14, 8)):
        x = torch.zeros(1, 1, 16, 10)
        x[0, 0, i, j] = 1.0
        head({"res2": x}, targets(61, 37))
        peak = (head.loss.logits[0, 0] == head.loss.logits.max()).nonzero()
        expected = [[y, x] for y in (4 * i + 1, 4 * i + 2) for x in (4 * j + 1, 4 * j + 2)]
        assert peak.tolist() == expected


@pytest.mark.parametrize("name", HEADS)
def test_the_auxiliary_head_adds_its_losses_in_training_only(name):
    options = {"AUX__ENABLED": True, "AUX__IN_FEATURE": "res3", "AUX__LOSS_WEIGHT": 0.25}
    head = watched(name, NORM="GN", **options)
    plain = watched(name, NORM="GN")
    plain.load_state_dict(head.state_dict(), strict=False)
    features = random_features(PYRAMID, 37, 61, batch=2)
    losses = head.train()(features, targets(37, 61, batch=2))[1]
    auxiliary = head.auxiliary_head
    expected = F.interpolate(auxiliary(features), scale_factor=8, mode="bilinear")[..., :37, :61]
    assert torch.equal(head.loss.logits, expected)
    terms = expected.square().mean() + expected.abs().mean()
    assert losses.pop("loss_sem_seg_aux").item() == pytest.approx(0.25 * terms.item(), rel=1e-5)
    reference = plain.train()(features, targets(37, 61, batch=2))[1]
    assert {k: v.item() for k, v in losses.items()} == {k: v.item() for k, v in reference.items()}

    head.eval()
    auxiliary.register_forward_hook(lambda *_: pytest.fail("computed at inference"))
    assert torch.equal(head(features)[0], plain.eval()(features)[0])


def test_the_auxiliary_head_has_what_the_config_says():
    options = {"AUX__ENABLED": True, "AUX__IN_FEATURE": "res4", "AUX__CONVS_DIM": 6}
    head = build("FCNHead", PYRAMID, NORM="BN", IN_FEATURES=["res2"], **options)
    auxiliary = head.auxiliary_head
    assert auxiliary.stride == 16
    assert auxiliary.conv.weight.shape == (6, 4, 3, 3)
    assert isinstance(auxiliary.conv.norm, torch.nn.BatchNorm2d)
    assert auxiliary.predictor.weight.shape == (3, 6, 1, 1)


def test_the_auxiliary_head_drops_whole_channels():
    options = {"AUX__ENABLED": True, "AUX__IN_FEATURE": "res2", "AUX__CONVS_DIM": 64}
    auxiliary = build("FCNHead", PYRAMID, DROPOUT=0.5, **options).auxiliary_head
    torch.nn.init.zeros_(auxiliary.conv.weight)
    torch.nn.init.ones_(auxiliary.conv.bias)
    seen = []
    auxiliary.predictor.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    auxiliary(random_features(PYRAMID, 16, 16))
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[0], seen[0][..., :1, :1].expand_as(seen[0]))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("norm", ["", "GN", "BN", "LN"])
@pytest.mark.parametrize("auxiliary", [False, True])
def test_every_parameter_gets_a_gradient(name, norm, auxiliary):
    head = watched(name, NORM=norm, AUX__ENABLED=auxiliary)
    features = {k: v.requires_grad_() for k, v in random_features(PYRAMID, 37, 61, 2).items()}
    sum(head(features, targets(37, 61, batch=2))[1].values()).backward()
    assert (head.auxiliary_head is not None) == auxiliary
    for key, parameter in head.named_parameters():
        assert parameter.grad is not None, key
    for key, feature in features.items():
        assert feature.grad is not None, key


@pytest.mark.parametrize("name", HEADS)
def test_losses_are_computed_in_full_precision(name):
    head = watched(name, AUX__ENABLED=True)
    features = random_features(PYRAMID, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        head(features, targets(16, 16))
    assert head.loss.logits.dtype == torch.float32


@pytest.mark.parametrize("name", HEADS)
def test_an_ignored_target_and_the_weight_of_the_loss(name):
    features = random_features(PYRAMID, 16, 24)
    labels = torch.full((1, 16, 24), 255)
    labels[:, :8] = 2
    single, double = (build(name, PYRAMID, LOSS_WEIGHT=weight) for weight in (1.0, 2.0))
    assert single.ignore_value == 255
    loss = single(features, labels)[1]["loss_sem_seg"]
    with torch.no_grad():
        logits, _ = single.eval()(features)
    assert loss.item() == pytest.approx(F.cross_entropy(logits[..., :8, :], labels[:, :8]).item())
    assert double(features, labels)[1]["loss_sem_seg"].item() == pytest.approx(2 * loss.item())


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"IN_FEATURES": ["p2", "res3", "p4"]},
            r"IN_FEATURES asks for p2, p4, but the backbone gives res2 \(stride 4\), res3 \(strid",
        ),
        ({"IN_FEATURES": []}, "IN_FEATURES asks for no feature, but the backbone gives res2"),
        (
            {"AUX__ENABLED": True, "AUX__IN_FEATURE": "p4"},
            "AUX.IN_FEATURE asks for p4, but the backbone gives res2",
        ),
        ({"NORM": "gn"}, "MODEL.SEM_SEG_HEAD.NORM is 'gn'.*'GN'"),
        ({"DROPOUT": 1.5}, "MODEL.SEM_SEG_HEAD.DROPOUT is 1.5; .* at least 0 and below 1"),
        ({"DROPOUT": -0.1}, "MODEL.SEM_SEG_HEAD.DROPOUT is -0.1"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(UserError, match=message):
        build(name, PYRAMID, **options)


@pytest.mark.parametrize("name", HEADS)
def test_an_auxiliary_feature_counts_only_where_it_is_used(name):
    build(name, PYRAMID, AUX__IN_FEATURE="p4")
