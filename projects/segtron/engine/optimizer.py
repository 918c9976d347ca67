"""Optimizers by config: SGD or AdamW, a learning rate for each layer, gradients clipped or not."""

from __future__ import annotations

import difflib
import functools
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from segtron.engine.schedule import scaled_learning_rate
from segtron.errors import UserError
from segtron.modeling.backbones.unet_encoder import UNetEncoder

logger = logging.getLogger(__name__)

CLIP_TYPES = ("full_model", "norm", "value")
OPTIMIZERS = ("SGD", "AdamW")
# Values of MODEL.BACKBONE.FREEZE_AT that freeze something: the stem, res2, res3, res4, res5.
_FREEZE_AT = (1, 2, 3, 4, 5)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """Build the SOLVER keys' optimizer of all parameters that need a gradient.

    A parameter's learning rate is BASE_LR, scaled as `scaled_learning_rate` says, times all of
    these that apply: BIAS_LR_FACTOR; of a backbone's parameters BACKBONE_MULTIPLIER, and
    LAYER_DECAY once for each stage from the end of the backbone down to theirs; the factor of each
    pattern of LR_MULTIPLIERS that is found in its name. Parameters of one rate and one weight decay
    share a group.

    Detectron2's SOLVER.CLIP_GRADIENTS.CLIP_TYPE "value" and "norm" clip each tensor's gradient
    apart from the others, which changes the direction of the step. "full_model" scales all
    gradients alike, so that their common norm is at most CLIP_VALUE, measured as NORM_TYPE says.

    Raises:
        UserError: OPTIMIZER or CLIP_TYPE is unknown, a key of the learning rate has a value that it
            can't have, or LAYER_DECAY is set for a backbone whose stages are not known.
    """
    if cfg.SOLVER.OPTIMIZER not in OPTIMIZERS:
        raise UserError(
            f"SOLVER.OPTIMIZER is {cfg.SOLVER.OPTIMIZER!r}; known: {', '.join(OPTIMIZERS)}"
        )
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE not in CLIP_TYPES:
        raise UserError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is {clip.CLIP_TYPE!r}; known: {', '.join(CLIP_TYPES)}"
        )
    optimizer = _create(cfg, _parameter_groups(cfg, model))
    optimizer.register_load_state_dict_pre_hook(_fit_groups)
    optimizer.register_load_state_dict_post_hook(_fit_memory_formats)
    if clip.ENABLED:
        # A fused step that unscales the gradients of mixed precision by itself would have them
        # clipped while they are scaled; without this they are unscaled before the step.
        optimizer._step_supports_amp_scaling = False
        if clip.CLIP_TYPE == "full_model":
            _clip_whole_model(optimizer, clip)
        else:
            optimizer = maybe_add_gradient_clipping(cfg, optimizer)
    return optimizer


def _create(cfg: CfgNode, groups: list[dict[str, Any]]) -> Optimizer:
    """SGD as `detectron2.solver.build_optimizer` has it, or AdamW (Loshchilov & Hutter 2019).

    Its step is one fused kernel where torch has it for the device, else torch's choice.
    """
    solver = cfg.SOLVER
    options = {"lr": scaled_learning_rate(cfg), "weight_decay": solver.WEIGHT_DECAY}
    build: Callable[..., Optimizer] = AdamW
    if solver.OPTIMIZER == "SGD":
        build = functools.partial(SGD, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV)
    try:
        # Copies, for an attempt that fails leaves its options in them.
        return build([dict(group) for group in groups], fused=True, **options)
    except (RuntimeError, TypeError):  # not for this device, or not in this version
        return build(groups, **options)


def _clip_whole_model(optimizer: Optimizer, clip: CfgNode) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def clip_all(*_: Any) -> None:
        nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, norm_type=clip.NORM_TYPE)

    # A hook of the step and not of the trainer: under mixed precision the gradients are unscaled
    # just before it.
    optimizer.register_step_pre_hook(clip_all)


