"""Panoptic sets that were registered in Detectron2's way."""

from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_panoptic

from segtron.config import get_default_config
from segtron.data import SegmentationMapper, load_dataset_dicts
from segtron.data.coco_panoptic import load_coco_panoptic, panoptic_metadata, read_coco_panoptic
from segtron.errors import UserError
from segtron.evaluation.coco_ground_truth import load_coco_ground_truth

NAME = "detectron2_panoptic"


@pytest.fixture
def registered(panoptic_folder: Path):
    """The hand-made set of conftest.py, registered by Detectron2's own function."""
    metadata = panoptic_metadata(read_coco_panoptic(panoptic_folder / "gt.json"))
    register_coco_panoptic(
        NAME,
        metadata,
        str(panoptic_folder / "images"),
        str(panoptic_folder / "panoptic"),
        str(panoptic_folder / "gt.json"),
    )
    yield panoptic_folder
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def test_what_is_missing_is_added(registered: Path) -> None:
    assert all("height" not in record for record in DatasetCatalog.get(NAME))
    records = load_dataset_dicts([NAME], filter_empty=False)
    ours = load_coco_panoptic(
        registered / "gt.json", registered / "panoptic", registered / "images"
    )
    assert [_plain(record) for record in records] == [_plain(record) for record in ours]
    fed = SegmentationMapper(get_default_config(), is_train=True)(records[0])
    assert {"instances", "sem_seg", "pan_seg"} < set(fed)
    # Not a KeyError after all inference.
    assert [image["id"] for image in load_coco_ground_truth(NAME).images] == [
        record["image_id"] for record in records
    ]


def _plain(record: dict) -> dict:
    """What both readers can have: Detectron2's keeps more of a segment, and knows no iscrowd."""
    return {key: value for key, value in record.items() if key != "segments_info"} | {
        "segments": [
            (s["id"], s["category_id"], s["isthing"], s.get("thing_category_id"))
            for s in record["segments_info"]
        ]
    }


def test_things_and_stuff_numbered_apart_are_refused(registered: Path) -> None:
    MetadataCatalog.get(NAME).stuff_classes.pop()
    with pytest.raises(UserError, match=f"{NAME} has segments_info, but its metadata"):
        load_dataset_dicts([NAME], filter_empty=False)
