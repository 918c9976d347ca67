"""From the instances of overlapping tiles to those of the image.

Two tiles that share pixels see the same there, so masks of one object agree on the shared pixels,
wherever the tiles cut it. Agreeing masks make groups, over as many tiles as an object reaches; of
each group comes one instance.
"""

from __future__ import annotations

import functools
import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from segtron.data.pixels import Window
from segtron.errors import UserError
from segtron.inference.tile_grid import TileGrid
from segtron.inference.window_masks import WindowMasks
from segtron.inference.windows import common_area, hull, intersection, part

# Masks of one class are of one object if on the pixels that their tiles share they have this IoU...
SAME_OBJECT = 0.5
# ... and a part of an object that is cut off by its tile's border belongs to another's mask if so
# much of it lies there.
PART_OF_OBJECT = 0.7
# A tile shows an object as well as another one if it lies as deep in it, up to this many pixels.
AS_DEEP = 16
# An object may have this share of its pixels outside a tile that shows it whole.
OUTSIDE = 0.02


class _Part(NamedTuple):
    """What a mask has in the pixels that two tiles share."""

    instance: int
    class_index: int
    window: Window
    pixels: np.ndarray  # (h, w) bool
    area: int


class _Merged(NamedTuple):
    """What becomes of a group."""

    source: int  # the instance that its class, its scores and perhaps its box are taken from
    mask: int  # its place among all masks
    area: int
    is_whole: bool  # one tile shows all of it
    tiles: frozenset[int]  # of all members

    @property
    def is_part(self) -> bool:
        """Whether it is cut off by its tile's border, and no other tile goes on with it."""
        return not self.is_whole and len(self.tiles) == 1


