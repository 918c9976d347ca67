"""The data loader of a training: each sample with random numbers of its own."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from segtron.data.seeded import Purpose, derive, seeded_generators
from segtron.data.training_stream import Sample, TrainingStream
from segtron.data.watched_loader import MappedRecords, WatchedLoader
from segtron.errors import UnreadableFileError, UserError

logger = logging.getLogger(__name__)

# Of a mapped dict, where other images could not be read: their files, and why.
SKIPPED = "skipped_files"


class TrainingSamples(MappedRecords):
    """The samples of a stream, mapped.

    What the mapper draws at random for a sample depends on the seed and the sample's position
    alone, not on the process that maps it or on what was mapped before.
    """

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        mapper: Callable[[dict[str, Any]], dict[str, Any]],
        num_workers: int,
        *,
        stream: TrainingStream,
        seed: int,
        skip_unreadable: bool,
    ) -> None:
        """Take dicts to map.

        Args:
            records: standard dicts.
            mapper: from a standard dict to what a model is fed. It may draw from NumPy's global
                generator, `random`'s, and PyTorch's for the CPU.
            num_workers: how many processes will read at once; 0 is the main process alone.
            stream: the order of the records.
            seed: 0 or more.
            skip_unreadable: put another image in the place of one that can't be read.
        """
        super().__init__(records, mapper, num_workers)
        self._stream = stream
        self._seed = seed
        self._skip_unreadable = skip_unreadable

    def __getitem__(self, sample: Sample) -> dict[str, Any]:
        skipped: dict[str, str] = {}
        replacements = self._stream.replacements(sample) if self._skip_unreadable else ()
        for index in itertools.chain([sample.index], replacements):
            source = derive(self._seed, Purpose.AUGMENTATION, sample.position)
            try:
                with seeded_generators(source):
                    mapped = self.map_record(index)
            except UnreadableFileError as error:
                if not self._skip_unreadable:
                    raise
                skipped[self.file_name(index)] = error.sentence
                continue
            return mapped | {SKIPPED: skipped} if skipped else mapped
        raise UserError(
            f"none of the {len(skipped)} training images can be read: "
            + next(iter(skipped.values()))
        )


class TrainLoader(WatchedLoader):
    """Endless batches of one process, as lists of mapped dicts.

    Attributes:
        skipped: the images that could not be read, and how often another one took their place; of
            batches that were given, by this process.
    """

    def __init__(self, samples: TrainingSamples, batches: Iterable[list[Sample]]) -> None:
        """Make a loader.

        Args:
            samples: what is read, and by how many processes.
            batches: which samples form the batches.
        """
        super().__init__(samples, batch_sampler=batches)
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """See `WatchedLoader.__iter__`."""
        for batch in super().__iter__():
            for image in batch:
                self._count(image.pop(SKIPPED, {}))
            yield batch

    def _count(self, skipped: Mapping[str, str]) -> None:
        for file_name, sentence in skipped.items():
            if file_name not in self.skipped:
                logger.warning("Another image takes the place of an unreadable one: %s.", sentence)
            self.skipped[file_name] += 1
