from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def no_trace_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare pytest from keeping what torch.export notes of each symbol, which takes minutes."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)