def _fit_groups(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Before a state is loaded: how steps are computed is for this machine to say, not for it.

    Learning rates are for the state to say.
    """
    sizes, saved = (
        [len(group["params"]) for group in groups]
        for groups in (optimizer.param_groups, state["param_groups"])
    )
    if sizes != saved:
        raise UserError(
            f"the checkpoint's optimizer has groups of {saved} parameters, that of the config "
            f"{sizes}; resume with the MODEL and SOLVER keys of the run that wrote it, or start a "
            "new training from its weights"
        )
    # "momentum" is SGD's, "betas" are AdamW's.
    lacking = {"momentum", "betas"} & optimizer.defaults.keys() - state["param_groups"][0].keys()
    if lacking:
        raise UserError(
            f"the checkpoint's optimizer has no {', '.join(lacking)}, as that of the config has; "
            "resume with the SOLVER.OPTIMIZER of the run that wrote it, or start a new training "
            "from its weights"
        )
    own, loaded = (
        # What a schedule begins with, where there is one.
        [group.get("initial_lr", group["lr"]) for group in groups]
        for groups in (optimizer.param_groups, state["param_groups"])
    )
    if loaded != own:
        logger.warning(
            "The training goes on with the checkpoint's learning rates, up to %g, and not with the "
            "config's, up to %g; start a new one from its weights for others.",
            max(loaded),
            max(own),
        )
    how = {key: optimizer.defaults[key] for key in ("fused", "foreach")}
    return state | {"param_groups": [group | how for group in state["param_groups"]]}


def _fit_memory_formats(optimizer: Optimizer) -> None:
    """After a state was loaded: order its values in memory as those of their parameter.

    On CPUs torch's fused steps take that for granted, and mix the values up where it isn't so, as
    when a training resumes with another MODEL.CHANNELS_LAST. Gradients have their parameter's
    order whenever autograd makes them.
    """
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _parameter_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Detectron2's groups, with the learning rates that `build_optimizer` describes."""
    factors = _rate_factors(cfg, model)
    return get_default_optimizer_params(
        model,
        base_lr=scaled_learning_rate(cfg),
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        # Detectron2 puts a dot before the names of the model's own parameters.
        lr_factor_func=lambda name: factors[name.removeprefix(".")],
    )


def _rate_factors(cfg: CfgNode, model: nn.Module) -> dict[str, float]:
    """Each parameter's learning rate by its name, as a multiple of the base rate."""
    solver = cfg.SOLVER
    factors = {name: 1.0 for name, p in model.named_parameters() if p.requires_grad}
    # Where there is an FPN, the backbone is only what lies below it: the FPN itself starts from
    # random weights.
    has_fpn = any(name.startswith("backbone.bottom_up.") for name, _ in model.named_parameters())
    backbone = "backbone.bottom_up." if has_fpn else "backbone."
    depths = _depths(cfg, model)
    for name in factors:
        if name.rpartition(".")[2] == "bias":
            factors[name] *= solver.BIAS_LR_FACTOR
        if name.startswith(backbone):
            factors[name] *= solver.BACKBONE_MULTIPLIER * solver.LAYER_DECAY ** depths.get(name, 0)
    for pattern, factor in _multipliers(solver.LR_MULTIPLIERS):
        found = [name for name in factors if pattern.search(name)]
        if not found:
            near = difflib.get_close_matches(pattern.pattern, factors, n=3, cutoff=0.0)
            raise UserError(
                f"SOLVER.LR_MULTIPLIERS has the pattern {pattern.pattern!r}, which is found in no "
                f"name of a trained parameter; such names are {', '.join(near)}"
            )
        for name in found:
            factors[name] *= factor
    return factors


def _multipliers(entries: Sequence[Any]) -> list[tuple[re.Pattern[str], float]]:
    multipliers = []
    for entry in entries:
        match entry:
            case [str(pattern), int(factor) | float(factor)] if 0 <= factor < math.inf:
                pass
            case _:
                raise UserError(
                    f"SOLVER.LR_MULTIPLIERS holds {entry!r}; an entry is a list of a pattern and a "
                    "factor from 0, such as ['sem_seg_head', 10.0]"
                )
        try:
            multipliers.append((re.compile(pattern), float(factor)))
        except re.error as error:
            raise UserError(
                f"SOLVER.LR_MULTIPLIERS has the pattern {pattern!r}, which is no regular "
                f"expression ({error})"
            ) from error
    return multipliers


def _depths(cfg: CfgNode, model: nn.Module) -> Mapping[str, int]:
    """How many stages from the backbone's end those of its parameters lie: 1 those of the last one.

    Stages are what MODEL.BACKBONE.FREEZE_AT freezes one after the other: stem, res2, res3, ...; and
    the levels of a U-Net's encoder. Parameters of no stage are not among the names.
    """
    decay = cfg.SOLVER.LAYER_DECAY
    if not 0 < decay <= 1:
        raise UserError(f"SOLVER.LAYER_DECAY is {decay}; it must be above 0 and at most 1")
    if decay == 1:
        return {}
    names = [name for name, _ in model.named_parameters() if name.startswith("backbone.")]
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, UNetEncoder):
        levels = list(backbone.levels)
        stages = {name: levels.index(name.split(".")[2]) for name in names}
    else:
        spared = _count_spared(cfg)
        # What no value of the key freezes, such as an FPN, is of no stage.
        stages = {name: spared[name] for name in names if spared[name] < len(_FREEZE_AT)}
    if not stages:
        raise UserError(
            f"SOLVER.LAYER_DECAY is {decay}, but the stages of {cfg.MODEL.BACKBONE.NAME} are not "
            "known, since MODEL.BACKBONE.FREEZE_AT has no part in it; set it to 1.0"
        )
    end = max(stages.values()) + 1
    return {name: end - stage for name, stage in stages.items()}


def _count_spared(cfg: CfgNode) -> Counter[str]:
    """At how many values of MODEL.BACKBONE.FREEZE_AT a parameter of the backbone is not frozen."""
    cfg = cfg.clone()
    cfg.defrost()
    # Frozen weights are not looked at, nor is there memory for any.
    cfg.MODEL.TIMM.PRETRAINED = False
    cfg.MODEL.TIMM.NORM = "BN"
    spared: Counter[str] = Counter()
    for freeze_at in _FREEZE_AT:
        cfg.MODEL.BACKBONE.FREEZE_AT = freeze_at
        with torch.device("meta"):
            backbone = build_backbone(cfg)
        trained = (name for name, p in backbone.named_parameters() if p.requires_grad)
        spared.update(f"backbone.{name}" for name in trained)
    return spared
