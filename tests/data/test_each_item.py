from __future__ import annotations

import threading
import time

import pytest

from segtron.data import each_item
from segtron.data.each_item import for_each, go_through
from segtron.errors import UserError


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(for_each(lambda n: n * n, range(20), workers=workers)) == [n * n for n in range(20)]
    assert list(for_each(str, [], workers=workers)) == []


def test_several_at_once():
    barrier = threading.Barrier(3, timeout=20)
    list(for_each(lambda _: barrier.wait(), range(3), workers=3))


def test_the_first_error_ends_all():
    seen = []

    def work(number):
        seen.append(number)
        time.sleep(0.001)
        if number == 3:
            raise UserError("three")

    with pytest.raises(UserError, match="three"):
        list(for_each(work, range(1000), workers=1))
    assert len(seen) < 1000


def test_a_step_of_something_longer(monkeypatch):
    bars = []

    def show(results, **bar):
        bars.append(bar)
        return results

    monkeypatch.setattr(each_item, "tqdm", show)
    assert list(go_through(str, [3, 1], "reading")) == ["3", "1"]
    assert bars == [{"total": 2, "desc": "reading", "delay": 2, "leave": False}]
