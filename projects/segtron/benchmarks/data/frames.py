"""Frames as large and as full as Cityscapes', with pictures, for a benchmark of reading data.

`segtron.data.toytown` draws streets with six or seven instances; four of them in one frame have as
many as are wanted here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segtron.data import cityscapes
from segtron.data.cityscapes import (
    IMAGE_SUFFIX,
    INSTANCE_IDS_SUFFIX,
    LABEL_IDS_SUFFIX,
    TRAIN_IDS_SUFFIX,
    Frame,
    load_instances,
    load_panoptic,
    load_sem_seg,
)
from segtron.data.toytown.canvas import Annotation
from segtron.data.toytown.scene import Scene, make_scene, render_instance_ids
from segtron.data.toytown.writer import write_image_files

SPLIT, _CITY = "train", "fourfold"
_TRAIN_SCENES = 0
_NO_THING = "dynamic"


class DataFrames:
    """Frames on disk, in Cityscapes' layout, with train ids, as the official script makes them.

    Attributes:
        root: of the layout.
        instance_records, sem_seg_records, panoptic_records: standard dicts, one a frame.
    """

    def __init__(
        self, root: Path, number: int, *, size: tuple[int, int], most_instances: int, seed: int
    ) -> None:
        """Draw frames and write them.

        Args:
            root: a folder that is made.
            number: of frames.
            size: height and width in pixels, even numbers.
            most_instances: the smallest of a frame's instances become "dynamic", until so many are
                left; parts of one instance in several places count as one.
            seed: the same seed gives the same frames.
        """
        self.root = root
        for index in range(number):
            scene = _draw(seed, index, size, most_instances)
            for tree in ("leftImg8bit", "gtFine"):
                (root / tree / SPLIT / _CITY).mkdir(parents=True, exist_ok=True)
            write_image_files(scene, root, SPLIT, _CITY, _stem(index))
            # Before the standard dicts are made, which then name these.
            labels = root / "gtFine" / SPLIT / _CITY / f"{_stem(index)}"
            classes = cityscapes.LABEL_IDS.read(f"{labels}{LABEL_IDS_SUFFIX}")
            Image.fromarray(classes).save(f"{labels}{TRAIN_IDS_SUFFIX}")
        self.instance_records = load_instances(root, SPLIT)
        self.sem_seg_records = load_sem_seg(root, SPLIT)
        self.panoptic_records = load_panoptic(root, SPLIT)

    @functools.cached_property
    def frames(self) -> list[Frame]:
        """The frames' files."""
        return cityscapes.find_frames(self.root, SPLIT, INSTANCE_IDS_SUFFIX)

    def repeat(self, root: Path, number: int) -> Path:
        """Give the frames more names, so that there seem to be many; their labels for instances.

        Args:
            root: of the new layout.
            number: of frames in it.

        Returns:
            The root.
        """
        for index in range(number):
            frame = self.frames[index % len(self.frames)]
            for source, tree, suffix in (
                (frame.image_file, "leftImg8bit", IMAGE_SUFFIX),
                (frame.label_file(INSTANCE_IDS_SUFFIX), "gtFine", INSTANCE_IDS_SUFFIX),
            ):
                target = root / tree / SPLIT / _CITY / f"{_stem(index)}{suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(source.resolve(), target)
        return root


def _stem(index: int) -> str:
    return f"{_CITY}_{index:06d}_000019"


def _draw(seed: int, index: int, size: tuple[int, int], most_instances: int) -> Scene:
    """Four streets in one frame."""
    height, width = size[0] // 2, size[1] // 2
    scenes = [
        make_scene(seed, _TRAIN_SCENES, 4 * index + quarter, (height, width))
        for quarter in range(4)
    ]
    annotations = [
        Annotation(
            annotation.label,
            # Else it would reach into another street.
            annotation.polygon.clip(0, [width - 1, height - 1])
            + [width * (quarter % 2), height * (quarter // 2)],
        )
        for quarter, scene in enumerate(scenes)
        for annotation in scene.annotations
    ]
    annotations = _without_smallest(annotations, size, most_instances)
    ids, _ = render_instance_ids(annotations, size)
    rows = [np.hstack([scene.image for scene in row]) for row in (scenes[:2], scenes[2:])]
    return Scene(np.vstack(rows), ids, annotations)


def _without_smallest(
    annotations: Sequence[Annotation], size: tuple[int, int], number: int
) -> list[Annotation]:
    """Leave only the largest things."""
    ids, drawn = render_instance_ids(list(annotations), size)
    areas = np.bincount(ids.ravel(), minlength=2**16)
    things = [
        place
        for place, value in enumerate(drawn)
        if value is not None and value >= cityscapes.FIRST_INSTANCE_ID
    ]
    largest = sorted(things, key=lambda place: areas[drawn[place]], reverse=True)[:number]
    left_out = set(things) - set(largest)
    return [
        Annotation(_NO_THING, annotation.polygon) if place in left_out else annotation
        for place, annotation in enumerate(annotations)
    ]
