"""Whole models: a backbone and heads put together."""

from segtron.modeling.meta_arch.bottom_up import BottomUpPanoptic
from segtron.modeling.meta_arch.panoptic_fpn import UnifiedPanopticFPN

__all__ = ["BottomUpPanoptic", "UnifiedPanopticFPN"]
