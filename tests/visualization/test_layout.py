from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segtron.visualization.layout import (
    contact_sheet,
    cut_middle,
    percent,
    shrink,
    side_by_side,
    write_picture,
)


def picture(height, width, shade=200):
    return np.full((height, width, 3), shade, np.uint8)


def test_panels_stand_beside_each_other_pixel_by_pixel():
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    sheet = side_by_side([noise, picture(300, 400)], ["noise", "$\\broken{ grey"])
    assert sheet.shape[1] > 800
    rows, columns = sheet.shape[0] - 300, sheet.shape[1] - 400
    places = [
        (y, x)
        for y in range(rows + 1)
        for x in range(20)
        if (sheet[y, x] == noise[0, 0]).all() and (sheet[y : y + 300, x : x + 400] == noise).all()
    ]
    assert len(places) == 1
    assert columns > places[0][1]


def test_wide_panels_stand_below_each_other():
    sheet = side_by_side([picture(100, 200)] * 3, ["a", "b", "c"])
    assert sheet.shape[0] > 300
    assert sheet.shape[1] < 300


@pytest.mark.parametrize(
    ("size", "count", "columns"),
    [((100, 200), 4, 2), ((100, 100), 4, 2), ((300, 100), 4, 4), ((100, 600), 4, 1)]
    + [((100, 200), 2, 1), ((100, 150), 2, 2), ((100, 200), 3, 1), ((100, 150), 3, 3)],
)
def test_panels_stand_in_full_rows(size, count, columns):
    sheet = side_by_side([picture(*size)] * count, ["title"] * count)
    assert sheet.shape[1] // size[1] == columns


def test_a_contact_sheet_takes_any_sizes():
    sheet = contact_sheet(
        [picture(50, 50), picture(1000, 300), picture(300, 3000), picture(7, 9)],
        ["a", "b" * 300, "c", "d"],
    )
    assert max(sheet.shape) < 3 * 480
    assert contact_sheet([picture(5, 5)], ["alone"]).shape[2] == 3


def test_shrinking_never_enlarges():
    assert shrink(picture(100, 400), 200).shape == (50, 200, 3)
    assert shrink(picture(10, 40), 200).shape == (10, 40, 3)


def test_shares_are_never_rounded_to_nothing():
    assert [percent(share) for share in (0, 1e-9, 0.00049, 0.0005, 0.1234, 1)] == [
        "0.0 %",
        "<0.1 %",
        "<0.1 %",
        "0.1 %",
        "12.3 %",
        "100.0 %",
    ]


def test_texts_are_cut_in_the_middle():
    assert cut_middle("short", 5) == "short"
    assert cut_middle("0123456789", 5) == "01…89"


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.jpeg", "a.bmp", "a.tif", "a.webp", "a.pgm"])
def test_the_format_follows_from_the_name(tmp_path, name):
    write_picture(tmp_path / "new" / name, picture(20, 30))
    with Image.open(tmp_path / "new" / name) as image:
        assert image.size == (30, 20)
        assert image.mode == "RGB"
        np.testing.assert_allclose(np.asarray(image), 200, atol=2)
