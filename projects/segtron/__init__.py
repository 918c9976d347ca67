"""Segtron: instance, semantic and panoptic segmentation on Detectron2.

Importing this package registers its data sets and models with Detectron2.
"""

import warnings

with warnings.catch_warnings():
    # Detectron2 decorates functions with torch.jit.script, which newer PyTorch calls deprecated.
    warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
    from segtron import data, modeling

__version__ = "0.1.0"

__all__ = ["data", "modeling"]
