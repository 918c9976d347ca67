"""Toytown on disk: Cityscapes' folders and files, written all or nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import labels
from tqdm import tqdm

from segtron.data.toytown.scene import Scene, make_scene
from segtron.errors import UserError
from segtron.files import refuse_full_folder
from segtron.machine import num_usable_cores

CITIES = {
    "train": ("klotzheim", "mohnberg", "seltersbruck", "tannwinkel"),
    "val": ("ahornfels", "quittenau"),
}
SETTINGS_FILE = "toytown.json"
_SMALLEST, _LARGEST = 64, 4096  # pixels a side
_FRAME = 19  # Cityscapes annotates the 20th frame of each sequence
_COMPRESSION = [cv2.IMWRITE_PNG_COMPRESSION, 3]


def make_toytown(
    root: str | os.PathLike[str],
    *,
    train: int = 200,
    val: int = 50,
    size: tuple[int, int] = (256, 512),
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Generate toytown below `root`, in Cityscapes' layout.

    Scenes are written to a folder beside `root` that is renamed at the end: an interrupted run
    leaves no half a data set, and of several at the same time one wins and the others accept it.
    Where `root` already holds toytown with these very settings, nothing is done.

    Args:
        root: the folder to make; it may exist if it is empty.
        train, val: number of images in each split.
        size: height and width of the images, in pixels.
        seed: the same seed gives the same bytes, on any number of workers.
        workers: processes; by default one for each core that this process may use.
        progress: show a progress bar on stderr.

    Raises:
        UserError: `root` holds something else or can't be written, or a setting is out of range.

    Example:
        >>> make_toytown("datasets/toytown", train=20, val=5)
    """
    root = Path(root)
    target = root.resolve()
    settings = _checked_settings(train, val, size, seed)
    if _holds(root, settings):
        return
    refuse_full_folder(root)
    jobs = [
        (split, index)
        for split, count in (("train", train), ("val", val))
        for index in range(count)
    ]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(
            tempfile.mkdtemp(prefix=f"{target.name}.partial-{os.getpid()}-", dir=target.parent)
        )
    except OSError as error:
        raise UserError(
            f"{root}: can't be written ({error.strerror or error}); choose another folder"
        ) from error
    try:
        partial.chmod(0o777 & ~_umask())
        for split in CITIES:
            for city in CITIES[split]:
                for tree in ("leftImg8bit", "gtFine"):
                    (partial / tree / split / city).mkdir(parents=True)
        _write_scenes(partial, jobs, size, seed, workers, progress)
        (partial / SETTINGS_FILE).write_text(json.dumps(settings, indent=1) + "\n")
        try:
            partial.rename(target)
        except OSError as error:
            if not _holds(root, settings):
                raise UserError(
                    f"{root}: appeared while toytown was being made ({error.strerror or error}); "
                    "move it away or choose another folder"
                ) from error
    except OSError as error:
        raise UserError(
            f"{root}: can't be written ({error.strerror or error}); free or choose another disk"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _checked_settings(train: int, val: int, size: tuple[int, int], seed: int) -> dict:
    for name, count in (("train", train), ("val", val)):
        if not 0 <= count <= 100_000:
            raise UserError(f"the number of {name} images is {count}; it must be from 0 to 100000")
    if train + val == 0:
        raise UserError("0 train and 0 val images were asked for; ask for at least one")
    height, width = size
    if not (_SMALLEST <= height <= _LARGEST and _SMALLEST <= width <= _LARGEST):
        raise UserError(
            f"size {height} {width} (height width) is out of range; "
            f"each side must be from {_SMALLEST} to {_LARGEST} pixels"
        )
    if not 0.5 <= width / height <= 4:
        raise UserError(
            f"size {height} {width} (height width) is too narrow a strip; "
            "choose a width from half to four times the height"
        )
    if seed < 0:
        raise UserError(f"seed {seed} is negative; choose a number from 0 up")
    return {
        "generator": "segtron toytown 1",
        "train": train,
        "val": val,
        "size": list(size),
        "seed": seed,
    }


def _holds(root: Path, settings: dict) -> bool:
    try:
        return json.loads((root / SETTINGS_FILE).read_text()) == settings
    except (OSError, ValueError):
        return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_scenes(
    root: Path,
    jobs: list[tuple[str, int]],
    size: tuple[int, int],
    seed: int,
    workers: int | None,
    progress: bool,
) -> None:
    workers = workers or min(num_usable_cores(), 1 + len(jobs) // 8)
    arguments = [(str(root), split, index, size, seed) for split, index in jobs]
    bar = tqdm(total=len(jobs), desc="toytown", unit="image", disable=not progress)
    with bar:
        if workers == 1:
            _follow(map(_write_scene, arguments), bar)
            return
        pool = ProcessPoolExecutor(workers, mp_context=_process_context())
        try:
            _follow(pool.map(_write_scene, arguments, chunksize=4), bar)
        except BrokenProcessPool as error:
            raise UserError(
                f"a process that drew toytown was killed, perhaps for memory; "
                f"free some, or choose a size below {size[0]} {size[1]}"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _process_context() -> BaseContext:
    """Fresh processes, since the caller may hold threads or a device; imports are done once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _follow(results: Iterable[None], bar: tqdm) -> None:
    for _ in results:
        bar.update()


def _write_scene(job: tuple[str, str, int, tuple[int, int], int]) -> None:
    """Make one scene and write its five files (in a worker process)."""
    root, split, index, size, seed = job
    cv2.setNumThreads(1)
    scene = make_scene(seed, list(CITIES).index(split), index, size)
    city, stem = _name(split, index)
    write_image_files(scene, Path(root), split, city, stem)


def _name(split: str, index: int) -> tuple[str, str]:
    cities = CITIES[split]
    city = cities[index % len(cities)]
    return city, f"{city}_{index // len(cities):06d}_{_FRAME:06d}"


def write_image_files(scene: Scene, root: Path, split: str, city: str, stem: str) -> None:
    """Write a scene's image, polygons and three label images under Cityscapes' names."""
    ids = scene.instance_ids
    label_ids = np.where(ids >= 1000, ids // 1000, ids).astype(np.uint8)
    colors = np.zeros((256, 4), dtype=np.uint8)
    for label in labels:
        if label.id >= 0:
            colors[label.id] = (*label.color, 255)
    height, width = ids.shape
    polygons = {
        "imgHeight": height,
        "imgWidth": width,
        "objects": [
            {"label": annotation.label, "polygon": annotation.polygon.tolist()}
            for annotation in scene.annotations
        ],
    }
    image_path = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
    truth = root / "gtFine" / split / city
    _write_png(image_path, scene.image[..., ::-1])
    _write_png(truth / f"{stem}_gtFine_instanceIds.png", ids)
    _write_png(truth / f"{stem}_gtFine_labelIds.png", label_ids)
    _write_png(truth / f"{stem}_gtFine_color.png", colors[label_ids][..., [2, 1, 0, 3]])
    (truth / f"{stem}_gtFine_polygons.json").write_text(json.dumps(polygons))


def _write_png(path: Path, pixels: np.ndarray) -> None:
    _, encoded = cv2.imencode(".png", pixels, _COMPRESSION)
    path.write_bytes(encoded.tobytes())
