from __future__ import annotations

import os

import pytest

from segtron.errors import UserError
from segtron.inference import Camera, FrameChoice, Images, Video, find_sources


@pytest.fixture
def tree(tmp_path):
    """Files of all kinds; finding images looks at names alone."""
    for name in (
        "frame10.png",
        "frame9.PNG",
        "notes.txt",
        ".hidden.jpg",
        "sub/frame9.png",
        "sub/deep/ä b.jpeg",
        ".cache/c.jpg",
        "other/frame9.png",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


def names(*inputs, skip=None):
    (images,) = find_sources([str(i) for i in inputs], skip=skip)
    return [image.name for image in images.files]


def test_folders_are_searched_to_any_depth(tree):
    assert names(tree) == [
        "frame9.PNG",
        "frame10.png",
        "other/frame9.png",
        "sub/deep/ä b.jpeg",
        "sub/frame9.png",
    ]


def test_a_file_goes_by_its_name(tree):
    assert names(tree / "sub" / "frame9.png", tree / "frame10.png") == ["frame9.png", "frame10.png"]


def test_patterns_keep_what_comes_after_their_fixed_part(tree):
    assert names(tree / "*.png") == ["frame10.png"]
    assert names(tree / "**" / "frame9.png") == ["other/frame9.png", "sub/frame9.png"]
    assert names(tree / "s*") == ["sub/deep/ä b.jpeg", "sub/frame9.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tree):
    (tree / "a[1].png").write_bytes(b"")
    assert names(tree / "a[1].png") == ["a[1].png"]


def test_an_image_comes_once(tree):
    assert names(tree / "frame10.png", tree / "*.png", tree / "frame10.png") == ["frame10.png"]


def test_the_output_is_no_input(tree):
    assert "sub/frame9.png" not in names(tree, skip=tree / "sub")
    assert names(tree / "**" / "frame9.png", skip=tree / "sub") == ["other/frame9.png"]


def test_links_in_a_circle_end(tree):
    (tree / "sub" / "loop").symlink_to(tree)
    assert len(names(tree)) == 5


def test_two_images_of_one_name_are_refused(tree):
    with pytest.raises(UserError, match=r"frame9\.png; give their common folder .*in as --input"):
        find_sources([str(tree / "sub"), str(tree / "other")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("absent", "does not exist"),
        ("absent*.png", "matches no image and no video"),
        ("notes.txt", r"is neither image nor video by its suffix; known are \.jpg"),
        ("empty", "no image and no video; known suffixes are"),
    ],
)
def test_inputs_without_images_are_named(tree, given, message):
    (tree / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find_sources([str(tree / given)])


def test_videos_and_cameras_stand_where_they_were_named(tree):
    for name in ("sub/clip.MP4", "b.avi"):
        (tree / name).write_bytes(b"")
    found = find_sources(["camera:1", str(tree), "camera:1"], choice=FrameChoice(every=3))
    assert [type(source) for source in found] == [Camera, Video, Images, Video, Images]
    assert [source.folder for source in found] == ["camera-1", "b", None, "sub/clip", None]
    assert found[1].choice.every == 3
    assert [image.name for image in found[4].files] == ["sub/deep/ä b.jpeg", "sub/frame9.png"]


def test_a_file_called_like_a_camera_is_reached_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camera:0.png").write_bytes(b"")
    assert names("camera:0.png") == ["camera:0.png"]


@pytest.mark.parametrize("other", ["sub.avi", "other.mkv"])
def test_results_of_a_video_have_a_folder_of_their_own(tree, other):
    (tree / "sub.mp4").write_bytes(b"")
    (tree / "other.mkv").write_bytes(b"")
    (tree / "sub.avi").write_bytes(b"")
    with pytest.raises(UserError, match="would have the same name sub;|in the folder (sub|other);"):
        find_sources([str(tree / "sub"), str(tree / "sub.mp4"), str(tree / other), str(tree)])


def test_the_output_may_lie_around_the_input(tree):
    everything = names(tree)
    for around in (tree, tree.parent):
        assert names(tree, skip=around) == everything
        assert names(tree / "**" / "frame9.png", skip=around) == names(tree / "**" / "frame9.png")
    assert names(tree, skip=tree / "sub") == ["frame9.PNG", "frame10.png", "other/frame9.png"]


def test_pipes_are_not_waited_for(tree):
    os.mkfifo(tree / "a.png")
    assert "a.png" not in names(tree)
    with pytest.raises(UserError, match="neither a file nor a folder"):
        names(tree / "a.png")


@pytest.mark.parametrize("given", ["~nobody-of-this-name/a.png", "a" * 300 + ".png"])
def test_names_that_cannot_be(given):
    with pytest.raises(UserError, match="cannot be looked up"):
        find_sources([given])


def test_folders_that_cannot_be_searched(tree, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match="sub cannot be searched for images: Permission denied"):
        find_sources([str(tree)])
