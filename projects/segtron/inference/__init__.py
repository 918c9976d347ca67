"""Prediction: images in, a model's outputs, and what is made of them."""

from segtron.inference.folder import Summary, predict_files, refuse_existing
from segtron.inference.predictor import Predictor, category_ids, model_metadata
from segtron.inference.sinks import SINKS, Prediction, Sink, build_sinks
from segtron.inference.sources import ImageFile, find_images

__all__ = [
    "SINKS",
    "ImageFile",
    "Prediction",
    "Predictor",
    "Sink",
    "Summary",
    "build_sinks",
    "category_ids",
    "find_images",
    "model_metadata",
    "predict_files",
    "refuse_existing",
]
