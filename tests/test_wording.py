from __future__ import annotations

import os

import pytest

from segtron.wording import count_of, first_few, printable


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (11, "11 images")]
)
def test_one_is_no_plural(number: int, words: str) -> None:
    assert count_of(number, "image") == words


@pytest.mark.parametrize(
    ("words", "said"),
    [([], ""), (["a", "b", "c", "d"], "a, b, c, d"), (["a", "b", "c", "d", "e"], "a, b, c, d, …")],
)
def test_many_words_are_cut_short(words: list[str], said: str) -> None:
    assert first_few(words) == said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b ä שלום 😀.png", "a b ä שלום 😀.png"),
        ("a\nb\t\x1b[31m", "a\\nb\\t\\x1b[31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        (os.fsdecode(b"\xff"), "\\udcff"),
        ("\x9b\u2028", "\\x9b\\u2028"),
    ],
)
def test_what_is_printed_harms_no_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
