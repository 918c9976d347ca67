"""Which numbers are asked for, and which a device gives."""

import pytest
import torch

from segtron.config import get_default_config
from segtron.errors import UserError
from segtron.modeling.precision import PRECISIONS, resolve_precision, training_precision

CPU = torch.device("cpu")
GPU = torch.device("cuda", 1)


@pytest.fixture
def cpu(monkeypatch):
    """Sets what the CPU says of itself."""

    def set_capabilities(**able):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)

    return set_capabilities


@pytest.fixture
def gpu(monkeypatch):
    """Sets the compute capability of the second GPU, and of no other."""

    def set_capability(*capability):
        monkeypatch.setattr(torch.cuda, "get_device_capability", {GPU: capability}.__getitem__)
        monkeypatch.setattr(torch.cuda, "get_device_name", {GPU: "Tesla T4"}.__getitem__)

    return set_capability


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, torch.float32),
        ({"architecture": "aarch64"}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_on_a_cpu(cpu, able, expected):
    cpu(**able)
    assert resolve_precision("TEST.PRECISION", "auto", CPU) == expected


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((8, 9), torch.bfloat16),
        ((9, 0), torch.bfloat16),
        ((12, 1), torch.bfloat16),
    ],
)
def test_auto_on_a_gpu(cpu, gpu, capability, expected):
    cpu(avx512_bf16=expected == torch.float16)  # what the CPU can do is no matter
    gpu(*capability)
    assert resolve_precision("TEST.PRECISION", "auto", GPU) == expected


def test_auto_on_another_device(cpu):
    cpu(avx512_bf16=True)
    assert resolve_precision("TEST.PRECISION", "auto", torch.device("meta")) == torch.float32


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_what_is_named_is_taken(cpu, gpu, name):
    cpu()  # any CPU can compute with it, if slowly
    assert resolve_precision("TEST.PRECISION", name, CPU) == getattr(torch, name)
    gpu(8, 0)
    assert resolve_precision("TEST.PRECISION", name, GPU) == getattr(torch, name)
    assert name in PRECISIONS


def test_a_gpu_without_bfloat16(gpu):
    gpu(7, 5)
    for name in ("float32", "float16"):
        assert resolve_precision("TEST.PRECISION", name, GPU) == getattr(torch, name)
    with pytest.raises(UserError) as caught:
        resolve_precision("TEST.PRECISION", "bfloat16", GPU)
    assert str(caught.value) == (
        "TEST.PRECISION is bfloat16, which Tesla T4 can't compute (only GPUs since Ampere can); "
        "take float16 or float32"
    )


@pytest.mark.parametrize(
    ("enabled", "name", "able", "expected"),
    [
        (False, "auto", True, torch.float32),
        (False, "bfloat16", True, torch.float32),
        (True, "auto", True, torch.bfloat16),
        (True, "auto", False, torch.float32),
        (True, "bfloat16", False, torch.bfloat16),
        (True, "float16", False, torch.float16),
    ],
)
def test_of_a_training_on_a_cpu(cpu, enabled, name, able, expected):
    cpu(avx512_bf16=able)
    cfg = get_default_config()
    cfg.SOLVER.AMP.ENABLED = enabled
    cfg.SOLVER.AMP.PRECISION = name
    assert training_precision(cfg, CPU) == expected


def test_of_a_training_on_a_gpu(gpu):
    gpu(7, 5)
    cfg = get_default_config()
    cfg.SOLVER.AMP.ENABLED = True
    assert cfg.SOLVER.AMP.PRECISION == "auto"
    assert training_precision(cfg, GPU) == torch.float16
    cfg.SOLVER.AMP.PRECISION = "bfloat16"
    with pytest.raises(UserError, match=r"^SOLVER\.AMP\.PRECISION is bfloat16"):
        training_precision(cfg, GPU)
    cfg.SOLVER.AMP.ENABLED = False
    assert training_precision(cfg, GPU) == torch.float32


def test_this_machine_answers():
    assert resolve_precision("TEST.PRECISION", "auto", CPU) in (torch.float32, torch.bfloat16)
