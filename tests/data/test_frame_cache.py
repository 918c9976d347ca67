"""Decoded files on disk: the same pixels, read anew when a file changes, and no matter if lost."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.config import get_default_config
from segtron.data import SegmentationMapper, frame_cache
from segtron.data.cityscapes import load_instances, load_panoptic, load_sem_seg
from segtron.data.frame_cache import FrameCache
from segtron.data.image_io import IDS, Decoder, image_decoder, read_image
from segtron.data.pixels import ArrayPixels, Window, read_all
from segtron.errors import UserError

BGR = image_decoder("BGR")
WINDOW = Window(3, 2, 11, 7)


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "deep"


def never() -> Decoder:
    """Fails where a file is decoded."""

    def fail(path: str | Path) -> ArrayPixels:
        raise AssertionError(path)

    return Decoder(BGR.name, fail)


def test_the_second_time_nothing_is_decoded(image_file: Path, folder: Path) -> None:
    expected = read_image(image_file, "BGR")
    first = FrameCache(folder).open(BGR, image_file)
    np.testing.assert_array_equal(first.read(WINDOW), WINDOW.of(expected))
    second = FrameCache(folder).open(never(), image_file)
    assert second.shape == (20, 30)
    np.testing.assert_array_equal(second.read(WINDOW), WINDOW.of(expected))
    np.testing.assert_array_equal(read_all(second), expected)
    (file,) = folder.iterdir()
    np.testing.assert_array_equal(np.load(file, allow_pickle=False), expected)


def test_each_way_to_read_a_file_has_its_own_pixels(tmp_path: Path, folder: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 2**16, (20, 30)).astype(np.uint16)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    cache = FrameCache(folder)
    for _ in range(2):
        np.testing.assert_array_equal(read_all(cache.open(IDS, tmp_path / "ids.png")), ids)
        shades = read_all(cache.open(BGR, tmp_path / "ids.png"))
        assert (shades.dtype, shades.shape) == (np.uint8, (20, 30, 3))
        np.testing.assert_array_equal(shades, read_image(tmp_path / "ids.png", "BGR"))
    assert len(list(folder.iterdir())) == 2


def test_a_changed_file_is_read_again_and_the_old_pixels_go(image_file: Path, folder: Path) -> None:
    cache = FrameCache(folder)
    cache.open(BGR, image_file)
    before = image_file.stat()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(image_file)
    os.utime(image_file, ns=(before.st_atime_ns, before.st_mtime_ns))  # its size has changed
    assert not read_all(cache.open(BGR, image_file)).any()
    os.utime(image_file, ns=(0, before.st_mtime_ns + 1))  # its time has
    with pytest.raises(AssertionError):
        cache.open(never(), image_file)
    cache.open(BGR, image_file)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"no array", "cut", "pickle", "floats", "zip"]
)
def test_what_is_damaged_is_written_again(
    image_file: Path, folder: Path, content: bytes | str
) -> None:
    expected = read_image(image_file, "BGR")
    FrameCache(folder).open(BGR, image_file)
    (file,) = folder.iterdir()
    if content == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif content == "pickle":
        np.save(file, np.array([print], object), allow_pickle=True)
    elif content == "zip":
        np.savez(file.with_suffix(".npz"), np.zeros((20, 30, 3), np.uint8))
        file.with_suffix(".npz").rename(file)
    elif content == "floats":
        np.save(file, np.zeros((20, 30, 3)))
    else:
        file.write_bytes(content)
    np.testing.assert_array_equal(read_all(FrameCache(folder).open(BGR, image_file)), expected)
    assert FrameCache(folder).open(never(), image_file).shape == (20, 30)


def test_a_full_disk_is_said_once_and_all_goes_on(
    image_file: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def save(file: object, array: np.ndarray, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    cache = FrameCache(folder)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            found = read_all(cache.open(BGR, image_file))
            np.testing.assert_array_equal(found, read_image(image_file, "BGR"))
    (record,) = caplog.records
    assert "DATALOADER.CACHE_DIR" in record.message and "No space left" in record.message
    assert list(folder.iterdir()) == []


def test_where_there_can_be_no_folder_all_goes_on(
    image_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FrameCache(image_file / "cache")  # below a file
    with caplog.at_level(logging.WARNING):
        assert cache.open(BGR, image_file).read(WINDOW).shape == (5, 8, 3)
    assert "cannot write" in caplog.text


def test_bad_files_are_named_as_ever(tmp_path: Path, folder: Path) -> None:
    cache = FrameCache(folder)
    with pytest.raises(UserError, match=r"absent\.png does not exist"):
        cache.open(BGR, tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png cannot be read"):
        cache.open(BGR, tmp_path / "text.png")
    assert not folder.exists()


def test_several_may_write_at_once(image_file: Path, folder: Path) -> None:
    expected = read_image(image_file, "BGR")
    found = []
    barrier = threading.Barrier(8)

    def read() -> None:
        barrier.wait()
        found.append(read_all(FrameCache(folder).open(BGR, image_file)).copy())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all((array == expected).all() for array in found)
    (file,) = folder.iterdir()
    assert file.suffix == ".npy"


@pytest.mark.parametrize("load", [load_instances, load_sem_seg, load_panoptic])
def test_mapped_frames_are_the_same_to_the_last_bit(
    small_toytown: Path, folder: Path, load: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = get_default_config()
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE = True, "absolute"
    cfg.INPUT.CROP.SIZE, cfg.INPUT.MIN_SIZE_TRAIN = [40, 60], (50,)
    plain = SegmentationMapper(cfg)
    cfg.DATALOADER.CACHE_DIR = str(folder)
    caching = SegmentationMapper(cfg)
    for draw in range(3):
        if draw == 2:
            monkeypatch.setattr(frame_cache, "read_all", None)  # nothing is decoded any more
        for record in load(small_toytown, "val"):
            np.random.seed(draw)
            expected = plain(record)
            np.random.seed(draw)
            found = caching(record)
            assert found.keys() == expected.keys()
            for key in ("image", "sem_seg", "pan_seg"):
                assert key not in found or found[key].equal(expected[key])
            if "instances" in found:
                masks = found["instances"].gt_masks.tensor
                assert masks.equal(expected["instances"].gt_masks.tensor)
