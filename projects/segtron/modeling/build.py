"""Building a config's model."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model as build_detectron2_model
from torch import nn


def build_model(cfg: CfgNode) -> nn.Module:
    """Build a config's model on its device, in the memory format that MODEL.CHANNELS_LAST asks for.

    Weights are as the layers and the backbone initialize them; MODEL.WEIGHTS is not loaded.
    """
    model = build_detectron2_model(cfg)
    return model.to(memory_format=torch.channels_last) if cfg.MODEL.CHANNELS_LAST else model
