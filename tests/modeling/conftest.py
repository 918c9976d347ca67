"""Fixtures that several modules of tests of models share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from .settled_models import settled_model

pytest.register_assert_rewrite(f"{__package__}.same_outputs")  # which then says what differs


@pytest.fixture
def process_group() -> Iterator[None]:
    """One of a single process."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def build() -> Callable[[str], nn.Module]:
    """Gives a model of `settled_models` by its kind; each is made once, and tests leave it as it
    is."""
    return functools.cache(settled_model)
