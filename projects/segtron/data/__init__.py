"""Data: catalog, readers, mapper, loaders. Importing it registers Segtron's data sets."""

from segtron.data import catalog, class_completion, register
from segtron.data.augmentations import build_augmentations
from segtron.data.loaders import build_test_loader, build_train_loader, load_dataset_dicts
from segtron.data.mapper import SegmentationMapper

__all__ = [
    "SegmentationMapper",
    "build_augmentations",
    "build_test_loader",
    "build_train_loader",
    "catalog",
    "class_completion",
    "load_dataset_dicts",
    "register",
]
