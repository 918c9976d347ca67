"""The converter that docs/converting.md shows works as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from segtron.data.converters import formats
from segtron.data.converters.coco_files import write_coco
from segtron.data.converters.labelled_image import Dropped
from segtron.errors import UserError

PAGE = Path(__file__).parents[3] / "docs" / "converting.md"


@pytest.fixture
def open_outlines(monkeypatch: pytest.MonkeyPatch):
    """The function of the page's one block of Python."""
    monkeypatch.setattr(formats, "FORMATS", dict(formats.FORMATS))
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(PAGE), "exec"), names)
    return names["open_outlines"]


def test_the_page_converts_a_table(tmp_path: Path, picture, open_outlines) -> None:
    for name in ("a.jpg", "b ü.jpg"):
        picture(tmp_path / "src" / name)
    table = tmp_path / "src" / "outlines.csv"
    lines = [
        "picture,class,outline",
        "b ü.jpg,dog,2 3 6 3 6 8 2 8",
        "a.jpg,cat,-5 0 5 0 5 5 -5 5",
        "b ü.jpg,cat,1 1 2 2",
        "c.jpg,cat,1 1 9 1 9 9",
    ]
    table.write_text("\n".join(lines), encoding="utf-8")
    dropped = Dropped()
    written = write_coco(open_outlines(table, dropped), tmp_path / "out", dropped)
    content = json.loads((tmp_path / "out" / "annotations.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["b ü.jpg", "a.jpg"]
    assert [annotation["area"] for annotation in content["annotations"]] == [20, 25]
    assert written.objects == {"dog": 1, "cat": 1}
    assert [where for where, _ in dropped.entries] == [
        f"{table}:4",
        f"{table}: 'c.jpg' with 1 outlines",
    ]


@pytest.mark.parametrize("outline", ["", "1 2 3", "1 2 3 x", "1 2 nan 4 5 6"])
def test_the_page_names_what_is_malformed(tmp_path: Path, picture, open_outlines, outline) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "t.csv").write_text(f"picture,class,outline\na.jpg,cat,{outline}\n")
    with pytest.raises(UserError, match=r"t\.csv:2"):
        list(open_outlines(tmp_path / "t.csv", Dropped()).images)
