"""Cityscapes' layout, against Segtron's own readers of it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.cityscapes import THING_LABELS, load_instances, load_panoptic, load_sem_seg
from segtron.data.converters.cityscapes import open_cityscapes
from segtron.data.converters.labelled_image import Dropped
from segtron.data.sem_seg import read_sem_seg
from segtron.data.toytown import make_toytown
from segtron.errors import UserError

IDS = np.array(
    [
        [7, 7, 26, 26, 26],
        [26000, 26001, 26001, 29000, 0],
        [24001, 24001, 7, 30, 0],
    ],
    np.uint16,
)


@pytest.fixture(scope="module")
def toytown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cityscapes") / "toytown"
    make_toytown(root, train=2, val=2, size=(96, 192), seed=3, workers=1, progress=False)
    return root


def add(root: Path, split: str, stem: str, ids: np.ndarray) -> None:
    city = stem.split("_")[0]
    images, labels = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", ids.shape[::-1]).save(images / f"{stem}_leftImg8bit.png")
    label_ids = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
    Image.fromarray(ids).save(labels / f"{stem}_gtFine_instanceIds.png")
    Image.fromarray(label_ids).save(labels / f"{stem}_gtFine_labelIds.png")


def test_toytown_is_what_its_own_reader_says(toytown: Path) -> None:
    dropped = Dropped()
    labelling = open_cityscapes(toytown, dropped)
    images = list(labelling.images)
    assert len(images) == labelling.number == 4
    assert dropped.entries == []
    assert len(labelling.classes) == 19
    assert labelling.classes[0] == "road"
    things = {label.name for label in THING_LABELS}
    assert labelling.stuff == set(labelling.classes) - things
    for name, load in (("instances", load_instances), ("labels", load_sem_seg)):
        records = [r for split in ("train", "val") for r in load(toytown, split)]
        for image, record in zip(images, records, strict=True):
            assert str(image.path) == record["file_name"]
            assert image.name == str(image.path.relative_to(toytown / "leftImg8bit"))
            if name == "labels":
                np.testing.assert_array_equal(image.read_labels(), read_sem_seg(record))
                continue
            assert (image.height, image.width) == (record["height"], record["width"])
            expected = [
                (THING_LABELS[a["category_id"]].name, a["iscrowd"], a["segmentation"]["counts"])
                for a in record["annotations"]
            ]
            found = [
                (o.class_name, o.is_crowd, o.segmentation["counts"].encode()) for o in image.objects
            ]
            assert found == expected
            assert expected


def test_panoptic_segments_of_toytown(toytown: Path) -> None:
    images = list(open_cityscapes(toytown, Dropped(), splits=["val"]).images)
    classes = open_cityscapes(toytown, Dropped()).classes
    for image, record in zip(images, load_panoptic(toytown, "val"), strict=True):
        segments = image.read_segments()
        infos = record["segments_info"]
        expected = {info["id"]: classes[info["category_id"]] for info in infos}
        assert segments.class_names == expected
        assert segments.crowds == {info["id"] for info in infos if info["iscrowd"]}
        assert set(np.unique(segments.ids)) - {0} == set(expected)


def test_a_frame_worked_out_by_hand(tmp_path: Path) -> None:
    add(tmp_path, "train", "aachen_000003_000019", IDS)
    dropped = Dropped()
    (image,) = open_cityscapes(tmp_path, dropped).images
    assert image.name == "train/aachen/aachen_000003_000019_leftImg8bit.png"
    assert image.group == "aachen/aachen_000003"
    found = [
        (o.class_name, o.is_crowd, mask_util.decode(o.segmentation).tolist()) for o in image.objects
    ]
    assert found == [
        (name, is_crowd, (i == IDS).astype(int).tolist())
        for i, name, is_crowd in (
            (26, "car", True),
            (24001, "person", False),
            (26000, "car", False),
            (26001, "car", False),
        )
    ]
    ids_file = tmp_path / "gtFine/train/aachen/aachen_000003_000019_gtFine_instanceIds.png"
    assert [where for where, _ in dropped.entries] == [
        f"{ids_file}: trailer 30",
        f"{ids_file}: caravan 29000",
    ]
    assert image.read_labels().tolist() == [
        [0, 0, 13, 13, 13],
        [13, 13, 13, 255, 255],
        [11, 11, 0, 255, 255],
    ]
    segments = image.read_segments()
    assert segments.ids[1].tolist() == [26000, 26001, 26001, 0, 0]
    assert segments.class_names[7] == "road"
    assert segments.crowds == {26}


def test_frames_of_one_sequence_are_a_group(tmp_path: Path) -> None:
    for stem in ("ulm_000001_000019", "ulm_000001_000020", "ulm_000002_000019"):
        add(tmp_path, "val", stem, IDS)
    groups = [image.group for image in open_cityscapes(tmp_path, Dropped()).images]
    assert groups == ["ulm/ulm_000001", "ulm/ulm_000001", "ulm/ulm_000002"]


def test_without_label_ids_there_are_no_labels(tmp_path: Path) -> None:
    add(tmp_path, "val", "ulm_000001_000019", IDS)
    (tmp_path / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png").unlink()
    (image,) = open_cityscapes(tmp_path, Dropped()).images
    assert image.read_labels is None
    assert len(image.objects) == 4


def test_test_frames_have_no_labels(tmp_path: Path) -> None:
    add(tmp_path, "test", "bonn_000001_000019", IDS)
    shutil.rmtree(tmp_path / "gtFine")
    dropped = Dropped()
    assert list(open_cityscapes(tmp_path, dropped, splits=["test"]).images) == []
    assert [why for _, why in dropped.entries] == ["has no labels"]


def test_labels_of_another_size_than_their_image(tmp_path: Path) -> None:
    add(tmp_path, "val", "ulm_000001_000019", IDS)
    path = tmp_path / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png"
    Image.fromarray(np.full((2, 5), 7, np.uint8)).save(path)
    (image,) = open_cityscapes(tmp_path, Dropped()).images
    with pytest.raises(UserError, match="labelIds.png is 5 x 2, but its image .* is 5 x 3"):
        image.read_labels()


def test_faulty_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no folder leftImg8bit/train"):
        open_cityscapes(tmp_path, Dropped())
    add(tmp_path, "val", "ulm_000001_000019", np.array([[99]], np.uint16))
    with pytest.raises(UserError, match="has the id 99, whose label is none of Cityscapes"):
        list(open_cityscapes(tmp_path, Dropped()).images)
    add(tmp_path, "val", "ulm_000001_000019", IDS)
    Image.new("RGB", (9, 9)).save(
        tmp_path / "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png"
    )
    with pytest.raises(UserError, match="is 5 x 3, but its image .* is 9 x 9"):
        list(open_cityscapes(tmp_path, Dropped()).images)
    (tmp_path / "gtFine/val/ulm/ulm_000001_000019_gtFine_instanceIds.png").write_text("no image")
    dropped = Dropped()
    assert list(open_cityscapes(tmp_path, dropped).images) == []
    assert len(dropped.entries) == 1


def test_labels_of_the_stored_picture_are_turned_with_it(tmp_path: Path) -> None:
    add(tmp_path, "train", "aachen_000003_000019", IDS)
    path = next((tmp_path / "leftImg8bit").rglob("*.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as picture:
        picture.load()
        picture.save(path, exif=exif)
    (image,) = open_cityscapes(tmp_path, Dropped()).images
    assert (image.height, image.width) == IDS.shape[::-1]
    turned = np.rot90(IDS, -1)
    found = mask_util.decode(image.objects[-1].segmentation)
    np.testing.assert_array_equal(found, turned == 26001)
    np.testing.assert_array_equal(image.read_segments().ids == 26001, turned == 26001)
