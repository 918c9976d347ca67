"""The example of docs/predicting.md, and what can go wrong with sinks of one's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from segtron.errors import UserError
from segtron.inference import SINKS, Sink
from segtron.parts import load_parts

from .fake_runs import make_images, run, run_and_stop

DOCS = Path(__file__).parents[2] / "docs" / "predicting.md"


@pytest.fixture(autouse=True)
def registry(monkeypatch, no_parts_stay):
    """Sinks that a test registers are gone after it."""
    monkeypatch.setattr(SINKS, "_obj_map", dict(SINKS._obj_map))


@pytest.fixture
def example(tmp_path):
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
        if "SINKS.register" in block
    )
    path = tmp_path / "count_sink.py"
    path.write_text(code)
    return path


def test_the_example_counts(example, tmp_path):
    load_parts([example])
    images = make_images(tmp_path / "in", 12, broken=(2,))
    run([images], tmp_path / "whole", save=("counts", "csv"))
    counts = json.loads((tmp_path / "whole" / "counts.json").read_text())
    assert len(counts) == 11 and list(counts)[:2] == ["a/0.png", "a/4.png"]
    rows = (tmp_path / "whole" / "predictions.csv").read_text().splitlines()[1:]
    for name, of_image in counts.items():
        for label in ("fig", "date"):
            assert of_image.get(label, 0) == sum(f"{name},{label}," in row for row in rows)
    # As all sinks, it goes on after a kill, and overwrites nothing.
    run_and_stop(9, [images], tmp_path / "again", save=("counts", "csv"))
    run([images], tmp_path / "again", save=("counts", "csv"), resume=True)
    assert json.loads((tmp_path / "again" / "counts.json").read_text()) == counts
    with pytest.raises(UserError, match=r"counts\.json .*would be overwritten"):
        run([images], tmp_path / "again", save=("counts",))


def test_names_are_given_once(example):
    load_parts([example])
    other = example.rename(example.with_name("other.py"))
    with pytest.raises(UserError, match="there is a sink 'counts' already; give CountSink another"):
        load_parts([other])


@pytest.mark.parametrize("name", ["", "a,b", "Tab\t", "ä", "1"])
def test_names_must_fit_the_command_line(name):
    kind = type("Odd", (Sink,), {"name": name, "needs": (), "write": print})
    with pytest.raises(UserError, match="the sink Odd has the name"):
        SINKS.register(kind)
