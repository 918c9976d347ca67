"""In which ways Segtron is asked to compute, and against what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from segtron.benchmarks.agreement import ROUNDED, SAME, Likeness

DETECTRON2, TORCHVISION = "stock Detectron2", "torchvision"


class Variant(NamedTuple):
    """A way to compute."""

    suffix: str  # to the name of the work
    opts: Sequence[str]  # KEY VALUE pairs
    likeness: Likeness  # to Detectron2's results in float32
    precision: torch.dtype | None  # that its floor is for; None for that of the highest rate


_BFLOAT16_STEP = ["SOLVER.AMP.ENABLED", "True", "SOLVER.AMP.PRECISION", "bfloat16"]

# First as users get it by default, then like for like.
INFERENCE = [
    Variant("", [], ROUNDED, None),
    Variant(", float32", ["TEST.PRECISION", "float32"], SAME, torch.float32),
]
TRAINING = [
    Variant("", [], ROUNDED, None),
    Variant(", float32", ["SOLVER.AMP.ENABLED", "False"], SAME, torch.float32),
]
# What else is timed on a GPU.
INFERENCE_ON_GPU = [
    Variant(", bfloat16", ["TEST.PRECISION", "bfloat16"], ROUNDED, torch.bfloat16),
]
TRAINING_ON_GPU = [
    Variant(", bfloat16", _BFLOAT16_STEP, ROUNDED, torch.bfloat16),
    Variant(
        ", bfloat16, compiled",
        [*_BFLOAT16_STEP, "MODEL.COMPILE", "True"],
        ROUNDED,
        torch.bfloat16,
    ),
]


def inference_variants(device: str) -> list[Variant]:
    """The ways to predict that are timed on a device."""
    return INFERENCE + (INFERENCE_ON_GPU if torch.device(device).type == "cuda" else [])


def training_variants(device: str) -> list[Variant]:
    """The ways to train that are timed on a device."""
    return TRAINING + (TRAINING_ON_GPU if torch.device(device).type == "cuda" else [])
