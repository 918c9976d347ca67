from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from segtron.engine.checkpoints import Checkpoints, periodic_checkpoints, resumable_checkpoints
from segtron.engine.hooks import RecentScalars
from segtron.modeling.checkpoint import (
    Checkpointer,
    DamagedCheckpointError,
    read_checkpoint,
    write_checkpoint,
)


class FakeTrainer:
    def __init__(self, max_iter):
        self.max_iter = max_iter
        self.iter = 0
        self.is_interrupted = False


def run(folder, iterations, *, period, num_kept=0, interrupted_at=None):
    hook = Checkpoints(Checkpointer(nn.Linear(1, 1), str(folder)), period, num_kept)
    hook.trainer = trainer = FakeTrainer(iterations)
    for trainer.iter in range(iterations):
        trainer.is_interrupted = trainer.iter == interrupted_at
        hook.after_step()
        if trainer.is_interrupted:
            break
    return sorted(path.name for path in folder.glob("*.pth"))


def test_when_checkpoints_are_written(tmp_path):
    assert run(tmp_path, 7, period=3) == ["model_0000002.pth", "model_0000005.pth"] + [
        "model_final.pth"
    ]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert read_checkpoint(tmp_path / "model_0000005.pth")["iteration"] == 5


def test_the_newest_are_kept(tmp_path):
    assert run(tmp_path, 9, period=2, num_kept=2) == [
        "model_0000005.pth",
        "model_0000007.pth",
        "model_final.pth",
    ]


def test_an_interrupted_training_has_one_of_its_iteration(tmp_path):
    assert run(tmp_path, 9, period=4, interrupted_at=5) == [
        "model_0000003.pth",
        "model_0000005.pth",
    ]
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000005.pth"


def test_what_a_training_goes_on_from(tmp_path):
    assert resumable_checkpoints(tmp_path) == []
    for name in ("model_0000009.pth", "model_0000019.pth", "model_best.pth", "model_12.pth"):
        (tmp_path / name).touch()
    numbered = [tmp_path / "model_0000019.pth", tmp_path / "model_0000009.pth"]
    assert list(periodic_checkpoints(tmp_path)) == numbered
    assert resumable_checkpoints(tmp_path) == numbered  # also without a marker
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    assert resumable_checkpoints(tmp_path) == numbered[::-1]
    (tmp_path / "last_checkpoint").write_text("gone.pth")
    assert resumable_checkpoints(tmp_path) == numbered


@pytest.mark.parametrize(
    ("named", "taken"),
    [
        (b"gone.pth", "model_final.pth"),
        (b"", "model_final.pth"),
        (b"../other/model_0000009.pth", "model_0000009.pth"),
        (b"\xff\0" + b"x" * 150, "model_final.pth"),
        (b"model_0000009.pth\n", None),  # as an editor leaves it
        (b"model_final.pth", None),
    ],
)
def test_a_marker_that_names_no_checkpoint_beside_it(tmp_path, caplog, named, taken):
    for name in ("model_0000009.pth", "model_final.pth"):
        (tmp_path / name).touch()
    marker = tmp_path / "last_checkpoint"
    marker.write_bytes(named)
    first, *_ = resumable_checkpoints(tmp_path)
    if taken is None:
        assert first == tmp_path / named.decode().strip()
        assert not caplog.messages
        return
    assert first == tmp_path / taken
    (message,) = caplog.messages
    assert message.startswith(f"{marker} names {named.decode(errors='replace')[:100]!r}, which is")
    assert message.endswith(f"no checkpoint beside it; {first} is taken.")


def test_a_marker_that_is_all_there_is(tmp_path, caplog):
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    assert resumable_checkpoints(tmp_path) == []
    (message,) = caplog.messages
    assert message.endswith(
        "names 'model_final.pth', which is no checkpoint beside it; there is no other."
    )


