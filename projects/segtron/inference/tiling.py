"""Prediction of images of any size, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from tqdm import tqdm

from segtron.data.large_image import LargeImage
from segtron.data.pixels import ArrayPixels, Pixels, whole
from segtron.errors import UserError
from segtron.inference.detection_limits import raised_limits
from segtron.inference.predictor import Predictor
from segtron.inference.seam_merging import SeamMerging
from segtron.inference.tile_grid import ALIGNMENT, TileGrid
from segtron.inference.windows import part
from segtron.memory import return_freed_memory
from segtron.modeling.best_classes import best_classes
from segtron.modeling.panoptic_merging import merge_panoptic

DEFAULT_SIZE = 1024
# In larger tiles memory would no longer be what is bounded.
_LARGEST = 8192
# Longest side of usual images in shortest sides, at most.
_USUAL_ASPECT = 2
# What the masks of a tile, each of the tile's size, may take.
_MASK_BYTES = 2**29
# Fewer shared pixels don't tell whether masks are of one object.
_LEAST_OVERLAP = 32


def tile_overlap(size: int, overlap: int | None = None) -> int:
    """What tiles share, after a check that they can be made.

    Args:
        size: side of a tile in pixels.
        overlap: pixels that neighbours are to share at least; default: half of `size`.

    Raises:
        UserError: tiles are too small or too large, or overlap too little or by more than half.
    """
    if not 2 * ALIGNMENT <= size <= _LARGEST:
        raise UserError(
            f"--tile {size} is no size for tiles; take {2 * ALIGNMENT} to {_LARGEST} pixels"
        )
    if overlap is None:
        return size // 2
    if not _LEAST_OVERLAP <= overlap <= size // 2:
        raise UserError(
            f"--overlap {overlap} doesn't go with tiles of {size} pixels; take {_LEAST_OVERLAP} to "
            f"{size // 2}"
        )
    return overlap


class TiledPredictor:
    """Predicts an image in overlapping tiles, in memory that grows by a few bytes a pixel.

    A tile may be larger than the images that the model is made for: what is near its border lacks
    its surroundings, so the larger the tiles and their overlap, the nearer the result to that of
    the whole image. Limits to what is found in an image grow with it (`raised_limits`).

    Instances are merged across seams (`SeamMerging`). The class of a pixel is that of the tile
    which has it farthest from its border. Panoptic segments are merged of both in the whole image.

    Attributes:
        predictor: the model.
        size: side of a tile in pixels of the image.
        overlap: pixels that neighbours share at least.

    Example:
        >>> [output] = TiledPredictor(predictor, size=512)([read_large_image("mosaic.png")])
        >>> for window, pixels in output["instances"].pred_masks:
        ...     print(window, pixels.sum())
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        size: int = DEFAULT_SIZE,
        overlap: int | None = None,
        scale: float = 1.0,
        batch_size: int = 1,
    ) -> None:
        """
        Args:
            predictor: the model.
            size: side of a tile in pixels of the image.
            overlap: pixels that neighbours share at least; an object that is not longer is seen
                whole by some tile. Default: half of `size`.
            scale: by what the model sees tiles enlarged: as much as the images that it was trained
                on, INPUT.MIN_SIZE_TEST divided by their shortest side.
            batch_size: tiles that are predicted at once.

        Raises:
            UserError: as `tile_overlap`.
        """
        self.overlap = tile_overlap(size, overlap)
        self.predictor = predictor
        self.size = size
        self._scale = scale
        self._batch_size = batch_size

    def fits_one_tile(self, height: int, width: int) -> bool:
        """Whether an image is predicted as without tiles."""
        return max(height, width) <= self.size

    @property
    def description(self) -> dict[str, str]:
        """What results depend on besides the model, by what the user calls it."""
        return {"--tile": f"{self.size} {self.overlap} {self._scale}"}

    def _limits(self) -> dict[str, float]:
        """Factors of what is found in an image, for tiles; see `raised_limits`."""
        options = self.predictor.cfg.INPUT
        if not options.MIN_SIZE_TEST:
            return {"proposals": 1.0, "detections": 1.0}
        # Images of the usual size in a tile.
        longest = min(options.MAX_SIZE_TEST, _USUAL_ASPECT * options.MIN_SIZE_TEST)
        more = max((self.size * self._scale) ** 2 / (options.MIN_SIZE_TEST * longest), 1.0)
        fit = _MASK_BYTES / self.size**2 / self.predictor.cfg.TEST.DETECTIONS_PER_IMAGE
        return {"proposals": more, "detections": max(min(more, fit), 1.0)}

    def __call__(self, images: Sequence[np.ndarray | LargeImage]) -> list[dict[str, Any]]:
        """Predict images one after the other, each with a progress bar.

        Args:
            images: (H, W, 3) uint8 in BGR order.

        Returns:
            For each the output of the predictor where the image fits into one tile. Else, on the
            CPU, what the model has of these: "instances", with `WindowMasks` as `pred_masks`;
            "sem_seg_classes" in the place of "sem_seg", (H, W) uint8 (int32 with more than 256
            classes); "panoptic_seg" as usual, with ids of uint16 where they are few enough.

        Raises:
            UserError: the model finds instances without masks.
        """
        return [self._predict(image) for image in images]

    def _predict(self, image: np.ndarray | LargeImage) -> dict[str, Any]:
        height, width = image.shape[:2]
        pixels = image if isinstance(image, LargeImage) else ArrayPixels(image)
        if self.fits_one_tile(height, width):
            return self.predictor([pixels.read(whole((height, width)))])[0]
        grid = TileGrid((height, width), (self.size, self.size), self.overlap)
        image_output = _ImageOutput(grid)
        with (
            raised_limits(self.predictor.model, **self._limits()),
            tqdm(total=len(grid), unit=" tiles", desc="tiles", leave=False) as progress,
        ):
            for first in range(0, len(grid), self._batch_size):
                tiles = range(first, min(first + self._batch_size, len(grid)))
                self._predict_tiles(pixels, grid, tiles, image_output)
                return_freed_memory()
                progress.update(len(tiles))
        output = image_output.finish(self.predictor.cfg)
        return_freed_memory()
        return output

    def _predict_tiles(
        self, pixels: Pixels, grid: TileGrid, tiles: range, image_output: _ImageOutput
    ) -> None:
        """Predict some tiles at once. The model's outputs, up to gigabytes, end with the call."""
        images = [pixels.read(grid.windows[tile]) for tile in tiles]
        outputs = self.predictor(images, scale=self._scale)
        for tile, output in zip(tiles, outputs, strict=True):
            image_output.add(tile, output)


