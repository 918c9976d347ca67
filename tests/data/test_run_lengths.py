from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from segtron.data.run_lengths import decode_all_run_lengths, decode_run_lengths


@pytest.mark.parametrize("seed", range(20))
def test_equals_what_was_encoded(seed):
    """Runs as pycocotools packs them, as text and as bytes, long ones and of length 0, too."""
    rng = np.random.default_rng(seed)
    runs = rng.integers(0, 10 ** rng.integers(1, 7), rng.integers(1, 60))
    total = int(runs.sum())
    packed = mask_util.frPyObjects({"size": [1, total], "counts": runs.tolist()}, 1, total)
    np.testing.assert_array_equal(decode_run_lengths(packed["counts"]), runs)
    np.testing.assert_array_equal(decode_run_lengths(packed["counts"].decode()), runs)


def test_nothing():
    assert decode_run_lengths("").shape == (0,)


@pytest.mark.parametrize("text", ["/", "p", "é", "0P", "P", "o" * 12 + "0", "o" * 9 + "0"])
def test_what_is_no_encoding(text):
    """Other characters, numbers without an end, numbers without bounds."""
    with pytest.raises(ValueError):
        decode_run_lengths(text)


def test_several_texts_at_once():
    rng = np.random.default_rng(0)
    texts, expected = [], []
    for number in range(200):
        if number % 9 == 0:
            texts.append("")
            expected.append(np.zeros(0, int))
            continue
        runs = rng.integers(0, 10 ** rng.integers(1, 7), rng.integers(1, 9))
        total = int(runs.sum())
        packed = mask_util.frPyObjects({"size": [1, total], "counts": runs.tolist()}, 1, total)
        texts.append(packed["counts"] if number % 2 else packed["counts"].decode())
        expected.append(runs)
    runs, counts = decode_all_run_lengths(texts)
    assert counts.tolist() == [len(one) for one in expected]
    np.testing.assert_array_equal(runs, np.concatenate(expected))


def test_no_text_ends_in_the_next():
    """A number that goes on would take characters of another text."""
    with pytest.raises(ValueError):
        decode_all_run_lengths(["00P", "00"])
    runs, counts = decode_all_run_lengths([])
    assert runs.shape == counts.shape == (0,)
