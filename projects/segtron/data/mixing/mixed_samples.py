"""The samples of a training whose images are mixed with others of the same data."""

from __future__ import annotations

import functools
from typing import Any

from segtron.data.mixing.mixer import Mixer
from segtron.data.mixing.partners import Partners
from segtron.data.training_loader import SKIPPED, TrainingSamples
from segtron.data.training_stream import Sample
from segtron.errors import UnreadableFileError

# So often another partner is tried where one can't be read, before an image is its own.
_TRIES = 10


class MixedSamples(TrainingSamples):
    """The samples of a stream, mapped and mixed.

    Which images are mixed with a sample's own depends, as all that is drawn for it, on the seed and
    the sample's position alone. With `skip_unreadable` another partner takes the place of one that
    can't be read, and it is counted as other images are.
    """

    def __init__(self, *args: Any, mixer: Mixer, partners: Partners, **kwargs: Any) -> None:
        """
        Args:
            *args: see `TrainingSamples`; the mapper is a `SegmentationMapper`.
            mixer: mixes mapped images.
            partners: of the same records.
            **kwargs: see `TrainingSamples`.
        """
        super().__init__(*args, **kwargs)
        self._mixer, self._partners = mixer, partners
        self._unreadable: dict[str, str] = {}

    def __getitem__(self, sample: Sample) -> dict[str, Any]:
        self._unreadable = {}
        mapped = super().__getitem__(sample)
        if self._unreadable:
            mapped[SKIPPED] = self._unreadable | mapped.get(SKIPPED, {})
        return mapped

    def map_record(self, index: int) -> dict[str, Any]:
        """Map one record and mix it with others."""
        return self._mixer.mix(
            functools.partial(self._map, index), functools.partial(self._map_partner, index)
        )

    def _map(self, index: int, size: tuple[int, int] | None) -> dict[str, Any]:
        with self._noted(index):
            return self._mapper.map(self._records[index], size)

    def _map_partner(self, index: int, size: tuple[int, int] | None) -> dict[str, Any]:
        for _ in range(_TRIES):
            partner = self._partners.draw(index)
            try:
                return self._map(partner, size)
            except UnreadableFileError as error:
                if not self._skip_unreadable:
                    raise
                self._unreadable[self.file_name(partner)] = error.sentence
        return self._map(index, size)
