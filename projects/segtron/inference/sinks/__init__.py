"""What is made of predictions: overlays, videos, COCO results, a table, label files, panoptic
files. Importing this registers them, a module each."""

from segtron.inference.sinks.base import SINKS, WORK_FOLDER, Sink, build_sinks, check_sinks
from segtron.inference.sinks.coco import CocoSink
from segtron.inference.sinks.labels import LabelsSink
from segtron.inference.sinks.overlay import OverlaySink
from segtron.inference.sinks.panoptic import PanopticSink
from segtron.inference.sinks.table import CsvSink
from segtron.inference.sinks.video import VideoSink

__all__ = [
    "SINKS",
    "WORK_FOLDER",
    "CocoSink",
    "CsvSink",
    "LabelsSink",
    "OverlaySink",
    "PanopticSink",
    "Sink",
    "VideoSink",
    "build_sinks",
    "check_sinks",
]
