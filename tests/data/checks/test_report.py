"""The table of codes, and how problems are printed and written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import segtron.data.checks
from segtron.data.checks.codes import CODES, Severity
from segtron.data.checks.report import as_json, as_text

from .conftest import annotation

DOCS = Path(__file__).parents[3] / "docs" / "checking.md"


def test_every_code_is_used_and_no_other():
    folder = Path(segtron.data.checks.__file__).parent
    sources = {p.name: p.read_text() for p in folder.glob("*.py") if p.name != "codes.py"}
    text = "\n".join(sources.values())
    used = set(re.findall(r'"([a-z]+(?:-[a-z0-9]+)+)"', text))
    # Made of two words where they are entered.
    used |= {
        f"{kind}-{what}" for kind in ("file", "picture") for what in ("repeated", "in-two-sets")
    }
    assert set(CODES) <= used
    entered = set(re.findall(r'\.add\(\s*"([a-z0-9-]+)"', text))
    assert entered <= set(CODES)


def test_the_page_has_the_table_of_codes():
    rows = [
        f"| `{code}` | {kind.severity} | {kind.meaning} | {kind.remedy} | "
        f"{'yes' if kind.is_mended else ''} |"
        for code, kind in CODES.items()
    ]
    written = re.findall(r"^\| `[a-z].*$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert written == rows


@pytest.mark.parametrize("code", CODES)
def test_meanings_and_remedies_are_sentences_without_a_full_stop(code):
    kind = CODES[code]
    for text in (kind.meaning, kind.remedy):
        assert text and not text.endswith(".") and "|" not in text


def test_text_and_json(run, content):
    content["annotations"] += [annotation(20 + i, 7, 99) for i in range(8)]
    content["annotations"][0]["iscrowd"] = 7
    content["annotations"][2].pop("area")
    found = run(content)
    text = as_text(found, most=3)
    lines = text.splitlines()
    assert lines[0].endswith("annotations.json: 2 images, 12 objects, 2 classes")
    assert lines[-1] == "9 errors, 0 warnings, 1 note"
    assert text.index("unknown-category (8)") < text.index("area-missing (1)")
    assert "  and 5 more" in lines and "  and 6 more" not in lines
    assert text.count("no category has the id 99") == 3
    written = json.loads(json.dumps(as_json(found)))
    assert written["counts"] == {"error": 9, "warning": 0, "note": 1}
    assert written["codes"]["unknown-category"]["count"] == 8
    assert len(written["problems"]) == 10
    assert written["problems"][0].keys() == {
        "severity", "code", "file", "entry", "message", "remedy",
    }  # fmt: skip
    assert written["sets"][0]["kind"] == "instances"


def test_nothing_found(run):
    assert as_text(run()).endswith("\n\nnothing found")


def test_severities_are_in_order():
    assert [severity.value for severity in Severity] == ["error", "warning", "note"]
