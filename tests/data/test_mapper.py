"""What a model is fed: targets by hand, both mask forms, panoptic targets, bad files."""

from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, BoxMode, PolygonMasks
from PIL import Image
from pycocotools import mask as mask_util

from segtron.config import get_default_config
from segtron.data import SegmentationMapper, build_augmentations
from segtron.data.panoptic import segment_classes
from segtron.data.sem_seg import IdEncoding
from segtron.errors import UserError

HEIGHT, WIDTH = 4, 6


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    pixels = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
    Image.fromarray(pixels).save(path)
    return path


def record_of(image_file: Path, *segmentations: Any, **extra: Any) -> dict[str, Any]:
    annotations = [
        {
            "bbox": [1, 1, 3, 3],
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": i,
            "iscrowd": 0,
            "segmentation": segmentation,
        }
        for i, segmentation in enumerate(segmentations)
    ]
    return {
        "file_name": str(image_file),
        "height": HEIGHT,
        "width": WIDTH,
        "image_id": 0,
        "annotations": annotations,
    } | extra


def square_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[1:3, 1:3] = 1
    return mask


def mapper(*augmentations: T.Augmentation, **extra: Any) -> SegmentationMapper:
    return SegmentationMapper(
        True,
        augmentations=list(augmentations),
        image_format="RGB",
        use_instance_mask=True,
        **extra,
    )


