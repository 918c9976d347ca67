"""Which device a model runs on."""

from __future__ import annotations

import logging

import torch
from detectron2.config import CfgNode

logger = logging.getLogger(__name__)


def resolve_device(cfg: CfgNode) -> CfgNode:
    """Let a config that asks for a GPU run on a machine without one: on the CPU, and say so.

    Args:
        cfg: frozen or not; not changed.

    Returns:
        `cfg` itself, or a frozen copy with MODEL.DEVICE "cpu".
    """
    if not cfg.MODEL.DEVICE.startswith("cuda") or torch.cuda.is_available():
        return cfg
    logger.warning("No GPU found: MODEL.DEVICE is cpu instead of %s.", cfg.MODEL.DEVICE)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg
