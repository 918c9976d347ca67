"""What a run has done so far, on disk: enough to go on after a kill, and to make its results of."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segtron.errors import UserError

# What is lost by a power cut, at most; a kill loses only what was under way.
_SECONDS_BETWEEN_SYNCS = 5.0


@dataclass(frozen=True)
class Position:
    """A place in the images of several sources.

    Attributes:
        source: index of the source.
        items: how many of its images lie before, unreadable ones included.
        number: how many of all images do.
    """

    source: int = 0
    items: int = 0
    number: int = 0


class Journal:
    """A file that only grows: records of sinks, and after those of a few images a line that
    completes them.

    Lines are "SINK, tab, JSON". Those that complete others name no sink; they say how far the run
    is, which images are predicted and which can't be read, and what the lines before add up to. So
    a tail that was cut off, or never reached the disk, is known as such.

    Attributes:
        position: up to where all is complete.
        predicted: number of images before it that were predicted.
        unreadable: for each other a sentence.
        has_begun: whether sinks may have written files, completed or not.
    """

    def __init__(self, path: Path, is_there: Callable[[str], bool]) -> None:
        """Open a journal, or begin one; an incomplete tail is cut off.

        Args:
            path: the file.
            is_there: tells by an image's name whether its own files are. The journal ends before
                the first images of which some are gone, for their records would be of no use.
        """
        self._path = path
        self.position = Position()
        self.predicted = 0
        self.unreadable: list[str] = []
        self.has_begun = False
        self._file = path.open("a+b")
        self._file.truncate(self._recover(is_there))
        self._synced = time.monotonic()

    def _recover(self, is_there: Callable[[str], bool]) -> int:
        """Read what is complete. Returns its length in bytes."""
        length = end = checksum = 0
        self._file.seek(0)
        for line in self._file:
            end += len(line)
            if not line.endswith(b"\n"):
                break
            if not line.startswith(b"\t"):
                checksum = zlib.crc32(line, checksum)
                continue
            try:
                step = json.loads(line)
            except ValueError:
                break
            names = step["predicted"]
            if step["checksum"] != checksum or not all(map(is_there, names)):
                break
            self.position = Position(**step["position"])
            self.predicted += len(names)
            self.unreadable += step["unreadable"]
            length, checksum = end, 0
        return length

    def append(
        self,
        records: Mapping[str, Sequence[Any]],
        *,
        predicted: Sequence[str],
        unreadable: Sequence[str],
        position: Position,
    ) -> None:
        """Add some images.

        Args:
            records: by the sink's name, what it recorded, in the order of the images.
            predicted: names of the images.
            unreadable: sentences about those that can't be read.
            position: behind the last of them.

        Raises:
            UserError: the disk is full.
        """
        lines = [
            f"{name}\t{json.dumps(record)}\n".encode()
            for name, of_sink in records.items()
            for record in of_sink
        ]
        checksum = 0
        for line in lines:
            checksum = zlib.crc32(line, checksum)
        step = {
            "checksum": checksum,
            "position": asdict(position),
            "predicted": predicted,
            "unreadable": unreadable,
        }
        lines.append(f"\t{json.dumps(step)}\n".encode())
        self._write(b"".join(lines))
        self.position = position
        self.predicted += len(predicted)
        self.unreadable += unreadable

    def _write(self, content: bytes) -> None:
        try:
            self._file.write(content)
            self._file.flush()
            if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
                self._sync()
        except OSError as error:
            raise UserError(
                f"cannot write {self._path}: {error.strerror}; make room there, and go on with "
                "--resume"
            ) from error

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def records(self, sink: str) -> Records:
        """What a sink recorded."""
        return Records(self._path, sink)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True)
class Records:
    """A sink's records in a journal, from the first to the last, as often as asked for."""

    path: Path
    sink: str

    def __iter__(self) -> Iterator[Any]:
        prefix = f"{self.sink}\t".encode()
        with self.path.open("rb") as file:
            for line in file:
                if line.startswith(prefix):
                    yield json.loads(line[len(prefix) :])
