"""Losses: one module each."""

from segtron.modeling.losses.bce import sem_seg_bce
from segtron.modeling.losses.brier import sem_seg_brier_score
from segtron.modeling.losses.cross_entropy import sem_seg_cross_entropy
from segtron.modeling.losses.dice import sem_seg_dice_loss, soft_dice_loss
from segtron.modeling.losses.focal import sem_seg_focal_loss
from segtron.modeling.losses.lovasz import sem_seg_lovasz_softmax
from segtron.modeling.losses.ohem import sem_seg_ohem_cross_entropy
from segtron.modeling.losses.sem_seg import SemSegLoss

__all__ = [
    "SemSegLoss",
    "sem_seg_bce",
    "sem_seg_brier_score",
    "sem_seg_cross_entropy",
    "sem_seg_dice_loss",
    "sem_seg_focal_loss",
    "sem_seg_lovasz_softmax",
    "sem_seg_ohem_cross_entropy",
    "soft_dice_loss",
]
