"""Problems as they are found: counted, and kept as far as memory should go."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from segtron.data.checks.codes import CODES, Severity
from segtron.wording import printable

# So many of a kind are kept one by one; more are only counted.
MOST_KEPT = 20_000

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlong = 40
_short.maxlist = _short.maxtuple = 4
_short.maxdict = 3
_short.maxlevel = 2


def shown(value: Any) -> str:
    """A value from a file as messages quote it: short, and printable whatever it is."""
    return _short.repr(value)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severity: how bad it is.
        code: its kind, a key of `CODES`.
        file: where it is.
        entry: which entry of the file, such as "annotations[3]"; "" if it is the whole file.
        message: what is wrong with it.
        remedy: what to do.
    """

    severity: Severity
    code: str
    file: str
    entry: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.entry, self.message) if part)


@dataclass
class Problems:
    """All that was found.

    Attributes:
        counts: code -> how many.
        kept: code -> the first of them, in the order in which they were found.
    """

    counts: Counter[str] = field(default_factory=Counter)
    kept: dict[str, list[Problem]] = field(default_factory=dict)

    def add(self, code: str, file: Any, entry: str, message: str) -> None:
        """Enter a problem.

        Args:
            code: a key of `CODES`.
            file: a path.
            entry: see `Problem`.
            message: see `Problem`.
        """
        self.counts[code] += 1
        kept = self.kept.setdefault(code, [])
        if len(kept) < MOST_KEPT:
            kind = CODES[code]
            kept.append(
                Problem(
                    kind.severity,
                    code,
                    printable(str(file)),
                    printable(entry),
                    printable(message),
                    kind.remedy,
                )
            )

    def count(self, severity: Severity) -> int:
        """How many there are of a severity."""
        return sum(n for code, n in self.counts.items() if CODES[code].severity is severity)

    def by_code(self) -> Iterator[tuple[str, int, list[Problem]]]:
        """Code, number and what was kept: errors first, then as the codes' table has them."""
        order = list(Severity)
        rank = {
            code: (order.index(kind.severity), i) for i, (code, kind) in enumerate(CODES.items())
        }
        for code in sorted(self.counts, key=rank.__getitem__):
            yield code, self.counts[code], self.kept[code]
