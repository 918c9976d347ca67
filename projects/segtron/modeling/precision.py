"""What numbers a model computes with."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode

from segtron.errors import UserError

AUTO = "auto"
# What a key that names a precision can be, besides `AUTO`.
PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_precision(key: str, name: str, device: torch.device) -> torch.dtype:
    """The precision that a key asks for, of matrix products and convolutions.

    Args:
        key: the config key, for the error.
        name: one of `PRECISIONS`; or `AUTO`: bfloat16 where the device has instructions for it,
            else float16 on a GPU and float32 on a CPU.
        device: what computes.

    Raises:
        UserError: the device can't compute so.
    """
    if name == AUTO:
        if device.type == "cuda":
            return torch.bfloat16 if _has_bfloat16(device) else torch.float16
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    precision = PRECISIONS[name]
    if device.type == "cuda" and precision == torch.bfloat16 and not _has_bfloat16(device):
        raise UserError(
            f"{key} is bfloat16, which {torch.cuda.get_device_name(device)} can't compute "
            "(only GPUs since Ampere can); take float16 or float32"
        )
    return precision


def training_precision(cfg: CfgNode, device: torch.device) -> torch.dtype:
    """The precision of a training, as SOLVER.AMP asks for.

    Raises:
        UserError: see `resolve_precision`.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return torch.float32
    return resolve_precision("SOLVER.AMP.PRECISION", cfg.SOLVER.AMP.PRECISION, device)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 faster than those of float32.

    Any CPU can multiply them, but without instructions of its own it converts each number first.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
