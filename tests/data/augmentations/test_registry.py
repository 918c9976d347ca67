"""Augmentations that somebody else registers."""

from __future__ import annotations

from typing import Any

import detectron2.data.transforms as T
import pytest
from detectron2.utils.registry import Registry

from segtron.config import get_default_config
from segtron.data.augmentations import build_augmentations, needs_bitmaps, registry
from segtron.errors import UserError


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "AUGMENTATIONS", Registry("AUGMENTATION"))
    registry.AUGMENTATIONS.register(T.RandomRotation)
    registry.AUGMENTATIONS.register(T.NoOpTransform)


def test_they_run_by_name() -> None:
    cfg = get_default_config()
    assert not needs_bitmaps(cfg)
    cfg.INPUT.AUGMENTATIONS = [{"name": "RandomRotation", "angle": 3}, {"name": "NoOpTransform"}]
    *_, turn, nothing = build_augmentations(cfg, True)
    assert turn.angle == (3, 3) and isinstance(nothing, T.NoOpTransform)
    assert len(build_augmentations(cfg, False)) == 1
    assert needs_bitmaps(cfg)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"name": "RandomRotatio"},
            r"\[0\]: no augmentation is registered as 'RandomRotatio'; did",
        ),
        ({"name": "os"}, "registered as 'os'; name the file that registers it to --parts"),
        ({"name": "RandomRotation", "angel": 3}, "RandomRotation: .*'angel'.*; correct its arg"),
    ],
)
def test_mistakes_are_sentences(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"INPUT.AUGMENTATIONS{said}|{said}"):
        registry.build_registered([entry])
