from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from segtron.errors import UserError
from segtron.evaluation.label_files import (
    LabelFiles,
    check_pngs_of_images,
    label_file,
    label_values,
    write_labels,
)


@pytest.mark.parametrize(
    ("ids", "num_classes", "expected", "dtype"),
    [
        ({7: 1, 26: 0}, 2, [26, 7], np.uint8),
        ({255: 0, 0: 1}, 2, [255, 0], np.uint8),
        ({256: 0, 0: 1}, 2, [256, 0], np.uint16),
        # A model of the first classes only.
        ({300: 2, 7: 1, 26: 0}, 2, [26, 7], np.uint8),
        (None, 3, [0, 1, 2], np.uint8),
        ({}, 3, [0, 1, 2], np.uint8),
        # Unknown: the first class has no id, the last has none, one has two.
        ({92: 1, 93: 2}, 3, [0, 1, 2], np.uint8),
        ({92: 0, 93: 1}, 3, [0, 1, 2], np.uint8),
        ({91: 0, 92: 0, 93: 1, 94: 2}, 3, [0, 1, 2], np.uint8),
    ],
)
def test_values_are_the_data_sets_or_the_classes(ids, num_classes, expected, dtype):
    known = {} if ids is None else {"stuff_dataset_id_to_contiguous_id": ids}
    values = label_values(Metadata(name="test", **known), num_classes)
    assert values.tolist() == expected
    assert values.dtype == dtype


@pytest.mark.parametrize(
    ("name", "first", "is_known"),
    [
        ("coco_2017_val_panoptic", [0, 1, 2], False),
        ("cityscapes_fine_panoptic_val", [0, 1, 2], False),
        ("coco_2017_val_panoptic_separated", [0, 92, 93], True),
        ("ade20k_sem_seg_val", [0, 1, 2], False),
        ("cityscapes_fine_sem_seg_val", [7, 8, 11], True),
    ],
)
def test_values_of_builtin_sets(name, first, is_known):
    metadata = MetadataCatalog.get(name)
    values = label_values(metadata, len(metadata.stuff_classes)).tolist()
    assert values[:3] == first
    assert len(set(values)) == len(metadata.stuff_classes)
    assert (values == list(range(len(values)))) is not is_known


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        ("frame_1_leftImg8bit.png", "frame_1_leftImg8bit.png"),
        ("a/b.c/frame.1.JPG", "a/b.c/frame.1.png"),
        ("frame.000123", "frame.000123.png"),  # no suffix of an image: frames stay apart
        (139, "139.png"),
        ("./a.tiff", "a.png"),
    ],
)
def test_label_file(image_id, expected):
    assert label_file("out", image_id) == Path("out/labels") / expected


@pytest.mark.parametrize("image_id", ["../a.png", "a/../../b.png", "/etc/a.png", "", ".", "a/.."])
def test_label_file_stays_in_its_folder(image_id):
    with pytest.raises(UserError, match="saved outside of out/labels; let ids be"):
        label_file("out", image_id)


def test_each_image_has_a_file_of_its_own(tmp_path):
    check_pngs_of_images(tmp_path, ["a/x.jpg", "b/x.jpg", "x", 7, "x"])
    with pytest.raises(
        UserError, match=r"'a/x\.jpg' and 'a/x\.png' would both be saved as .*/a/x\.p"
    ):
        check_pngs_of_images(tmp_path, ["a/x.jpg", "b/x.jpg", "a/x.png"])
    with pytest.raises(UserError, match=r"'\.\./x' would be saved outside"):
        check_pngs_of_images(tmp_path, ["a", "../x"])


@pytest.fixture
def dataset(request):
    """A name; `DatasetCatalog.register` it where the set is to be read."""
    name = f"label_files_for_{request.node.name}"
    yield name
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)


def test_images_with_ids_go_by_them(dataset):
    files = LabelFiles("out", dataset)  # no such set: it isn't read
    assert files.of({"image_id": 0, "file_name": "a/b.jpg"}) == Path("out/labels/0.png")
    assert files.of({"image_id": "x/y.png", "file_name": "b"}) == Path("out/labels/x/y.png")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/data/val/1.jpg", "/data/val/2.jpg"], ["1", "2"]),
        (["/data/val/1.jpg"], ["1"]),
        (["/data/a/1.jpg", "/data/b/x/1.jpg", "/data/ab/1.jpg"], ["a/1", "b/x/1", "ab/1"]),
        (["/data/1.jpg", "/data/b/1.jpg"], ["1", "b/1"]),
        (["../sets/a/1.jpg", "../sets/b/1.jpg"], ["a/1", "b/1"]),
    ],
)
def test_images_without_ids_go_by_their_path_below_what_they_share(dataset, names, expected):
    records = [{"file_name": name} for name in names]
    DatasetCatalog.register(dataset, lambda: records)
    files = LabelFiles("out", dataset)
    assert [files.of(r) for r in records] == [Path(f"out/labels/{name}.png") for name in expected]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_are_written_as_they_are(tmp_path, dtype):
    labels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 7), dtype)
    path = tmp_path / "new" / "ä.png"
    write_labels(path, labels)
    read = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, labels)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("strange", [-1, 2**16, 2**40])
def test_ids_that_a_png_cannot_hold_are_refused(strange):
    metadata = Metadata(name="m", stuff_dataset_id_to_contiguous_id={3: 0, strange: 1})
    with pytest.raises(UserError, match=f"a class has the id {strange}, which"):
        label_values(metadata, 2)
