"""The endless order of a training's images, and its batches, as a pure function of a seed.

Nothing of it depends on what was read before, so that a training can go on at any batch at once.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch.utils.data

from segtron.data.seeded import Purpose, derive, generator_of


class Sample(NamedTuple):
    """One image at one place of the order."""

    position: int  # from 0, over all epochs; no two samples have the same
    index: int  # of the image


class TrainingStream:
    """Epochs of shuffled images, one after the other, and batches of images of one group.

    Image i stands r_i times in an epoch, r_i being its repeat factor. Of r_i = 1.25 three epochs of
    four have it once and one has it twice: each image begins at its own point of that cycle, which
    is drawn at random, and after any number e of epochs it has been there e * r_i times, rounded up
    or down. So, other than with Detectron2's samplers, which round each epoch at random, it is
    known how long e epochs are without making them.
    """

    def __init__(
        self,
        repeat_factors: np.ndarray,
        batch_size: int,
        seed: int,
        groups: np.ndarray | None = None,
    ) -> None:
        """Describe a stream.

        Args:
            repeat_factors: (N,) float64; 0 leaves an image out, all others are at least 1, and not
                all are 0.
            batch_size: images of a batch, over all processes.
            seed: 0 or more.
            groups: (N,) int64, 0 to G - 1: no batch has images of two groups. Default: one group.
        """
        self._batch_size = batch_size
        self._seed = seed
        self._groups = np.zeros(len(repeat_factors), np.int64) if groups is None else groups
        self._num_groups = int(self._groups.max()) + 1
        self._whole = repeat_factors.astype(np.int64)
        self._fraction = repeat_factors - self._whole
        self._phase = generator_of(derive(seed, Purpose.ROUNDING)).random_sample(
            len(repeat_factors)
        )

    def batches(self, first: int = 0) -> Iterator[list[Sample]]:
        """The batches from number `first` on, without end.

        A batch is given as soon as it is full: an image waits until there are enough of its group,
        over the end of an epoch if need be.
        """
        first_epoch = self._epoch_of_batch(first)
        to_skip = first - self._batches_before(first_epoch)
        groups = self._groups.tolist()
        waiting = self._waiting_before(first_epoch)
        for epoch in itertools.count(first_epoch):
            for sample in self._samples(epoch):
                group = groups[sample.index]
                waiting[group].append(sample)
                if len(waiting[group]) < self._batch_size:
                    continue
                batch, waiting[group] = waiting[group], []
                if to_skip:
                    to_skip -= 1
                else:
                    yield batch

    def replacements(self, sample: Sample) -> Iterator[int]:
        """Images to put in the place of one that can't be read, each once, in the order to try.

        They come at random, those of its group first, and without those that are left out.
        """
        others = np.flatnonzero(self._whole > 0)
        others = others[others != sample.index]
        generator_of(derive(self._seed, Purpose.REPLACEMENT, sample.position)).shuffle(others)
        is_other_group = self._groups[others] != self._groups[sample.index]
        yield from others[np.argsort(is_other_group, kind="stable")].tolist()

    def _times_before(self, epoch: int) -> np.ndarray:
        """(N,) int64: how often each image stands in all epochs before one."""
        rounded = np.floor(self._fraction * epoch + self._phase).astype(np.int64)
        return self._whole * epoch + rounded

    def _samples_before(self, epoch: int) -> np.ndarray:
        """(G,) int64: how many images of each group stand in all epochs before one."""
        counts = np.bincount(self._groups, self._times_before(epoch), self._num_groups)
        return counts.astype(np.int64)

    def _batches_before(self, epoch: int) -> int:
        """How many batches are full before an epoch begins."""
        return int((self._samples_before(epoch) // self._batch_size).sum())

    def _epoch_of_batch(self, batch: int) -> int:
        """The epoch in which a batch becomes full."""
        # Each group may have a batch that is not full, and each epoch all images at least once.
        samples = (batch + 1 + self._num_groups) * self._batch_size
        epochs = samples // int(self._whole.sum()) + 2
        return bisect.bisect_right(range(epochs), batch, key=self._batches_before) - 1

    def _order(self, epoch: int) -> np.ndarray:
        """(S,) int64: the images of an epoch."""
        times = self._times_before(epoch + 1) - self._times_before(epoch)
        order = np.repeat(np.arange(len(times)), times)
        generator_of(derive(self._seed, Purpose.ORDER, epoch)).shuffle(order)
        return order

    def _samples(self, epoch: int) -> Iterator[Sample]:
        start = int(self._times_before(epoch).sum())
        for position, index in enumerate(self._order(epoch).tolist(), start):
            yield Sample(position, index)

    def _waiting_before(self, epoch: int) -> list[list[Sample]]:
        """Of each group, the images that are in no full batch when an epoch begins."""
        missing = self._samples_before(epoch) % self._batch_size
        waiting: list[list[Sample]] = [[] for _ in range(self._num_groups)]
        while missing.any():
            epoch -= 1
            order = self._order(epoch)
            start = int(self._times_before(epoch).sum())
            for group in np.flatnonzero(missing):
                places = np.flatnonzero(self._groups[order] == group)[-missing[group] :].tolist()
                waiting[group][:0] = [Sample(start + p, int(order[p])) for p in places]
                missing[group] -= len(places)
        return waiting


class ProcessBatches(torch.utils.data.Sampler[list[Sample]]):
    """One process's share of each batch, from some batch on."""

    def __init__(self, stream: TrainingStream, rank: int, share: int, first_batch: int = 0) -> None:
        """Take a share.

        Args:
            stream: the same for all processes.
            rank: of the process, from 0.
            share: images of a batch that each process gets.
            first_batch: the number of the first batch.
        """
        self._stream = stream
        self._share = slice(rank * share, (rank + 1) * share)
        self._first_batch = first_batch

    def __iter__(self) -> Iterator[list[Sample]]:
        for batch in self._stream.batches(self._first_batch):
            yield batch[self._share]
