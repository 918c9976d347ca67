"""Where images come from: files, folders, patterns, videos and cameras."""

from segtron.inference.sources.base import Frame, ImageFile, Loaded, Source, Unreadable
from segtron.inference.sources.camera import Camera
from segtron.inference.sources.capture import FrameChoice
from segtron.inference.sources.find import find_sources
from segtron.inference.sources.images import Images
from segtron.inference.sources.video import VIDEO_SUFFIXES, Video

__all__ = [
    "VIDEO_SUFFIXES",
    "Camera",
    "Frame",
    "FrameChoice",
    "ImageFile",
    "Images",
    "Loaded",
    "Source",
    "Unreadable",
    "Video",
    "find_sources",
]