class _ImageOutput:
    """Collects the outputs of an image's tiles."""

    def __init__(self, grid: TileGrid) -> None:
        self._grid = grid
        self._cores = grid.cores()
        self._merging: SeamMerging | None = None
        self._classes: np.ndarray | None = None
        self._is_panoptic = False

    def add(self, tile: int, output: Mapping[str, Any]) -> None:
        """Take what a model says of a tile."""
        if "instances" in output:
            self._merging = self._merging or SeamMerging(self._grid)
            self._merging.add(tile, output["instances"].to("cpu"))
        if "sem_seg" in output:
            found = best_classes(output["sem_seg"]).cpu().numpy()
            if self._classes is None:
                self._classes = np.zeros(self._grid.image_size, found.dtype)
            core = self._cores[tile]
            core.of(self._classes)[:] = part(self._grid.windows[tile], found, core)
        self._is_panoptic = "panoptic_seg" in output

    def finish(self, cfg: CfgNode) -> dict[str, Any]:
        """The output for the image; see `TiledPredictor`."""
        output: dict[str, Any] = {}
        if self._classes is not None:
            output["sem_seg_classes"] = torch.from_numpy(self._classes)
        if self._merging is not None:
            output["instances"] = self._merging.merged()
            self._merging = None  # most of its masks are not needed any more
        if self._is_panoptic:
            output["panoptic_seg"] = _segments(cfg, output["instances"], output["sem_seg_classes"])
        return output


def _segments(
    cfg: CfgNode, instances: Instances, classes: torch.Tensor
) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    """Merge instances and stuff as the model does it in small images."""
    if cfg.MODEL.META_ARCHITECTURE == "PanopticFPN":
        thing_classes: Sequence[int] = (0,)  # Detectron2's: one class for all things
    else:
        thing_classes = cfg.MODEL.SEM_SEG_HEAD.THING_CLASSES
    if cfg.MODEL.META_ARCHITECTURE == "BottomUpPanoptic":
        # Its instances share no pixel in a tile, and all of them are segments.
        overlap, least_score = 0.5, 0.0
        area_limit = cfg.MODEL.BOTTOM_UP.STUFF_AREA_LIMIT
    else:
        options = cfg.MODEL.PANOPTIC_FPN.COMBINE
        overlap, least_score = options.OVERLAP_THRESH, options.INSTANCES_CONFIDENCE_THRESH
        area_limit = options.STUFF_AREA_LIMIT
    ids, segments = merge_panoptic(
        instances,
        classes,
        overlap_threshold=overlap,
        stuff_area_limit=area_limit,
        confidence_threshold=least_score,
        thing_classes=thing_classes,
    )
    for segment in segments:
        if segment["isthing"] and cfg.MODEL.META_ARCHITECTURE != "PanopticFPN":
            segment["category_id"] = thing_classes[segment["category_id"]]
    return ids, segments
