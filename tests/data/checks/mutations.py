"""Annotation files broken at random."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

# What may stand anywhere in a JSON.
VALUES = [
    None, True, False, 0, 1, -1, 3, 0.5, 1e300, -1e300, float("nan"), float("inf"), 2**63, 10**400,
    "", "7", "8", "1", "x", "\0", "\ud800", "../../x", "/etc/passwd", "a.png", "ä" * 300,
    [], [[]], [1], [1, 2, 3, 4], [[1, 2, 3, 4, 5, 6]], [[0, 0, 60, 40, 60, 0, 0, 40]], [None] * 4,
    {}, {"size": [40, 60], "counts": "0"}, {"size": [40, 60], "counts": [2400]}, {"id": 7},
]  # fmt: skip


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """All places in a JSON: a list or an object, and an index or a key of it."""
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    return [(value, key) for key in keys] + [node for key in keys for node in nodes(value[key])]


def mutate(content: Any, rng: random.Random) -> str:
    """A file with one to three places changed, or cut off, or with a byte changed."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = nodes(content)
        if not places:
            break
        parent, key = rng.choice(places)
        change = rng.randrange(6)
        if change == 0:
            del parent[key]
        elif change == 1 and isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
        elif change == 2 and type(parent[key]) in (int, float):
            parent[key] *= rng.choice((-1, 0, 0.5, 10, 1000))
        elif change == 3:
            other, place = rng.choice(places)
            parent[key] = copy.deepcopy(other[place]) if place in _places(other) else None
        else:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
    text = json.dumps(content)
    if rng.random() < 0.06:
        text = text[: rng.randrange(len(text))]
    elif rng.random() < 0.06:
        place = rng.randrange(len(text))
        text = text[:place] + chr(rng.randrange(1, 256)) + text[place + 1 :]
    return text


def _places(value: Any) -> Any:
    return value if isinstance(value, dict) else range(len(value))
