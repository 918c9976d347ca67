"""Models: importing this package puts them into Detectron2's registries."""

from detectron2.projects import point_rend as _point_rend  # noqa: F401

from segtron.modeling import backbones as _backbones  # noqa: F401
