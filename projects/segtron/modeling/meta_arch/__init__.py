"""Whole models: a backbone and heads put together."""

from segtron.modeling.meta_arch.panoptic_fpn import UnifiedPanopticFPN

__all__ = ["UnifiedPanopticFPN"]
