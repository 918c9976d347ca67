"""Panoptic PNGs: ids of 24 bits there and back, and pictures that can't hold any."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segtron.data.panoptic_png import (
    MAX_IDS,
    read_panoptic_png,
    segment_ids,
    write_panoptic_png,
)
from segtron.errors import UserError

IDS = np.array([[0, 1, 255, 256], [257, 65535, 65536, 65537], [70000, 2**23, 2**24 - 2, 2**24 - 1]])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_ids_are_red_first_and_come_back(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "new" / "folder" / "a.png"
    write_panoptic_png(path, IDS.astype(dtype))
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        colors = np.asarray(picture).astype(np.int64)
    np.testing.assert_array_equal(
        colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2], IDS
    )
    ids = read_panoptic_png(path)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, IDS)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_narrow_maps_keep_their_ids(tmp_path: Path, dtype: type, largest: int) -> None:
    path = tmp_path / "a.png"
    write_panoptic_png(path, np.array([[0, 1, largest]], dtype))
    assert read_panoptic_png(path).tolist() == [[0, 1, largest]]


@pytest.mark.parametrize("strange", [-1, MAX_IDS])
def test_ids_of_more_than_three_bytes_are_not_written(tmp_path: Path, strange: int) -> None:
    path = tmp_path / "a.png"
    write_panoptic_png(path, np.array([[7]]))
    with pytest.raises(ValueError, match=f"from 0 to 16777215, not .*{strange}"):
        write_panoptic_png(path, np.array([[3, strange]]))
    assert read_panoptic_png(path).tolist() == [[7]]
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_colours_of_any_layout_are_ids() -> None:
    colors = np.stack([IDS & 255, IDS >> 8 & 255, IDS >> 16], axis=2).astype(np.uint8)
    slack = np.full((*IDS.shape, 4), 77, np.uint8)
    slack[..., :3] = colors
    for array in (colors, slack[..., :3], np.asfortranarray(colors)):
        ids = segment_ids(array)
        assert ids.dtype == np.int32
        np.testing.assert_array_equal(ids, IDS)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.fromarray(np.array([[[1, 2, 3, 0], [4, 0, 0, 128]]], np.uint8)).save(path)
    assert read_panoptic_png(path).tolist() == [[1 + 2 * 256 + 3 * 65536, 4]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16"])
def test_what_is_no_colour_picture_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "grey.png"
    Image.new(mode, (3, 2)).save(path)
    with pytest.raises(UserError, match=r"grey\.png has Pillow mode .*colour picture of 8 bits"):
        read_panoptic_png(path)


def test_a_truncated_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    write_panoptic_png(path, np.random.default_rng(0).integers(0, MAX_IDS, (40, 40)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"half\.png cannot be read"):
        read_panoptic_png(path)
    with pytest.raises(UserError, match=r"gone\.png does not exist"):
        read_panoptic_png(tmp_path / "gone.png")


def test_channels_of_16_bits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.full((2, 3, 3), 300, np.uint16))
    with pytest.raises(UserError, match=r"deep.png has 16 bits a channel"):
        read_panoptic_png(path)
