"""Losses: one module each."""

from segtron.modeling.losses.dice import soft_dice_loss

__all__ = ["soft_dice_loss"]
