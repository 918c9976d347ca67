"""Image files of any size as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segtron.data.large_image import read_large_image
from segtron.errors import UserError
from segtron.inference.sources.base import Loaded, Source, Unreadable
from segtron.inference.sources.images import Images


class LargeImages(Images):
    """Image files, of which those that are too large for memory are `LargeImage`."""

    def read(self, passed: int = 0) -> Iterator[Loaded | Unreadable]:
        """See `Source`."""
        for file in self.files[passed:]:
            try:
                yield Loaded(file, read_large_image(file.path))
            except UserError as error:
                yield Unreadable(error.sentence)


def with_large_images(sources: Sequence[Source]) -> list[Source]:
    """The same sources, for a predictor that takes images of any size."""
    return [LargeImages(s.files) if isinstance(s, Images) else s for s in sources]
