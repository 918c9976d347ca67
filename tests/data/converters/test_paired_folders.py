"""Photographs and label pictures that go together."""

from pathlib import Path

import pytest

from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.paired_folders import Pair, find_pairs
from segtron.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_pairs_share_a_path_but_for_the_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "Images/a/x.jpg", "Images/b/x.jpg", "masks/a/x.png", "masks/b/x.TIF")
    touch(tmp_path, "Images/c.jpg", "masks/d.png", "masks/notes.txt")
    # One system's spelling of ä is two letters, another's is one.
    touch(tmp_path, "Images/a\u0308 1.jpg", "masks/\u00e4 1.png")
    dropped = Dropped()
    pairs = find_pairs(tmp_path, dropped)
    images, labels = tmp_path / "Images", tmp_path / "masks"
    assert pairs == [
        Pair(images / "a/x.jpg", "a/x.jpg", labels / "a/x.png"),
        Pair(images / "a\u0308 1.jpg", "a\u0308 1.jpg", labels / "\u00e4 1.png"),
        Pair(images / "b/x.jpg", "b/x.jpg", labels / "b/x.TIF"),
    ]
    assert [pair.group for pair in pairs] == ["a", "", "b"]
    assert dropped.entries == [
        (str(images / "c.jpg"), f"has no label picture in {labels}"),
        (str(labels / "d.png"), f"has no image in {images}"),
    ]


def test_one_folder_holds_both(tmp_path: Path) -> None:
    touch(tmp_path, "x.png", "x_mask.png", "y.png", "y_mask.png")
    with pytest.raises(UserError, match="--label-suffix"):
        find_pairs(tmp_path, Dropped(), tmp_path, tmp_path)
    dropped = Dropped()
    pairs = find_pairs(tmp_path, dropped, tmp_path, tmp_path, "_mask.png")
    assert [(pair.name, pair.labels.name) for pair in pairs] == [
        ("x.png", "x_mask.png"),
        ("y.png", "y_mask.png"),
    ]
    assert dropped.entries == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["masks/a.png"], "has no folder of photographs"),
        (["images/a.jpg"], "has no folder of label pictures .*--labels"),
        (["images/a.jpg", "masks/a.png", "labels/a.png"], "has the folders labels and masks"),
        (["images/a.jpg", "images/a.png", "masks/a.png"], "have the one label picture"),
        (["images/a.jpg", "masks/a.png", "masks/a.tif"], "are both labels of"),
        (["images/a.jpg", "masks/b.png"], "no image in .* has a label picture"),
        (["images/a.jpg", "masks/a.jpg"], "no image in .* has a label picture"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError, match=message):
        find_pairs(tmp_path, Dropped())


def test_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder .*missing does not exist"):
        find_pairs(tmp_path / "missing", Dropped())
    touch(tmp_path, "images/a.jpg")
    with pytest.raises(UserError, match="folder .*nowhere does not exist"):
        find_pairs(tmp_path, Dropped(), labels=tmp_path / "nowhere")
