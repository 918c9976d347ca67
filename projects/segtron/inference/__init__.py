"""Prediction: images in, a model's outputs, and what is made of them."""

from segtron.inference.folder import is_finished, predict_files, refuse_existing
from segtron.inference.model_classes import category_ids, model_metadata
from segtron.inference.prediction import Prediction, encoded_masks, mask_areas
from segtron.inference.predictor import Predictor
from segtron.inference.run_folder import describe_model, is_unfinished
from segtron.inference.sinks import SINKS, Sink, build_sinks, check_sinks
from segtron.inference.sources import (
    Camera,
    Frame,
    FrameChoice,
    ImageFile,
    Images,
    Source,
    Video,
    find_sources,
)
from segtron.inference.sources.large_images import LargeImages, with_large_images
from segtron.inference.summary import Summary
from segtron.inference.tiling import TiledPredictor
from segtron.inference.window_masks import WindowMasks

__all__ = [
    "SINKS",
    "Camera",
    "Frame",
    "FrameChoice",
    "ImageFile",
    "Images",
    "LargeImages",
    "Prediction",
    "Predictor",
    "Sink",
    "Source",
    "Summary",
    "TiledPredictor",
    "Video",
    "WindowMasks",
    "build_sinks",
    "category_ids",
    "check_sinks",
    "describe_model",
    "encoded_masks",
    "find_sources",
    "is_finished",
    "is_unfinished",
    "mask_areas",
    "model_metadata",
    "predict_files",
    "refuse_existing",
    "with_large_images",
]
