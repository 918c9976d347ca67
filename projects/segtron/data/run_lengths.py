"""COCO's compressed run lengths as numbers."""

from __future__ import annotations

import numpy as np

# No picture has so many pixels; with more, sums could leave the range of int64.
_LONGEST = 2**40
# Five bits each: more would not fit into int64.
_MOST_CHARACTERS = 12


def decode_run_lengths(counts: str | bytes) -> np.ndarray:
    """The runs that a text of COCO's compressed run lengths stands for.

    A number has five bits a character, the lowest first, and bit 5 says that it goes on; bit 4 of
    its last character is the sign. From the fourth on, numbers are differences to the one two
    before (pycocotools' `rleToString`).

    Args:
        counts: the text.

    Returns:
        (N,) int64, lengths of runs, pixels of the mask every other time; below 0 where the text is
        no encoding of a mask.

    Raises:
        ValueError: the text has another character, ends within a number, or has one that is too
            large.
    """
    data = counts.encode("ascii") if isinstance(counts, str) else counts
    codes = np.frombuffer(data, dtype=np.uint8) - np.uint8(48)
    if not codes.size:
        return np.zeros(0, dtype=np.int64)
    last = np.flatnonzero(codes < 32)
    lengths = np.diff(last, prepend=-1)
    if codes.max() >= 64 or codes[-1] >= 32 or lengths.max() > _MOST_CHARACTERS:
        raise ValueError("the text is no compressed run lengths")
    first = last - lengths + 1
    place = np.arange(codes.size) - np.repeat(first, lengths)
    numbers = np.add.reduceat((codes & 31).astype(np.int64) << (5 * place), first)
    is_negative = codes[last] & 16 != 0
    numbers[is_negative] -= 1 << (5 * lengths[is_negative])
    if np.abs(numbers).max() >= _LONGEST:
        raise ValueError("a run is longer than any picture")
    for every_other in (numbers[1::2], numbers[2::2]):
        np.cumsum(every_other, out=every_other)
    return numbers
