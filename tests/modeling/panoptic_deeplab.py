"""Detectron2's Panoptic-DeepLab as a reference; its package needs another one to be imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import detectron2


def load(name: str) -> ModuleType:
    """The module `detectron2.projects.panoptic_deeplab.<name>`, by itself."""
    folder = Path(detectron2.__file__).parent / "projects" / "panoptic_deeplab"
    spec = importlib.util.spec_from_file_location(f"panoptic_deeplab_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
