"""What it costs to cut the mask of each region out of its object's."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks

from segtron.benchmarks.report import Row
from segtron.benchmarks.scenes import draw_scene
from segtron.benchmarks.timing import time_pairs
from segtron.benchmarks.wall_clock import on_the_wall
from segtron.modeling.region_masks import RegionMasks

NUM_OBJECTS = 20
# As Mask R-CNN samples them: a quarter of the regions are of objects.
NUM_REGIONS, NUM_FOREGROUND = 512, 128
_MASK_SIZE = 28
_REPEATS = 5  # in a run, for once is over too soon to be timed
# Cells that are just half covered may fall to either side.
_MOST_DIFFERENT = 1e-3


def compare_mask_targets(size: tuple[int, int], seed: int, num_pairs: int, device: str) -> Row:
    """Time `RegionMasks` against Detectron2's `BitMasks`: regions are sampled, those on objects
    chosen, and their masks cut out and resized.

    Args:
        size: height and width of the image in pixels.
        seed: of objects and regions.
        num_pairs: runs of each that count.
        device: on which the masks lie.

    Raises:
        RuntimeError: the targets differ.
    """
    masks, boxes, objects = _draw_regions(size, seed, device)
    is_foreground = torch.arange(NUM_REGIONS, device=device) < NUM_FOREGROUND

    def targets_of(made: BitMasks) -> torch.Tensor:
        chosen = made[objects][is_foreground]
        return chosen.crop_and_resize(boxes[is_foreground], _MASK_SIZE)

    def ours() -> torch.Tensor:
        return [targets_of(RegionMasks.of_objects(masks)) for _ in range(_REPEATS)][-1]

    def theirs() -> torch.Tensor:
        return [targets_of(masks) for _ in range(_REPEATS)][-1]

    height, width = size
    timing = time_pairs(
        on_the_wall(ours, device), on_the_wall(theirs, device), num_pairs, _check_equal
    )
    return Row(
        f"mask targets of {NUM_FOREGROUND} regions, {NUM_OBJECTS} bitmaps of {height}x{width}, "
        f"{_REPEATS} times",
        "stock Detectron2",
        timing,
    )


def _draw_regions(
    size: tuple[int, int], seed: int, device: str
) -> tuple[BitMasks, torch.Tensor, torch.Tensor]:
    """Objects; boxes of regions around them; and the object of each region."""
    scene = draw_scene(seed, 0, size, NUM_OBJECTS)
    frames = torch.zeros(NUM_OBJECTS, *size, dtype=torch.bool)
    for frame, instance in zip(frames, scene.instances, strict=True):
        frame[instance.rows, instance.columns] = torch.from_numpy(instance.mask)
    masks = BitMasks(frames)
    objects = torch.arange(NUM_REGIONS) % NUM_OBJECTS
    boxes = masks.get_bounding_boxes().tensor[objects]
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    generator = torch.Generator().manual_seed(seed)
    boxes = boxes + 0.1 * sides * torch.randn(boxes.shape, generator=generator).clamp(-2, 2)
    return masks.to(device), boxes.to(device), objects.to(device)


def _check_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    if (ours != theirs).float().mean() > _MOST_DIFFERENT:
        raise RuntimeError("the two ways disagree on masks, so their times can't be compared")
