"""Validation losses: those of a plain loop, and nothing is left of their computation."""

from __future__ import annotations

import copy
import logging
import pickle
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from timm.layers import DropPath
from torch import nn

from segtron.config import get_default_config
from segtron.engine import validation_loss
from segtron.engine.validation_loss import validation_losses, validation_results
from segtron.modeling.build import build_model

from ..conftest import TINY_MODEL

NUM_CLASSES = 4
# Every anchor and every proposal is looked at: nothing is drawn at random.
ALL_SAMPLED = {
    "RPN": {"BATCH_SIZE_PER_IMAGE": 10000, "POSITIVE_FRACTION": 1.0},
    "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 10000, "POSITIVE_FRACTION": 1.0},
}
FEW_SAMPLED = {
    "RPN": {"BATCH_SIZE_PER_IMAGE": 8},
    "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 8},
}
MASK_RCNN = {"ROI_HEADS": {"NUM_CLASSES": 2}, "RESNETS": {"NORM": "BN"}}
SEMANTIC = {
    "META_ARCHITECTURE": "SemanticSegmentor",
    "DEVICE": "cpu",
    "WEIGHTS": "",
    "BACKBONE": {"NAME": "UNetEncoder"},
    "UNET_ENCODER": {"CHANNELS": [4, 8, 16], "NORM": "BN", "DROPOUT": 0.5},
}
HEADS = {
    "unet": {"NAME": "UNetHead", "IN_FEATURES": ["enc1", "enc2", "enc3"], "COMMON_STRIDE": 1},
    "fcn": {"NAME": "FCNHead", "IN_FEATURES": ["enc2", "enc3"]},
}
SEMANTIC_HEAD = {"NUM_CLASSES": NUM_CLASSES, "CONVS_DIM": 4, "NORM": "BN", "DROPOUT": 0.5}
PANOPTIC_HEAD = {"NAME": "SemanticFPNHead", "IN_FEATURES": ["p2", "p3", "p4", "p5"], "NORM": ""}
MODELS = {
    "mask_rcnn": TINY_MODEL,
    "panoptic_fpn": TINY_MODEL
    | {
        "META_ARCHITECTURE": "UnifiedPanopticFPN",
        "SEM_SEG_HEAD": SEMANTIC_HEAD | PANOPTIC_HEAD | {"THING_CLASSES": [3, 1]},
    },
    "unet": SEMANTIC
    | {"SEM_SEG_HEAD": SEMANTIC_HEAD | HEADS["unet"] | {"LOSS": {"DICE_WEIGHT": 1.0}}},
    "fcn": SEMANTIC | {"SEM_SEG_HEAD": SEMANTIC_HEAD | HEADS["fcn"]},
}


def build(kind, *changes):
    cfg = get_default_config()
    # Merging takes values out of what it is given.
    for part in (MODELS[kind], MASK_RCNN if "BACKBONE" in MODELS[kind] else {}, *changes):
        cfg.merge_from_other_cfg(CfgNode({"MODEL": copy.deepcopy(part)}))
    cfg.freeze()
    torch.manual_seed(0)
    model = build_model(cfg)
    # Statistics that a training would have left, other than those of any batch here.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def image(seed, num_instances=1, size=(64, 80)):
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(NUM_CLASSES, size, generator=generator)
    labels[: 8 * seed] = 255
    masks = torch.zeros(num_instances, height, width, dtype=torch.bool)
    masks[:, 4:28, 4:30] = True
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor([[4.0, 4, 30, 28]]).repeat(num_instances, 1))
    instances.gt_classes = torch.arange(num_instances) % 2
    instances.gt_masks = BitMasks(masks)
    pixels = torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8)
    return {"image": pixels, "sem_seg": labels, "instances": instances}


def batches():
    return [[image(0, 2)], [image(1, 0, size=(48, 96))], [image(2)]]


