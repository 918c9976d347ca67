"""The live line of a training, by values worked out by hand."""

import logging

import pytest
from detectron2.utils.events import EventStorage

from segtron.engine.progress import ProgressWriter


def line_at(iteration: int, caplog: pytest.LogCaptureFixture) -> str:
    with EventStorage(iteration) as storage, caplog.at_level(logging.INFO):
        storage.put_scalars(total_loss=1.25, loss_mask=0.75, lr=0.01, time=0.5, accuracy=0.9)
        ProgressWriter(max_iter=100, images_per_batch=4).write()
    return caplog.messages[-1]


def test_the_line_tells_where_it_is_how_fast_and_how_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert line_at(19, caplog) == (
        "iteration 20/100: total_loss 1.25, mask 0.75, lr 0.01, 8.0 images/s, 0:00:40 left"
    )


def test_the_end_is_the_end(caplog: pytest.LogCaptureFixture) -> None:
    # Detectron2 counts one iteration more once a training is over.
    assert line_at(100, caplog).startswith("iteration 100/100")
    assert line_at(100, caplog).endswith("0:00:00 left")
