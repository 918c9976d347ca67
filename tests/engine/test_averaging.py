"""Averages of checkpoints: by hand, and which ones are taken."""

from __future__ import annotations

import logging
import os

import pytest
import torch
from torch import nn

from segtron.engine import averaging
from segtron.engine.averaging import average_checkpoints, write_average
from segtron.errors import UserError
from segtron.modeling.checkpoint import read_checkpoint


def save(path, iteration=None, **weights):
    content = {"model": weights}
    if iteration is not None:
        content["iteration"] = iteration
    torch.save(content, path)
    return path


def value(number):
    return {"w": torch.tensor([float(number)])}


def test_floats_are_averaged_and_counts_are_the_last_ones(tmp_path):
    paths = [
        save(
            tmp_path / f"{i}.pth",
            w=torch.tensor([[1.0, 4.0]]) * i,
            half=torch.tensor(i, dtype=torch.float16),
            brain=torch.tensor(2.0 * i, dtype=torch.bfloat16),
            count=torch.tensor(10 * i),
            flag=torch.tensor([i > 2]),
        )
        for i in (1, 2, 6)
    ]
    found = average_checkpoints(paths)
    assert list(found) == ["w", "half", "brain", "count", "flag"]
    assert found["w"].tolist() == [[3.0, 12.0]]
    assert found["w"].dtype == torch.float32
    assert (found["half"].item(), found["half"].dtype) == (3.0, torch.float16)
    assert (found["brain"].item(), found["brain"].dtype) == (6.0, torch.bfloat16)
    assert (found["count"].item(), found["count"].dtype) == (60, torch.int64)
    assert found["flag"].tolist() == [True]


def test_sums_keep_what_half_floats_would_lose(tmp_path):
    """2048 + 1 is 2048 in half floats, and sums above 65504 are infinite."""
    halves = [2048.0, 1.0, 1.0, 2.0]
    paths = [
        save(
            tmp_path / f"{i}.pth",
            small=torch.tensor(v, dtype=torch.float16),
            large=torch.tensor(60000.0, dtype=torch.float16),
        )
        for i, v in enumerate(halves)
    ]
    found = average_checkpoints(paths)
    assert found["small"].item() == 513.0
    assert found["large"].item() == 60000.0


def test_one_is_its_own_average(tmp_path):
    weights = nn.BatchNorm2d(3).state_dict()
    path = save(tmp_path / "a.pth", **weights)
    torch.testing.assert_close(average_checkpoints([path]), dict(weights), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"w": torch.zeros(3)}, r"w is \(2,\) float32 in the one and \(3,\) float32 in the other"),
        ({"w": torch.zeros(2, dtype=torch.int64)}, r"w is \(2,\) float32 in .* \(2,\) int64 in"),
        ({"w": torch.zeros(2), "extra": torch.zeros(1)}, "extra is in b.pth only"),
        ({}, "w is in a.pth only"),
    ],
)
def test_what_differs_is_refused(tmp_path, other, said):
    paths = [save(tmp_path / "a.pth", w=torch.zeros(2)), save(tmp_path / "b.pth", **other)]
    with pytest.raises(UserError, match=rf"cannot average .*a\.pth and .*b\.pth: {said}"):
        average_checkpoints(paths)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    path = save(tmp_path / "a.pth", w=torch.zeros(2))
    broken = tmp_path / "b.pth"
    broken.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"b\.pth is not a checkpoint"):
        average_checkpoints([path, broken])


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"model": {"w": torch.zeros(1)}, "evil": Evil()}, tmp_path / "model_0000001.pth")
    with pytest.raises(UserError, match=r"model_0000001\.pth is not a checkpoint"):
        write_average(tmp_path, 1)
    assert not (tmp_path / "ran").exists()


def periodic(folder, *iterations):
    for iteration in iterations:
        save(folder / f"model_{iteration:07d}.pth", iteration, **value(iteration))


def averaged(folder, count):
    content = read_checkpoint(write_average(folder, count))
    assert content["model"]["w"].item() == pytest.approx(
        sum(read_checkpoint(folder / name)["model"]["w"].item() for name in content["averaged"])
        / len(content["averaged"])
    )
    return content["averaged"]


def test_the_last_ones_are_taken(tmp_path):
    periodic(tmp_path, 9, 99, 999, 10000)
    for other in ("model_best.pth", "model_final_ema.pth", "model_0001999_ema.pth"):
        save(tmp_path / other, **value(-1000))
    assert averaged(tmp_path, 2) == ["model_0000999.pth", "model_0010000.pth"]
    assert averaged(tmp_path, 4)[0] == "model_0000009.pth"
    assert (tmp_path / "model_average.pth").is_file()
    assert not (tmp_path / "last_checkpoint").exists()


def test_the_final_one_is_the_last(tmp_path):
    periodic(tmp_path, 3, 6)
    save(tmp_path / "model_final.pth", 8, **value(8))
    assert averaged(tmp_path, 2) == ["model_0000006.pth", "model_final.pth"]


def test_the_same_weights_count_once(tmp_path):
    periodic(tmp_path, 3, 6, 9)
    save(tmp_path / "model_final.pth", 9, **value(9))
    names = ["model_0000003.pth", "model_0000006.pth", "model_final.pth"]
    assert averaged(tmp_path, 3) == names


def test_later_iterations_are_another_trainings(tmp_path):
    periodic(tmp_path, 3, 6, 9)
    save(tmp_path / "model_final.pth", 7, **value(7))
    assert averaged(tmp_path, 2) == ["model_0000006.pth", "model_final.pth"]


def test_a_final_one_that_does_not_say_its_iteration(tmp_path):
    periodic(tmp_path, 3)
    save(tmp_path / "model_final.pth", **value(5))
    assert averaged(tmp_path, 5) == ["model_0000003.pth", "model_final.pth"]


def test_too_few_are_told(tmp_path, caplog):
    with pytest.raises(UserError, match=r"no checkpoints to average: .* holds no model_\*\.pth"):
        write_average(tmp_path, 3)
    periodic(tmp_path, 3, 6)
    with caplog.at_level(logging.INFO, averaging.__name__):
        assert averaged(tmp_path, 3) == ["model_0000003.pth", "model_0000006.pth"]
    assert "3 checkpoints should be averaged, but no more than 2 can be found" in caplog.messages[0]
    assert "is the average of model_0000003.pth, model_0000006.pth" in caplog.messages[1]
