"""What a benchmark found: for people a table, for programs JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate

from segtron.benchmarks.timing import Timing


@dataclass(frozen=True)
class Row:
    """How a piece of work compares.

    Attributes:
        work: what is done, by Segtron.
        against: what else does it.
        timing: of both.
    """

    work: str
    against: str
    timing: Timing

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {"work": self.work, "against": self.against, **asdict(self.timing)}


@dataclass(frozen=True)
class Growth:
    """What a piece of work takes for one number of images and of predictions.

    Attributes:
        work: what is done.
        images: how many.
        predictions: how many in all images; None where they aren't counted.
        seconds: it took.
        state_bytes: that the metric held before the scores were computed; None where that wasn't
            measured.
    """

    work: str
    images: int
    predictions: int | None
    seconds: float
    state_bytes: int | None


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        machine: see `segtron.benchmarks.machine.describe_machine`; and `cores_used_by_others` while
            rows were timed by the clock on the wall, where there are any.
        settings: what was asked for, by name.
        rows: comparisons.
        growth: costs by size.
        left_out: what could not be compared, a sentence each.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: list[Row]
    growth: list[Growth]
    left_out: list[str]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "machine": self.machine,
            "settings": self.settings,
            "rows": [row.as_dict() for row in self.rows],
            "growth": [asdict(entry) for entry in self.growth],
            "left_out": self.left_out,
        }

    def __str__(self) -> str:
        return "\n\n".join(
            [_machine_line(self.machine), self._rows_table(), self._growth_table(), *self.left_out]
        )

    def _rows_table(self) -> str:
        return _table(
            ["work", "against", "ratio", "low", "high", "ours s", "theirs s"],
            [
                [
                    row.work,
                    row.against,
                    *(f"{x:.1f}" for x in (row.timing.ratio, row.timing.low, row.timing.high)),
                    *(f"{x:.3f}" for x in (row.timing.ours_s, row.timing.theirs_s)),
                ]
                for row in self.rows
            ],
            num_text_columns=2,
        )

    def _growth_table(self) -> str:
        return _table(
            [
                "work",
                "images",
                "predictions",
                "s",
                "ms / image",
                "state, KB / image",
                "bytes / pred.",
            ],
            [
                [
                    entry.work,
                    str(entry.images),
                    "-" if entry.predictions is None else str(entry.predictions),
                    f"{entry.seconds:.3f}",
                    f"{1000 * entry.seconds / entry.images:.2f}",
                    _quotient(entry.state_bytes, 1000 * entry.images, digits=2),
                    _quotient(entry.state_bytes, entry.predictions, digits=0),
                ]
                for entry in self.growth
            ],
            num_text_columns=1,
        )


def _quotient(number: float | None, of: float | None, digits: int) -> str:
    return "-" if number is None or of is None else f"{number / of:.{digits}f}"


def _machine_line(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    others = machine.get("cores_used_by_others")
    busy = "" if others is None else f" ({others} cores busy with others while that was timed)"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load average {machine['load_average']} at "
        f"the start; {machine['system']}; {versions}; on one core, in {machine['clock']}, where a "
        f"row doesn't say otherwise{busy}"
    )


def _table(headers: list[str], rows: list[list[str]], num_text_columns: int) -> str:
    return tabulate(
        rows,
        headers=headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left"] * num_text_columns + ["right"] * (len(headers) - num_text_columns),
    )
