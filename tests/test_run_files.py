from __future__ import annotations

from segtron.run_files import read_metrics_lines


def test_what_is_no_record_is_left_out() -> None:
    lines = [
        b'{"iteration": 9, "a": 1.5}',
        b'{"segm/AP": 31.5}',  # of an evaluation without training
        b"[1]",
        b"\xff\xfe",
        b"",
        b'{"iteration": "x"}',
        b'{"iteration": true}',
        b'{"iteration": NaN}',
        b'{"segm/AP": 3',  # cut off
    ]
    assert list(read_metrics_lines(b"\n".join(lines))) == [
        (lines[0], {"iteration": 9, "a": 1.5}),
        (lines[1], {"segm/AP": 31.5}),
    ]
