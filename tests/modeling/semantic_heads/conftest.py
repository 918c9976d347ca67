"""What the tests of semantic heads share: slow references, small heads, and a loss that looks."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_sem_seg_head
from torch import nn

from segtron.config import get_default_config


def head_config(name: str, **options) -> CfgNode:
    """A frozen config of a small head; `options` are keys of MODEL.SEM_SEG_HEAD, `__` for a dot."""
    cfg = get_default_config()
    head = cfg.MODEL.SEM_SEG_HEAD
    defaults = {"NAME": name, "NUM_CLASSES": 3, "CONVS_DIM": 8, "NORM": "", "AUX__CONVS_DIM": 4}
    for key, value in (defaults | options).items():
        group, _, key = key.rpartition("__")
        (head[group] if group else head)[key] = value
    cfg.freeze()
    return cfg


def shapes(**features: tuple[int, int]) -> dict[str, ShapeSpec]:
    """name=(channels, stride) -> what a backbone's `output_shape` gives."""
    return {name: ShapeSpec(channels=c, stride=s) for name, (c, s) in features.items()}


def build(name: str, features: dict[str, ShapeSpec], **options) -> nn.Module:
    torch.manual_seed(0)
    options.setdefault("IN_FEATURES", list(features))
    return build_sem_seg_head(head_config(name, **options), features)


def random_features(
    features: dict[str, ShapeSpec], height: int, width: int, batch: int = 1
) -> dict[str, torch.Tensor]:
    """Features as backbones give them: ceil(size / stride) cells."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(
            batch,
            shape.channels,
            -(-height // shape.stride),
            -(-width // shape.stride),
            generator=generator,
        )
        for name, shape in features.items()
    }


class WatchingLoss(nn.Module):
    """Two terms, and the last logits and targets that it was asked about."""

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        self.logits, self.targets = logits, targets
        return {"loss_sem_seg": logits.square().mean(), "loss_sem_seg_dice": logits.abs().mean()}


def randomize(module: nn.Module, std: float) -> None:
    generator = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        parameter.data.normal_(0.0, std, generator=generator)


def slow_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (O, H, W): correlation with an odd kernel, zeros around."""
    _, height, width = x.shape
    out = np.zeros((len(weight), height, width))
    reach = weight.shape[-1] // 2
    for o, i, j in np.ndindex(out.shape):
        total = bias[o]
        for c, a, b in np.ndindex(weight.shape[1:]):
            y, z = i + a - reach, j + b - reach
            if 0 <= y < height and 0 <= z < width:
                total += weight[o, c, a, b] * x[c, y, z]
        out[o, i, j] = total
    return out


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)
