"""Which device a model runs on."""

from __future__ import annotations

import logging

import torch
from detectron2.config import CfgNode

from segtron.errors import UserError

logger = logging.getLogger(__name__)


def resolve_device(cfg: CfgNode) -> CfgNode:
    """Let a config that asks for a GPU run on a machine without one: on the CPU, and say so.

    Args:
        cfg: frozen or not; not changed.

    Returns:
        `cfg` itself, or a frozen copy with MODEL.DEVICE "cpu".

    Raises:
        UserError: MODEL.DEVICE is no device, or not one of this machine.
    """
    if not cfg.MODEL.DEVICE.startswith("cuda") or torch.cuda.is_available():
        try:
            torch.zeros(1, device=cfg.MODEL.DEVICE)
        except (RuntimeError, AssertionError, ImportError) as error:
            reason = str(error).partition("\n")[0].partition(":")[0]
            raise UserError(
                f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}, which this machine does not have ({reason})"
                "; take cpu, cuda or cuda:<number>"
            ) from error
        return cfg
    logger.warning("No GPU found: MODEL.DEVICE is cpu instead of %s.", cfg.MODEL.DEVICE)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg
