"""Detectron2's optimizers, with gradients clipped by the norm of the whole model."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from detectron2.solver import build_optimizer as build_detectron2_optimizer
from torch import nn
from torch.optim import Optimizer

from segtron.errors import UserError

CLIP_TYPES = ("full_model", "norm", "value")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """Build the SOLVER keys' optimizer.

    Detectron2's SOLVER.CLIP_GRADIENTS.CLIP_TYPE "value" and "norm" clip each tensor's gradient
    apart from the others, which changes the direction of the step. "full_model" scales all
    gradients alike, so that their common norm is at most CLIP_VALUE, measured as NORM_TYPE says.

    Raises:
        UserError: CLIP_TYPE is unknown.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE not in CLIP_TYPES:
        raise UserError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is {clip.CLIP_TYPE!r}; known: {', '.join(CLIP_TYPES)}"
        )
    if not clip.ENABLED or clip.CLIP_TYPE != "full_model":
        return build_detectron2_optimizer(cfg, model)
    without = cfg.clone()
    without.defrost()
    without.SOLVER.CLIP_GRADIENTS.ENABLED = False
    optimizer = build_detectron2_optimizer(without, model)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def clip_all(*_: Any) -> None:
        nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, norm_type=clip.NORM_TYPE)

    # A hook of the step and not of the trainer: under mixed precision the gradients are unscaled
    # just before it.
    optimizer.register_step_pre_hook(clip_all)
    return optimizer
