"""What a benchmark found: for people a table, for programs JSON."""

from __future__ import annotations

from collections.abc import Sequence
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
class Floor:
    """The least time that a piece of work could take on this machine, and how far it is from that.

    Attributes:
        work: what is done.
        bound: what sets the floor, such as "multiply-adds, bfloat16".
        amount: how many of these the work needs.
        per_second: how many the machine does in a second, as measured.
        ours_s: seconds that the work takes.
    """

    work: str
    bound: str
    amount: float
    per_second: float
    ours_s: float

    @property
    def seconds(self) -> float:
        """The floor."""
        return self.amount / self.per_second

    @property
    def times(self) -> float:
        """How many times the floor the work takes."""
        return self.ours_s / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """The floor as JSON has it."""
        return {**asdict(self), "seconds": self.seconds, "times": self.times}


@dataclass(frozen=True)
class Memory:
    """What a process that does one piece of work holds at its peak.

    Attributes:
        work: what is done.
        by: whose program does it.
        peak_bytes: of resident memory.
        gpu_bytes: of tensors on the GPU; None where there is none.
    """

    work: str
    by: str
    peak_bytes: int
    gpu_bytes: int | None = None


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
        floors: how much of the time is left to win.
        memory: what the work needs.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: list[Row]
    growth: list[Growth]
    left_out: list[str]
    floors: Sequence[Floor] = ()
    memory: Sequence[Memory] = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "machine": self.machine,
            "settings": self.settings,
            "rows": [row.as_dict() for row in self.rows],
            "growth": [asdict(entry) for entry in self.growth],
            "left_out": self.left_out,
            "floors": [floor.as_dict() for floor in self.floors],
            "memory": [asdict(entry) for entry in self.memory],
        }

    def __str__(self) -> str:
        tables = [
            (self.rows, self._rows_table),
            (self.growth, self._growth_table),
            (self.floors, self._floors_table),
            (self.memory, self._memory_table),
        ]
        filled = [draw() for entries, draw in tables if entries]
        return "\n\n".join([_machine_line(self.machine), *filled, *self.left_out])

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

    def _floors_table(self) -> str:
        return _table(
            ["work", "bound by", "amount", "a second", "floor, s", "ours, s", "times the floor"],
            [
                [
                    floor.work,
                    floor.bound,
                    *(f"{x / 1e9:.1f} G" for x in (floor.amount, floor.per_second)),
                    *(f"{x:.3f}" for x in (floor.seconds, floor.ours_s)),
                    f"{floor.times:.1f}",
                ]
                for floor in self.floors
            ],
            num_text_columns=2,
        )

    def _memory_table(self) -> str:
        return _table(
            ["work", "by", "peak, MB", "on the GPU, MB"],
            [
                [
                    entry.work,
                    entry.by,
                    f"{entry.peak_bytes / 1e6:.0f}",
                    _quotient(entry.gpu_bytes, 1e6, digits=0),
                ]
                for entry in self.memory
            ],
            num_text_columns=2,
        )


def _quotient(number: float | None, of: float | None, digits: int) -> str:
    return "-" if number is None or of is None else f"{number / of:.{digits}f}"


def _machine_line(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    others = machine.get("cores_used_by_others")
    busy = "" if others is None else f" ({others} cores busy with others while that was timed)"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load average {machine['load_average']} at "
        f"the start; {machine['system']}; {versions}; {machine['clock']}{busy}"
    )


def _table(headers: list[str], rows: list[list[str]], num_text_columns: int) -> str:
    return tabulate(
        rows,
        headers=headers,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left"] * num_text_columns + ["right"] * (len(headers) - num_text_columns),
    )
