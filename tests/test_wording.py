from __future__ import annotations

import pytest

from segtron.wording import count_of


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (11, "11 images")]
)
def test_one_is_no_plural(number: int, words: str) -> None:
    assert count_of(number, "image") == words
