"""Prediction of an image several times, resized and mirrored, and what is made of that."""

from segtron.modeling.test_time_augmentation.bottom_up import AveragingBottomUp
from segtron.modeling.test_time_augmentation.detector import AveragingDetector
from segtron.modeling.test_time_augmentation.views import View, views_of

__all__ = ["AveragingBottomUp", "AveragingDetector", "View", "views_of"]
