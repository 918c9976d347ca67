"""What is mended in a file, one by one."""

from __future__ import annotations

from dataclasses import dataclass

# How the message of a change begins that took something out of the file.
REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """A thing that was put right.

    Attributes:
        code: of the problem that it was (`segtron.data.checks.codes`).
        entry: of the file as it was.
        message: what was done.
    """

    code: str
    entry: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.entry}: {self.message}"
