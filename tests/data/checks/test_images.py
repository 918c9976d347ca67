"""Image files: missing, broken, turned, of another size, twice."""

from __future__ import annotations

import copy
import json
import os

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segtron.data.checks.duplicates import MOST_BITS, similar_pairs
from segtron.data.checks.pictures import look_at

from .conftest import HEIGHT, WIDTH, codes, entries, picture


def test_missing_files(folder, run):
    (folder / "images" / "a.png").unlink()
    found = run()
    assert codes(found) == {"image-missing": 1}
    assert entries(found, "image-missing") == ["images[0] (a.png)"]


@pytest.mark.parametrize("broken", ["cut off", "text", "empty", "folder", "floats", "jpeg cut off"])
def test_unreadable_files(folder, run, content, broken):
    path = folder / "images" / "a.png"
    data = path.read_bytes()
    path.unlink()
    if broken == "cut off":
        path.write_bytes(data[: len(data) // 2])
    elif broken == "text":
        path.write_text("no picture")
    elif broken == "empty":
        path.touch()
    elif broken == "folder":
        path.mkdir()
    elif broken == "floats":
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)).save(path.with_suffix(".tif"))
        path.with_suffix(".tif").rename(path)
    else:
        content["images"][0]["file_name"] = "a.jpg"
        picture(0).save(folder / "images" / "a.jpg")
        whole = (folder / "images" / "a.jpg").read_bytes()
        (folder / "images" / "a.jpg").write_bytes(whole[: len(whole) // 2])
    assert codes(run(content)) == {"image-unreadable": 1}


def test_a_png_whose_text_takes_more_memory_than_pillow_allows(tmp_path):
    path = tmp_path / "a.png"
    text = PngInfo()
    text.add_text("comment", "x" * 2**21, zip=True)
    picture(0).save(path, pnginfo=text)
    found = look_at(path)
    assert "Decompressed data too large" in found.error
    assert found.thumbnail is None


def test_hundred_broken_images(tmp_path):
    rng = np.random.default_rng(0)
    picture(0).save(tmp_path / "good.png")
    picture(0).save(tmp_path / "good.jpg")
    unreadable = 0
    for number in range(100):
        suffix = (".png", ".jpg")[number % 2]
        data = bytearray((tmp_path / f"good{suffix}").read_bytes())
        for place in rng.integers(0, len(data), 12):
            data[place] = rng.integers(0, 256)
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(data[: int(rng.integers(len(data) // 4, len(data) + 1))])
        found = look_at(path)
        unreadable += bool(found.error)
        assert bool(found.error) == (found.thumbnail is None)
        assert not found.is_missing
    assert unreadable > 50


def test_sizes_that_disagree(folder, run, content):
    content["images"][0]["height"] = HEIGHT + 10
    content["annotations"][1]["segmentation"] = [[10, 10, 20, 10, 20, 20]]
    content["annotations"][1] |= {"bbox": [10, 10, 10, 10], "area": 50}
    found = run(content)
    assert codes(found) == {"image-size": 1}
    (problem,) = found.problems.kept["image-size"]
    assert problem.message == "the picture is 60 x 40, its entry says 60 x 50"


@pytest.mark.parametrize(
    ("orientation", "size", "expected"),
    [
        (1, (HEIGHT, WIDTH), {}),
        (3, (HEIGHT, WIDTH), {"image-exif": 1}),
        # As the picture is shown, and as it is stored.
        (6, (WIDTH, HEIGHT), {"image-exif": 1}),
        (6, (HEIGHT, WIDTH), {"image-turned": 1}),
        (6, (HEIGHT, WIDTH + 1), {"image-size": 1}),
        (77, (HEIGHT, WIDTH), {}),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_turned_pictures(folder, run, content, orientation, size, expected, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "images" / "a.png").unlink()
    picture(0).save(folder / "images" / f"a.{suffix}", exif=exif)
    content["images"][0] |= {"file_name": f"a.{suffix}", "height": size[0], "width": size[1]}
    content["annotations"] = content["annotations"][2:]
    found = codes(run(content))
    for other in ("image-empty", "class-unused"):
        found.pop(other, None)
    assert found == expected


def test_entries_of_one_file(run, content):
    content["images"].append(content["images"][0] | {"id": 9, "file_name": "./a.png"})
    found = run(content)
    assert codes(found) == {"image-name-repeated": 1, "image-empty": 1}
    assert entries(found, "image-name-repeated") == ["images[2] (./a.png)"]


def test_unlisted_pictures(folder, run):
    (folder / "images" / "more").mkdir()
    picture(5).save(folder / "images" / "more" / "b.JPEG")
    (folder / "images" / ".hidden.png").touch()
    (folder / "images" / "notes.txt").touch()
    (folder / "images" / "circle").symlink_to(folder / "images")
    found = run()
    assert codes(found) == {"image-unlisted": 1}
    assert entries(found, "image-unlisted") == ["b.JPEG"]


def test_beside_the_json_only_folders_of_listed_images_are_searched(folder, run, content):
    (folder / "other").mkdir()
    picture(5).save(folder / "other" / "b.png")
    picture(6).save(folder / "images" / "c.png")
    for image in content["images"]:
        image["file_name"] = "images/" + image["file_name"]
    assert entries(run(content), "image-unlisted") == ["c.png"]


def test_images_that_are_nowhere(folder, run, content):
    for image in content["images"]:
        image["file_name"] = "x" + image["file_name"]
    assert codes(run(content)) == {"image-folder": 1}
    assert codes(run(content, with_pixels=False)) == {}


def second_set(folder, content, names):
    """Another JSON with its own folder of pictures."""
    other = copy.deepcopy(content)
    (folder / "val" / "sub dir").mkdir(parents=True, exist_ok=True)
    for image, name in zip(other["images"], names, strict=True):
        image["file_name"] = name
    path = folder / "val.json"
    path.write_text(json.dumps(other))
    return path


def test_the_same_picture_in_two_sets(folder, run, content):
    path = second_set(folder, content, ["copy.png", "smaller.jpg"])
    (folder / "val" / "copy.png").write_bytes((folder / "images" / "a.png").read_bytes())
    for image in (content, other := json.loads(path.read_text())):
        image["images"][1] |= {"height": 80, "width": 120}
        del image["annotations"][3]
    path.write_text(json.dumps(other))
    # Saved again at the same size as JPEG.
    large = picture(1, 80, 120)
    large.save(folder / "images" / "sub dir" / "ä.png")
    large.save(folder / "val" / "smaller.jpg", quality=70)
    found = run(content, path)
    assert codes(found) == {"file-in-two-sets": 1, "picture-in-two-sets": 1}
    assert entries(found, "file-in-two-sets") == ["images[0] (copy.png)"]
    assert entries(found, "picture-in-two-sets") == ["images[1] (smaller.jpg)"]
    assert "images[1] (sub dir/ä.png)" in found.problems.kept["picture-in-two-sets"][0].message


def test_the_same_path_in_two_sets(folder, run, content):
    path = folder / "other.json"
    path.write_text(json.dumps(content))
    assert codes(run(content, path)) == {"file-in-two-sets": 2}


def test_the_same_set_twice(folder, run, content):
    assert codes(run(content, folder / "annotations.json")) == {}


def test_the_same_picture_twice_in_a_set(folder, run, content):
    second = folder / "images" / "sub dir" / "ä.png"
    second.write_bytes((folder / "images" / "a.png").read_bytes())
    assert codes(run(content)) == {"file-repeated": 1}
    pixels = np.asarray(Image.open(second)).astype(np.int16)
    Image.fromarray((pixels + 1).clip(0, 255).astype(np.uint8)).save(second)
    assert codes(run(content)) == {"picture-repeated": 1}
    # Upside down it is another picture.
    Image.fromarray(np.asarray(Image.open(second))[::-1]).save(second)
    assert codes(run(content)) == {}


def test_flat_pictures_are_told_apart_by_their_bytes(folder, run, content):
    for value, name in ((100, "a.png"), (101, "sub dir/ä.png")):
        Image.new("RGB", (WIDTH, HEIGHT), (value,) * 3).save(folder / "images" / name)
    assert codes(run(content)) == {}


def test_links_to_one_file(folder, run, content):
    second = folder / "images" / "sub dir" / "ä.png"
    second.unlink()
    os.symlink(folder / "images" / "a.png", second)
    assert codes(run(content)) == {"file-repeated": 1}


def test_similar_pairs_are_those_of_a_comparison_of_all_with_all():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (300, 16, 17))
    near = base[rng.integers(0, 300, 300)] + rng.integers(-3, 4, (300, 16, 17))
    thumbnails = np.concatenate([base, near]).clip(0, 255).astype(np.uint8)
    bits = (thumbnails[:, :, 1:] > thumbnails[:, :, :-1]).reshape(600, -1)
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    grey = np.stack([np.abs(thumbnails - t.astype(int)).mean(axis=(1, 2)) for t in thumbnails])
    wanted = np.argwhere(np.triu((distances <= MOST_BITS) & (grey <= 3), 1))
    found = {tuple(sorted(pair)) for pair in similar_pairs(thumbnails)}
    assert found == set(map(tuple, wanted.tolist()))
    assert len(found) >= 300


def test_names_that_are_too_long_for_any_file(run, content):
    content["images"][1]["file_name"] = "ä" * 300 + ".png"
    assert codes(run(content)) == {"image-missing": 1, "image-unlisted": 1}
