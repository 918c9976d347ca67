"""Checkpoints: what is loaded, what is refused and in which words, and how they are written."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from torch import nn

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.checkpoint import (
    Checkpointer,
    choose_weights,
    load_weights,
    read_checkpoint,
)


class Classifier(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.cls_score = nn.Linear(2, num_classes + 1)


class RunsCode:
    """A pickle of this makes a folder when it is loaded the usual way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def saved(path: Path, content: Any) -> Path:
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    source, target = Classifier(3), Classifier(3)
    Checkpointer(source, str(tmp_path)).save("model_final", iteration=7)
    checkpointer = Checkpointer(target, str(tmp_path))
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "model_final.pth")
    assert checkpointer.load(checkpointer.get_checkpoint_file())["iteration"] == 7
    torch.testing.assert_close(target.state_dict(), source.state_dict(), rtol=0, atol=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last_checkpoint", "model_final.pth"]


def test_a_failed_save_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpointer = Checkpointer(Classifier(3), str(tmp_path))
    checkpointer.save("model")
    before = (tmp_path / "model.pth").read_bytes()

    def full_disk(content: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        checkpointer.save("model")
    assert (tmp_path / "model.pth").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last_checkpoint", "model.pth"]


def test_other_class_counts_are_refused_or_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = Classifier(8), Classifier(3)
    path = str(saved(tmp_path / "a.pth", {"model": source.state_dict()}))
    with pytest.raises(UserError, match="for 8 classes, the config is for 3"):
        load_weights(target, path, strict=True)
    before = target.cls_score.weight.clone()
    with caplog.at_level("WARNING"):
        load_weights(target, path, strict=False)
    assert "cls_score.weight" in caplog.text
    torch.testing.assert_close(target.body.weight, source.body.weight)
    torch.testing.assert_close(target.cls_score.weight, before)


def test_missing_tensors_are_refused_or_kept(tmp_path: Path) -> None:
    source, target = Classifier(3), Classifier(3)
    path = str(saved(tmp_path / "a.pth", {"body.weight": source.body.weight.data}))
    with pytest.raises(UserError, match="lack 3 of the model's tensors"):
        load_weights(target, path, strict=True)
    load_weights(target, path, strict=False)
    torch.testing.assert_close(target.body.weight, source.body.weight)


def test_a_model_zoo_pickle_is_matched_by_name(tmp_path: Path) -> None:
    target = Classifier(3)
    arrays = {name: value.numpy() + 1 for name, value in target.state_dict().items()}
    content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
    load_weights(target, str(saved(tmp_path / "zoo.pkl", content)), strict=True)
    np.testing.assert_array_equal(target.body.weight.detach(), arrays["body.weight"])


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = str(saved(tmp_path / "a.pth", {"model": {"other": torch.zeros(2)}}))
    with pytest.raises(UserError, match="no tensor in common"):
        load_weights(Classifier(3), path, strict=False)


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_a_checkpoint_runs_no_code(tmp_path: Path, suffix: str) -> None:
    made = tmp_path / "made"
    path = saved(tmp_path / f"evil{suffix}", {"model": RunsCode(made)})
    with pytest.raises(UserError, match="cannot|can't|safely"):
        read_checkpoint(path)
    assert not made.exists()


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no zip", b"\x80\x04"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(path) in str(error.value)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"model": Classifier(3).state_dict()})
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError):
        read_checkpoint(path)


def test_other_archives_and_contents_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.pth"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "no model")
    for path in (
        archive,
        saved(tmp_path / "b.pth", [1, 2]),
        saved(tmp_path / "c.pth", {"model": 3}),
        saved(tmp_path / "d.pkl", {"a": "b"}),
    ):
        with pytest.raises(UserError):
            read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.pth does not exist"):
        load_weights(Classifier(3), str(tmp_path / "gone.pth"), strict=True)


@pytest.fixture
def cfg(tmp_path: Path) -> CfgNode:
    cfg = get_default_config()
    cfg.OUTPUT_DIR = str(tmp_path)
    return cfg


def test_weights_to_score_with(cfg: CfgNode, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weights"):
        choose_weights(cfg)
    cfg.MODEL.WEIGHTS = "start.pkl"
    assert choose_weights(cfg) == "start.pkl"
    (tmp_path / "model_final.pth").touch()
    assert choose_weights(cfg) == str(tmp_path / "model_final.pth")
    assert choose_weights(cfg, ["MODEL.WEIGHTS", "start.pkl"]) == "start.pkl"


def test_the_last_checkpoint_of_an_unfinished_training_counts(cfg: CfgNode, tmp_path: Path) -> None:
    cfg.MODEL.WEIGHTS = "start.pkl"
    for name in ("model_final.pth", "model_0000099.pth"):
        (tmp_path / name).touch()
    (tmp_path / "last_checkpoint").write_text("model_0000099.pth")
    assert choose_weights(cfg) == str(tmp_path / "model_0000099.pth")
    # The marker names a file in the same folder, and no other.
    (tmp_path / "last_checkpoint").write_text("../elsewhere/model_0000099.pth")
    assert choose_weights(cfg) == str(tmp_path / "model_0000099.pth")
    (tmp_path / "model_0000099.pth").unlink()
    assert choose_weights(cfg) == str(tmp_path / "model_final.pth")


def test_a_checkpoint_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"model": Classifier(5).state_dict()})
    with pytest.raises(UserError, match=r"a\.pth: "):
        Checkpointer(Classifier(3)).load(str(path))
