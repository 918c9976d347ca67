"""Toytown, Segtron's embedded data: generated street scenes in Cityscapes' layout."""

from segtron.data.toytown.writer import make_toytown

__all__ = ["make_toytown"]
