from __future__ import annotations

import json
from pathlib import Path

import pytest

from segtron.data.json_file import read_json, read_json_lists
from segtron.errors import UserError


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path, "results") == [1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not valid JSON"),
        (b"[1,", "is not valid JSON"),
        (b"\xff\xff", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"[" + b"9" * 5000 + b"]", "has a whole number of more than 4300 digits; export it again"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    for read in (
        lambda: read_json(path, "results"),
        lambda: read_json_lists(path, {"images": {}}, "COCO"),
    ):
        with pytest.raises(UserError, match=rf"a\.json {said}"):
            read()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.json", tmp_path, tmp_path / ("a" * 5000)):
        with pytest.raises(UserError, match="cannot read the results .*: [A-Z]"):
            read_json(path, "results")


def test_lists_and_fields_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content, said in (
        ([], "is not COCO: it holds a JSON list, not an object with 'images'"),
        ({"images": 3}, "is not COCO: it has no list 'images'"),
        ({"images": [{}]}, r"images\[0\] has no 'id'"),
        ({"images": [{"id": True}]}, r"images\[0\]: 'id' is True, which COCO does not allow there"),
        ({"images": [{"id": 2**63}]}, r"images\[0\]: 'id' is a number of more than 63 bits"),
        ({"images": [{"id": 10**400}]}, r"images\[0\]: 'id' is a number of more than 63 bits"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=said):
            read_json_lists(path, {"images": {"id": int}}, "COCO")
