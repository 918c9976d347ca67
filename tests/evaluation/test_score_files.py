from __future__ import annotations

import pytest

from segtron.errors import UserError
from segtron.evaluation.error_types import ErrorScores
from segtron.evaluation.precision_recall import PrecisionRecallScores
from segtron.evaluation.score_files import read_scores
from segtron.evaluation.size_breakdown import SizeScores


@pytest.mark.parametrize("kind", [ErrorScores, PrecisionRecallScores, SizeScores])
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"per_class": []}',
        '{"per_class": {"cat": 3}}',
        '{"protocol": "x", "num_images": 1, "AP": {"small": "a"}, "per_class": {}, "F1": "a"}',
    ],
)
def test_what_holds_no_scores_is_refused(tmp_path, kind, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(UserError, match=rf"s\.json does not hold {kind.__name__}.*again"):
        read_scores(tmp_path / "s.json", kind)


def test_a_curve_of_another_length_is_refused(tmp_path):
    numbers = '"F1": 1, "precision": 1, "recall": 1, "score": 1'
    curve = '{"precision": [1, 0.5], "score": [1, 0.5]}'
    (tmp_path / "s.json").write_text(
        f'{{"protocol": "x", "num_images": 1, {numbers}, "curve": {curve}, "per_class": {{}}}}'
    )
    with pytest.raises(UserError, match="a curve has 101 points"):
        read_scores(tmp_path / "s.json", PrecisionRecallScores)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*absent\.json"):
        read_scores(tmp_path / "absent.json", ErrorScores)
    (tmp_path / "s.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"s\.json does not hold"):
        read_scores(tmp_path / "s.json", ErrorScores)
