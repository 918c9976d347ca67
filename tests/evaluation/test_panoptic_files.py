from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from segtron.data.panoptic_png import read_panoptic_png, write_panoptic_png
from segtron.errors import UserError
from segtron.evaluation import score_panoptic_files

from .panoptic_scenes import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    assert_equal_scores,
    official_scores,
    random_scene,
    write_files,
)

COCO_PANOPTIC = Path(__file__).parents[3] / "shared" / "data" / "coco_panoptic"


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    rng = np.random.default_rng(11)
    return write_files(tmp_path, [random_scene(rng, CATEGORIES) for _ in range(3)], CATEGORIES)


def test_equals_the_official_scorer(files):
    assert_equal_scores(score_panoptic_files(*files), official_scores(*files))


def test_png_folders_may_lie_elsewhere(files, tmp_path):
    expected = official_scores(*files)
    for side in ("gt", "pred"):
        (tmp_path / side).rename(tmp_path / f"{side} pictures")
    scores = score_panoptic_files(
        *files, gt_folder=tmp_path / "gt pictures", pred_folder=tmp_path / "pred pictures"
    )
    assert_equal_scores(scores, expected)


def test_predictions_need_no_more_than_ids_and_categories(files):
    expected = official_scores(*files)

    def strip(content):
        for annotation in content["annotations"]:
            annotation["segments_info"] = [
                {key: segment[key] for key in ("id", "category_id")}
                for segment in annotation["segments_info"]
            ]
        content["images"] = content["categories"] = "whatever"

    edit(files[1], strip)
    assert_equal_scores(score_panoptic_files(*files), expected)


@pytest.mark.skipif(not COCO_PANOPTIC.is_dir(), reason="real data is not here")
def test_real_predictions(tmp_path):
    """COCO's own files, with predictions that are shifted ground truth, some of another class."""
    gt_json = COCO_PANOPTIC / "panoptic_val.json"
    content = json.loads(gt_json.read_text())
    rng = np.random.default_rng(0)
    numbers = [category["id"] for category in content["categories"]]
    for annotation in content["annotations"]:
        ids = read_panoptic_png(COCO_PANOPTIC / "panoptic_val" / annotation["file_name"])
        ids = np.roll(ids, rng.integers(-9, 10, size=2), axis=(0, 1))
        write_panoptic_png(tmp_path / "pred" / annotation["file_name"], ids)
        present = set(np.unique(ids).tolist())
        annotation["segments_info"] = [
            {
                "id": segment["id"],
                "category_id": segment["category_id"]
                if rng.random() < 0.9
                else int(rng.choice(numbers)),
            }
            for segment in annotation["segments_info"]
            if segment["id"] in present
        ]
    pred_json = tmp_path / "pred.json"
    pred_json.write_text(json.dumps({"annotations": content["annotations"]}))
    scores = score_panoptic_files(gt_json, pred_json)
    assert 30 < scores.overall["PQ"] < 95
    assert_equal_scores(scores, official_scores(gt_json, pred_json))


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_turns_nothing(files, tmp_path, orientation):
    expected = official_scores(*files)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for path in (tmp_path / "gt" / "gt_1.png", tmp_path / "pred" / "pred_1.png"):
        with Image.open(path) as image:
            image.load()
        image.save(path, exif=exif)
        assert b"eXIf" in path.read_bytes()
        assert_equal_scores(score_panoptic_files(*files), expected)


def test_transparency_counts_for_nothing(files, tmp_path):
    expected = official_scores(*files)
    rng = np.random.default_rng(0)
    for path in (tmp_path / "gt" / "gt_1.png", tmp_path / "pred" / "pred_1.png"):
        with Image.open(path) as image:
            pixels = np.asarray(image)
        alpha = rng.integers(0, 256, (HEIGHT, WIDTH, 1), np.uint8)
        Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(path)
    assert_equal_scores(score_panoptic_files(*files), expected)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(files, workers):
    scores = score_panoptic_files(*files, workers=workers)
    assert scores.as_json() == score_panoptic_files(*files).as_json()


def test_missing_predictions(files):
    edit(files[1], lambda content: content["annotations"].remove(annotation_of(content, 1)))
    scores = score_panoptic_files(*files, allow_missing=True)
    assert (scores.num_images, scores.num_missing) == (2, 1)
    assert str(scores).startswith(
        "Panoptic quality: PARTIAL: 2 of 3 images, 1 have no prediction, "
    )
    assert scores.as_json()["num_missing"] == 1
    # The official scorer is told of two images only.
    edit(files[0], lambda content: content["annotations"].remove(annotation_of(content, 1)))
    assert_equal_scores(scores, official_scores(*files))
    edit(files[1], lambda content: content["annotations"].clear())
    with pytest.raises(UserError, match=r"nothing for 2 of the 2 images"):
        score_panoptic_files(*files, allow_missing=True)


