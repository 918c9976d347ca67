"""Scores as JSON files, from which pictures of them are drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from segtron.errors import UserError
from segtron.files import write_json


class ScoreTable(Protocol):
    """Scores that can be written as JSON and read again."""

    def as_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self: ...


Scores = TypeVar("Scores", bound=ScoreTable)


def write_scores(path: Path, scores: ScoreTable) -> None:
    """Write scores as JSON.

    Raises:
        UserError: the file can't be written.
    """
    write_json(path, scores.as_dict())


def read_scores(path: Path, kind: type[Scores]) -> Scores:
    """Read what `write_scores` has written.

    Raises:
        UserError: the file can't be read or holds something else.
    """
    try:
        return kind.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} does not hold {kind.__name__} ({type(error).__name__}: {error}); score the "
            "model again"
        ) from error


def without_nan(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers by name as JSON has them: undefined ones are None."""
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def with_nan(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """The numbers that `without_nan` was given."""
    return {name: math.nan if value is None else float(value) for name, value in numbers.items()}
