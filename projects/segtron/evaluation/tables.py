"""Tables in which people read scores."""

from __future__ import annotations

import math
from typing import Any

from tabulate import tabulate


def percent(value: float) -> str:
    """A score as tables show it: "-" where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def format_table(headers: list[str], rows: list[list[Any]]) -> str:
    """A table whose first column holds names and whose others hold numbers."""
    return tabulate(
        rows,
        headers=headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=("left", *["right"] * (len(headers) - 1)),
    )
