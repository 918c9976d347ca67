"""A COCO JSON of instances, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from segtron.data.checks.checked_set import CheckedSet, Objects, Role, summary
from segtron.data.checks.classes import check_categories, check_crowds
from segtron.data.checks.geometry import check_geometry
from segtron.data.checks.images import check_empty
from segtron.data.checks.instances import Instances, read_instances
from segtron.data.checks.problems import Problems
from segtron.data.checks.shapes import Shapes, encode, measure
from segtron.data.checks.structure import Categories, Images, read_categories
from segtron.wording import count_of


def read_instance_set(
    content: dict[str, Any],
    images: Images,
    paths: Sequence[Path | None],
    place: tuple[Path, Role],
    problems: Problems,
) -> CheckedSet:
    """Check what a JSON says of its instances.

    Args:
        content: of the file.
        images: of the file.
        paths: of the images, None where they are not known.
        place: the file and what it is for.
        problems: what is wrong is entered there.
    """
    file, role = place
    categories = read_categories(content, file, problems)
    instances = read_instances(content, images, categories, file, problems)
    shapes = measure(instances)
    check_geometry(content, instances, shapes, images, problems)
    check_crowds(instances, shapes, categories, problems)
    known = instances.category[instances.category >= 0]
    counts = np.bincount(known, minlength=len(categories.ids))
    classes = check_categories(categories, counts, file, problems)
    check_empty(images, set(instances.image[~instances.is_crowd].tolist()), file, problems)
    return CheckedSet(
        str(file),
        "instances",
        role.name,
        role.is_learnt,
        summary(len(images.ids), count_of(len(instances), "object"), len(categories.ids)),
        classes=classes,
        objects=_objects(instances, shapes, images, categories, paths),
    )


@dataclass(frozen=True)
class _AnnotationMasks:
    instances: Instances
    shapes: Shapes
    images: Images
    rows: np.ndarray

    def read(self, row: int) -> np.ndarray | None:
        """See `Masks`."""
        mask = encode(self.instances, self.shapes, self.images, int(self.rows[row]))
        return None if mask is None else mask_util.decode(mask).astype(bool)


def _objects(
    instances: Instances,
    shapes: Shapes,
    images: Images,
    categories: Categories,
    paths: Sequence[Path | None],
) -> Objects:
    sizes = np.concatenate([images.sizes, [[0, 0]]])[instances.image]
    known = (instances.category >= 0) & (shapes.areas > 0) & (sizes > 0).all(axis=1)
    rows = np.flatnonzero(known)
    return Objects(
        instances.image[rows],
        instances.category[rows],
        shapes.areas[rows],
        shapes.boxes[rows],
        instances.is_crowd[rows],
        [name or "" for name in categories.names],
        images.sizes,
        paths,
        _AnnotationMasks(instances, shapes, images, rows),
    )
