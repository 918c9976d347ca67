"""Curves on demand, from a run's folder."""

from __future__ import annotations

import json

from PIL import Image

from .conftest import assert_one_sentence

RECORDS = [
    {"iteration": i, "total_loss": 2.0 - i / 50, "lr": 0.01, "validation/total_loss": 2.0}
    for i in (19, 39)
]


def test_pictures_beside_the_metrics_or_elsewhere(tmp_path, run_here):
    text = "".join(json.dumps(record) + "\n" for record in RECORDS)
    (tmp_path / "metrics.json").write_text(text)
    elsewhere = tmp_path / "new" / "pictures"
    for options, folder in (((), tmp_path), (("--output", elsewhere), elsewhere)):
        code, stderr = run_here("plot_curves.py", tmp_path, *options)
        assert code == 0, stderr
        for name in ("loss.png", "lr.png"):
            with Image.open(folder / name) as image:
                assert image.width == 1200
    assert sorted(path.name for path in elsewhere.iterdir()) == ["loss.png", "lr.png"]
    assert (tmp_path / "metrics.json").read_text() == text


def test_no_run_and_no_metrics_are_told(tmp_path, run_here):
    code, stderr = run_here("plot_curves.py", tmp_path / "absent")
    assert_one_sentence(code, stderr, ["cannot read", "absent/metrics.json", "No such file"])
    (tmp_path / "metrics.json").write_text('{"segm/AP": 3.0}\n')
    code, stderr = run_here("plot_curves.py", tmp_path)
    assert_one_sentence(code, stderr, ["metrics.json has nothing to draw"])
