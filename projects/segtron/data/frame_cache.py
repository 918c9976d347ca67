"""Decoded images and label files on disk, of which a crop reads only its own rows."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from segtron.data.image_io import Decoder
from segtron.data.pixels import ArrayPixels, Pixels, read_all
from segtron.errors import UserError
from segtron.files import replacing

logger = logging.getLogger(__name__)


class FrameCache:
    """A folder with a file for each file that was read: its pixels, uncompressed.

    A file that changes, in size or in the time of its last change, is read anew. Any number of
    processes may use a folder at the same time. Where it can't be written to, as when the disk is
    full, what is in it already is used, and all else is decoded each time.
    """

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: made when it is first written to; for nothing else.
        """
        self._folder = folder
        self._is_writable = True

    def open(self, decoder: Decoder, path: str | Path) -> Pixels:
        """The pixels of a file, see `Decoder.open`.

        They may be in a file that is mapped to memory, so that what isn't looked at isn't read.

        Raises:
            UserError: see `Decoder.open`.
        """
        try:
            state = os.stat(path)
        except OSError:
            return decoder.open(path)  # which says what is wrong
        name = hashlib.sha256(f"{decoder.name}\n{os.path.abspath(path)}".encode()).hexdigest()[:32]
        file = self._folder / f"{name}-{state.st_size}-{state.st_mtime_ns}.npy"
        pixels = _load(file)
        if pixels is None:
            pixels = decoder.open(path)
            if self._is_writable:
                array = read_all(pixels)
                self._store(file, array)
                pixels = ArrayPixels(array)
        return pixels

    def _store(self, file: Path, array: np.ndarray) -> None:
        try:
            with replacing(file) as temporary, temporary.open("wb") as content:
                np.save(content, array, allow_pickle=False)
                # Or a power cut could leave a file of the right size with nothing in it.
                content.flush()
                os.fsync(content.fileno())
            for old in _others(file):
                old.unlink(missing_ok=True)
        except (UserError, OSError) as error:
            self._is_writable = False
            logger.warning(
                "No more decoded files are kept in DATALOADER.CACHE_DIR, which only takes longer: "
                "%s.",
                error,
            )


def _load(file: Path) -> ArrayPixels | None:
    """What is stored in a file; None where there is none, or nothing of the kind."""
    with suppress(OSError, ValueError):
        array = np.lib.format.open_memmap(file, mode="r")  # of objects it makes none
        if array.dtype in (np.uint8, np.uint16) and array.ndim in (2, 3):
            return ArrayPixels(array.view(np.ndarray))
    return None


def _others(file: Path) -> Iterator[Path]:
    """What was stored of earlier states of the same file."""
    name = file.name.split("-", 1)[0]
    return (other for other in file.parent.glob(f"{name}-*.npy") if other != file)
