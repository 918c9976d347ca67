"""What all results in COCO's format have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segtron.data.coco_results import check_result, check_scores, name_of_result
from segtron.errors import UserError

RESULT = {"image_id": "a", "category_id": 3, "score": 0.5}


@pytest.mark.parametrize("more", [{}, {"score": 1}, {"box_score": 0.25}, {"box_score": None}])
def test_good_results(more: dict[str, Any]) -> None:
    check_result(RESULT | more, "r.json")


@pytest.mark.parametrize("score", [float("nan"), float("-inf"), 10**400, True, "0.5", [1]])
@pytest.mark.parametrize("name", ["score", "box_score"])
def test_scores_that_are_no_numbers(name: str, score: Any) -> None:
    with pytest.raises(UserError, match=rf"^r\.json: entry 7: '{name}' is .{{1,40}}; it must be"):
        check_scores(RESULT | {name: score}, name_of_result(Path("r.json"), 7))


def test_annotations_may_have_no_score() -> None:
    check_scores({"score": None}, "here")
    check_scores({}, "here")


@pytest.mark.parametrize("name", list(RESULT))
def test_fields_that_no_result_is_without(name: str) -> None:
    with pytest.raises(UserError, match=f"here has no '{name}'"):
        check_result({n: v for n, v in RESULT.items() if n != name}, "here")
    with pytest.raises(UserError, match=f"here: '{name}' is None, which COCO's result format does"):
        check_result(RESULT | {name: None}, "here")