class SeamMerging:
    """Collects the instances of tiles and makes one instance of each object.

    Members of a group are of different tiles: what a model tells apart in one tile stays apart. The
    tile in which an object lies deepest, all of it, decides what it is: mask, box and scores are
    taken from there as they are, and if that tile has nothing like it, what other tiles say is
    dropped. An object that no tile shows whole is put together: each of its pixels is decided by
    the tile of the group that has it farthest from its border, scores are those of its most certain
    part, and its box is tight.

    What is left of an object's parts beside it is dropped (`PART_OF_OBJECT`), and so are masks of
    different tiles that mostly cover each other (`SAME_OBJECT`).
    """

    def __init__(self, grid: TileGrid) -> None:
        self._grid = grid
        self._instances: list[Instances] = []
        # Of all tiles, one after the other.
        self._tiles: list[int] = []
        self._classes: list[int] = []
        self._masks = WindowMasks(grid.image_size)
        self._of_tile: dict[int, range] = {}
        # Of masks that may be of one object: the pixels that both have, those that one has, and the
        # places of the two.
        self._pairs = array("q")

    def add(self, tile: int, instances: Instances) -> None:
        """Take what a model found in a tile.

        Args:
            tile: its place in the grid.
            instances: on the CPU, in pixels of the tile, with `scores`, `pred_classes`,
                `pred_boxes` and `pred_masks`, (N, h, w). Those without a pixel are left out.

        Raises:
            UserError: there are no masks.
        """
        if not instances.has("pred_masks"):
            raise UserError(
                "this model finds boxes without masks, and --tile merges instances by their masks; "
                "take a model with MODEL.MASK_ON"
            )
        window = self._grid.windows[tile]
        masks = WindowMasks(self._grid.image_size)
        masks.extend(instances.pred_masks, left=window.left, top=window.top)
        occupied = [i for i, own in enumerate(masks.windows) if own.right > own.left]
        first = len(self._masks)
        self._masks.add(masks[occupied])
        self._of_tile[tile] = range(first, len(self._masks))
        self._tiles += [tile] * len(occupied)
        found = _at_place(instances, window, self._grid.image_size)
        found = found[torch.tensor(occupied, dtype=torch.int64)]
        self._classes += found.pred_classes.tolist()
        self._instances.append(found)
        for other in self._grid.neighbours(tile):
            if other in self._of_tile:
                self._match(other, tile)

    def merged(self) -> Instances:
        """One instance for each object, `pred_masks` being `WindowMasks`, by descending score.

        To be called once, after at least one tile.
        """
        found = Instances.cat(self._instances)
        scores = found.scores.tolist()
        merged = [self._merge(group, scores) for group in self._groups()]
        merged = self._without_doubles([m for m in merged if self._is_seen_best(m)], scores)
        merged.sort(key=lambda m: -scores[m.source])
        result = found[torch.tensor([m.source for m in merged], dtype=torch.int64)]
        masks = self._masks[[m.mask for m in merged]]
        result.pred_masks = masks
        made = [i for i, m in enumerate(merged) if m.mask != m.source]
        result.pred_boxes.tensor[made] = torch.from_numpy(masks.boxes()[made])
        return result

    def _match(self, first: int, second: int) -> None:
        """Compare the masks of two tiles on the pixels that both show."""
        shared = intersection(self._grid.windows[first], self._grid.windows[second])
        for a, b in _similar(self._parts_in(shared, first), self._parts_in(shared, second)):
            overlap = common_area(a.window, a.pixels, b.window, b.pixels)
            union = a.area + b.area - overlap
            if overlap and overlap >= SAME_OBJECT * union:
                self._pairs.extend((overlap, union, a.instance, b.instance))

    def _parts_in(self, shared: Window, tile: int) -> list[_Part]:
        """What the masks of a tile have in a window, without those whose window is outside."""
        parts = []
        for i in self._of_tile[tile]:
            window = intersection(self._masks.window(i), shared)
            if window is not None:
                pixels = part(self._masks.window(i), self._masks.pixels(i), window)
                area = int(np.count_nonzero(pixels))
                parts.append(_Part(i, self._classes[i], window, pixels, area))
        return parts

    def _groups(self) -> list[list[int]]:
        """Instances that are of one object, the best pairs first, no two of one tile."""
        group_of = list(range(len(self._masks)))
        groups = {i: [i] for i in group_of}
        overlap, union, first, second = np.array(self._pairs, np.int64).reshape(-1, 4).T
        best_first = np.lexsort((second, first, overlap, overlap / union))[::-1]
        for i, j in zip(first[best_first].tolist(), second[best_first].tolist(), strict=True):
            kept, lost = group_of[i], group_of[j]
            tiles = {self._tiles[k] for k in groups[kept]}
            if kept == lost or any(self._tiles[k] in tiles for k in groups[lost]):
                continue
            for k in groups[lost]:
                group_of[k] = kept
            groups[kept] += groups.pop(lost)
        return list(groups.values())

    def _merge(self, group: Sequence[int], scores: Sequence[float]) -> _Merged:
        tiles = frozenset(self._tiles[i] for i in group)
        windows = [self._masks.window(i) for i in group]
        depths = [
            self._grid.depth(self._tiles[i], window)
            for i, window in zip(group, windows, strict=True)
        ]
        deepest = group[int(np.argmax(depths))]
        tile = self._grid.windows[self._tiles[deepest]]
        is_whole = max(depths) > 0
        if any(intersection(window, tile) != window for window in windows):
            around, pixels = self._put_together(group)
            area, inside = np.count_nonzero(pixels), intersection(around, tile)
            num_inside = np.count_nonzero(part(around, pixels, inside)) if inside else 0
            is_whole = is_whole and area - num_inside <= OUTSIDE * area
            if not is_whole:
                self._masks.append(around, pixels)
                source = max(group, key=lambda i: scores[i])
                return _Merged(source, len(self._masks) - 1, area, False, tiles)
        area = np.count_nonzero(self._masks.pixels(deepest))
        return _Merged(deepest, deepest, area, is_whole, tiles)

    def _put_together(self, group: Sequence[int]) -> tuple[Window, np.ndarray]:
        """One mask of parts; each pixel as the tile says that has it farthest from its border."""
        around = functools.reduce(hull, (self._masks.window(i) for i in group))
        result = np.zeros(around.shape, bool)
        # The object may be many times as large as a tile, so distances are kept for tiles only.
        tiles = {i: intersection(self._grid.windows[self._tiles[i]], around) for i in group}
        for i in group:
            own = tiles[i]
            depths = self._grid.depths_of_pixels(self._tiles[i], own)
            mask = np.zeros(own.shape, bool)
            part(own, mask, self._masks.window(i))[:] = self._masks.pixels(i)
            for j in group:
                both = intersection(own, tiles[j]) if i != j else None
                if both is not None:
                    others = self._grid.depths_of_pixels(self._tiles[j], both)
                    mine = part(own, depths, both)
                    part(own, mask, both)[:] &= (mine > others) | ((mine == others) & (i < j))
            part(around, result, own)[:] |= mask
        return around, result

    def _is_seen_best(self, merged: _Merged) -> bool:
        """Whether the tile that shows all of it best is among those that found it, or there is no
        tile that shows all of it."""
        window = self._masks.window(merged.mask)
        enough = self._grid.largest_depth(window) - AS_DEEP
        return enough < 0 or any(self._grid.depth(t, window) >= enough for t in merged.tiles)

    def _without_doubles(self, merged: Sequence[_Merged], scores: Sequence[float]) -> list[_Merged]:
        """Drop parts of objects, and masks of different tiles that cover each other."""
        kept: list[_Merged] = []
        kept_in: defaultdict[tuple[int, int, int], list[_Merged]] = defaultdict(list)
        # Parts last, the largest of them first.
        for candidate in sorted(
            merged, key=lambda m: (m.is_part, -m.area if m.is_part else -scores[m.source])
        ):
            cells = list(self._cells(candidate))
            others = {other.mask: other for cell in cells for other in kept_in[cell]}
            if not any(self._is_double(candidate, other) for other in others.values()):
                kept.append(candidate)
                for cell in cells:
                    kept_in[cell].append(candidate)
        return kept

    def _cells(self, merged: _Merged) -> Iterator[tuple[int, int, int]]:
        """Where to look for masks of the same class: squares of the image that its window meets."""
        side = max(self._grid.tile_size)
        left, top, right, bottom = self._masks.window(merged.mask)
        rows = range(top // side, (bottom - 1) // side + 1)
        columns = range(left // side, (right - 1) // side + 1)
        for y, x in itertools.product(rows, columns):
            yield self._classes[merged.source], y, x

    def _is_double(self, candidate: _Merged, other: _Merged) -> bool:
        """Whether what is kept makes a mask of the same class needless."""
        are_apart = candidate.tiles.isdisjoint(other.tiles)
        if candidate.tiles == other.tiles or not (are_apart or candidate.is_part):
            return False
        windows = [self._masks.window(m.mask) for m in (candidate, other)]
        if intersection(*windows) is None:
            return False
        first, second = (self._masks.pixels(m.mask) for m in (candidate, other))
        overlap = common_area(windows[0], first, windows[1], second)
        if candidate.is_part and overlap >= PART_OF_OBJECT * candidate.area:
            return True
        return are_apart and overlap >= SAME_OBJECT * (candidate.area + other.area - overlap)


def _similar(first: Sequence[_Part], second: Sequence[_Part]) -> Iterator[tuple[_Part, _Part]]:
    """Pairs whose classes, areas and windows don't rule out that their IoU is `SAME_OBJECT`."""
    if not (first and second):
        return
    classes, areas, corners = (
        [np.array([get(p) for p in parts]) for parts in (first, second)]
        for get in (lambda p: p.class_index, lambda p: p.area, lambda p: p.window)
    )
    starts = np.maximum(corners[0][:, None, :2], corners[1][:, :2])
    ends = np.minimum(corners[0][:, None, 2:], corners[1][:, 2:])
    most_shared = np.minimum((ends - starts).clip(min=0).prod(axis=2), areas[0][:, None])
    most_shared = np.minimum(most_shared, areas[1])
    least_union = np.maximum(areas[0][:, None], areas[1])
    can_be = (classes[0][:, None] == classes[1]) & (most_shared >= SAME_OBJECT * least_union)
    for i, j in np.argwhere(can_be).tolist():
        yield first[i], second[j]


def _at_place(instances: Instances, window: Window, image_size: tuple[int, int]) -> Instances:
    """All fields but the masks, with boxes in pixels of the image."""
    placed = Instances(image_size)
    for name, value in instances.get_fields().items():
        if name == "pred_boxes":
            shift = value.tensor.new_tensor([window.left, window.top] * 2)
            value = Boxes(value.tensor + shift)
        if name != "pred_masks":
            placed.set(name, value)
    return placed
