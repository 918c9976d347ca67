"""Which images are mixed, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from detectron2.config import CfgNode

from segtron.data.mixing.copy_paste import copy_paste
from segtron.data.mixing.mosaic import assemble, cut_canvas
from segtron.errors import UserError

Mapped = dict[str, Any]
# Gives an image as the mapper does, of a size if one is named (`SegmentationMapper.map`).
MapTo = Callable[[tuple[int, int] | None], Mapped]


class Mixer:
    """Mixes what a mapper gives of several images.

    Each image is augmented by itself, with draws of its own; then they are mixed.
    """

    def __init__(
        self,
        *,
        mosaic_prob: float = 0.0,
        mosaic_size: tuple[int, int] = (640, 640),
        copy_paste_prob: float = 0.0,
        object_prob: float = 0.5,
        min_visible: float = 0.1,
    ) -> None:
        """
        Args:
            mosaic_prob: the chance of a mosaic.
            mosaic_size: its height and width.
            copy_paste_prob: the chance that objects are pasted.
            object_prob: see `copy_paste`.
            min_visible: see `copy_paste`.
        """
        self._mosaic_prob, self._mosaic_size = mosaic_prob, mosaic_size
        self._copy_paste_prob = copy_paste_prob
        self._object_prob, self._min_visible = object_prob, min_visible

    def mix(self, map_first: MapTo, map_partner: MapTo) -> Mapped:
        """Make one training image.

        It draws from NumPy's global generator.

        Args:
            map_first: maps the image that the result goes by the name of.
            map_partner: maps another image, drawn anew at each call, with the same kinds of labels.

        Returns:
            See `SegmentationMapper.map`.

        Raises:
            UserError: an image has instances without masks.
        """
        if np.random.random_sample() < self._mosaic_prob:
            quarters = cut_canvas(self._mosaic_size)
            maps = [map_first, map_partner, map_partner, map_partner]
            pieces = [_checked(map_one(w.shape)) for map_one, w in zip(maps, quarters, strict=True)]
            mapped = assemble(pieces, quarters, self._mosaic_size)
        else:
            mapped = _checked(map_first(None))
        if np.random.random_sample() < self._copy_paste_prob:
            source = _checked(map_partner(tuple(mapped["image"].shape[1:])))
            mapped = copy_paste(
                mapped, source, object_prob=self._object_prob, min_visible=self._min_visible
            )
        return mapped


def _checked(mapped: Mapped) -> Mapped:
    instances = mapped.get("instances", ())
    if len(instances) and not instances.has("gt_masks"):
        raise UserError(
            f"image {mapped['file_name']} has instances without masks, by which INPUT.COPY_PASTE "
            "and INPUT.MOSAIC mix images; give it masks, or set PROB of both keys to 0"
        )
    return mapped


def build_mixer(cfg: CfgNode) -> Mixer | None:
    """What INPUT.COPY_PASTE and INPUT.MOSAIC ask for; None where that is nothing."""
    paste, mosaic = cfg.INPUT.COPY_PASTE, cfg.INPUT.MOSAIC
    if paste.PROB == 0 and mosaic.PROB == 0:
        return None
    return Mixer(
        mosaic_prob=mosaic.PROB,
        mosaic_size=tuple(mosaic.SIZE),
        copy_paste_prob=paste.PROB,
        object_prob=paste.OBJECT_PROB,
        min_visible=paste.MIN_VISIBLE,
    )
