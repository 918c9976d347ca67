"""COCO's compressed run lengths as numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

# No picture has so many pixels; with more, sums could leave the range of int64.
_LONGEST = 2**40
# Five bits each: more would not fit into int64.
_MOST_CHARACTERS = 12
# Of texts, so many characters are decoded at a time, in some 30 MB.
_AT_ONCE = 2**18


def decode_run_lengths(counts: str | bytes) -> np.ndarray:
    """The runs that a text of COCO's compressed run lengths stands for.

    Args:
        counts: the text.

    Returns:
        (N,) int64, lengths of runs, pixels of the mask every other time; below 0 where the text is
        no encoding of a mask.

    Raises:
        ValueError: the text has another character, ends within a number, or has one that is too
            large.
    """
    return decode_all_run_lengths([counts])[0]


def decode_all_run_lengths(texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The runs that several texts of COCO's compressed run lengths stand for.

    A number has five bits a character, the lowest first, and bit 5 says that it goes on; bit 4 of
    its last character is the sign. From the fourth on, a text's numbers are differences to the one
    two before (pycocotools' `rleToString`).

    Args:
        texts: the texts.

    Returns:
        (N,) int64, the runs of all texts, see `decode_run_lengths`; and (T,) int64, how many each
        text has.

    Raises:
        ValueError: see `decode_run_lengths`.
    """
    data = [text.encode("ascii") if isinstance(text, str) else text for text in texts]
    codes = np.frombuffer(b"".join(data), dtype=np.uint8) - np.uint8(48)
    text_ends = np.cumsum([len(text) for text in data], dtype=np.int64)
    if not codes.size:
        return np.zeros(0, dtype=np.int64), np.zeros(len(data), dtype=np.int64)
    last = np.flatnonzero(codes < 32)
    lengths = np.diff(last, prepend=-1)
    is_cut = (codes[text_ends[text_ends > 0] - 1] >= 32).any()
    if codes.max() >= 64 or is_cut or lengths.max() > _MOST_CHARACTERS:
        raise ValueError("the text is no compressed run lengths")
    first = last - lengths + 1
    place = np.arange(codes.size) - np.repeat(first, lengths)
    numbers = np.add.reduceat((codes & 31).astype(np.int64) << (5 * place), first)
    is_negative = codes[last] & 16 != 0
    numbers[is_negative] -= 1 << (5 * lengths[is_negative])
    _check_bounds(numbers)
    ends = np.searchsorted(last, text_ends)
    counts = np.diff(ends, prepend=0)
    _add_up(numbers, ends - counts, counts)
    # Again, for small differences add up, too.
    _check_bounds(numbers)
    return numbers, counts


def _check_bounds(numbers: np.ndarray) -> None:
    """Refuse numbers whose sums could leave the range of int64."""
    largest = int(np.abs(numbers).max())
    if largest >= _LONGEST or largest * numbers.size >= 2**63:
        raise ValueError("a run is longer than any picture")


def covered_pixels(texts: Sequence[str | bytes]) -> np.ndarray:
    """How many pixels masks and what is between them cover.

    Many texts are decoded at a time, for one by one they take many times as long.

    Args:
        texts: COCO's compressed run lengths, of any number of masks.

    Returns:
        (T,) int64, for each text the sum of its runs; -1 where it is no encoding of a mask.
    """
    covered = np.empty(len(texts), dtype=np.int64)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = np.flatnonzero(np.diff(ends // _AT_ONCE, prepend=-1)).tolist()
    batches = [slice(*bounds) for bounds in itertools.pairwise([*starts, len(texts)])]
    while batches:
        batch = batches.pop()
        try:
            runs, counts = decode_all_run_lengths(texts[batch])
        except ValueError:
            middle = (batch.start + batch.stop) // 2
            if middle == batch.start:
                covered[batch] = -1
            else:
                batches += [slice(batch.start, middle), slice(middle, batch.stop)]
            continue
        owner = np.repeat(np.arange(len(counts)), counts)
        sums = np.zeros(len(counts), dtype=np.int64)
        np.add.at(sums, owner, runs)
        sums[owner[runs < 0]] = -1
        covered[batch] = sums
    return covered


def _add_up(numbers: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> None:
    """Turn differences into the numbers, in place, text by text."""
    place = np.arange(numbers.size) - np.repeat(starts, counts)
    for first in (1, 2):
        (chosen,) = np.nonzero((place >= first) & ((place - first) % 2 == 0))
        sums = np.cumsum(numbers[chosen])
        # What the sums were before each text began.
        begins = place[chosen] == first
        before = (sums - numbers[chosen])[begins]
        numbers[chosen] = sums - np.repeat(
            before, np.diff(np.flatnonzero(begins), append=chosen.size)
        )
