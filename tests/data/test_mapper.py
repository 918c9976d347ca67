"""What a model is fed: targets by hand, both mask forms, bad files."""

from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest
from detectron2.structures import BitMasks, BoxMode, PolygonMasks
from PIL import Image
from pycocotools import mask as mask_util

from segtron.config import get_default_config
from segtron.data import SegmentationMapper, build_augmentations
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
