"""Class weights against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtron.data.class_weights import count_classes, inverse_log, median_frequency


@pytest.fixture
def counts(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    records = []
    # Image 0: 6 pixels of class 0, 2 of class 1; image 1: 2 of class 0, 2 of class 2, 4 ignored.
    for i, row in enumerate([[0] * 6 + [1] * 2, [0] * 2 + [2] * 2 + [255] * 4]):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.array([row], np.uint8)).save(path)
        record = {"file_name": f"{i}.jpg", "sem_seg_file_name": str(path)}
        records.append(record | {"height": 1, "width": 8})
    return count_classes(records, num_classes=4)


def test_ignored_pixels_count_for_nothing(counts) -> None:
    pixels, company = counts
    assert pixels.tolist() == [8, 2, 2, 0]
    assert company.tolist() == [12, 8, 4, 0]


def test_median_frequency(counts) -> None:
    # Frequencies 8/12, 2/8, 2/4, median 1/2; class 3 never occurs.
    np.testing.assert_allclose(median_frequency(*counts), [0.75, 2.0, 1.0, 1.0])


def test_inverse_log(counts) -> None:
    shares = np.array([8, 2, 2, 0]) / 12
    np.testing.assert_allclose(inverse_log(*counts), 1 / np.log(1.02 + shares))
    assert inverse_log(*counts)[3] == pytest.approx(50.498, abs=1e-3)


def test_no_pixel_at_all_gives_finite_weights() -> None:
    nothing = np.zeros(3, np.int64)
    assert median_frequency(nothing, nothing).tolist() == [1, 1, 1]
    assert np.isfinite(inverse_log(nothing, nothing)).all()
