"""Pixels that nothing comes to are void in labels of every kind."""

from __future__ import annotations

import detectron2.data.transforms as T
import numpy as np
import pytest

from segtron.data.augmentations.filling import FillingTransform, filled_with, is_filling
from segtron.data.augmentations.fixed_size import Pad, PadToSize, PlaceAtRandom
from segtron.data.augmentations.rotation import RandomRotation, Rotate
from segtron.data.augmentations.scale_jitter import ScaleJitter

LABELS = np.array([[0, 1, 255], [254, 7, 0]], np.uint8)
IMAGE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def test_padding_by_hand() -> None:
    pad = Pad(1, 0, 2, 1, (10, 20, 30))
    image = pad.apply_image(IMAGE)
    assert image.shape == (3, 6, 3)
    np.testing.assert_array_equal(image[:2, 1:4], IMAGE)
    around = np.ones((3, 6), bool)
    around[:2, 1:4] = False
    assert (image[around] == [10, 20, 30]).all()
    expected = np.full((3, 6), 255)
    expected[:2, 1:4] = LABELS
    np.testing.assert_array_equal(pad.apply_segmentation(LABELS), expected)
    floats = pad.apply_image(IMAGE / np.float32(7))  # INPUT.FORMAT YUV-BT.601
    assert floats.dtype == np.float32 and floats[0, 1, 1] == np.float32(1 / 7)
    assert Pad(1, 0, 2, 1, (10,)).apply_image(IMAGE[:, :, :1]).shape == (3, 6, 1)


def test_in_maps_of_places_nothing_is_0() -> None:
    transforms = T.TransformList(
        [Pad(0, 0, 1, 0, (1, 2, 3)), T.PadTransform(0, 0, 0, 1, seg_pad_value=255)]
    )
    assert is_filling(transforms)
    assert not is_filling(T.TransformList([T.HFlipTransform(3)]))
    classes = transforms.apply_segmentation(LABELS)
    places = filled_with(0, transforms).apply_segmentation(LABELS)
    np.testing.assert_array_equal(places[:2, :3], LABELS)
    np.testing.assert_array_equal(classes[:2, :3], LABELS)
    assert (places[:, 3] == 0).all() and (places[2] == 0).all()
    assert (classes[:, 3] == 255).all() and (classes[2] == 255).all()
    # Three bytes a place.
    wide = np.stack([LABELS] * 3, axis=2)
    assert (filled_with(0, transforms).apply_segmentation(wide)[2] == 0).all()
    np.testing.assert_array_equal(transforms.apply_segmentation(LABELS), classes)  # as before


def test_coordinates_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="Pad moves bitmaps"):
        Pad(0, 0, 1, 1, (0,)).apply_coords(np.zeros((1, 2)))


def test_a_quarter_turn_by_hand() -> None:
    # Nine pixels in a square lie upon each other after a quarter turn, with no corner left.
    square = np.arange(1, 10, dtype=np.uint8).reshape(3, 3)
    turn = Rotate((3, 3), 90.0, (0, 0, 0))
    np.testing.assert_array_equal(turn.apply_segmentation(square), np.rot90(square))
    image = np.stack([square * 9] * 3, axis=2)
    np.testing.assert_array_equal(turn.apply_image(image), np.rot90(image))


def test_corners_of_a_turn_are_void() -> None:
    labels = np.full((21, 31), 4, np.uint8)
    turn = Rotate((21, 31), 30.0, (11, 22, 33))
    classes = turn.apply_segmentation(labels)
    (zero,) = filled_with(0, T.TransformList([turn])).transforms
    places = zero.apply_segmentation(labels)
    assert classes[0, 0] == classes[-1, -1] == 255 and classes[10, 15] == 4
    assert set(np.unique(classes)) == {4, 255}
    np.testing.assert_array_equal(places, np.where(classes == 4, 4, 0))
    image = turn.apply_image(np.full((21, 31, 3), 200, np.uint8))
    assert image[0, 0].tolist() == [11, 22, 33] and image[10, 15].tolist() == [200] * 3
    assert turn.apply_image(np.zeros((21, 31, 1), np.uint8)).shape == (21, 31, 1)


def test_turns_happen_as_often_as_they_should() -> None:
    np.random.seed(0)
    augmentation = RandomRotation(0.25, (-10, 10), (0, 0, 0))
    drawn = [augmentation.get_transform(IMAGE) for _ in range(400)]
    assert 70 < sum(isinstance(one, Rotate) for one in drawn) < 130


@pytest.mark.parametrize("size", [(2, 3), (1, 2), (5, 7), (1, 9), (6, 1)])
def test_a_random_place_has_the_size_and_what_fits(size: tuple[int, int]) -> None:
    np.random.seed(0)
    augmentation = PlaceAtRandom(size, (90, 90, 90))
    corners = set()
    for _ in range(60):
        transform = augmentation.get_transform(IMAGE)
        image = transform.apply_image(IMAGE)
        assert image.shape == (*size, 3)
        inside = (image != 90).any(axis=2)
        assert inside.sum() == min(size[0], 2) * min(size[1], 3)
        rows, columns = np.nonzero(inside)
        place = T.TransformList([transform]).apply_segmentation(LABELS)
        np.testing.assert_array_equal(place[inside], LABELS[tuple(_source(image, rows, columns).T)])
        assert (place[~inside] == 255).all()
        corners.add((rows.min(), columns.min(), *image[rows[0], columns[0]]))
    assert len(corners) == (abs(size[0] - 2) + 1) * (abs(size[1] - 3) + 1)


def _source(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Where in `IMAGE` pixels come from, as its shades tell."""
    return np.stack(np.divmod(image[rows, columns, 0].astype(int) // 3, 3), axis=1)


def test_a_picture_is_padded_only_where_it_is_smaller() -> None:
    assert PadToSize((2, 4), (1, 1, 1)).get_transform(IMAGE).apply_image(IMAGE).shape[:2] == (2, 4)
    assert isinstance(PadToSize((1, 3), (1, 1, 1)).get_transform(IMAGE), T.NoOpTransform)
    assert PadToSize((4, 2), (1, 1, 1)).get_transform(IMAGE).apply_image(IMAGE).shape[:2] == (4, 3)


def test_scale_jitter_fits_into_the_scaled_size() -> None:
    np.random.seed(0)
    augmentation = ScaleJitter((0.1, 2.0), (64, 48))
    image = np.broadcast_to(np.uint8(0), (100, 50, 3))
    scales = []
    for _ in range(300):
        resize = augmentation.get_transform(image)
        assert abs(resize.new_h - 2 * resize.new_w) <= 1
        scales.append(resize.new_h / 64)  # the height is what limits it
    assert 0.09 < min(scales) < 0.15 and 1.95 < max(scales) < 2.01
    assert 1.0 < np.mean(scales) < 1.1


def test_scale_jitter_leaves_a_pixel_of_narrow_pictures() -> None:
    resize = ScaleJitter((0.1, 0.1), (64, 64)).get_transform(np.zeros((2, 300, 3), np.uint8))
    assert (resize.new_h, resize.new_w) == (1, 6)


def test_subclasses_say_where_nothing_is_and_need_not_know_its_number() -> None:
    class Shift(FillingTransform):
        def apply_image(self, img: np.ndarray) -> np.ndarray:
            return img

        def move_labels(self, labels: np.ndarray) -> np.ndarray:
            moved = np.zeros_like(labels)
            moved[:, 1:] = labels[:, :-1]
            return moved

    np.testing.assert_array_equal(Shift().apply_segmentation(LABELS), [[255, 0, 1], [255, 254, 7]])
