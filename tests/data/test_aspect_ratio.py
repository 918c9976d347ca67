"""Wide images and high ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.data.aspect_ratio import HIGH, WIDE, group_by_aspect_ratio
from segtron.errors import UserError


def test_dicts_say_how_large_images_are() -> None:
    sizes = [(4, 5), (5, 4), (4, 4)]
    records = [{"file_name": "absent.png", "height": h, "width": w} for h, w in sizes]
    groups = group_by_aspect_ratio(records, skip_unreadable=False)
    assert groups.dtype == np.int64
    assert groups.tolist() == [WIDE, HIGH, HIGH]


def test_where_they_do_not_say_files_are_asked(tmp_path: Path) -> None:
    records = []
    for name, size in (("wide", (6, 4)), ("high", (4, 6))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
        records.append({"file_name": str(tmp_path / f"{name}.png")})
    records.append({"file_name": "absent.png", "height": 2, "width": 1})
    # Only half a size.
    records.append({"file_name": str(tmp_path / "high.png"), "width": 4})
    groups = group_by_aspect_ratio(records, skip_unreadable=False)
    assert groups.tolist() == [WIDE, HIGH, HIGH, HIGH]


def test_files_that_do_not_say_either(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no image")
    records = [{"file_name": str(tmp_path / "broken.png")}]
    with pytest.raises(UserError, match=r"image .*broken\.png cannot be read"):
        group_by_aspect_ratio(records, skip_unreadable=False)
    assert group_by_aspect_ratio(records, skip_unreadable=True).tolist() == [WIDE]