@pytest.mark.parametrize("damage", ["cut off", "a byte", "empty", "no zip"])
def test_damage_is_noticed(tmp_path, damage):
    path = tmp_path / "model_0000001.pth"
    write_checkpoint(path, {"model": {"weight": torch.arange(10_000.0)}})
    content = bytearray(path.read_bytes())
    if damage == "cut off":
        content = content[: len(content) // 2]
    elif damage == "a byte":
        content[len(content) // 2] ^= 1
    else:
        content = b"" if damage == "empty" else b"not a checkpoint"
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match=r"model_0000001.pth"):
        read_checkpoint(path)


# A limit to the size of files can stand for a disk that is full.
FULL_DISK = """
import resource
import signal
import sys
from pathlib import Path

import torch
from segtron.errors import UserError
from segtron.modeling.checkpoint import write_checkpoint

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_checkpoint(Path(sys.argv[1]), {"model": {"weight": torch.zeros(1_000_000)}})
except UserError as error:
    print(error.sentence)
"""


def test_a_full_disk_leaves_the_last_one(tmp_path):
    path = tmp_path / "model_0000001.pth"
    write_checkpoint(path, {"model": {"weight": torch.zeros(10)}})
    # A process of its own: the limit can't be raised again.
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=120
    )
    assert f"cannot write {path}" in done.stdout, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["model_0000001.pth"]
    assert len(read_checkpoint(path)["model"]["weight"]) == 10


def test_medians_go_on_where_they_were():
    """Also of scalars that a step puts several times, or not in each iteration."""

    class Trainer:
        storage = None

    def put(storage, iteration):
        storage.iter = iteration
        storage.put_scalar("loss", float(iteration**2 % 17))
        if iteration % 3 == 0:
            storage.put_scalar("accuracy", float(iteration % 5))
            storage.put_scalar("accuracy", float(iteration % 7))
        if iteration == 10:
            storage.put_scalar("segm/AP", 12.5, smoothing_hint=False)

    with EventStorage() as whole:
        for iteration in range(50):
            put(whole, iteration)
    hook, trainer = RecentScalars(), Trainer()
    with EventStorage() as trainer.storage:
        hook.trainer = trainer
        for iteration in range(37):
            put(trainer.storage, iteration)
        state = hook.state_dict()
    hook, trainer = RecentScalars(), Trainer()
    hook.load_state_dict(state)
    with EventStorage(37) as trainer.storage:
        hook.trainer = trainer
        hook.before_train()
        assert trainer.storage.latest() == {
            "loss": (36.0**2 % 17, 36),
            "accuracy": (1.0, 36),
            "segm/AP": (12.5, 10),
        }
        for iteration in range(37, 50):
            put(trainer.storage, iteration)
    assert trainer.storage.latest_with_smoothing_hint(20) == whole.latest_with_smoothing_hint(20)
    # Nothing older than what medians look at is kept.
    assert min(at for _, at in state["loss"][0]) == 17


def test_the_state_is_data(tmp_path: Path, caplog):
    """torch reads it with nothing but its own types admitted."""
    with EventStorage() as storage:
        storage.put_scalar("loss", 1.0)
    hook = RecentScalars()
    hook.trainer = type("Trainer", (), {"storage": storage})
    with caplog.at_level(logging.INFO):
        write_checkpoint(tmp_path / "x.pth", {"model": {}, "trainer": hook.state_dict()})
    state = read_checkpoint(tmp_path / "x.pth")["trainer"]
    assert state == {"loss": ([(1.0, 0)], True)}


def test_what_a_longer_run_left_is_not_counted(tmp_path):
    """A damaged checkpoint of a later iteration, of which the training went back."""
    (tmp_path / "model_0000099.pth").write_bytes(b"damaged")
    assert run(tmp_path, 5, period=2, num_kept=1) == [
        "model_0000003.pth",
        "model_0000099.pth",
        "model_final.pth",
    ]
