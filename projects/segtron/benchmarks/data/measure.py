"""What reading data costs, against Detectron2's loader and mapper."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from segtron.benchmarks.data.augmentations import check_same_sizes, compare_augmentations
from segtron.benchmarks.data.frames import SPLIT, DataFrames
from segtron.benchmarks.data.memory import private_bytes_of_ours, private_bytes_of_theirs
from segtron.benchmarks.data.ways import (
    Record,
    Way,
    check_equal_images,
    check_equal_targets,
    check_same_dicts,
    check_same_images,
    check_same_masks,
    crop_config,
    detectron2_loader,
    load_by_detectron2,
    mapping,
    num_bytes,
    our_mapper,
    resize_config,
    their_mapper,
    timed,
    with_semantics,
)
from segtron.benchmarks.limits import MAPPED_SIZES
from segtron.benchmarks.machine import describe_machine, one_core
from segtron.benchmarks.report import Floor, Growth, Memory, Report, Row
from segtron.benchmarks.timing import (
    Run,
    Stopwatch,
    garbage_collected_between,
    median_seconds,
    time_pairs,
)
from segtron.data import cityscapes, record_cache

INSTANCES = 20  # of a frame, at most
CITYSCAPES_TRAIN = 2975  # images
_AGAIN = 100  # frames that are read at first and again
_COPIED = 2**26  # bytes, more than any cache holds
_DETECTRON2 = "Detectron2's DatasetMapper"
_CROP = "crop of 512 x 1024"


class _Comparison(NamedTuple):
    """Two ways to the same, and what makes sure that it is the same."""

    work: str
    against: str
    ours: Way
    theirs: Way
    check: Callable[[Any, Any], None]


def measure_data(
    num_images: int = 6,
    size: tuple[int, int] = (1024, 2048),
    seed: int = 0,
    *,
    num_pairs: int = 5,
) -> Report:
    """Time the reading of data sets, and the making of what models are fed.

    Args:
        num_images: how many frames, each with `INSTANCES` instances.
        size: of a frame, height and width, one of `MAPPED_SIZES`.
        seed: of the frames.
        num_pairs: how often each pair is timed.

    Returns:
        Rows are about all frames (those of augmentations about two), on one core, in seconds of the
        processor.

    Raises:
        RuntimeError: the two ways of a row don't give the same.
        UserError: frames can't be of this size.
    """
    MAPPED_SIZES.check(size)
    machine = describe_machine()
    settings = {"images": num_images, "size": list(size), "seed": seed, "pairs": num_pairs}
    with (
        tempfile.TemporaryDirectory() as scratch,
        _cache_in(Path(scratch) / "user"),
        one_core(),
        garbage_collected_between(),
    ):
        frames = DataFrames(
            Path(scratch) / "frames", num_images, size=size, most_instances=INSTANCES, seed=seed
        )
        comparisons, left_out = _compare_reading(frames, Path(scratch))
        comparisons += _compare_mapping(frames, Path(scratch) / "decoded")
        augmented, not_augmented = compare_augmentations(frames.instance_records)
        comparisons += [_Comparison(*row, check_same_sizes) for row in augmented]
        rows, bar = [], tqdm(comparisons, unit=" rows", desc="comparing")
        for work, against, ours, theirs, check in bar:
            bar.set_postfix_str(work)
            rows.append(Row(work, against, time_pairs(ours, theirs, num_pairs, check)))
        many = _many_records(frames, Path(scratch) / "many")
        return Report(
            machine,
            settings,
            rows,
            [_measure_cached_dicts(*many)],
            left_out + not_augmented,
            floors=_floors(frames, Path(scratch) / "decoded", rows),
            memory=_measure_memory(many[1]()),
        )


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Let nothing of what is timed be in the user's cache, or come into it."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def _compare_reading(frames: DataFrames, scratch: Path) -> tuple[list[_Comparison], list[str]]:
    """Standard dicts, read at first and again."""
    again = frames.repeat(scratch / "again", max(_AGAIN, record_cache.FEWEST_FILES))
    read_again = functools.partial(cityscapes.load_instances, again, SPLIT)

    def read_at_first() -> list[Record]:
        for kept in record_cache.cache_folder().glob("*.json"):
            kept.unlink()
        return read_again()

    read_at_first()  # it leaves what reading again needs
    comparisons = [
        _Comparison(
            f"dicts of {_AGAIN} frames, again",
            "at first",
            timed(read_again),
            timed(read_at_first),
            check_same_dicts,
        )
    ]
    module = detectron2_loader()
    if module is None:
        return comparisons, ["Detectron2's loader of Cityscapes can't be imported here."]
    ours = timed(functools.partial(cityscapes.load_instances, frames.root, SPLIT))
    for from_polygons, source, check in (
        (True, "polygons", check_same_images),
        (False, "instance ids", check_same_masks),
    ):
        load = functools.partial(
            load_by_detectron2, module, frames.frames, from_polygons=from_polygons
        )
        comparisons.append(
            _Comparison(
                "dicts, first load", f"Detectron2's loader, {source}", ours, timed(load), check
            )
        )
    return comparisons, []


def _compare_mapping(frames: DataFrames, cache: Path) -> list[_Comparison]:
    """What models are fed, of standard dicts."""
    crop, resize = crop_config(), resize_config()
    instances, semantics = frames.instance_records, frames.sem_seg_records
    cached = our_mapper(crop, str(cache))
    theirs = mapping(their_mapper(crop), instances)
    comparisons = [
        _Comparison(
            f"instances, {_CROP}",
            f"{_DETECTRON2}, bitmasks",
            mapping(our_mapper(crop), instances),
            theirs,
            check_equal_targets,
        ),
        _Comparison(
            f"instances, {_CROP}, decoded frames cached",
            f"{_DETECTRON2}, bitmasks",
            mapping(cached, instances),
            theirs,
            check_equal_targets,
        ),
        _Comparison(
            "instances, whole frames resized",
            f"{_DETECTRON2}, bitmasks",
            mapping(our_mapper(resize), instances),
            mapping(their_mapper(resize), instances),
            check_equal_targets,
        ),
        _Comparison(
            f"classes, {_CROP}",
            _DETECTRON2,
            mapping(our_mapper(crop), semantics),
            mapping(their_mapper(crop), semantics),
            check_equal_targets,
        ),
        _Comparison(
            f"instances, classes and segments, {_CROP}",
            f"{_DETECTRON2}, instances as bitmasks and classes",
            mapping(our_mapper(crop), frames.panoptic_records),
            mapping(their_mapper(crop), with_semantics(instances, semantics)),
            check_equal_targets,
        ),
        _Comparison(
            f"instances, classes and segments, {_CROP}, decoded frames cached",
            f"{_DETECTRON2}, instances as bitmasks and classes",
            mapping(cached, frames.panoptic_records),
            mapping(their_mapper(crop), with_semantics(instances, semantics)),
            check_equal_targets,
        ),
    ]
    module = detectron2_loader()
    if module is not None:
        polygon_config = crop.clone()
        polygon_config.INPUT.MASK_FORMAT = "polygon"
        polygons = load_by_detectron2(module, frames.frames, from_polygons=True)
        comparisons.append(
            _Comparison(
                f"instances, {_CROP}",
                f"{_DETECTRON2}, polygons",
                mapping(our_mapper(crop), instances),
                mapping(their_mapper(polygon_config), polygons),
                check_equal_images,
            )
        )
    return comparisons


def _many_records(frames: DataFrames, root: Path) -> tuple[Path, Callable[[], list[Record]]]:
    """As many frames as Cityscapes has to train on, which seem to have been read before."""
    frames.repeat(root, CITYSCAPES_TRAIN)
    facts = [cityscapes.INSTANCE_READER.find(frame) for frame in frames.frames]
    numbers = iter(range(CITYSCAPES_TRAIN))
    reader = cityscapes.INSTANCE_READER._replace(find=lambda _: facts[next(numbers) % len(facts)])
    cityscapes.load_frames(root, SPLIT, reader)
    return root, functools.partial(cityscapes.load_instances, root, SPLIT)


def _measure_cached_dicts(root: Path, load: Callable[[], list[Record]]) -> Growth:
    (kept,) = record_cache.cache_folder().glob(f"{root.name}-*.json")

    def run() -> Run:
        watch = Stopwatch()
        with watch:
            records = load()
        return Run(watch.seconds, len(records))

    seconds = median_seconds(run, num_runs=5)
    instances = sum(len(record["annotations"]) for record in load())
    return Growth("dicts from the cache", CITYSCAPES_TRAIN, instances, seconds, kept.stat().st_size)


def _floors(frames: DataFrames, cache: Path, rows: list[Row]) -> list[Floor]:
    """Mapping, were it no more than copying: what is read of files, and what comes of it."""
    rate = copy_rate()
    crop = crop_config()
    mapped = mapping(our_mapper(crop), frames.instance_records)().result
    made = num_bytes(mapped)
    files = sum(Path(record["file_name"]).stat().st_size for record in frames.instance_records)
    pixels = sum(record["image"].numel() for record in mapped)
    return [
        Floor(row.work, "bytes copied", made + read, rate, row.timing.ours_s)
        for row in rows
        for work, read in (
            (f"instances, {_CROP}", files),
            (f"instances, {_CROP}, decoded frames cached", pixels),
        )
        if row.work == work and "bitmasks" in row.against
    ]


def copy_rate() -> float:
    """Bytes a second that one core copies from memory to memory."""
    source, target = (np.full(_COPIED, value, np.uint8) for value in (1, 0))

    def run() -> Run:
        watch = Stopwatch()
        with watch:
            np.copyto(target, source)
        return Run(watch.seconds, None)

    return _COPIED / median_seconds(run, num_runs=9)


def _measure_memory(records: list[Record]) -> list[Memory]:
    work = f"a data-loading process for {len(records):,} frames, private memory"
    crop = crop_config()
    crop.INPUT.CROP.SIZE = [64, 64]
    measured = (
        ("Segtron", private_bytes_of_ours(records, our_mapper(crop))),
        ("Detectron2's loader", private_bytes_of_theirs(records, their_mapper(crop))),
    )
    return [Memory(work, by, size) for by, size in measured if size is not None]
