"""The semantic FPN head against Detectron2's, whose layers it has."""

import pytest
import torch

from segtron.errors import UserError
from segtron.modeling.semantic_heads import SemanticFPNHead

from .conftest import build, random_features, shapes

FEATURES = shapes(p2=(4, 4), p3=(4, 8))


def test_it_computes_what_detectron2s_computes_with_its_weights():
    ours, theirs = build("SemanticFPNHead", FEATURES), build("SemSegFPNHead", FEATURES)
    assert isinstance(ours, SemanticFPNHead)
    ours.load_state_dict(theirs.state_dict())
    features = random_features(FEATURES, 16, 24)
    torch.testing.assert_close(ours.eval()(features)[0], theirs.eval()(features)[0])
    targets = torch.randint(0, 3, (1, 16, 24))
    targets[0, 0] = 255
    _, expected = theirs.train()(features, targets)
    _, losses = ours.train()(features, targets)
    torch.testing.assert_close(losses, expected)


def test_group_norm_takes_any_width():
    build("SemanticFPNHead", FEATURES, NORM="GN", CONVS_DIM=12)


def test_its_loss_is_the_configs_and_odd_sizes_are_cut():
    head = build("SemanticFPNHead", FEATURES, LOSS__CROSS_ENTROPY_WEIGHT=0.0, LOSS__DICE_WEIGHT=2.0)
    _, losses = head(random_features(FEATURES, 13, 21), torch.zeros(1, 13, 21, dtype=torch.int64))
    assert list(losses) == ["loss_sem_seg_dice"]
    assert 0 < losses["loss_sem_seg_dice"] <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"COMMON_STRIDE": 3}, r"COMMON_STRIDE is 3; SemanticFPNHead wants"),
        ({"IN_FEATURES": ["p2", "p2"]}, r"name each feature once"),
        ({"NORM": "GNN"}, r"NORM is 'GNN'; it must be one of"),
        ({"COMMON_STRIDE": 8}, r"COMMON_STRIDE is 8, but the finest of IN_FEATURES has stride 4"),
        ({"IN_FEATURES": ["p2", "p9"]}, r"IN_FEATURES asks for p9, but the backbone gives p2"),
    ],
)
def test_what_it_cannot_do_is_said(options, message):
    with pytest.raises(UserError, match=message):
        build("SemanticFPNHead", FEATURES, **options)
