"""MODEL.COMPILE: the same model, in training and in evaluation."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn

from segtron.config import get_default_config
from segtron.modeling.build import build_model, compile_parts


@pytest.fixture(autouse=True)
def traced_only(monkeypatch: pytest.MonkeyPatch):
    """What is traced, forward and backward, runs as it is: generating code of it takes a minute,
    and a compiler."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    yield
    torch.compiler.reset()


def unet(has_checkpoints: bool) -> nn.Module:
    cfg = get_default_config()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    cfg.MODEL.BACKBONE.NAME = "UNetEncoder"
    cfg.MODEL.UNET_ENCODER.CHANNELS = [4, 8]
    cfg.MODEL.SEM_SEG_HEAD.NAME = "UNetHead"
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["enc1", "enc2"]
    cfg.MODEL.SEM_SEG_HEAD.COMMON_STRIDE = 1
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 4
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.MODEL.ACTIVATION_CHECKPOINTING = has_checkpoints
    torch.manual_seed(0)
    return build_model(cfg)


def batch(seed: int, size: tuple[int, int] = (32, 48)) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8),
            "sem_seg": torch.randint(3, size, generator=generator),
        }
        for _ in range(2)
    ]


def train(model: nn.Module, images: list[dict]) -> dict[str, torch.Tensor]:
    """Loss, gradients and, after the step, the statistics of batch norms."""
    model.train()
    (loss,) = model(images).values()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"loss": loss.detach(), **gradients, **dict(model.named_buffers())}


def predict(model: nn.Module, images: list[dict]) -> list[torch.Tensor]:
    model.eval()
    with torch.no_grad():
        return [output["sem_seg"] for output in model(images)]


@pytest.mark.parametrize("has_checkpoints", [False, True])
def test_a_compiled_model_trains_and_predicts_alike(has_checkpoints: bool) -> None:
    """In turns, and images of another size, too."""
    plain = unet(has_checkpoints)
    compiled = copy.deepcopy(plain)
    compile_parts(compiled)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    for seed in range(2):
        # One that a batch norm counts twice would differ by as much as a batch does.
        torch.testing.assert_close(
            train(compiled, batch(seed)), train(plain, batch(seed)), rtol=1e-4, atol=1e-5
        )
        other = batch(seed + 2, size=(32, 32))
        torch.testing.assert_close(
            predict(compiled, other), predict(plain, other), rtol=1e-4, atol=1e-5
        )
