from __future__ import annotations

import pytest

from segtron.benchmarks.machine import describe_machine
from segtron.benchmarks.report import Floor, Growth, Memory, Report, Row
from segtron.benchmarks.timing import Timing


def report() -> Report:
    return Report(
        describe_machine(),
        {"images": 2},
        [Row("reading", "a book", Timing(2.04, 1.5, 2.5, 0.0101, 0.0206))],
        [
            Growth("reading", 4, 200, 0.02, 8000),
            Growth("looking", 4, None, 0.02, 8000),
            Growth("writing", 4, 200, 0.02, None),
        ],
        ["Left out: the rest."],
        [Floor("reading", "letters", 6e9, 3e9, 5.0)],
        [
            Memory("reading", "Segtron", 12_000_000),
            Memory("reading", "a GPU", 7_000_000, 3_000_000),
        ],
    )


def test_json_is_what_programs_expect():
    content = report().as_dict()
    assert content["rows"] == [
        {
            "work": "reading",
            "against": "a book",
            "ratio": 2.04,
            "low": 1.5,
            "high": 2.5,
            "ours_s": 0.0101,
            "theirs_s": 0.0206,
        }
    ]
    assert content["growth"][0] == {
        "work": "reading",
        "images": 4,
        "predictions": 200,
        "seconds": 0.02,
        "state_bytes": 8000,
    }
    assert content["floors"][0]["seconds"] == pytest.approx(2.0)
    assert content["floors"][0]["times"] == pytest.approx(2.5)
    assert content["memory"] == [
        {"work": "reading", "by": "Segtron", "peak_bytes": 12_000_000, "gpu_bytes": None},
        {"work": "reading", "by": "a GPU", "peak_bytes": 7_000_000, "gpu_bytes": 3_000_000},
    ]
    assert set(content) == {
        *("machine", "settings", "rows", "growth", "left_out", "floors", "memory")
    }


def test_tables():
    lines = str(report()).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert ["reading", "a book", "2.0", "1.5", "2.5", "0.010", "0.021"] in cells
    assert ["reading", "4", "200", "0.020", "5.00", "2.00", "40"] in cells
    assert ["looking", "4", "-", "0.020", "5.00", "2.00", "-"] in cells
    assert ["writing", "4", "200", "0.020", "5.00", "-", "-"] in cells
    assert ["reading", "letters", "6.0 G", "3.0 G", "2.000", "5.000", "2.5"] in cells
    assert ["reading", "Segtron", "12", "-"] in cells
    assert ["reading", "a GPU", "7", "3"] in cells
    assert lines[-1] == "Left out: the rest."
