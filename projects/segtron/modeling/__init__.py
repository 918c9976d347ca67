"""Models: importing this package puts them into Detectron2's registries."""

from segtron.modeling import backbones as _backbones  # noqa: F401
from segtron.modeling import mask_heads as _mask_heads  # noqa: F401
from segtron.modeling import meta_arch as _meta_arch  # noqa: F401
from segtron.modeling import semantic_heads as _semantic_heads  # noqa: F401
