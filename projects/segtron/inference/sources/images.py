"""Image files as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from segtron.data.image_io import read_image
from segtron.errors import UserError
from segtron.inference.sources.base import ImageFile, Loaded, Source, Unreadable, file_identity


class Images(Source):
    """Image files, in the order given."""

    def __init__(self, files: Sequence[ImageFile]) -> None:
        self.files = files
        self.name = str(files[0].path) if files else "no images"

    @property
    def length(self) -> int:
        """See `Source`."""
        return len(self.files)

    def identity(self) -> Any:
        """See `Source`."""
        return [[file.name, *file_identity(file.path)] for file in self.files]

    def image_names(self) -> Iterator[str]:
        """See `Source`."""
        return (file.name for file in self.files)

    def read(self, passed: int = 0) -> Iterator[Loaded | Unreadable]:
        """See `Source`."""
        for file in self.files[passed:]:
            try:
                yield Loaded(file, read_image(file.path, "BGR"))
            except UserError as error:
                yield Unreadable(error.sentence)