# Faulty input -------------------------------------------------------------------------------------


def edit(json_file: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(json_file.read_text())
    change(content)
    json_file.write_text(json.dumps(content))


def annotation_of(content: dict, image_id: int) -> dict:
    (found,) = (a for a in content["annotations"] if a["image_id"] == image_id)
    return found


def change_segment(**changed):
    return lambda content: annotation_of(content, 1)["segments_info"][0].update(changed)


def change_annotation(**changed):
    return lambda content: annotation_of(content, 1).update(changed)


def remove(key: str):
    return lambda content: annotation_of(content, 1).pop(key)


# Of the predictions' JSON: what is wrong, and what is said of it.
BAD_PREDICTIONS = {
    "image missing": (
        lambda content: content["annotations"].remove(annotation_of(content, 1)),
        r"pred\.json has nothing for 1 of the 3 images of .*gt\.json, first of them 1; add",
    ),
    "image unknown": (
        lambda content: content["annotations"].append(
            annotation_of(content, 1) | {"image_id": "stranger"}
        ),
        r"pred\.json has predictions for 1 images .* first of them 'stranger'",
    ),
    "image twice": (
        lambda content: content["annotations"].append(annotation_of(content, 1)),
        r"pred\.json: annotations\[3\] is of the image 1, as annotations\[1\] is",
    ),
    "category unknown": (
        change_segment(category_id=99),
        r"pred\.json: image 1: segment \d+ is of the category 99, which .*gt\.json doesn't have",
    ),
    "no pixel of a segment": (
        lambda content: annotation_of(content, 1)["segments_info"].append(
            {"id": 12345, "category_id": 7}
        ),
        r"pred_1\.png and .*pred\.json disagree on the image 1: the prediction lists the segment "
        r"12345, of which there is no pixel; write both",
    ),
    "segment not listed": (
        lambda content: annotation_of(content, 1)["segments_info"].pop(),
        r"pred_1\.png and .*pred\.json disagree on the image 1: the prediction has pixels of the "
        r"segment \d+, which is not listed",
    ),
    "area": (
        change_segment(area=3),
        r"pred_1\.png and .* the image 1: the prediction lists the segment \d+ with the area 3, "
        r"but has \d+ pixels of it",
    ),
    "area nan": (change_segment(area=float("nan")), r"pred_1\.png .* with the area nan, but has"),
    "area text": (change_segment(area="many"), r"pred_1\.png .* with the area many, but has"),
    "segment twice": (
        lambda content: annotation_of(content, 1)["segments_info"].append(
            annotation_of(content, 1)["segments_info"][0]
        ),
        r"pred\.json: annotations\[1\]: two segments have the id \d+",
    ),
    "id nan": (
        change_segment(id=float("nan")),
        r"annotations\[1\]: segments_info\[0\]: 'id' is na",
    ),
    "id text": (change_segment(id="7"), r"annotations\[1\]: segments_info\[0\]: 'id' is '7'"),
    "id zero": (change_segment(id=0), r"annotations\[1\]: segment 0: ids must be from 1 to"),
    "id negative": (change_segment(id=-1), r"annotations\[1\]: segment -1: ids must be from 1 to"),
    "id too large": (change_segment(id=2**24), r"annotations\[1\]: segment 16777216: ids must be"),
    "category true": (change_segment(category_id=True), r"segments_info\[0\]: 'category_id' is T"),
    "segment none": (
        change_annotation(segments_info=[None]),
        r"annotations\[1\]: segments_info\[0\] is not an object but a NoneType",
    ),
    "no segments": (
        remove("segments_info"),
        r"pred\.json: annotations\[1\] has no 'segments_info'",
    ),
    "segments null": (change_annotation(segments_info=None), r"\[1\]: 'segments_info' is None"),
    "no file name": (remove("file_name"), r"pred\.json: annotations\[1\] has no 'file_name'"),
    "no image": (remove("image_id"), r"pred\.json: annotations\[1\] has no 'image_id'"),
    "png elsewhere": (
        change_annotation(file_name="../gt/gt_1.png"),
        r"pred\.json: image 1 names '\.\./gt/gt_1\.png', outside of .*pred",
    ),
    "png absolute": (change_annotation(file_name="/etc/passwd"), r"names '/etc/passwd', outside"),
    "png with half a letter": (
        change_annotation(file_name="\ud800.png"),
        r"pred\.json: image 1 names '\\ud800\.png', which no file can be called",
    ),
    "png with a long name": (
        change_annotation(file_name="x" * 5000),
        r"pred.x{5000} cannot be read \(File name too long\)",
    ),
    "png missing": (change_annotation(file_name="x.png"), r"pred.x\.png does not exist"),
    "no annotations": (lambda content: content.clear(), r"pred\.json is not .* 'annotations'"),
}


@pytest.mark.parametrize("fault", BAD_PREDICTIONS)
def test_predictions_that_are_refused(files, fault):
    change, message = BAD_PREDICTIONS[fault]
    edit(files[1], change)
    with pytest.raises(UserError, match=message):
        score_panoptic_files(*files)


@pytest.mark.parametrize("content", ["", "{", "[]", "nonsense", "\0"])
def test_json_that_is_none(files, content):
    for json_file in files:
        before = json_file.read_text()
        json_file.write_text(content)
        with pytest.raises(UserError, match=re.escape(str(json_file))):
            score_panoptic_files(*files)
        json_file.write_text(before)


def save_as(format: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        with Image.open(path) as image:
            image.load()
        image.save(path, format=format)

    return save


def leave_rows_out(path: Path) -> None:
    """All that there is of pixels is in order, but there is only half of it."""
    with Image.open(path) as image:
        pixels = np.asarray(image)[: HEIGHT // 2]
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    header = struct.pack(">II", WIDTH, HEIGHT) + content[24:29]
    check_sum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path.write_bytes(content[:16] + header + check_sum + content[33:])


BAD_PNGS = {
    "size": (
        lambda path: write_panoptic_png(path, np.zeros((HEIGHT, WIDTH - 1), int)),
        f"is {WIDTH - 1} x {HEIGHT}, but",
    ),
    "gray": (
        lambda path: cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH), np.uint8)),
        "is a PNG of 8 bits a channel, grey; what is read here are colour PNGs of 8 bits a channel",
    ),
    "palette": (
        lambda path: Image.new("P", (WIDTH, HEIGHT)).save(path),
        "is a PNG of 1 bits a channel, a palette; what is read",
    ),
    "16 bit": (
        lambda path: cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH), np.uint16)),
        "is a PNG of 16 bits a channel, grey; what is read",
    ),
    "16 bit colour": (
        lambda path: cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH, 3), np.uint16)),
        "is a PNG of 16 bits a channel, colour; what is read",
    ),
    "cut off": (
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        r"is damaged \(it is cut off\)",
    ),
    "too few rows": (leave_rows_out, r"is damaged \(its pixels cannot be decoded\)"),
    "no picture": (lambda path: path.write_text("nothing"), "is no PNG"),
    **{
        format: (save_as(format), "is no PNG, whatever its name says; save it as one")
        for format in ("BMP", "GIF", "JPEG", "PPM", "TIFF", "WEBP")
    },
    "missing": (lambda path: path.unlink(), "does not exist"),
}