def plain_loop(model, loader):
    """Means over images, by a copy of the model whose norms are frozen and whose dropouts do
    nothing."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        elif isinstance(module, nn.Dropout2d):
            module.p = 0.0
    values = defaultdict(list)
    with EventStorage():
        for batch in loader:
            for term, loss in model(batch).items():
                values[term] += [float(loss.detach())] * len(batch)
    means = {term: np.mean(of) for term, of in values.items()}
    total = {"total_loss": sum(means.values())}
    return total | means if len(means) > 1 else total


@pytest.mark.parametrize("kind", MODELS)
def test_a_plain_loop_gives_the_same(kind):
    model = build(kind, ALL_SAMPLED)
    found = validation_losses(model, batches())
    assert found == pytest.approx(plain_loop(model, batches()), rel=1e-5)
    terms = {
        "mask_rcnn": {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"},
        "unet": {"loss_sem_seg", "loss_sem_seg_dice"},
        "fcn": set(),  # a single one is the total
    }
    terms["panoptic_fpn"] = terms["mask_rcnn"] | {"loss_sem_seg"}
    assert set(found) == terms[kind] | {"total_loss"}
    assert all(loss > 0 for loss in found.values())


def everything(model):
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        {name: module.training for name, module in model.named_modules()},
        torch.get_rng_state(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
    )


@pytest.mark.parametrize("kind", ["mask_rcnn", "unet", "panoptic_fpn"])
@pytest.mark.parametrize("is_training", [True, False])
def test_nothing_is_changed(kind, is_training):
    model = build(kind, FEW_SAMPLED).train(is_training)
    # One part of the model is in another mode than the rest.
    model.backbone.train(not is_training)
    # Other states than an earlier call would leave.
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    before = everything(model)
    with EventStorage(5) as storage:
        validation_losses(model, batches())
        assert not storage.histories()
        assert storage.iter == 5
    after = everything(model)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    assert after[1] == before[1]
    assert torch.equal(after[2], before[2])
    assert after[3:] == before[3:]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_is_changed_by_a_failure():
    model = build("unet").eval()
    before = everything(model)
    broken = image(2)
    del broken["sem_seg"]
    with pytest.raises(AttributeError):
        validation_losses(model, [[image(0)], [broken]])
    after = everything(model)
    assert after[1] == before[1]
    assert torch.equal(after[2], before[2])


def test_sampling_is_repeated_and_depends_on_the_image_alone():
    model = build("mask_rcnn", FEW_SAMPLED)
    first = validation_losses(model, batches())
    torch.manual_seed(123)
    assert validation_losses(model, batches()) == first
    assert validation_losses(model, batches()[::-1]) == pytest.approx(first, rel=1e-6)
    # Few of many are sampled: another seed shows that chance had a part in it.
    assert first != pytest.approx(plain_loop(model, batches()), rel=1e-5)


def test_whatever_a_backbone_drops_is_off():
    """Backbones have their own kinds of dropout."""
    model = build("unet")
    model.backbone.dropout = DropPath(0.5)
    found = validation_losses(model, batches())
    model.backbone.dropout = nn.Identity()
    assert validation_losses(model, batches()) == found


def test_a_term_is_0_for_an_image_without_instances():
    model = build("mask_rcnn", ALL_SAMPLED)
    with_instances, without = image(0, 2), image(0, 0)
    alone = validation_losses(model, [[with_instances]])
    both = validation_losses(model, [[with_instances], [without]])
    assert both["loss_mask"] == pytest.approx(alone["loss_mask"] / 2)
    nothing = validation_losses(model, [[without]])
    assert nothing["loss_mask"] == nothing["loss_box_reg"] == nothing["loss_rpn_loc"] == 0
    assert nothing["loss_cls"] > 0


class Fixed(nn.Module):
    """Its losses are in its inputs."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        return {name: torch.tensor(value) for name, value in batch[0].items()}


def test_images_weigh_the_same_and_absent_terms_are_0():
    found = validation_losses(Fixed(), [[{"a": 3.0}, {}, {}], [{"a": 1.0, "b": 2.0}]])
    assert found == {"total_loss": 3.0, "a": 2.5, "b": 0.5}


def test_a_loss_that_is_no_dict():
    class Total(Fixed):
        def forward(self, batch):
            return torch.tensor(batch[0])

    assert validation_losses(Total(), [[1.0], [2.0]]) == {"total_loss": 1.5}


def test_no_images_no_losses():
    assert validation_losses(Fixed(), []) == {}


def test_names_of_results(caplog):
    loader = [[{"loss_mask": 1.0, "loss_cls": 0.5}]]
    with caplog.at_level(logging.INFO, "segtron"):
        assert validation_results(Fixed(), {"town": loader}) == {
            "validation/total_loss": 1.5,
            "validation/loss_mask": 1.0,
            "validation/loss_cls": 0.5,
        }
    assert "town: validation loss total_loss 1.5, mask 1, cls 0.5, in " in caplog.text
    # The set without ground truth has none, and yet there are two.
    found = validation_results(Fixed(), {"town": loader, "test": None})
    assert set(found) == {f"town/validation/{name}" for name in ("total_loss", *loader[0][0])}
    assert validation_results(Fixed(), {"test": None}) == {}


def test_parts_are_merged(monkeypatch):
    """What two processes would have gathered; the second has no image."""
    parts = [({"a": 6.0}, 3), ({}, 0), ({"a": 2.0, "b": 1.0}, 1)]
    monkeypatch.setattr(validation_loss.comm, "all_gather", lambda mine: parts)
    assert validation_losses(Fixed(), []) == {"total_loss": 2.25, "a": 2.0, "b": 0.25}


def test_two_processes_give_what_one_gives(tmp_path):
    script = Path(__file__).with_name("validate_shard.py")
    processes = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path)])
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    on_main, on_other = (
        pickle.loads((tmp_path / f"losses_{rank}.pickle").read_bytes()) for rank in range(2)
    )
    assert on_main == on_other
    model = build("mask_rcnn", FEW_SAMPLED)
    assert on_main == pytest.approx(validation_losses(model, batches()), rel=1e-5)
