"""The live line of a training, by values worked out by hand."""

from __future__ import annotations

import io
import logging

from detectron2.utils.events import EventStorage

from segtron.engine import progress
from segtron.engine.best import BestValue
from segtron.engine.progress import ProgressWriter

LOSSES = {"total_loss": 1.25, "loss_mask": 0.75}


def line_at(iteration: int, caplog, *, best=None, earlier=(), results=None, **scalars) -> str:
    writer = ProgressWriter(max_iter=100, images_per_batch=4, best=best, earlier=earlier)
    with EventStorage(iteration) as storage, caplog.at_level(logging.INFO):
        storage.put_scalars(**LOSSES, **scalars)
        storage.put_scalars(**(results or {}), smoothing_hint=False)
        writer.write()
    return caplog.messages[-1]


def test_the_line_tells_where_it_is_how_fast_and_how_long(caplog):
    assert line_at(19, caplog, lr=0.01, time=0.5, accuracy=0.9) == (
        "iteration 20/100: total_loss 1.25, mask 0.75, lr 0.01, 8.0 images/s, 0:00:40 left"
    )


def test_the_end_is_the_end_and_said_once(caplog):
    writer = ProgressWriter(max_iter=100, images_per_batch=4)
    with EventStorage(99) as storage, caplog.at_level(logging.INFO):
        storage.put_scalars(**LOSSES, time=0.5)
        writer.write()
        # Detectron2 counts one iteration more once a training is over.
        storage.iter = 100
        writer.write()
    [line] = caplog.messages
    assert line.startswith("iteration 100/100")
    assert line.endswith("0:00:00 left")


def test_nothing_to_say(caplog):
    with EventStorage(0), caplog.at_level(logging.INFO):
        ProgressWriter(max_iter=100, images_per_batch=4).write()
    assert not caplog.messages


def test_waiting_for_data_is_worth_saying_from_a_fifth_on(caplog):
    assert "waits" not in line_at(19, caplog, time=0.5, data_time=0.1)
    assert "8.0 images/s, waits for data 36 %, " in line_at(19, caplog, time=0.5, data_time=0.18)
    # of the iteration before, which may have taken longer
    assert "waits for data 100 %" in line_at(19, caplog, time=0.5, data_time=0.7)
    assert "waits" not in line_at(19, caplog, data_time=0.7)


def test_one_long_wait_in_twenty_counts(caplog):
    writer = ProgressWriter(max_iter=100, images_per_batch=1)
    with EventStorage() as storage, caplog.at_level(logging.INFO):
        for storage.iter in range(20):
            long = 19.0 if storage.iter == 7 else 0.0
            storage.put_scalars(**LOSSES, time=1.0 + long, data_time=long)
        writer.write()
    # 39 seconds for 20 iterations
    assert "0.5 images/s, waits for data 49 %, 0:02:36 left" in caplog.messages[-1]


def test_memory_is_that_of_a_gpu_in_use(caplog, monkeypatch):
    assert "GB" not in line_at(19, caplog, time=0.5)
    monkeypatch.setattr(progress.torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(progress.torch.cuda, "max_memory_allocated", lambda: 5.3 * 2**30)
    assert "8.0 images/s, 5.3 GB, 0:00:40 left" in line_at(19, caplog, time=0.5)


def test_the_newest_result_and_the_best(caplog):
    results = {"bbox/AP": 40.0, "segm/AP": 37.12, "segm/AP50": 60.0}
    assert line_at(19, caplog, results=results).endswith("segm/AP 37.1, best 37.1")
    earlier = [
        {"iteration": 4, "total_loss": 3.0, "rpn/num_pos_anchors": 9.0},
        {"iteration": 9, "segm/AP": 37.31, "bbox/AP": 50.0},
        {"iteration": 14, "segm/AP": float("nan")},
        {"segm/AP": 31.0},  # an evaluation without training
    ]
    line = line_at(19, caplog, results=results, earlier=earlier)
    assert line.endswith("segm/AP 37.1, best 37.3")


def test_of_a_loss_the_least_is_best(caplog):
    results = {"segm/AP": 37.12, "validation/total_loss": 1.5}
    earlier = [{"iteration": 9, "validation/total_loss": 1.25}]
    best = BestValue("validation/total_loss")
    line = line_at(19, caplog, best=best, earlier=earlier, results=results)
    assert line.endswith("validation/total_loss 1.5, best 1.25")


def test_what_models_say_of_themselves_is_no_result(caplog):
    assert line_at(19, caplog, **{"rpn/num_pos_anchors": 9.0}) == (
        "iteration 20/100: total_loss 1.25, mask 0.75"
    )


def test_a_result_that_is_no_number_is_not_shown_as_the_best(caplog):
    assert "AP" not in line_at(19, caplog, results={"segm/AP": float("nan")})


def test_in_a_terminal_the_log_file_gets_lines_and_the_terminal_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    handlers = [logging.StreamHandler(terminal), logging.StreamHandler(file)]
    logger = logging.getLogger("segtron")
    for handler in handlers:
        logger.addHandler(handler)
    writer = ProgressWriter(max_iter=100, images_per_batch=4)
    try:
        with EventStorage(49) as storage:
            storage.put_scalars(**LOSSES)
            writer.write()
            writer.close()
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
    assert file.getvalue() == "iteration 50/100: total_loss 1.25, mask 0.75\n"
    shown = terminal.getvalue().split("\r")[-1]
    assert shown.startswith(" 50% |")
    assert "50/100 total_loss 1.25 · mask 0.75" in shown
    assert "iteration" not in terminal.getvalue()
