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


# First as users get it by default, then like for like.
INFERENCE = [
    Variant("", [], ROUNDED),
    Variant(", float32", ["TEST.PRECISION", "float32"], SAME),
]
TRAINING = [
    Variant("", [], ROUNDED),
    Variant(", float32", ["SOLVER.AMP.ENABLED", "False"], SAME),
]
# What else is timed on a GPU.
ON_GPU = [Variant(", compiled", ["MODEL.COMPILE", "True"], ROUNDED)]


def inference_variants(device: str) -> list[Variant]:
    """The ways to predict that are timed on a device."""
    return INFERENCE + (ON_GPU if torch.device(device).type == "cuda" else [])


def training_variants(device: str) -> list[Variant]:
    """The ways to train that are timed on a device."""
    return TRAINING + (ON_GPU if torch.device(device).type == "cuda" else [])
