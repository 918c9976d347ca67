"""Listing the pictures of a folder."""

from pathlib import Path

import pytest

from segtron.data.picture_names import picture_names
from segtron.errors import UserError


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_it_goes_through_links_and_not_in_circles(tmp_path: Path) -> None:
    for name in (
        "elsewhere/b.JPG",
        "here/a.png",
        "here/.hidden/c.png",
        "here/.d.png",
        "here/e.txt",
    ):
        touch(tmp_path / name)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "here")
    assert picture_names(tmp_path / "here") == ["a.png", "link/b.JPG"]


def test_a_folder_that_is_linked_twice_is_listed_twice(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "b.png")
    for link in ("x", "y"):
        (tmp_path / "here").mkdir(exist_ok=True)
        (tmp_path / "here" / link).symlink_to(tmp_path / "elsewhere")
    assert picture_names(tmp_path / "here") == ["x/b.png", "y/b.png"]


def test_folders_that_are_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "labels/a.png", "deep/labels/b.png"):
        touch(tmp_path / name)
    assert picture_names(tmp_path, [tmp_path / "labels"]) == ["a.png", "deep/labels/b.png"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone cannot be read"):
        picture_names(tmp_path / "gone")
