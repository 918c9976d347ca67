"""Checkpoints: what is loaded, what is refused and in which words, and how they are written."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from safetensors.torch import save_file
from torch import nn

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.build import build_model
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


HEADS = {
    "SemSegFPNHead": ["MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "1"],
    "FCNHead": [],
    "UNetHead": ["MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "1"],
    "with auxiliary head": ["MODEL.SEM_SEG_HEAD.AUX.ENABLED", "True"],
}


def semantic_model(head: str, num_classes: int, *opts: str) -> nn.Module:
    cfg = get_default_config()
    cfg.merge_from_list(
        ["MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "SemanticSegmentor"]
        + ["MODEL.BACKBONE.NAME", "UNetEncoder", "MODEL.UNET_ENCODER.CHANNELS", "[4, 8]"]
        + ["MODEL.SEM_SEG_HEAD.NAME", head if head.endswith("Head") else "FCNHead"]
        + ["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['enc1', 'enc2']"]
        + ["MODEL.SEM_SEG_HEAD.AUX.IN_FEATURE", "enc1", "MODEL.SEM_SEG_HEAD.AUX.CONVS_DIM", "4"]
        + ["MODEL.SEM_SEG_HEAD.CONVS_DIM", "4", "MODEL.SEM_SEG_HEAD.NORM", "BN"]
        + ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(num_classes), *HEADS[head], *opts]
    )
    return build_model(cfg)


@pytest.mark.parametrize("head", HEADS)
def test_other_class_counts_of_semantic_heads_are_refused_or_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, head: str
) -> None:
    source, target = semantic_model(head, 19), semantic_model(head, 5)
    path = str(saved(tmp_path / "a.pth", {"model": source.state_dict()}))
    with pytest.raises(UserError, match="for 19 semantic classes, the config is for 5"):
        load_weights(target, path, strict=True)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with caplog.at_level("WARNING"):
        load_weights(target, path, strict=False)
    sources = source.state_dict()
    named = [name for name in sources if f"{name} is (19" in caplog.text]
    assert len(named) >= 2 and all("sem_seg_head" in name for name in named)
    assert "not found" not in caplog.text  # nothing is missing besides
    for name, tensor in target.state_dict().items():
        torch.testing.assert_close(tensor, (before if name in named else sources)[name])


def test_another_width_is_not_taken_for_another_class_count(tmp_path: Path) -> None:
    source = semantic_model("UNetHead", 5)
    target = semantic_model("UNetHead", 5, "MODEL.SEM_SEG_HEAD.CONVS_DIM", "8")
    path = str(saved(tmp_path / "a.pth", {"model": source.state_dict()}))
    with pytest.raises(UserError, match=r"sem_seg_head\..* in the file and .* in the model"):
        load_weights(target, path, strict=True)


def test_class_counts_of_things_and_of_stuff_are_both_named(tmp_path: Path) -> None:
    source, target = Classifier(8), Classifier(3)
    source.sem_seg_head, target.sem_seg_head = nn.Module(), nn.Module()
    source.sem_seg_head.predictor = nn.Conv2d(2, 54, 1)
    target.sem_seg_head.predictor = nn.Conv2d(2, 11, 1)
    path = str(saved(tmp_path / "a.pth", {"model": source.state_dict()}))
    with pytest.raises(UserError, match="8 classes.* is for 3; .*54 semantic classes.* is for 11"):
        load_weights(target, path, strict=True)


def test_missing_tensors_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = semantic_model("FCNHead", 5)
    target = semantic_model("with auxiliary head", 5)
    path = str(saved(tmp_path / "a.pth", {"model": source.state_dict()}))
    with caplog.at_level("WARNING"):
        load_weights(target, path, strict=False)
    named = {line for line in caplog.text.splitlines() if "auxiliary_head" in line}
    assert {name.split(".")[2] for name in named} == {"conv", "predictor"}
    torch.testing.assert_close(
        target.sem_seg_head.scores.state_dict(), source.sem_seg_head.scores.state_dict()
    )


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


def test_safetensors(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other = nn.Linear(3, 2)
    load_weights(other, str(tmp_path / "weights.safetensors"), strict=True)
    assert torch.equal(other.weight, model.weight)
    content = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(content[:-5])
    with pytest.raises(UserError, match="weights.safetensors is not a checkpoint"):
        load_weights(other, str(tmp_path / "weights.safetensors"), strict=True)


def test_an_archive_that_is_larger_than_it_looks_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(10**6)}}, tmp_path / "honest.pth")
    with (
        zipfile.ZipFile(tmp_path / "honest.pth") as honest,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in honest.infolist():
            bomb.writestr(entry.filename, honest.read(entry))
    read_checkpoint(tmp_path / "honest.pth")
    with pytest.raises(UserError, match=r"bomb.pth .* packed"):
        read_checkpoint(tmp_path / "bomb.pth")


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
