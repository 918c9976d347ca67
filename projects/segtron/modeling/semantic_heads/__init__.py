"""Semantic heads: from a backbone's features to the class of each pixel."""

from segtron.modeling.semantic_heads import unread_keys as _unread_keys  # noqa: F401
from segtron.modeling.semantic_heads.auxiliary import AuxiliaryHead
from segtron.modeling.semantic_heads.fcn import FCNHead
from segtron.modeling.semantic_heads.head import SemSegHead
from segtron.modeling.semantic_heads.semantic_fpn import SemanticFPNHead
from segtron.modeling.semantic_heads.unet import UNetHead
from segtron.modeling.semantic_heads.upsampling import BilinearUpsampling, bilinear_kernel

__all__ = [
    "AuxiliaryHead",
    "BilinearUpsampling",
    "FCNHead",
    "SemSegHead",
    "SemanticFPNHead",
    "UNetHead",
    "bilinear_kernel",
]
