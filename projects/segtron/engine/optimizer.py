"""Optimizers by config: SGD or AdamW, gradients clipped by tensor or by the whole model."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from segtron.errors import UserError

CLIP_TYPES = ("full_model", "norm", "value")
OPTIMIZERS = ("SGD", "AdamW")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """Build the SOLVER keys' optimizer.

    Detectron2's SOLVER.CLIP_GRADIENTS.CLIP_TYPE "value" and "norm" clip each tensor's gradient
    apart from the others, which changes the direction of the step. "full_model" scales all
    gradients alike, so that their common norm is at most CLIP_VALUE, measured as NORM_TYPE says.

    Raises:
        UserError: OPTIMIZER or CLIP_TYPE is unknown.
    """
    if cfg.SOLVER.OPTIMIZER not in OPTIMIZERS:
        raise UserError(
            f"SOLVER.OPTIMIZER is {cfg.SOLVER.OPTIMIZER!r}; known: {', '.join(OPTIMIZERS)}"
        )
    build = _build_sgd if cfg.SOLVER.OPTIMIZER == "SGD" else _build_adamw
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return build(cfg, model)
    if clip.CLIP_TYPE not in CLIP_TYPES:
        raise UserError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is {clip.CLIP_TYPE!r}; known: {', '.join(CLIP_TYPES)}"
        )
    if clip.CLIP_TYPE != "full_model":
        return build(cfg, model)
    without = cfg.clone()
    without.defrost()
    without.SOLVER.CLIP_GRADIENTS.ENABLED = False
    optimizer = build(without, model)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def clip_all(*_: Any) -> None:
        nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, norm_type=clip.NORM_TYPE)

    # A hook of the step and not of the trainer: under mixed precision the gradients are unscaled
    # just before it.
    optimizer.register_step_pre_hook(clip_all)
    return optimizer


def _build_sgd(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """What `detectron2.solver.build_optimizer` builds, over the groups of `_parameter_groups`."""
    sgd = SGD(
        _parameter_groups(cfg, model),
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        nesterov=cfg.SOLVER.NESTEROV,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        foreach=True,
    )
    return maybe_add_gradient_clipping(cfg, sgd)


def _build_adamw(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """AdamW (Loshchilov & Hutter 2019) over the groups of `_parameter_groups`."""
    adamw = AdamW(
        _parameter_groups(cfg, model), lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY
    )
    return maybe_add_gradient_clipping(cfg, adamw)


def _parameter_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Detectron2's groups of parameters; those of the backbone have their own learning rate.

    Where there is an FPN, that is only what lies below it: the FPN itself starts from random
    weights.
    """
    names = [name for name, _ in model.named_parameters()]
    has_fpn = any(name.startswith("backbone.bottom_up.") for name in names)
    backbone = "backbone.bottom_up." if has_fpn else "backbone."
    return get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        lr_factor_func=lambda name: (
            cfg.SOLVER.BACKBONE_MULTIPLIER if name.startswith(backbone) else 1.0
        ),
    )
