from __future__ import annotations

import os
import signal

import pytest

from segtron.engine.signals import Interrupted, StopNotice, leaving_on_notice


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_notice_is_remembered(number):
    notice = StopNotice()
    with notice.listening():
        assert notice.signal_name is None
        os.kill(os.getpid(), number)
        assert notice.signal_name == signal.Signals(number).name


def test_handlers_come_back():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        notice = StopNotice()
        with notice.listening():
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not seen
            os.kill(os.getpid(), signal.SIGUSR1)  # the second one has its usual effect
            assert seen == [1]
        os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == [1, 1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_exit_code_is_one_to_requeue_on():
    with pytest.raises(SystemExit) as ending:
        raise Interrupted
    assert ending.value.code == 75


def test_where_nothing_is_to_be_saved_a_process_leaves_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), leaving_on_notice():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
