"""What the pixels of label files stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtron.data.image_io import Decoder
from segtron.data.pixels import Pixels, Window

# Opens files: `Decoder.open`, or what keeps decoded files (`segtron.data.frame_cache`).
Opener = Callable[[Decoder, str | Path], Pixels]


def open_file(decoder: Decoder, path: str | Path) -> Pixels:
    """The `Opener` that keeps nothing."""
    return decoder.open(path)


class FileEncoding(ABC):
    """How a kind of label files stands for classes or segments."""

    @property
    @abstractmethod
    def decoder(self) -> Decoder:
        """How such a file is read."""

    @abstractmethod
    def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
        """What pixels stand for.

        Args:
            pixels: as the decoder gives them, of the whole file or of a window.
            path: of the file, for messages.

        Returns:
            (H, W), see the subclass.

        Raises:
            UserError: a pixel stands for nothing: names the file and the value.
        """

    def read(self, path: str | Path) -> np.ndarray:
        """What the pixels of a file stand for.

        Raises:
            UserError: the file is missing, unreadable or of another kind; or see `decode`.
        """
        return self.decode(self.decoder.read(path), path)

    def open(self, path: str | Path, opener: Opener = open_file) -> Pixels:
        """The same as `read`, of windows alone."""
        return _EncodedPixels(opener(self.decoder, path), self, path)


@dataclass(frozen=True)
class _EncodedPixels:
    pixels: Pixels
    encoding: FileEncoding
    path: str | Path

    @property
    def shape(self) -> tuple[int, int]:
        """See `Pixels`."""
        return self.pixels.shape

    def read(self, window: Window) -> np.ndarray:
        """See `Pixels`."""
        return self.encoding.decode(self.pixels.read(window), self.path)
