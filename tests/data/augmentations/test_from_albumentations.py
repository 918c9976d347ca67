"""Transforms of albumentations: labels follow, draws follow the seed, mistakes are sentences."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import pytest

from segtron.data.augmentations import from_albumentations
from segtron.data.augmentations.filling import FillingTransform, filled_with
from segtron.data.augmentations.from_albumentations import build_from_albumentations
from segtron.errors import UserError

library = pytest.importorskip("albumentations")

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def one(image_format: str = "RGB", **entry: Any) -> T.Augmentation:
    (augmentation,) = build_from_albumentations([entry], image_format)
    return augmentation


def test_nothing_asked_nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_albumentations, "_import_albumentations", None)
    assert build_from_albumentations([], "BGR") == []


# Parameters without which a transform can't be made, or with which it mixes no colours.
PARAMS = {
    "CenterCrop": {"height": 30, "width": 40},
    "Crop": {"x_min": 3, "y_min": 4, "x_max": 50, "y_max": 40},
    "CropAndPad": {"px": (-6, 5), "interpolation": 0},
    "GridElasticDeform": {"num_grid_xy": (4, 4), "magnitude": 6, "interpolation": 0},
    "LongestMaxSize": {"max_size": 50, "interpolation": 0},
    "Pad": {"padding": (2, 9)},
    "PadIfNeeded": {"min_height": 80, "min_width": 90},
    "RandomCrop": {"height": 30, "width": 40},
    "RandomResizedCrop": {"size": (30, 40), "interpolation": 0},
    "RandomSizedCrop": {"min_max_height": (20, 40), "size": (30, 40), "interpolation": 0},
    "Resize": {"height": 30, "width": 70, "interpolation": 0},
    "SmallestMaxSize": {"max_size": 60, "interpolation": 0},
}


def moving_transforms() -> list[str]:
    names = []
    for name, kind in sorted(vars(library).items()):
        if isinstance(kind, type) and issubclass(kind, library.DualTransform):
            try:
                build_from_albumentations([{"name": name, **PARAMS.get(name, {})}], "RGB")
            except UserError:
                continue
            names.append(name)
    return names


def test_which_transforms_move_pixels() -> None:
    names = moving_transforms()
    assert {"Affine", "ElasticTransform", "RandomCrop", "CoarseDropout", "Transpose"} <= set(names)
    assert len(names) > 35
    assert not {"Mosaic", "Morphological", "MaskDropout", "Lambda", "Pad3D", "NoOp2"} & set(names)


@pytest.mark.parametrize("name", moving_transforms())
def test_labels_follow_the_image(name: str) -> None:
    """Of pictures whose colours are their labels."""
    kind = getattr(library, name)
    params = PARAMS.get(name, {}) | {"p": 1}
    if "interpolation" in kind.InitSchema.model_fields:
        params["interpolation"] = 0
    if "fill" in kind.InitSchema.model_fields:
        params["fill"] = 0
    blocks = np.random.default_rng(1).integers(1, 250, (6, 8), np.uint8)
    labels = np.kron(blocks, np.ones((8, 8), np.uint8))
    image = np.stack([labels] * 3, axis=2)
    augmentation = one(name=name, **params)
    for seed in range(4):
        np.random.seed(seed)
        transform = augmentation.get_transform(image)
        assert isinstance(transform, FillingTransform)
        moved = transform.apply_image(image)[:, :, 0]
        (places,) = filled_with(0, T.TransformList([transform])).transforms
        found = places.apply_segmentation(labels)
        assert found.shape == moved.shape and found.dtype == np.uint8
        assert set(np.unique(found)) <= {0, *np.unique(labels)}
        # What is wiped out of the image may stay in the labels.
        differs = (found != moved) & (moved != 0)
        assert differs.mean() < 0.02
        # Classes have the same pixels, and void where there is nothing.
        classes = transform.apply_segmentation(labels)
        np.testing.assert_array_equal(classes, np.where(found == 0, 255, found))
        # Three bytes a number.
        wide = places.apply_segmentation(np.stack([labels, labels, 0 * labels], axis=2))
        np.testing.assert_array_equal(wide[:, :, 1], found)


def test_draws_follow_numpys_generator() -> None:
    augmentation = one(name="GaussNoise", p=0.5)
    results = []
    for seed in (*range(8), *range(8)):
        np.random.seed(seed)
        results.append(augmentation.get_transform(IMAGE).apply_image(IMAGE).tobytes())
    assert results[:8] == results[8:]
    assert 3 <= len(set(results)) <= 7  # half of them do nothing


def test_images_in_bgr_are_shown_as_rgb() -> None:
    sepia = one("RGB", name="ToSepia", p=1).get_transform(IMAGE).apply_image(IMAGE)
    bgr = IMAGE[:, :, ::-1]
    found = one("BGR", name="ToSepia", p=1).get_transform(bgr).apply_image(bgr)
    np.testing.assert_array_equal(found[:, :, ::-1], sepia)
    assert not np.array_equal(sepia, IMAGE)


def test_colours_leave_labels_and_polygons_alone() -> None:
    transform = one(name="RandomGamma", p=1).get_transform(IMAGE)
    assert not isinstance(transform, FillingTransform)
    np.testing.assert_array_equal(transform.apply_segmentation(IMAGE[:, :, 0]), IMAGE[:, :, 0])
    np.testing.assert_array_equal(transform.apply_coords(np.ones((1, 2))), np.ones((1, 2)))


def test_images_of_one_channel() -> None:
    grey = IMAGE[:, :, :1]
    transform = one("L", name="Affine", p=1, rotate=30).get_transform(grey)
    assert transform.apply_image(grey).shape == grey.shape


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"name": "GausNoise"},
            r"\[0\]: albumentations has no transform of images 'GausNoise'; did",
        ),
        ({"name": "os"}, "no transform of images 'os'"),
        ({"name": "Compose", "transforms": []}, "no transform of images 'Compose'"),
        ({"name": "load"}, "no transform of images 'load'"),
        ({"name": "DualTransform"}, "no transform of images 'DualTransform'"),
        ({"name": "ToTensorV2"}, "no transform of images 'ToTensorV2'"),
        ({"name": "Rotate", "limt": 3}, "Rotate has no parameter 'limt'"),
        ({"name": "Rotate", "limit": "a"}, "Rotate: 2 validation errors.*valid number"),
        ({"name": "RandomCrop"}, "RandomCrop: .*height"),
        ({"name": "Rotate", "fill_mask": 255}, "Rotate has fill_mask, but labels are never mixed"),
        ({"name": "Affine", "mask_interpolation": 1}, "Affine has mask_interpolation"),
        (
            {"name": "Resize", "height": 3, "width": 3, "area_for_downscale": "image_mask"},
            "Resize has area_for_downscale",
        ),
        ({"name": "Morphological"}, "Morphological needs more than an image"),
        ({"name": "MaskDropout"}, "MaskDropout needs more than an image"),
        ({"name": "Mosaic"}, "Mosaic needs more than an image"),
        ({"name": "Lambda", "image": "print"}, "Lambda needs more than an image"),
        ({"name": "FDA"}, "FDA needs more than an image"),
        ({"name": "Pad3D", "padding": 1}, "Pad3D needs more than an image"),
    ],
)
def test_what_cannot_be_had_is_a_sentence(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"INPUT.ALBUMENTATIONS.*{said}") as error:
        build_from_albumentations([entry], "RGB")
    assert "\n" not in str(error.value)


def test_what_fails_on_an_image_is_a_sentence() -> None:
    crop = one(name="RandomCrop", height=99, width=9, p=1)
    with pytest.raises(UserError, match="RandomCrop can't be applied to an image of 64 x 48: "):
        crop.get_transform(IMAGE).apply_image(IMAGE)


def test_all_others_leave_labels_where_they_are() -> None:
    built = 0
    labels = IMAGE[:, :, 0]
    for name, kind in vars(library).items():
        if not (isinstance(kind, type) and issubclass(kind, library.ImageOnlyTransform)):
            continue
        try:
            transform = one(name=name, p=1).get_transform(IMAGE)
            image = transform.apply_image(IMAGE)
        except UserError:
            continue
        built += 1
        assert image.shape == IMAGE.shape and image.dtype == np.uint8, name
        assert transform.apply_segmentation(labels) is labels
    assert built > 45


@pytest.mark.parametrize("name", ["Normalize", "ToFloat"])
def test_images_stay_bytes(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} makes float32 images"):
        one(name=name, p=1).get_transform(IMAGE).apply_image(IMAGE)


def test_without_albumentations(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *args: Any) -> Any:
        if name == "albumentations":
            raise ModuleNotFoundError("No module named 'albumentations'")
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "albumentations")
    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(UserError, match="needs the package albumentations.*pip install"):
        build_from_albumentations([{"name": "Blur"}], "RGB")