def test_a_flip_moves_image_box_and_mask_alike(image_file: Path) -> None:
    record = record_of(image_file, mask_util.encode(square_mask()))
    fed = mapper(T.RandomFlip(prob=1.0))(record)
    assert fed["image"].shape == (3, HEIGHT, WIDTH)
    pixels = np.asarray(Image.open(image_file))[:, ::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(fed["image"], pixels)
    instances = fed["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[3, 1, 5, 3]]
    np.testing.assert_array_equal(instances.gt_masks.tensor[0], square_mask()[:, ::-1])
    assert record["annotations"][0]["bbox"] == [1, 1, 3, 3]  # the catalog's dict is untouched


def test_polygons_stay_polygons_and_encodings_become_bitmaps(image_file: Path) -> None:
    polygon = [[1, 1, 3, 1, 3, 3, 1, 3]]
    assert isinstance(mapper()(record_of(image_file, polygon))["instances"].gt_masks, PolygonMasks)
    both = record_of(image_file, polygon, mask_util.encode(square_mask()))
    masks = mapper()(both)["instances"].gt_masks
    assert isinstance(masks, BitMasks)
    np.testing.assert_array_equal(masks.tensor[0], square_mask())
    np.testing.assert_array_equal(masks.tensor[1], square_mask())


def test_crowds_are_no_targets(image_file: Path) -> None:
    record = record_of(image_file, mask_util.encode(square_mask()))
    record["annotations"][0]["iscrowd"] = 1
    assert len(mapper()(record)["instances"]) == 0


def test_a_crop_tightens_boxes_to_what_is_left(image_file: Path) -> None:
    triangle = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    triangle[0, 0:4] = triangle[1, 0:2] = 1
    record = record_of(image_file, mask_util.encode(triangle))
    record["annotations"][0]["bbox"] = [0, 0, 4, 2]

    class LowerHalf(T.Augmentation):
        def get_transform(self, image: np.ndarray) -> T.Transform:
            return T.CropTransform(0, 1, WIDTH, HEIGHT - 1)

    fed = mapper(LowerHalf(), recompute_boxes=True)(record)
    assert fed["instances"].gt_boxes.tensor.tolist() == [[0, 0, 2, 1]]


def test_a_crop_cuts_polygons(image_file: Path) -> None:
    square = [[1.0, 1, 3, 1, 3, 3, 1, 3]]
    mapped = SegmentationMapper(
        True,
        augmentations=[T.CropTransform(2, 0, WIDTH - 2, HEIGHT)],
        image_format="RGB",
        use_instance_mask=True,
        instance_mask_format="polygon",
        recompute_boxes=True,
    )(record_of(image_file, square))
    instances = mapped["instances"]
    assert isinstance(instances.gt_masks, PolygonMasks)
    assert instances.gt_boxes.tensor.tolist() == [[0, 1, 1, 3]]
    assert float(instances.gt_masks.area()[0]) == 2


def test_what_a_crop_cuts_off_is_no_target(image_file: Path) -> None:
    class RightEdge(T.Augmentation):
        def get_transform(self, image: np.ndarray) -> T.Transform:
            return T.CropTransform(4, 0, 2, HEIGHT)

    record = record_of(image_file, mask_util.encode(square_mask()))
    assert len(mapper(RightEdge(), recompute_boxes=True)(record)["instances"]) == 0


def test_an_image_without_annotations(image_file: Path) -> None:
    assert len(mapper()(record_of(image_file))["instances"]) == 0


def test_inference_gets_no_targets(image_file: Path) -> None:
    cfg = get_default_config()
    cfg.INPUT.MIN_SIZE_TEST = 8
    fed = SegmentationMapper(cfg, is_train=False)(record_of(image_file, [[1, 1, 3, 1, 3, 3]]))
    assert fed["image"].shape == (3, 8, 12)
    assert (fed["height"], fed["width"]) == (HEIGHT, WIDTH)
    assert "annotations" not in fed
    assert "instances" not in fed


def test_augmentations_by_config() -> None:
    cfg = get_default_config()
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.COLOR_AUG_SSD = True
    cfg.INPUT.VERTICAL_FLIP_PROB = 0.5
    names = [type(a).__name__ for a in build_augmentations(cfg, is_train=True)]
    assert names == [
        "ColorAugSSDTransform",
        "RandomCrop",
        "ResizeShortestEdge",
        "RandomFlip",
        "RandomFlip",
    ]
    assert [type(a).__name__ for a in build_augmentations(cfg, False)] == ["ResizeShortestEdge"]


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png does not exist"):
        mapper()(record_of(tmp_path / "gone.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UserError, match=f"cut{suffix} cannot be read"):
        mapper()(record_of(path))


def test_an_image_of_another_size_names_both(image_file: Path) -> None:
    with pytest.raises(UserError, match=r"is 6 x 4, but its annotations say 6 x 5"):
        mapper()(record_of(image_file, height=5))


def semantic_record(image_file: Path, labels: np.ndarray, **extra: Any) -> dict[str, Any]:
    label_file = image_file.with_name("labels.png")
    Image.fromarray(labels.astype(np.uint8)).save(label_file)
    record = {"file_name": str(image_file), "height": HEIGHT, "width": WIDTH, "image_id": "a"}
    encoding = IdEncoding(values=(10, 20), ignored=(0,))
    return record | {"sem_seg_file_name": str(label_file), "sem_seg_encoding": encoding} | extra


LABELS = np.array([[10] * 6, [20] * 6, [0, 0, 0, 10, 10, 20], [20] * 6])
CLASSES = np.array([[0] * 6, [1] * 6, [255, 255, 255, 0, 0, 1], [1] * 6])


def test_semantic_labels_move_with_the_image(image_file: Path) -> None:
    fed = mapper(T.RandomFlip(prob=1.0))(semantic_record(image_file, LABELS))
    assert fed["sem_seg"].dtype.is_signed and fed["sem_seg"].element_size() == 8
    np.testing.assert_array_equal(fed["sem_seg"], CLASSES[:, ::-1])


def test_semantic_labels_are_scaled_without_mixing(image_file: Path) -> None:
    fed = mapper(T.Resize((8, 12)))(semantic_record(image_file, LABELS))
    assert fed["image"].shape == (3, 8, 12)
    np.testing.assert_array_equal(fed["sem_seg"], CLASSES.repeat(2, axis=0).repeat(2, axis=1))


def test_no_semantic_labels_in_inference(image_file: Path) -> None:
    testing = SegmentationMapper(False, augmentations=[], image_format="RGB")
    assert "sem_seg" not in testing(semantic_record(image_file, LABELS))


def crop_config(**crop: Any) -> Any:
    cfg = get_default_config()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (2 * HEIGHT,), "none"
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE = True, "absolute"
    for key, value in crop.items():
        cfg.INPUT.CROP[key] = value
    return cfg


@pytest.mark.parametrize(("after", "size"), [(False, (8, 8)), (True, (2, 2))])
def test_a_crop_is_cut_before_or_after_the_resize(
    image_file: Path, after: bool, size: tuple[int, int]
) -> None:
    cfg = crop_config(SIZE=[2, 2], AFTER_RESIZE=after)
    fed = SegmentationMapper(cfg)(semantic_record(image_file, LABELS))
    assert fed["image"].shape[1:] == fed["sem_seg"].shape == size


def test_a_crop_larger_than_the_image_takes_all_of_it(image_file: Path) -> None:
    cfg = crop_config(SIZE=[100, 100], AFTER_RESIZE=True)
    fed = SegmentationMapper(cfg)(semantic_record(image_file, LABELS))
    assert fed["image"].shape[1:] == fed["sem_seg"].shape == (2 * HEIGHT, 2 * WIDTH)


def test_no_class_fills_more_of_a_crop_than_allowed(image_file: Path) -> None:
    # All but one column are class 0; a crop of two columns has both classes in 1 of 5 places.
    labels = np.full((HEIGHT, WIDTH), 10)
    labels[:, 0] = 20
    cfg = crop_config(SIZE=[HEIGHT, 2], SINGLE_CATEGORY_MAX_AREA=0.75)
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    np.random.seed(0)
    constrained = SegmentationMapper(cfg)
    shares = [
        float((constrained(semantic_record(image_file, labels))["sem_seg"] == 0).double().mean())
        for _ in range(40)
    ]
    # Ten tries fail with a chance of 0.8 ** 10, one in nine.
    assert shares.count(0.5) > 30


def test_a_crop_by_classes_needs_semantic_labels(image_file: Path) -> None:
    cfg = crop_config(SIZE=[2, 2], SINGLE_CATEGORY_MAX_AREA=0.75)
    record = semantic_record(image_file, LABELS)
    del record["sem_seg_file_name"]
    with pytest.raises(UserError, match=r"SINGLE_CATEGORY_MAX_AREA is below 1, but image .*png"):
        SegmentationMapper(cfg)(record)


# Two things, a crowd, stuff and void.
STUFF = {"id": 70000, "category_id": 1, "isthing": False, "iscrowd": 0}
CROWD = {"id": 300, "category_id": 2, "isthing": True, "iscrowd": 1, "thing_category_id": 1}
LEFT = {"id": 9, "category_id": 2, "isthing": True, "iscrowd": 0, "thing_category_id": 1}
RIGHT = {"id": 8, "category_id": 0, "isthing": True, "iscrowd": 0, "thing_category_id": 0}
SEGMENTS = [RIGHT, STUFF, LEFT, CROWD]
PAN_SEG = np.array([[3, 3, 0, 0, 1, 1], [3, 3, 2, 2, 2, 1], [2, 2, 2, 2, 2, 2], [2, 4, 4, 2, 0, 0]])
PANOPTIC_CLASSES = np.array([255, 0, 1, 2, 2])


def panoptic_record(
    image_file: Path,
    pan_seg: np.ndarray = PAN_SEG,
    segments: list[dict[str, Any]] = SEGMENTS,
) -> dict[str, Any]:
    ids = np.array([0, *(segment["id"] for segment in segments)])[pan_seg]
    label_file = image_file.with_name("panoptic.png")
    colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2)
    Image.fromarray(colors.astype(np.uint8)).save(label_file)
    height, width = pan_seg.shape
    return {
        "file_name": str(image_file),
        "image_id": "a",
        "height": height,
        "width": width,
        "pan_seg_file_name": str(label_file),
        "segments_info": segments,
        "sem_seg_file_name": str(label_file),
        "sem_seg_encoding": segment_classes(segments),
    }


def assert_targets(
    fed: dict[str, Any], pan_seg: np.ndarray, segments: list[dict[str, Any]] = SEGMENTS
) -> None:
    """All targets are those of a map of segments, worked out segment by segment."""
    assert fed["image"].shape[1:] == pan_seg.shape
    assert fed["pan_seg"].dtype == fed["sem_seg"].dtype == torch.int64
    np.testing.assert_array_equal(fed["pan_seg"], pan_seg)
    classes = np.full(pan_seg.shape, 255)
    masks, boxes, labels = [], [], []
    for place, segment in enumerate(segments, start=1):
        mask = pan_seg == place
        classes[mask] = segment["category_id"]
        if segment["isthing"] and not segment["iscrowd"] and mask.any():
            rows, columns = np.nonzero(mask)
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            labels.append(segment["thing_category_id"])
            masks.append(mask)
    np.testing.assert_array_equal(fed["sem_seg"], classes)
    instances = fed["instances"]
    assert instances.image_size == pan_seg.shape
    assert instances.gt_classes.tolist() == labels
    assert instances.gt_boxes.tensor.tolist() == boxes
    assert instances.gt_boxes.tensor.dtype == torch.float32
    assert len(instances.gt_masks) == len(masks)
    for found, mask in zip(instances.gt_masks.tensor, masks, strict=True):
        np.testing.assert_array_equal(found, mask)


def test_panoptic_targets_by_hand(image_file: Path) -> None:
    record = panoptic_record(image_file)
    fed = mapper()(record)
    np.testing.assert_array_equal(fed["pan_seg"], PAN_SEG)
    np.testing.assert_array_equal(fed["sem_seg"], PANOPTIC_CLASSES[PAN_SEG])
    instances = fed["instances"]
    assert instances.gt_classes.tolist() == [0, 1]
    assert instances.gt_boxes.tensor.tolist() == [[4, 0, 6, 2], [0, 0, 2, 2]]
    np.testing.assert_array_equal(instances.gt_masks.tensor[1], PAN_SEG == 3)
    assert_targets(fed, PAN_SEG)
    assert fed["segments_info"] == SEGMENTS
    assert record.keys() == panoptic_record(image_file).keys()  # the catalog's dict is untouched


def test_panoptic_targets_move_with_the_image(image_file: Path) -> None:
    pixels = np.asarray(Image.open(image_file)).transpose(2, 0, 1)
    fed = mapper(T.RandomFlip(prob=1.0))(panoptic_record(image_file))
    assert_targets(fed, PAN_SEG[:, ::-1])
    np.testing.assert_array_equal(fed["image"], pixels[:, :, ::-1])
    vertical = T.RandomFlip(prob=1.0, horizontal=False, vertical=True)
    fed = mapper(vertical)(panoptic_record(image_file))
    assert_targets(fed, PAN_SEG[::-1])
    np.testing.assert_array_equal(fed["image"], pixels[:, ::-1])


def test_panoptic_targets_are_scaled_without_mixing(image_file: Path) -> None:
    fed = mapper(T.Resize((8, 18)))(panoptic_record(image_file))
    assert_targets(fed, PAN_SEG.repeat(2, axis=0).repeat(3, axis=1))


def test_a_crop_cuts_panoptic_targets_away(image_file: Path) -> None:
    class Right(T.Augmentation):
        def get_transform(self, image: np.ndarray) -> T.Transform:
            return T.CropTransform(2, 0, 4, HEIGHT)

    fed = mapper(Right())(panoptic_record(image_file))
    assert_targets(fed, PAN_SEG[:, 2:])
    assert fed["instances"].gt_classes.tolist() == [0]
    assert fed["segments_info"] == SEGMENTS  # pan_seg counts them all


@pytest.mark.parametrize(
    ("pan_seg", "segments"),
    [(np.zeros_like(PAN_SEG), []), (np.full_like(PAN_SEG, 1), [STUFF]), (PAN_SEG // 4, [CROWD])],
)
def test_panoptic_images_without_instances(
    image_file: Path, pan_seg: np.ndarray, segments: list[dict[str, Any]]
) -> None:
    fed = mapper(T.RandomFlip(prob=1.0))(panoptic_record(image_file, pan_seg, segments))
    assert_targets(fed, pan_seg[:, ::-1], segments)
    assert len(fed["instances"]) == 0


def panoptic_scene(image_file: Path, count: int) -> tuple[dict[str, Any], np.ndarray]:
    """A record of `count` segments in blocks of pixels; red and green of the image tell which."""
    generator = np.random.default_rng(count)
    blocks = np.concatenate([np.arange(count + 1), generator.integers(0, count + 1, 900)])[:900]
    pan_seg = np.kron(generator.permutation(blocks).reshape(25, 36), np.ones((3, 2), np.int64))
    Image.fromarray(
        np.stack([pan_seg % 256, pan_seg // 256, 0 * pan_seg], axis=2).astype(np.uint8)
    ).save(image_file)
    kinds = generator.integers(0, 4, count)
    segments = [SEGMENTS[kind] | {"id": 3 * i + 1} for i, kind in enumerate(kinds.tolist())]
    return panoptic_record(image_file, pan_seg, segments), pan_seg


@pytest.mark.parametrize("count", [40, 255, 300])
def test_panoptic_targets_lie_where_the_image_shows_them(image_file: Path, count: int) -> None:
    record, _ = panoptic_scene(image_file, count)
    cfg = crop_config(SIZE=[31, 40])
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (0,), "horizontal"
    cfg.INPUT.VERTICAL_FLIP_PROB, cfg.INPUT.FORMAT = 0.5, "RGB"
    augmenting = SegmentationMapper(cfg)
    np.random.seed(0)
    corners = set()
    for _ in range(30):
        fed = augmenting(record)
        red, green, _ = fed["image"].numpy().astype(np.int64)
        assert_targets(fed, red + 256 * green, record["segments_info"])
        corners.add(tuple(fed["pan_seg"][[0, 0, -1, -1], [0, -1, 0, -1]].tolist()))
    assert len(corners) > 10


def test_panoptic_targets_agree_in_every_draw(image_file: Path) -> None:
    record, _ = panoptic_scene(image_file, 40)
    cfg = crop_config(SIZE=[41, 37], SINGLE_CATEGORY_MAX_AREA=0.6)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (24, 40, 61), "horizontal"
    cfg.INPUT.VERTICAL_FLIP_PROB, cfg.INPUT.COLOR_AUG_SSD = 0.5, True
    augmenting = SegmentationMapper(cfg)
    np.random.seed(0)
    sizes = set()
    for draw in range(200):
        cfg.INPUT.CROP.AFTER_RESIZE = bool(draw % 2)
        fed = augmenting(record)
        sizes.add(fed["pan_seg"].shape)
        assert_targets(fed, fed["pan_seg"].numpy(), record["segments_info"])
        assert set(fed["pan_seg"].unique().tolist()) <= set(range(41))
    assert len(sizes) == 3


def test_three_bytes_a_segment_give_the_same_targets(
    image_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = panoptic_scene(image_file, 40)
    cfg = crop_config(SIZE=[41, 37])
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (24, 61, 150), "horizontal"

    def draws() -> list[dict[str, Any]]:
        np.random.seed(0)
        augmenting = SegmentationMapper(cfg)
        return [augmenting(record) for _ in range(20)]

    expected = draws()
    monkeypatch.setattr("segtron.data.panoptic_targets.MOST_IN_A_BYTE", 39)
    for found, one in zip(draws(), expected, strict=True):
        assert found["pan_seg"].equal(one["pan_seg"])
        assert found["sem_seg"].equal(one["sem_seg"])
        assert found["instances"].gt_masks.tensor.equal(one["instances"].gt_masks.tensor)


def test_many_segments_are_scaled_without_mixing(image_file: Path) -> None:
    record, pan_seg = panoptic_scene(image_file, 300)
    fed = mapper(T.Resize((2 * 75, 2 * 72)))(record)
    assert_targets(fed, np.kron(pan_seg, np.ones((2, 2), int)), record["segments_info"])
    smaller = T.Resize((29, 31))
    fed = mapper(smaller)(record)
    transform = smaller.get_transform(np.zeros((75, 72, 3), np.uint8))
    low, high = (
        transform.apply_segmentation(byte.astype(np.uint8)).astype(np.int64)
        for byte in (pan_seg % 256, pan_seg // 256)
    )
    assert_targets(fed, low + 256 * high, record["segments_info"])


def test_a_crop_looks_at_the_classes_of_segments(image_file: Path) -> None:
    # As above: all but one column are one class, in two segments that fill half of it each.
    pan_seg = np.full((HEIGHT, WIDTH), 1)
    pan_seg[2:], pan_seg[:, 0] = 2, 3
    record = panoptic_record(image_file, pan_seg, [STUFF, STUFF | {"id": 5}, RIGHT])
    cfg = crop_config(SIZE=[HEIGHT, 2], SINGLE_CATEGORY_MAX_AREA=0.75)
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    np.random.seed(0)
    constrained = SegmentationMapper(cfg)
    shares = [float((constrained(record)["sem_seg"] == 1).double().mean()) for _ in range(40)]
    assert shares.count(0.5) > 30


def test_no_panoptic_targets_in_inference(image_file: Path) -> None:
    testing = SegmentationMapper(False, augmentations=[], image_format="RGB")
    record = panoptic_record(image_file)
    Path(record["pan_seg_file_name"]).unlink()  # not even read
    fed = testing(record)
    assert fed["image"].shape == (3, HEIGHT, WIDTH)
    assert not {"pan_seg", "sem_seg", "instances"} & fed.keys()


def test_panoptic_labels_that_disagree_are_named(image_file: Path) -> None:
    record = panoptic_record(image_file) | {"segments_info": [STUFF, *SEGMENTS[2:]]}
    with pytest.raises(UserError, match=r"panoptic\.png has the segment 8, which"):
        mapper()(record)
