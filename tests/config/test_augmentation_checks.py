"""Values of augmentations' keys that can't be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from segtron.config import load_config
from segtron.errors import UserError

JITTER = ("INPUT.SCALE_JITTER.ENABLED", "True")


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (("INPUT.SCALE_JITTER.SIZE", "[64]"), "SIZE is [64]; it must be height and width in whole"),
        (("INPUT.SCALE_JITTER.SIZE", "[64, 0]"), "SIZE is [64, 0]; it must be"),
        (("INPUT.MOSAIC.SIZE", "[1, 64]"), "in whole pixels, 2 or more"),
        (("INPUT.MOSAIC.SIZE", "[64, 64.5]"), "INPUT.MOSAIC.SIZE is [64, 64.5]"),
        (("INPUT.SCALE_JITTER.RANGE", "[0.0, 2.0]"), "it must be two factors above 0, the smaller"),
        (("INPUT.SCALE_JITTER.RANGE", "[2.0, 0.1]"), "the smaller one first"),
        (("INPUT.SCALE_JITTER.RANGE", "[0.1]"), "RANGE is [0.1]"),
        (("INPUT.ROTATION.ANGLES", "[10, -10]"), "it must be two angles in degrees"),
        (("INPUT.ROTATION.ANGLES", "[-10.0, 1e400]"), "INPUT.ROTATION.ANGLES is [-10.0, inf]"),
        (("INPUT.ROTATION.PROB", "1.5"), "INPUT.ROTATION.PROB is 1.5; it must be from 0 to 1"),
        (("INPUT.COPY_PASTE.PROB", "-0.1"), "INPUT.COPY_PASTE.PROB is -0.1"),
        (("INPUT.COPY_PASTE.MIN_VISIBLE", "2.0"), "INPUT.COPY_PASTE.MIN_VISIBLE is 2.0"),
        (("INPUT.COLOR_JITTER.HUE", "0.6"), "HUE is 0.6; it must be at most 0.5 turns"),
        (("INPUT.COLOR_JITTER.CONTRAST", "1.1"), "INPUT.COLOR_JITTER.CONTRAST is 1.1"),
        ((*JITTER, "INPUT.CROP.ENABLED", "True"), "are both True, but scale jitter cuts"),
        (("INPUT.CROP.PAD", "True"), "INPUT.CROP.PAD is True, which goes with crops that all"),
        (
            ("INPUT.FORMAT", "YUV-BT.601", "INPUT.COLOR_JITTER.HUE", "0.1"),
            "INPUT.COLOR_JITTER.HUE is 0.1, but INPUT.FORMAT YUV-BT.601 has no colours to change",
        ),
        (
            ("INPUT.FORMAT", "YUV-BT.601", "INPUT.ALBUMENTATIONS", "[{'name': 'Blur'}]"),
            "INPUT.ALBUMENTATIONS is for images of bytes",
        ),
        (("INPUT.ALBUMENTATIONS", "['Blur']"), "INPUT.ALBUMENTATIONS[0] is 'Blur'; it must be a"),
        (("INPUT.AUGMENTATIONS", "[{'name': 3}]"), "INPUT.AUGMENTATIONS[0] is {'name': 3}; it"),
        (("INPUT.ALBUMENTATIONS", "[{'p': 1}]"), "INPUT.ALBUMENTATIONS[0] is {'p': 1}"),
        (("DATALOADER.CLASS_BALANCE_MAX_REPEAT", "0.5"), "MAX_REPEAT is 0.5; it must be 1 or more"),
    ],
)
def test_a_value_that_a_key_cannot_have_is_named(
    tmp_path: Path, opts: tuple[str, ...], said: str
) -> None:
    (tmp_path / "a.yaml").touch()
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "a.yaml", opts)
    assert said in str(error.value)


def test_all_at_once_in_a_file_and_back(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "INPUT:\n"
        "  SCALE_JITTER: {ENABLED: true, RANGE: [0.5, 1.5], SIZE: [64, 96]}\n"
        "  ROTATION: {PROB: 0.5, ANGLES: [-180, 180]}\n"
        "  MOSAIC: {PROB: 0.5, SIZE: [64, 64]}\n"
        "  COPY_PASTE: {PROB: 0.5}\n"
        "  COLOR_JITTER: {HUE: 0.1}\n"
        "  ALBUMENTATIONS:\n"
        "    - {name: GaussNoise, std_range: [0.02, 0.1], p: 0.3}\n"
    )
    cfg = load_config(tmp_path / "a.yaml")
    assert cfg.INPUT.ALBUMENTATIONS[0]["std_range"] == [0.02, 0.1]
    (tmp_path / "b.yaml").write_text(cfg.dump())
    assert load_config(tmp_path / "b.yaml").INPUT == cfg.INPUT
