"""Backbones: networks that turn images into features."""

from segtron.modeling.backbones.timm import TimmBackbone, build_timm_fpn_backbone
from segtron.modeling.backbones.unet_encoder import UNetEncoder

__all__ = ["TimmBackbone", "UNetEncoder", "build_timm_fpn_backbone"]
