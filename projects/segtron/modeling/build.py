"""Building a config's model."""

from __future__ import annotations

import difflib
import re

import torch
from detectron2.config import CfgNode
from detectron2.modeling import (
    ANCHOR_GENERATOR_REGISTRY,
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
)
from detectron2.modeling import build_model as build_detectron2_model
from detectron2.modeling.proposal_generator.rpn import RPN_HEAD_REGISTRY
from fvcore.common.registry import Registry
from torch import nn

from segtron.errors import UserError
from segtron.modeling.activation_checkpointing import checkpoint_activations
from segtron.modeling.region_masks import use_region_masks
from segtron.modeling.roi_align import use_cell_roi_align

# The key that names an entry of each registry.
KEYS: dict[str, Registry] = {
    "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
    "MODEL.BACKBONE.NAME": BACKBONE_REGISTRY,
    "MODEL.ANCHOR_GENERATOR.NAME": ANCHOR_GENERATOR_REGISTRY,
    "MODEL.PROPOSAL_GENERATOR.NAME": PROPOSAL_GENERATOR_REGISTRY,
    "MODEL.RPN.HEAD_NAME": RPN_HEAD_REGISTRY,
    "MODEL.ROI_HEADS.NAME": ROI_HEADS_REGISTRY,
    "MODEL.ROI_BOX_HEAD.NAME": ROI_BOX_HEAD_REGISTRY,
    "MODEL.ROI_MASK_HEAD.NAME": ROI_MASK_HEAD_REGISTRY,
    "MODEL.SEM_SEG_HEAD.NAME": SEM_SEG_HEADS_REGISTRY,
}


def build_model(cfg: CfgNode) -> nn.Module:
    """Build a config's model on its device, in the memory format that MODEL.CHANNELS_LAST asks for,
    with activations computed again where MODEL.ACTIVATION_CHECKPOINTING says so. On a CPU it pools
    regions by `CellROIAlign`. Its ROI heads learn from bitmaps as `RegionMasks`.

    Weights are as the layers and the backbone initialize them; MODEL.WEIGHTS is not loaded.

    Raises:
        UserError: a part of the model is unknown by the name that the config gives, or its keys
            contradict each other.
    """
    try:
        model = build_detectron2_model(cfg)
    except KeyError as error:
        # What fvcore's registries raise; any other KeyError is a bug.
        found = re.search(r"No object named '(.*)' found in '(.*)' registry", str(error))
        if found is None:
            raise
        raise _unknown_part(*found.groups()) from error
    except AssertionError as error:
        # How Detectron2's own parts say that keys contradict each other.
        if not str(error):
            raise
        raise UserError(
            f"the model can't be built, since its MODEL keys don't go together: "
            f"{' '.join(str(error).split())}"
        ) from error
    use_region_masks(model)
    if torch.device(cfg.MODEL.DEVICE).type == "cpu":
        use_cell_roi_align(model)
    if cfg.MODEL.ACTIVATION_CHECKPOINTING:
        checkpoint_activations(model.backbone)
    return model.to(memory_format=torch.channels_last) if cfg.MODEL.CHANNELS_LAST else model


def compile_parts(model: nn.Module) -> None:
    """Let `torch.compile` make the convolutional parts faster, backbone and semantic head.

    In place. What works on lists of instances, of another length for each image, would be compiled
    again and again. The first batch of each size takes minutes.
    """
    for name in ("backbone", "sem_seg_head"):
        if hasattr(model, name):
            getattr(model, name).compile()


def _unknown_part(name: str, registry_name: str) -> UserError:
    for key, registry in KEYS.items():
        if registry._name == registry_name:
            known = [known for known, _ in registry]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            return UserError(
                f"{key} is {name!r}, which is unknown; {hint}; one of your own needs its file "
                "named to --parts"
            )
    return UserError(f"the config names {name!r}, which the registry {registry_name} has not")
