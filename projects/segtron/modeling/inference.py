"""A model made ready to predict: fast, and as the config wants it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.modeling.batch_norm_folding import fold_batch_norm
from segtron.modeling.fused_layers import fuse_layers
from segtron.modeling.mask_pasting import use_paste_masks
from segtron.modeling.precision import resolve_precision
from segtron.modeling.roi_align import use_cell_roi_align
from segtron.modeling.semantic_heads import FCNHead, UNetHead
from segtron.modeling.test_time_augmentation import AveragingBottomUp, AveragingDetector
from segtron.modeling.test_time_augmentation.segmentor import AveragingSegmentor

# What predicts several times and averages, for each meta-architecture that can.
_AVERAGING = {
    "SemanticSegmentor": AveragingSegmentor,
    "GeneralizedRCNN": AveragingDetector,
    "UnifiedPanopticFPN": AveragingDetector,
    "BottomUpPanoptic": AveragingBottomUp,
}
# Layers whose 16-bit weights autocast takes as they are.
_CAST = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def prepare_for_inference(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Make of a model one that predicts, fast, as TEST.PRECISION, TEST.SLIDING_WINDOW and TEST.AUG
    ask for.

    Scales are made of the image that the model is given. INPUT.MIN_SIZE_TEST 0 spares it from being
    resized twice.

    Args:
        cfg: the model's config, as `segtron.config.load_config` returns it: it refuses the last two
            keys for models that can't do it.
        model: its weights loaded, perhaps distributed. It stays as it is, and later changes of its
            weights have no effect on what is made of it.

    Returns:
        A model in evaluation mode with the same inputs and outputs; the latter as with
        TEST.PRECISION float32, but for rounding. Without postprocessing (`do_postprocess=False`),
        masks on a CPU are `PastedMasks`, (N, M, M), instead of a tensor, (N, 1, M, M).

    Raises:
        UserError: the model's device can't compute with TEST.PRECISION.
    """
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    device = next(inner.parameters()).device
    precision = resolve_precision("TEST.PRECISION", cfg.TEST.PRECISION, device)
    fast = fast_copy(inner, precision)
    if not cfg.TEST.SLIDING_WINDOW.ENABLED and not cfg.TEST.AUG.ENABLED:
        return fast
    return _AVERAGING[cfg.MODEL.META_ARCHITECTURE](cfg, fast)


def fast_copy(model: nn.Module, precision: torch.dtype) -> nn.Module:
    """Copy a model for inference alone.

    In the copy batch norm is folded, features lie in memory with channels last, and on a CPU layers
    are fused, and regions are pooled and masks are pasted by Segtron's own code. In 16 bits compute
    the parts of the model (backbone, heads, ...), but for the last layers of boxes and semantic
    classes; what the meta-architecture makes of their outputs is computed in 32 bits.

    Args:
        model: any of Detectron2's meta-architectures or Segtron's.
        precision: of matrix products and convolutions.

    Returns:
        The copy, in evaluation mode; it can't be trained.
    """
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    fold_batch_norm(fast)
    fast.to(memory_format=torch.channels_last)
    device = next(fast.parameters()).device
    if device.type == "cpu":
        use_cell_roi_align(fast)
        if hasattr(fast, "roi_heads"):
            fast.roi_heads.register_forward_hook(_paste_masks_later)
    if precision != torch.float32:
        _keep_scores_in_float32(fast)
        _cast_weights(fast, precision)
        for part in fast.children():
            _use_autocast(part, device, precision)
    if device.type == "cpu":
        fuse_layers(fast)
    return fast.eval()  # new layers, too


def _paste_masks_later(module: nn.Module, inputs: Any, output: Any) -> None:
    """A forward hook of ROI heads."""
    instances, _ = output
    for detected in instances:
        use_paste_masks(detected)


class _InFloat32(nn.Module):
    """A layer that computes in 32 bits wherever it is."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x.float())


def _keep_scores_in_float32(model: nn.Module) -> None:
    """The last layers are cheap, and in 16 bits many of their outputs would be the same, so that
    they could not be told by rank."""
    for module in list(model.modules()):
        if isinstance(module, FastRCNNOutputLayers | RetinaNetHead):
            module.cls_score = _InFloat32(module.cls_score)
            module.bbox_pred = _InFloat32(module.bbox_pred)
        elif isinstance(module, SemSegFPNHead | UNetHead):
            module.predictor = _InFloat32(module.predictor)
        elif isinstance(module, FCNHead):
            # oneDNN is slow at transposed convolutions of each channel by itself in 16 bits, too.
            for layers in (module.scores, module.upsamplings):
                for name, layer in list(layers.items()):
                    layers[name] = _InFloat32(layer)


def _use_autocast(part: nn.Module, device: torch.device, precision: torch.dtype) -> None:
    """By a class of its own. A `forward` of the module itself would refer back to it, so that the
    weights of one copy after the other would wait for Python to look for such cycles.
    """
    kind = type(part)
    # ROI heads are also called with boxes that are known.
    methods = ("forward", "forward_with_given_boxes")
    # Each has an autocast of its own: one calls the other, and one object entered twice would not
    # be switched off again.
    cast = {
        name: torch.autocast(device.type, precision)(getattr(kind, name))
        for name in methods
        if hasattr(kind, name)
    }
    part.__class__ = type(kind.__name__, (kind,), cast)


def _cast_weights(model: nn.Module, precision: torch.dtype) -> None:
    """Spare autocast from casting the weights each time."""
    if isinstance(model, _InFloat32):
        return
    if isinstance(model, _CAST):
        # Its own, for Detectron2's convolutions hold a norm.
        for parameter in model.parameters(recurse=False):
            parameter.data = parameter.data.to(precision)
        return
    for child in model.children():
        _cast_weights(child, precision)