@pytest.mark.parametrize("side", ["gt", "pred"])
@pytest.mark.parametrize("fault", BAD_PNGS)
def test_pngs_that_are_refused(files, tmp_path, fault, side):
    spoil, message = BAD_PNGS[fault]
    path = tmp_path / side / f"{side}_1.png"
    spoil(path)
    with pytest.raises(UserError, match=f"{re.escape(str(path))}.* {message}"):
        score_panoptic_files(*files)


@pytest.mark.parametrize("side", ["gt", "pred"])
def test_sizes_are_compared_before_pixels_are_read(files, tmp_path, side):
    # A small file can claim to be a huge picture; here the pixels are missing.
    path = tmp_path / side / f"{side}_1.png"
    write_panoptic_png(path, np.zeros((HEIGHT, 1000), int))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=rf"{side}_1\.png is 1000 x {HEIGHT}, but"):
        score_panoptic_files(*files)


def test_ground_truth_that_is_refused(files, tmp_path):
    gt_json = files[0]
    good = gt_json.read_text()
    for change, message in (
        (
            change_segment(area=1),
            r"gt_1\.png and .*gt\.json disagree on the image 1: the ground tr",
        ),
        (
            change_segment(category_id=99),
            r"gt\.json: annotations\[1\]: .* no category has the id 99",
        ),
        (change_annotation(image_id=77), r"gt\.json: annotations\[1\]: no image has the id 77"),
        (lambda content: content["annotations"].clear(), r"gt\.json has no annotations"),
        (lambda content: content.pop("categories"), r"gt\.json .* no list 'categories'"),
        (
            lambda content: content["images"][1].update(width=50),
            rf"gt_1\.png is {WIDTH} x {HEIGHT}, but .*gt\.json says of the image 1 that .* 50 x",
        ),
    ):
        edit(gt_json, change)
        with pytest.raises(UserError, match=message):
            score_panoptic_files(*files)
        gt_json.write_text(good)
    (tmp_path / "gt").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"the folder .*gt of the PNGs of .*gt\.json .* --gt-png"):
        score_panoptic_files(*files)
    with pytest.raises(UserError, match=r"cannot read the annotations .*none\.json"):
        score_panoptic_files(tmp_path / "none.json", files[1])
