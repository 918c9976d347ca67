"""The range test: on a parabola by its closed form, on made-up curves, and on a small model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.utils.events import get_event_storage
from PIL import Image
from torch import nn
from torch.optim import SGD

from segtron.config import get_default_config, load_config
from segtron.data.toytown import make_toytown
from segtron.engine import lr_finder
from segtron.engine.lr_finder import (
    find_learning_rate,
    plot_range_test,
    smooth,
    steepest_fall,
)
from segtron.errors import UserError

RATES = np.geomspace(1e-6, 1.0, 200)
UNET = Path(__file__).parents[2] / "configs" / "toytown" / "unet.yaml"


class Parabola:
    """Stands for a trainer: its loss is floor + w**2 / 2, with w = 1 at first."""

    def __init__(self, floor: float = 0.0, fails_at: int | None = None) -> None:
        self._weights = [nn.Parameter(torch.ones((), dtype=torch.float64)) for _ in range(2)]
        shares = zip(self._weights, (1.0, 0.25), strict=True)
        groups = [{"params": [w], "lr": 0.0, "initial_lr": share} for w, share in shares]
        self.optimizer = SGD(groups)
        self.iter = -1
        self.rates: list[list[float]] = []
        self._floor = floor
        self._fails_at = fails_at

    def run_step(self) -> None:
        if self.iter == self._fails_at:
            try:
                raise FloatingPointError("total_loss became NaN on a.png")
            except FloatingPointError as error:
                raise UserError("lower SOLVER.BASE_LR (now 1.0)") from error
        assert get_event_storage().iter == self.iter
        self.rates.append([group["lr"] for group in self.optimizer.param_groups])
        loss = self._floor + self._weights[0] ** 2 / 2
        self.optimizer.zero_grad()
        loss.backward()
        get_event_storage().put_scalar("total_loss", loss.item())
        self.optimizer.step()


@pytest.fixture
def cfg() -> CfgNode:
    return get_default_config()


def test_a_parabola_by_its_closed_form(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Parabola(floor=1.0)
    monkeypatch.setattr(lr_finder, "_build_trainer", lambda _: trainer)
    found = find_learning_rate(cfg, minimum=1e-4, maximum=100.0, steps=120)
    rates = np.geomspace(1e-4, 100.0, 120)
    weights = np.concatenate([[1.0], np.cumprod(1 - rates)])[:-1]
    n = len(found.losses)
    assert found.rates == pytest.approx(rates[:n])
    assert found.losses == pytest.approx(1 + weights[:n] ** 2 / 2)
    assert np.array(trainer.rates) == pytest.approx(np.stack([rates[:n], rates[:n] / 4], axis=1))
    # Steps of a rate above 2 lead away; the test ends once they led far enough.
    assert 2 < found.rates[-1] < 20
    assert found.smoothed[-1] > 4 * found.smoothed[12:].min()
    assert found.smoothed[-2] <= 4 * found.smoothed[12:-1].min()
    assert 0.01 < found.suggestion < 1
    assert found.base_lr == found.suggestion


def test_the_end_by_hand(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(trainer: Parabola) -> None:
        get_event_storage().put_scalar("total_loss", losses[trainer.iter])

    monkeypatch.setattr(lr_finder, "_build_trainer", lambda _: Parabola())
    monkeypatch.setattr(Parabola, "run_step", tell)
    # Of 100 steps a tenth is 10: after n sixes the average is 6 - 5 * 0.9**n, above 4 from n = 9.
    losses = 50 * [1.0] + 50 * [6.0]
    assert len(find_learning_rate(cfg, steps=100).losses) == 59
    # What the first steps see is no measure yet.
    losses = [0.1] + 99 * [1.0]
    assert len(find_learning_rate(cfg, steps=100).losses) == 100


def test_a_loss_that_is_no_number_ends_the_test(
    cfg: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lr_finder, "_build_trainer", lambda _: Parabola(1.0, fails_at=90))
    found = find_learning_rate(cfg, minimum=1e-4, maximum=1.0, steps=100)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == 90
    assert found.suggestion is not None
    monkeypatch.setattr(lr_finder, "_build_trainer", lambda _: Parabola(fails_at=7))
    found = find_learning_rate(cfg, steps=100)
    assert (len(found.losses), found.suggestion) == (7, None)
    assert "start at a smaller rate" in found.problem
    monkeypatch.setattr(lr_finder, "_build_trainer", lambda _: Parabola(fails_at=0))
    with pytest.raises(UserError, match=r"became NaN on a.png, before any step"):
        find_learning_rate(cfg, steps=100)


def test_other_errors_pass_through(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Parabola) -> None:
        raise UserError("memory is used up")

    monkeypatch.setattr(lr_finder, "_build_trainer", lambda _: Parabola())
    monkeypatch.setattr(Parabola, "run_step", fail)
    with pytest.raises(UserError, match="memory is used up"):
        find_learning_rate(cfg)


@pytest.mark.parametrize(("optimizer", "share"), [("SGD", 4.0), ("AdamW", 2.0)])
def test_base_lr_is_that_of_the_reference_batch(
    cfg: CfgNode, monkeypatch: pytest.MonkeyPatch, optimizer: str, share: float
) -> None:
    cfg.SOLVER.OPTIMIZER = optimizer
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_BATCH_SIZE = 4, 16
    monkeypatch.setattr(lr_finder, "_build_trainer", lambda _: Parabola(floor=1.0))
    found = find_learning_rate(cfg, minimum=1e-4, maximum=1.0, steps=100)
    assert found.base_lr == pytest.approx(share * found.suggestion, rel=0.06)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minimum": 0.0}, "from 0 to 1"),
        ({"minimum": 0.1, "maximum": 0.1}, "from 0.1 to 0.1"),
        ({"maximum": math.inf}, "to inf"),
        ({"maximum": math.nan}, "to nan"),
        ({"steps": 19}, "19 steps says nothing; it takes 20"),
    ],
)
def test_a_range_that_cannot_be_is_refused(cfg: CfgNode, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_learning_rate(cfg, **options)


def test_smoothing_by_hand() -> None:
    # Of 40 steps a tenth is 4, so that each value keeps three quarters of the ones before.
    expected = [8.0, (0.75 * 8 + 4) / 1.75, (0.5625 * 8 + 0.75 * 4 + 1) / 2.3125]
    assert smooth(np.array([8.0, 4.0, 1.0]), 40) == pytest.approx(expected)
    assert smooth(np.full(30, 2.5), 40) == pytest.approx(np.full(30, 2.5))
    assert smooth(np.array([]), 40).size == 0


def sigmoid_fall(center: float, noise: float, seed: int) -> np.ndarray:
    """Losses that fall from 2 to 1, fastest at the rate `center`, and shoot up at about 0.1."""
    steps_down = (np.log10(RATES) - math.log10(center)) / 0.3
    losses = 2 - 1 / (1 + np.exp(-steps_down)) + (RATES / 0.15) ** 2
    return losses * (1 + noise * np.random.default_rng(seed).standard_normal(len(RATES)))


@pytest.mark.parametrize("center", [1e-4, 1e-3, 6e-3])
@pytest.mark.parametrize(("noise", "accuracy"), [(0.0, 1.25), (0.05, 2.0), (0.1, 3.0)])
def test_the_steepest_fall_is_found(center: float, noise: float, accuracy: float) -> None:
    for seed in range(10):
        rate, problem = steepest_fall(RATES, sigmoid_fall(center, noise, seed), 200)
        assert problem == ""
        assert center / accuracy < rate < center * accuracy


def test_a_straight_fall_is_one() -> None:
    rate, problem = steepest_fall(RATES, -np.log(RATES), 200)
    assert (problem, rate is None) == ("", False)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_loss_that_never_falls_is_of_no_use(noise: float) -> None:
    rng = np.random.default_rng(5)
    for slope in (0.0, 0.05):
        levels = 2 + slope * np.arange(200)
        rates = [
            steepest_fall(RATES, levels * np.exp(noise * rng.standard_normal(200)), 200)[0]
            for _ in range(20)
        ]
        # A level loss may seem to fall once in a while.
        assert sum(rate is not None for rate in rates) <= 2


def test_a_curve_that_ended_early_is_of_no_use() -> None:
    for number in (1, 20, 21, 39):
        rate, problem = steepest_fall(RATES[:number], -np.arange(number) * 1.0, 200)
        assert rate is None
        assert "start at a smaller rate" in problem


@pytest.fixture(scope="module")
def small_cfg(tmp_path_factory: pytest.TempPathFactory) -> CfgNode:
    """A U-Net that one hardly notices, on a small toytown."""
    root = tmp_path_factory.mktemp("lr_finder")
    make_toytown(root / "toytown", train=2, val=1, size=(64, 128), seed=1)
    keys = (
        "MODEL.DEVICE cpu MODEL.UNET_ENCODER.CHANNELS [4,8] MODEL.SEM_SEG_HEAD.CONVS_DIM 4 "
        "MODEL.SEM_SEG_HEAD.IN_FEATURES ['enc1','enc2'] DATALOADER.NUM_WORKERS 0 "
        "INPUT.MIN_SIZE_TRAIN (64,64) INPUT.CROP.SIZE [32,32] SOLVER.IMS_PER_BATCH 2 "
        "MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA inverse_log SOLVER.BASE_LR_END 0.0001 "
        "TEST.EARLY_STOPPING.PATIENCE 3 TEST.EVAL_PERIOD 10 SOLVER.EMA.ENABLED True"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        return load_config(UNET, [*keys.split(), "OUTPUT_DIR", str(root / "out")])


def test_a_model_is_tested_and_nothing_is_written(
    small_cfg: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output_dir = Path(small_cfg.OUTPUT_DIR)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(output_dir.parent))
    monkeypatch.chdir(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in output_dir.parent.rglob("*")}
    first, second = (find_learning_rate(small_cfg, steps=20) for _ in range(2))
    assert first.losses.tolist() == second.losses.tolist()  # small_cfg has a SEED
    assert len(first.losses) == 20
    assert np.isfinite(first.losses).all()
    assert {path: path.stat().st_mtime_ns for path in output_dir.parent.rglob("*")} == files
    assert not list(tmp_path.iterdir())

    json.dumps(first.as_json(), allow_nan=False)
    plot_range_test(first, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (1200, 672)
        assert len(image.convert("L").getcolors()) > 20


def test_any_curve_can_be_drawn(
    cfg: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fails_at in (1, 5):
        monkeypatch.setattr(lr_finder, "_build_trainer", lambda _, n=fails_at: Parabola(fails_at=n))
        found = find_learning_rate(cfg)
        plot_range_test(found, tmp_path / f"{fails_at}.png")
        assert json.loads(json.dumps(found.as_json()))["suggestion"] is None
    assert len(list(tmp_path.iterdir())) == 2
