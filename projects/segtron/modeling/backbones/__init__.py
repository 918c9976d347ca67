"""Backbones: networks that turn images into features."""

from segtron.modeling.backbones.timm import TimmBackbone, build_timm_fpn_backbone

__all__ = ["TimmBackbone", "build_timm_fpn_backbone"]
