"""COCO's files of a labelling, as Segtron's own readers and pycocotools read them."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segtron.data.coco import load_coco_instances
from segtron.data.coco_panoptic import load_coco_panoptic
from segtron.data.converters.coco_files import write_coco
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
    Segments,
)
from segtron.data.converters.split import Split
from segtron.data.label_folder import load_label_folder
from segtron.data.panoptic_png import read_panoptic_png
from segtron.data.sem_seg import IdEncoding, read_sem_seg
from segtron.errors import UserError

H, W = 20, 30
SQUARE = [[2.0, 3.0, 6.0, 3.0, 6.0, 8.0, 2.0, 8.0]]


def thing(name: str = "cat", segmentation=SQUARE, where: str = "x", **more) -> LabelledObject:
    return LabelledObject(name, segmentation, where, **more)


@pytest.fixture
def image(tmp_path: Path, picture):
    def make(name: str, *objects: LabelledObject, **more) -> LabelledImage:
        return LabelledImage(picture(tmp_path / "src" / name, H, W), name, H, W, objects, **more)

    return make


def write(out: Path, *images: LabelledImage, dropped: Dropped | None = None, **options):
    source = {key: options.pop(key) for key in ("classes", "stuff") if key in options}
    labelling = Labelling(iter(images), len(images), **source)
    options["classes"] = options.pop("order", None)
    return write_coco(labelling, out, dropped or Dropped(), **options)


def test_attributes_that_json_can_not_hold(tmp_path: Path, image) -> None:
    values = {"a": float("nan"), "b": float("-inf"), "c": 1.5, "d": 10**400, "e": "\ud800"}
    write(tmp_path / "out", image("a.png", thing(attributes=values)))
    content = json.loads((tmp_path / "out" / "annotations.json").read_bytes())
    expected = values | {"a": "nan", "b": "-inf"}
    assert content["annotations"][0]["attributes"] == expected


def test_all_that_there_is_of_an_image(tmp_path: Path, image) -> None:
    out = tmp_path / "out"
    triangle = [[1.239, 2.0, 9.0, 2.0, 9.0, 7.5]]
    write(
        out,
        image("a.png", thing("dog"), thing("cat", triangle, attributes={"ä": "é", "old": True})),
        image("s p/ü.png"),
    )
    text = (out / "annotations.json").read_text(encoding="utf-8")
    assert '"s p/ü.png"' in text and ", " not in text
    content = json.loads(text)
    assert content["images"] == [
        {"id": 1, "file_name": "a.png", "width": W, "height": H},
        {"id": 2, "file_name": "s p/ü.png", "width": W, "height": H},
    ]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    first, second = content["annotations"]
    assert first == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "bbox": [2, 3, 4, 5],
        "area": 20,
        "iscrowd": 0,
        "segmentation": [[2, 3, 6, 3, 6, 8, 2, 8]],
    }
    assert second["segmentation"] == [[1.24, 2, 9, 2, 9, 7.5]]
    assert second["bbox"] == [1.24, 2, 7.76, 5.5]
    assert second["category_id"] == 1 and second["attributes"] == {"ä": "é", "old": True}
    assert (out / "images" / "s p" / "ü.png").read_bytes() == (
        tmp_path / "src" / "s p" / "ü.png"
    ).read_bytes()


def test_other_programs_read_the_same(tmp_path: Path, image, pixels, capsys) -> None:
    ring = np.zeros((H, W), np.uint8)
    ring[5:15, 5:15], ring[8:12, 8:12] = 1, 0
    rle = pixels_to_rle(ring)
    out = tmp_path / "out"
    written = write(out, image("a.png", thing(), thing("ring", rle), thing(is_crowd=True)))
    coco = COCO(str(out / "annotations.json"))
    masks = [coco.annToMask(annotation) for annotation in coco.loadAnns([1, 2, 3])]
    assert (masks[1] == ring).all() and coco.anns[2]["area"] == 84
    assert coco.anns[2]["bbox"] == [5, 5, 10, 10]
    # A crowd is run lengths in COCO's files.
    assert isinstance(coco.anns[3]["segmentation"], dict) and coco.anns[3]["iscrowd"] == 1
    assert (masks[2] == masks[0]).all()
    (record,) = load_coco_instances(out / "annotations.json", out / "images")
    assert [a["category_id"] for a in record["annotations"]] == [0, 1, 0]
    assert written.objects == {"cat": 2, "ring": 1}


def pixels_to_rle(mask: np.ndarray) -> dict:
    changes = np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=0))
    counts = np.diff(changes, prepend=0, append=mask.size)
    from pycocotools import mask as mask_util

    rle = mask_util.frPyObjects({"size": [H, W], "counts": counts.tolist()}, H, W)
    return {"size": [H, W], "counts": rle["counts"].decode()}


def test_a_split_loses_nothing_and_keeps_ids(tmp_path: Path, image) -> None:
    out = tmp_path / "out"
    images = [image(f"{i}.png", *[thing(f"c{i}")] * i) for i in range(6)]
    written = write(out, *images, split=Split(0.34))
    parts = {p: json.loads((out / f"{p}.json").read_text()) for p in written.parts}
    assert written.parts == {"annotations": 6, "train": 4, "val": 2}
    for key in ("images", "annotations"):
        split = parts["train"][key] + parts["val"][key]
        assert sorted(split, key=lambda e: e["id"]) == parts["annotations"][key]
    for part in ("train", "val"):
        assert parts[part]["categories"] == parts["annotations"]["categories"]
        ids = {entry["id"] for entry in parts[part]["images"]}
        assert all(annotation["image_id"] in ids for annotation in parts[part]["annotations"])


def test_labels_and_segments(tmp_path: Path, image) -> None:
    """With classes in another order than the source's, and one that is stuff."""
    labels = np.full((H, W), 255, np.uint8)
    labels[:, :10], labels[:, 10:20] = 0, 1
    ids = np.zeros((H, W), np.int32)
    ids[:, :10], ids[:, 10:20], ids[0, 29] = 70000, 5, 6
    segments = Segments(ids, {70000: "sky", 5: "cat", 6: "cat"}, frozenset([6]))
    maps = {"read_labels": lambda: labels, "read_segments": lambda: segments}
    out = tmp_path / "out"
    written = write(
        out,
        image("x/a.jpg", thing(), **maps),
        image("b.png", thing(), **maps),
        classes=["sky", "cat"],
        order=["cat", "dog", "sky"],
        stuff=frozenset(["sky"]),
        split=Split(0.5),
    )
    assert written.labels and written.panoptic
    content = json.loads((out / "annotations.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    read = load_coco_panoptic(out / "panoptic.json", out / "panoptic", out / "images")
    assert [Path(r["file_name"]).name for r in read] == ["a.jpg", "b.png"]
    assert (read_panoptic_png(read[0]["pan_seg_file_name"]) == ids).all()
    panoptic = json.loads((out / "panoptic.json").read_text())
    assert [c["isthing"] for c in panoptic["categories"]] == [1, 1, 0]
    assert panoptic["annotations"][0]["segments_info"] == [
        {"id": 5, "category_id": 1, "area": 200, "bbox": [10, 0, 10, 20], "iscrowd": 0},
        {"id": 6, "category_id": 1, "area": 1, "bbox": [29, 0, 1, 1], "iscrowd": 1},
        {"id": 70000, "category_id": 3, "area": 200, "bbox": [0, 0, 10, 20], "iscrowd": 0},
    ]
    for part in ("train", "val"):
        assert len(load_coco_panoptic(out / f"panoptic_{part}.json", *panoptic_dirs(out))) == 1
        encoding = IdEncoding(values=(0, 1, 2), ignored=(255,))
        (record,) = load_label_folder(out / part / "images", out / part / "labels", encoding)
        found = read_sem_seg(record)
        assert (found[:, :10] == 2).all() and (found[:, 10:20] == 0).all()
        assert (found[:, 20:] == 255).all()


def panoptic_dirs(out: Path) -> tuple[Path, Path]:
    return out / "panoptic", out / "images"


def test_what_is_dropped_is_listed(tmp_path: Path, image) -> None:
    dropped = Dropped()
    dropped.add('ä, "b".json', "is a point")
    sliver = [[2.0, 3.0, 8.0, 3.0, 8.0, 3.01]]
    written = write(
        tmp_path / "out", image("a.png", thing(), thing("x", sliver, "s")), dropped=dropped
    )
    with (tmp_path / "out" / "dropped.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["where", "why"], ['ä, "b".json', "is a point"], ["s", "covers no pixel"]]
    assert written.dropped == 2
    # A class that only it had is none.
    assert written.classes == ["cat"]


def test_names_that_no_utf_8_holds(tmp_path: Path, image) -> None:
    dropped = Dropped()
    dropped.add("\ud800", "is odd")
    out = tmp_path / "out"
    write(out, image("a.png", thing(attributes={"x": "\ud800"})), dropped=dropped)
    content = json.loads((out / "annotations.json").read_text(encoding="utf-8"))
    assert content["annotations"][0]["attributes"] == {"x": "\ud800"}


def test_links_and_embedded_pictures(tmp_path: Path, image) -> None:
    embedded = LabelledImage(
        tmp_path / "b.json", "e/b.png", H, W, [thing()], content=b"the picture"
    )
    out = tmp_path / "out"
    write(out, image("a.png"), embedded, link=True)
    assert os.path.samefile(out / "images" / "a.png", tmp_path / "src" / "a.png")
    assert (out / "images" / "e" / "b.png").read_bytes() == b"the picture"
    with Image.open(out / "images" / "a.png") as found:
        assert found.size == (W, H)


def test_an_orientation_stays_in_the_copy(tmp_path: Path, picture) -> None:
    path = picture(tmp_path / "a.jpg", W, H, orientation=6)
    write(tmp_path / "out", LabelledImage(path, "a.jpg", H, W, [thing()]))
    (record,) = load_coco_instances(
        tmp_path / "out" / "annotations.json", tmp_path / "out" / "images"
    )
    with Image.open(record["file_name"]) as found:
        assert found.getexif()[0x0112] == 6


def faulty(image: LabelledImage):
    yield image
    raise UserError("b.json is broken")


def test_nothing_is_left_of_what_failed(tmp_path: Path, image) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(UserError, match=r"b\.json is broken"):
            write_coco(Labelling(faulty(image("a.png", thing())), 2), out, Dropped())
        assert sorted({*tmp_path.iterdir()} - {tmp_path / "src"}) == sorted(
            {*before} - {tmp_path / "src"}
        )
    write(tmp_path / "empty", image("a.png", thing()))
    assert (tmp_path / "empty" / "annotations.json").is_file()


def test_nothing_is_overwritten(tmp_path: Path, image) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        write(tmp_path / "out", image("a.png", thing()))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is not a folder"):
        write(tmp_path / "file", image("a.png", thing()))
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path / "file" / "out", image("a.png", thing()))
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_a_picture_that_goes_away(tmp_path: Path, image) -> None:
    gone = image("a.png", thing())
    gone.path.unlink()
    with pytest.raises(UserError, match=r"failed: No such file or directory \(a\.png\)"):
        write(tmp_path / "out", gone)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, image, name: str) -> None:
    inside = image("a.png", thing())
    with pytest.raises(UserError, match="outside of"):
        write(tmp_path / "out", LabelledImage(inside.path, name, H, W, inside.objects))


def test_two_images_of_one_name(tmp_path: Path, image) -> None:
    with pytest.raises(UserError, match=r"a\.png: there are two images 'a\.png'"):
        write(tmp_path / "out", image("a.png", thing()), image("a.png"))
    # Of one stem only where they would share a label file.
    write(tmp_path / "out", image("a.png", thing()), image("a.jpg"))
    labels = {"read_labels": lambda: np.zeros((H, W), np.uint8)}
    pair = [image("a.png", **labels), image("a.jpg", **labels)]
    with pytest.raises(UserError, match="one label file"):
        write(tmp_path / "out2", *pair, classes=["x", "y"])


def test_sources_that_hold_nothing(tmp_path: Path, image) -> None:
    with pytest.raises(UserError, match="there is no image"):
        write(tmp_path / "out")
    with pytest.raises(UserError, match="there is no object"):
        write(tmp_path / "out", image("a.png"))
    dropped = Dropped()
    dropped.add("a.json", "is a point")
    with pytest.raises(UserError, match=r"no object is left, since 1 were .* a\.json: is a point"):
        write(tmp_path / "out", image("a.png"), dropped=dropped)
    assert not (tmp_path / "out").exists()


def test_a_list_of_classes_fits_conversions_together(tmp_path: Path, image) -> None:
    for name, out in (("dog", "1"), ("cat", "2")):
        written = write(tmp_path / out, image("a.png", thing(name)), order=["dog", "cat", "cow"])
        assert written.classes == ["dog", "cat", "cow"]
    with pytest.raises(UserError, match="x is of the class 'cat', but the classes are 'dog'"):
        write(tmp_path / "3", image("a.png", thing("cat")), order=["dog"])


def test_label_maps_need_classes_that_are_known(tmp_path: Path, image) -> None:
    labels = {"read_labels": lambda: np.zeros((H, W), np.uint8)}
    with pytest.raises(ValueError, match="names of its classes"):
        write(tmp_path / "out", image("a.png", thing(), **labels))
