"""A cluster's notice that a job will be ended: the training stops after the step that it is at."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# What a process ends with when it was asked to stop and can go on later: EX_TEMPFAIL of sysexits.h,
# "the user is invited to retry", on which a scheduler can requeue.
REQUEUE_EXIT_CODE = 75

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interrupted(SystemExit):
    """Ends the process with `REQUEUE_EXIT_CODE`; no error, and so no traceback."""

    def __init__(self) -> None:
        super().__init__(REQUEUE_EXIT_CODE)


@contextmanager
def leaving_on_notice() -> Iterator[None]:
    """End the process at once when it gets a notice, where there is nothing to save yet."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_: object) -> None:
        raise Interrupted

    before = {number: signal.signal(number, leave) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopNotice:
    """Remembers that this process got a notice.

    Attributes:
        signal_name: such as "SIGTERM"; None as long as there was none.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch `SIGNALS` for the time of the block. A second one has its usual effect."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may
            return
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            signal.signal(number, self._remember)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, _: object) -> None:
        self.signal_name = signal.Signals(number).name
        signal.signal(number, self._before[number])
