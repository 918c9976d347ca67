"""Maps of segments against what is said of them, and the instances and classes they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools import mask as mask_util

from segtron.data.cityscapes import load_instances, load_panoptic
from segtron.data.image_io import COLOR_CODES, Decoder
from segtron.data.panoptic import (
    PanSegEncoding,
    annotations_of,
    read_pan_seg,
    segment_classes,
)
from segtron.data.sem_seg import read_sem_seg
from segtron.errors import UserError

STUFF, THING, CROWD = 5, 70000, 300
IDS = np.array(
    [
        [STUFF, STUFF, STUFF, 0, CROWD, CROWD],
        [STUFF, THING, STUFF, 0, CROWD, 0],
        [STUFF, THING, THING, 0, 0, 0],
        [STUFF, STUFF, STUFF, STUFF, STUFF, THING],
    ]
)
SEGMENTS = [
    {"id": THING, "category_id": 4, "isthing": True, "iscrowd": 0, "area": 4},
    {"id": STUFF, "category_id": 0, "isthing": False, "iscrowd": 0, "area": 11},
    {"id": CROWD, "category_id": 2, "isthing": True, "iscrowd": 1, "area": 3},
]
THING_CLASSES = {THING: 1, CROWD: 0}


def record_of(folder: Path, ids: np.ndarray = IDS, **extra: Any) -> dict[str, Any]:
    path = folder / "segments.png"
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2)
    Image.fromarray(colors.astype(np.uint8)).save(path)
    segments = [
        s | ({"thing_category_id": THING_CLASSES[s["id"]]} if s["isthing"] else {})
        for s in SEGMENTS
    ]
    return {
        "file_name": str(folder / "image.png"),
        "image_id": "a",
        "height": 4,
        "width": 6,
        "pan_seg_file_name": str(path),
        "segments_info": segments,
        "sem_seg_file_name": str(path),
        "sem_seg_encoding": segment_classes(segments),
    } | extra


def changed(index: int, **fields: Any) -> list[dict[str, Any]]:
    segments = [dict(segment) for segment in SEGMENTS]
    segments[index] |= fields
    return segments


def test_a_map_that_agrees_comes_as_it_is(tmp_path: Path) -> None:
    ids = read_pan_seg(record_of(tmp_path))
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, IDS)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        (SEGMENTS[:2], r"segments\.png has the segment 300, which its segments_info doesn't list"),
        (changed(1, id=6), r"segments\.png has the segment 5, which its segments_info doesn't"),
        (
            [*SEGMENTS, {"id": 77, "category_id": 0, "isthing": False, "iscrowd": 0}],
            r"segments\.png has no pixel of segment 77, which its segments_info lists",
        ),
        (changed(1, area=12), r"segments\.png: segment 5 has 11 pixels, but the area 12"),
        (changed(0, area=0), r"segment 70000 has 4 pixels, but the area 0"),
        (changed(0, area="4"), r"segment 70000 has 4 pixels, but the area 4"),
        ([], r"has the segment 5, which"),
    ],
)
def test_a_map_that_disagrees_is_refused(
    tmp_path: Path, segments: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read_pan_seg(record_of(tmp_path, segments_info=segments))


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"segments\.png is 6 x 4, but its image .* is 6 x 5"):
        read_pan_seg(record_of(tmp_path, height=5))
    with pytest.raises(UserError, match=r"segments\.png is 6 x 4, but its image .* is 4 x 6"):
        read_sem_seg(record_of(tmp_path, height=6, width=4))


def test_areas_and_boxes_need_not_be_known(tmp_path: Path) -> None:
    segments = [{k: v for k, v in segment.items() if k != "area"} for segment in SEGMENTS]
    np.testing.assert_array_equal(read_pan_seg(record_of(tmp_path, segments_info=segments)), IDS)


def test_a_black_picture_has_no_segments(tmp_path: Path) -> None:
    record = record_of(tmp_path, np.zeros_like(IDS), segments_info=[])
    record["sem_seg_encoding"] = segment_classes([])
    assert not read_pan_seg(record).any()
    assert (read_sem_seg(record) == 255).all()
    assert annotations_of(record) == []


def test_an_encoding_reads_other_files(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Half(PanSegEncoding):
        @property
        def decoder(self) -> Decoder:
            return COLOR_CODES

        def decode(self, pixels: np.ndarray, path: str | Path) -> np.ndarray:
            assert str(path).endswith("segments.png")
            return np.full(pixels.shape[:2], STUFF, np.int32)

    segments = [SEGMENTS[1] | {"area": 24}]
    record = record_of(tmp_path, pan_seg_encoding=Half(), segments_info=segments)
    record["sem_seg_encoding"] = segment_classes(segments, Half())
    assert (read_pan_seg(record) == STUFF).all()
    assert (read_sem_seg(record) == 0).all()


def test_classes_follow_from_segments(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    classes = read_sem_seg(record)
    assert classes.dtype == np.uint8
    expected = np.select([IDS == STUFF, IDS == THING, IDS == CROWD], [0, 4, 2], 255)
    np.testing.assert_array_equal(classes, expected)
    record["sem_seg_encoding"] = segment_classes(SEGMENTS[1:])
    with pytest.raises(UserError, match="has the segment 70000, which"):
        read_sem_seg(record)


def test_things_as_annotations(tmp_path: Path) -> None:
    crowd, thing = annotations_of(record_of(tmp_path))
    for annotation, segment_id in ((crowd, CROWD), (thing, THING)):
        mask = np.asfortranarray((segment_id == IDS).astype(np.uint8))
        assert annotation.pop("segmentation") == mask_util.encode(mask)
    assert crowd == {
        "bbox": [4, 0, 6, 2],
        "bbox_mode": BoxMode.XYXY_ABS,
        "area": 3,
        "category_id": 0,
        "iscrowd": 1,
    }
    assert thing == {
        "bbox": [1, 1, 6, 4],
        "bbox_mode": BoxMode.XYXY_ABS,
        "area": 4,
        "category_id": 1,
        "iscrowd": 0,
    }


def test_stuff_alone_gives_no_annotations(tmp_path: Path) -> None:
    record = record_of(tmp_path, np.full_like(IDS, STUFF))
    record["segments_info"] = [SEGMENTS[1] | {"area": 24}]
    assert annotations_of(record) == []


def test_annotations_that_disagree_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="segment 5 has 11 pixels, but the area 12"):
        annotations_of(record_of(tmp_path, segments_info=changed(1, area=12)))


def test_annotations_that_are_there_are_taken(tmp_path: Path) -> None:
    annotations = [{"category_id": 3}]
    assert annotations_of({"annotations": annotations}) is annotations
    assert annotations_of(record_of(tmp_path, annotations=annotations)) is annotations
    assert annotations_of({"file_name": "a.png", "sem_seg_file_name": "b.png"}) == []
    assert annotations_of({"annotations": None}) == []


def test_the_same_instances_as_those_of_the_instance_set(small_toytown: Path) -> None:
    found = []
    for split in ("train", "val"):
        panoptic = load_panoptic(small_toytown, split)
        annotations = [annotations_of(record) for record in panoptic]
        instances = load_instances(small_toytown, split)
        assert annotations == [record["annotations"] for record in instances]
        found += [a for of_image in annotations for a in of_image]
    assert {a["iscrowd"] for a in found} == {0, 1}
