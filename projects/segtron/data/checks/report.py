"""What a check has found, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segtron.data.checks.changes import REMOVED, Change
from segtron.data.checks.check import Check
from segtron.data.checks.codes import CODES, Severity
from segtron.data.checks.problems import Problems
from segtron.wording import count_of, printable

# Of each kind, so many are printed one by one.
MOST_PRINTED = 5


def as_text(check: Check, most: int = MOST_PRINTED) -> str:
    """Sets and problems, the problems by their kind, the worst first.

    Args:
        check: what was found.
        most: how many of a kind are shown.
    """
    lines = [printable(f"{one.name}: {one.summary or 'not readable'}") for one in check.sets]
    for code, number, kept in check.problems.by_code():
        kind = CODES[code]
        lines += ["", f"{kind.severity} {code} ({number:,}): {kind.meaning}"]
        lines += [f"  {problem}" for problem in kept[:most]]
        if number > most:
            lines.append(f"  and {number - most:,} more")
        lines.append(f"  -> {kind.remedy}")
    return "\n".join([*lines, "", totals(check.problems)])


def totals(problems: Problems) -> str:
    """How many there are of each severity, in words."""
    counts = [(severity, problems.count(severity)) for severity in Severity]
    if not any(number for _, number in counts):
        return "nothing found"
    return ", ".join(count_of(number, severity.value) for severity, number in counts)


def as_json(check: Check) -> dict[str, Any]:
    """All that was found, in a form that JSON has.

    Returns:
        `sets` (name, kind, summary), `counts` by severity, `codes` (by code: severity, count,
        meaning, remedy) and `problems` (severity, code, file, entry, message, remedy), of which
        each code has `MOST_KEPT` at most.
    """
    problems = check.problems
    return {
        "sets": [
            {"name": printable(s.name), "kind": s.kind, "summary": s.summary} for s in check.sets
        ],
        "counts": {severity.value: problems.count(severity) for severity in Severity},
        "codes": {
            code: {
                "severity": CODES[code].severity.value,
                "count": number,
                "meaning": CODES[code].meaning,
                "remedy": CODES[code].remedy,
            }
            for code, number, _ in problems.by_code()
        },
        "problems": [asdict(problem) for _, _, kept in problems.by_code() for problem in kept],
    }


def mended_text(path: Path, changes: Sequence[Change], most: int = MOST_PRINTED) -> str:
    """What was put right in a file, by kind.

    Args:
        path: the new file.
        changes: all.
        most: how many of a kind are shown; of what was removed all are.
    """
    lines = [f"{printable(str(path))}: {count_of(len(changes), 'change')}"]
    by_code: dict[str, list[Change]] = {}
    for change in changes:
        by_code.setdefault(change.code, []).append(change)
    for code, of_code in by_code.items():
        lines.append(f"mended {code} ({len(of_code):,})")
        shown = [
            change
            for place, change in enumerate(of_code)
            if place < most or change.message.startswith(REMOVED)
        ]
        lines += [printable(f"  {change.entry}: {change.message}") for change in shown]
        if len(shown) < len(of_code):
            lines.append(f"  and {len(of_code) - len(shown):,} more")
    return "\n".join(lines)


def changes_as_json(changes: Sequence[Change]) -> list[dict[str, str]]:
    """All that was put right (code, entry, message), in a form that JSON has."""
    return [{k: printable(v) for k, v in asdict(change).items()} for change in changes]
