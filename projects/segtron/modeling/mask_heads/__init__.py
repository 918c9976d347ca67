"""Mask heads: from the features of regions to instance masks."""

from segtron.modeling.mask_heads.instance import InstanceMaskHead
from segtron.modeling.mask_heads.mask_iou import MaskIoUHead
from segtron.modeling.mask_heads.point_rend import PointRendHead

__all__ = ["InstanceMaskHead", "MaskIoUHead", "PointRendHead"]
