"""The instance branch of bottom-up models: centres of instances, and offsets to them."""

from segtron.modeling.center_head.head import CenterHead
from segtron.modeling.center_head.targets import CenterTargets, center_targets

__all__ = ["CenterHead", "CenterTargets", "center_targets"]
