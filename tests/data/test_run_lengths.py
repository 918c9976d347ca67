from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from segtron.data import run_lengths
from segtron.data.run_lengths import covered_pixels, decode_all_run_lengths, decode_run_lengths

# Differences of 2**39 that add up to runs whose sum goes around in int64.
AROUND = "0" + "ooooooo?" * 2**15


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


@pytest.mark.parametrize("at_once", [1, 7, 40, 2**18])
def test_covered_pixels(monkeypatch, at_once):
    """Broken texts cost themselves only, in whichever batch they are."""
    monkeypatch.setattr(run_lengths, "_AT_ONCE", at_once)
    # The last but one is of runs 3, 2, 1, and 3 less than the second.
    broken = {2: "/", 3: "0P", 9: "", 17: "321M", 18: AROUND}
    texts, expected = [], []
    for number in range(20):
        total = 10 + 1000 * number
        runs = [number, 5, total - number - 5]
        packed = mask_util.frPyObjects({"size": [1, total], "counts": runs}, 1, total)
        texts.append(broken.get(number, packed["counts"].decode()))
        expected.append({2: -1, 3: -1, 9: 0, 17: -1, 18: -1}.get(number, total))
    covered = covered_pixels(texts)
    assert covered.dtype == np.int64
    assert covered.tolist() == expected
    assert covered_pixels([]).shape == (0,)
