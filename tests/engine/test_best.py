"""What is better than what, what is kept of it, and when a training has had enough."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.engine import TrainerBase

from segtron.config import get_default_config
from segtron.engine import best
from segtron.engine.best import (
    BestCheckpoint,
    BestValue,
    EarlyStopping,
    build_best_checkpoint,
    build_early_stopping,
    main_metric,
)
from segtron.errors import UserError
from segtron.modeling.checkpoint import last_checkpoint, read_checkpoint

NAN, INF = math.nan, math.inf


def improvements(values, metric="segm/AP", **options):
    """Which of the values are better than all before."""
    value = BestValue(metric, **options)
    return [i for i, v in enumerate(values) if value.update(i, {metric: v})]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 3.0, 2.0, 4.0], [0, 1, 3]),
        ([1.0, 1.0, 1.0], [0]),  # of equal ones the earlier stays
        ([NAN, 1.0, NAN, 2.0], [1, 3]),
        ([NAN, NAN], []),
        ([INF, 1.0, -INF], [1]),
        ([-2.0, -1.0], [0, 1]),
        ([0.0, 0.0], [0]),
    ],
)
def test_scores_are_better_the_higher(values, expected):
    assert improvements(values) == expected


@pytest.mark.parametrize(
    "metric",
    ["validation/total_loss", "town/validation/loss_mask", "total_loss", "ema/validation/other"],
)
def test_losses_are_better_the_lower(metric):
    assert improvements([3.0, 4.0, 2.0, 2.0, NAN, -1.0], metric) == [0, 2, 5]


@pytest.mark.parametrize("metric", ["segm/AP-lossy", "bbox/AP50", "my/error", "loss_maker/AP"])
def test_all_else_is_no_loss(metric):
    assert improvements([3.0, 4.0, 2.0], metric) == [0, 1]


def test_the_mode_can_be_given():
    assert improvements([3.0, 4.0, 2.0], "my/error", mode="min") == [0, 2]
    assert improvements([3.0, 4.0, 2.0], "my/loss", mode="max") == [0, 1]


def test_little_gains_do_not_count_and_do_not_move_the_mark():
    # 1.5 and 2.0 are no more than 1 above 1.0; 2.25 is, though 0.25 above the one before.
    assert improvements([1.0, 1.5, 2.0, 2.25, 3.25], min_delta=1.0) == [0, 3]
    assert improvements([4.0, 3.5, 2.5], "total_loss", min_delta=1.0) == [0, 2]


def test_an_unknown_metric_is_told_what_there_is():
    results = {"bbox/AP": 1.0, "segm/AP": 2.0, "segm/AP-car": 3.0, "segm/AP-bus": 3.0}
    said = (
        r"TEST.BEST.METRIC is segm/AP5, which the evaluation does not give; did you mean "
        r"segm/AP\? It gives bbox/AP, segm/AP, and those of single classes, such as segm/AP-car$"
    )
    with pytest.raises(UserError, match=said):
        BestValue("segm/AP5", key="TEST.BEST.METRIC").update(0, results)
    with pytest.raises(UserError, match="give; it gives bbox/AP$"):
        BestValue("xyz/q").update(0, {"bbox/AP": 1.0})


def test_a_metric_that_is_missing_later_is_not_better():
    value = BestValue("segm/AP")
    assert value.update(0, {"segm/AP": 1.0})
    assert not value.update(1, {"bbox/AP": 9.0})
    assert (value.value, value.iteration) == (1.0, 0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["bbox/AP", "segm/AP", "segm/AP50"], "segm/AP"),
        (["segm/AP", "sem_seg/mIoU", "panoptic_seg/PQ"], "panoptic_seg/PQ"),
        (["cityscapes_segm/AP", "sem_seg/mIoU", "ema/panoptic_seg/PQ"], "sem_seg/mIoU"),
        (["bbox/AP-a/b", "bbox/AP"], "bbox/AP"),
        # the first set that has one
        (["a/my/x", "b/bbox/AP", "b/segm/AP", "c/panoptic_seg/PQ"], "b/segm/AP"),
        (["my/x", "total"], "my/x"),
    ],
)
def test_the_main_metric(names, expected):
    assert main_metric(dict.fromkeys(names, 1.0)) == expected


def test_the_first_set_is_meant_where_none_is_named():
    results = {"a/cityscapes_segm/AP": 1.0, "a/segm/AP": 2.0, "b/segm/AP": 3.0}
    value = BestValue("segm/AP")
    value.update(0, results)
    assert value.metric == "a/segm/AP"
    value = BestValue("b/segm/AP")
    value.update(0, results)
    assert value.value == 3.0


class Evaluations(TrainerBase):
    """A trainer that only evaluates: every second iteration, by a list of results."""

    def __init__(self, *hooks, results):
        super().__init__()
        self._results = results
        self.stopped = {}
        self.register_hooks([*hooks])
        self._latest = None

    def run_step(self):
        if self.iter % 2:
            self._latest = (self.iter, self._results[self.iter // 2])

    def latest_results(self):
        return self._latest

    def stop_training(self, reason):
        self.stopped[self.iter] = reason


def scores(*values, metric="segm/AP"):
    return [{metric: value} for value in values]


def weights_by_number():
    """Other weights with each call, and what they are wanted for."""
    calls = []

    def weights(metric):
        calls.append(metric)
        return {"w": torch.tensor([float(len(calls))])}

    return weights, calls


def test_the_best_weights_are_kept(tmp_path, caplog):
    weights, calls = weights_by_number()
    hook = BestCheckpoint(tmp_path, weights, BestValue("segm/AP"))
    trainer = Evaluations(hook, results=scores(35.0, 36.25, 36.0, 37.125, 37.125))
    with caplog.at_level(logging.INFO, best.__name__):
        trainer.train(0, 10)
    assert caplog.messages == [
        "segm/AP 35 after 2 iterations is the best so far (before: none)",
        "segm/AP 36.25 after 4 iterations is the best so far (before: 35 after 2 iterations)",
        "segm/AP 37.12 after 8 iterations is the best so far (before: 36.25 after 4 iterations)",
    ]
    # Each evaluation was looked at once, though each step asks.
    assert calls == ["segm/AP"] * 3
    content = read_checkpoint(tmp_path / "model_best.pth")
    assert content["model"]["w"].tolist() == [3.0]
    assert (content["metric"], content["value"], content["iteration"]) == ("segm/AP", 37.125, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["model_best.pth"]
    # A training is not resumed from it.
    assert last_checkpoint(tmp_path) is None


def test_the_evaluation_after_the_last_step_counts(tmp_path):
    hook = BestCheckpoint(tmp_path, weights_by_number()[0], BestValue())
    hook.trainer = SimpleNamespace(latest_results=lambda: (9, {"segm/AP": 1.0}))
    hook.after_train()
    assert (tmp_path / "model_best.pth").exists()


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(best.comm, "is_main_process", lambda: False)
    hook = BestCheckpoint(tmp_path, weights_by_number()[0], BestValue())
    Evaluations(hook, results=scores(1.0)).train(0, 2)
    assert hook.state_dict()["best"]["value"] == 1.0
    assert not list(tmp_path.iterdir())


def test_sets_without_results_are_passed_over(tmp_path):
    hook = BestCheckpoint(tmp_path, weights_by_number()[0], BestValue("segm/AP"))
    Evaluations(hook, results=[{}, {"segm/AP": 1.0}]).train(0, 4)
    assert hook.state_dict()["best"] == {"metric": "segm/AP", "value": 1.0, "iteration": 3}


def through_a_checkpoint(trainer, path):
    """Its state, as it comes back from a file."""
    torch.save({"trainer": trainer.state_dict()}, path)
    return torch.load(path, weights_only=True)["trainer"]


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_resumed_training_goes_on_from_the_best_value(tmp_path, cut):
    results = scores(NAN, 36.0, 35.0, 36.0, 36.5)

    def training(folder):
        weights, _ = weights_by_number()
        hooks = (
            BestCheckpoint(folder, weights, BestValue("segm/AP")),
            EarlyStopping(BestValue("segm/AP"), 2),
        )
        return Evaluations(*hooks, results=results)

    whole = training(tmp_path / "whole")
    whole.train(0, 10)
    first = training(tmp_path / "parts")
    first.train(0, cut)
    first.iter -= 1  # the last iteration that was trained
    resumed = training(tmp_path / "parts")
    resumed.load_state_dict(through_a_checkpoint(first, tmp_path / "checkpoint.pth"))
    # As where the results come back, too: they are not counted again.
    resumed._latest = first._latest
    resumed.train(cut, 10)
    for mine, theirs in zip(resumed._hooks, whole._hooks, strict=True):
        assert mine.state_dict() == theirs.state_dict()
    # One that was stopped says so again.
    assert {*first.stopped.values(), *resumed.stopped.values()} == {*whole.stopped.values()}


def test_another_metric_starts_anew(tmp_path, caplog):
    results = [{"segm/AP": 50.0, "bbox/AP": 10.0}]
    hook = BestCheckpoint(tmp_path, weights_by_number()[0], BestValue("segm/AP"))
    Evaluations(hook, results=results).train(0, 2)
    other = BestCheckpoint(tmp_path, weights_by_number()[0], BestValue("bbox/AP"))
    other.load_state_dict(hook.state_dict())
    with caplog.at_level(logging.INFO, best.__name__):
        Evaluations(other, results=results * 2).train(2, 4)
    assert other.state_dict()["best"] == {"metric": "bbox/AP", "value": 10.0, "iteration": 3}
    assert caplog.messages == [
        "So far segm/AP said what is best, from now on bbox/AP does: its best value starts anew.",
        "bbox/AP 10 after 4 iterations is the best so far (before: none)",
    ]


@pytest.mark.parametrize(
    ("values", "patience", "stops"),
    [
        ([1, 2, 3, 4, 5, 6], 1, []),
        ([1, 1, 2, 1, 1, 1], 2, [9, 11]),
        ([1, NAN, NAN, 2, NAN, 1], 3, []),
        ([NAN, NAN, NAN, 1, 2, 3], 3, [5]),
        ([3, 2, 1, 4, 3, 2], 2, [5, 11]),
    ],
)
def test_patience(values, patience, stops):
    """The trainer here goes on all the same."""
    results = scores(*values, metric="x/y")
    trainer = Evaluations(EarlyStopping(BestValue("x/y"), patience), results=results)
    trainer.train(0, 12)
    assert list(trainer.stopped) == stops


def test_a_hook_has_to_say_what_it_does_with_results():
    (base,) = EarlyStopping.__bases__
    with pytest.raises(TypeError, match="_look"):
        base(BestValue())


def test_the_reason_is_said():
    trainer = Evaluations(EarlyStopping(BestValue(), 2), results=scores(36.2, 36.1, 36.0))
    trainer.train(0, 6)
    assert trainer.stopped == {
        5: "segm/AP has not got better in 2 evaluations (best: 36.2 after 2 iterations)"
    }


def test_one_is_no_plural():
    best = BestValue()
    best.update(0, {"segm/AP": 36.2})
    trainer = Evaluations(EarlyStopping(best, 1), results=scores(36.1))
    trainer.train(0, 2)
    assert trainer.stopped == {
        1: "segm/AP has not got better in 1 evaluation (best: 36.2 after 1 iteration)"
    }


def test_a_training_that_was_stopped_does_not_go_on():
    """It may have been killed just after its last checkpoint."""
    stopped = Evaluations(EarlyStopping(BestValue(), 1), results=scores(2.0, 1.0))
    stopped.train(0, 4)
    resumed = Evaluations(EarlyStopping(BestValue(), 1), results=[])
    resumed.load_state_dict(stopped.state_dict())
    resumed.train(4, 4)
    assert list(resumed.stopped) == [4]
    patient = Evaluations(EarlyStopping(BestValue(), 2), results=[])
    patient.load_state_dict(stopped.state_dict())
    patient.train(4, 4)
    assert not patient.stopped


def config(**changes):
    """Segtron's defaults with the keys that this module wants; `__` for a dot below TEST."""
    cfg = get_default_config()
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.DATASETS.TEST = ("town",)
    cfg.TEST.EVAL_PERIOD = 100
    cfg.TEST.VALIDATION_LOSS = False
    cfg.TEST.BEST = CfgNode({"ENABLED": True, "METRIC": "", "MODE": ""})
    cfg.TEST.EARLY_STOPPING = CfgNode({"PATIENCE": 0, "METRIC": "", "MODE": "", "MIN_DELTA": 0.0})
    for key, value in changes.items():
        group, _, key = key.rpartition("__")
        (cfg.TEST[group] if group else cfg.TEST)[key] = value
    return cfg


def test_what_the_keys_give(tmp_path):
    hook = build_best_checkpoint(config(), lambda metric: {})
    assert isinstance(hook, BestCheckpoint)
    assert build_early_stopping(config()) is None
    assert isinstance(build_early_stopping(config(EARLY_STOPPING__PATIENCE=1)), EarlyStopping)
    assert build_best_checkpoint(config(BEST__ENABLED=False), lambda metric: {}) is None
    # The only evaluation would be that of the final checkpoint.
    assert build_best_checkpoint(config(EVAL_PERIOD=0), lambda metric: {}) is None
    without = config()
    without.DATASETS.TEST = ()
    assert build_best_checkpoint(without, lambda metric: {}) is None


def stops_of(cfg, results):
    trainer = Evaluations(build_early_stopping(cfg), results=results)
    trainer.train(0, 2 * len(results))
    return list(trainer.stopped)


def test_early_stopping_goes_by_the_best_ones_metric_or_its_own():
    results = [{"segm/AP": float(i), "bbox/AP": -float(i), "my/x": -float(i)} for i in range(3)]
    patience = {"EARLY_STOPPING__PATIENCE": 2}
    assert stops_of(config(**patience), results) == []
    assert stops_of(config(BEST__METRIC="bbox/AP", **patience), results) == [5]
    by_own = config(BEST__METRIC="bbox/AP", EARLY_STOPPING__METRIC="segm/AP", **patience)
    assert stops_of(by_own, results) == []
    lower = config(BEST__METRIC="my/x", BEST__MODE="min", **patience)
    assert stops_of(lower, results) == []
    assert stops_of(config(EARLY_STOPPING__MIN_DELTA=2.0, **patience), results) == [5]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"BEST__METRIC": "AP"}, "TEST.BEST.METRIC is 'AP'; it must name a result"),
        ({"BEST__METRIC": "validation/total_loss"}, "set TEST.VALIDATION_LOSS True"),
        ({"BEST__METRIC": "panoptic_seg/PQ"}, "a GeneralizedRCNN gives no panoptic_seg to be"),
        ({"BEST__METRIC": "ema/sem_seg/mIoU"}, "a GeneralizedRCNN gives no sem_seg to be scored"),
        ({"BEST__MODE": "up"}, "TEST.BEST.MODE is 'up'; known: max, min, or empty"),
        ({"EARLY_STOPPING__PATIENCE": -1}, "PATIENCE is -1; it must be a number of evaluations"),
        ({"EARLY_STOPPING__MIN_DELTA": -0.5}, "MIN_DELTA is -0.5; it must be 0 or more"),
        ({"EARLY_STOPPING__MIN_DELTA": NAN}, "MIN_DELTA is nan; it must be 0 or more"),
        (
            {"EARLY_STOPPING__PATIENCE": 3, "EVAL_PERIOD": 0},
            "PATIENCE is 3, but nothing is evaluated during the training; give DATASETS.TEST",
        ),
        (
            {"EARLY_STOPPING__METRIC": "AP"},
            "TEST.EARLY_STOPPING.METRIC is 'AP'; it must name a result",
        ),
    ],
)
def test_mistakes_are_told_before_the_training(changes, said):
    cfg = config(**changes)
    with pytest.raises(UserError, match=said):
        build_best_checkpoint(cfg, lambda metric: {})
        build_early_stopping(cfg)


def test_names_that_may_come_are_accepted():
    for metric in ("town/segm/AP", "ema/segm/AP", "segm/AP-a/b", "my_task/score"):
        assert build_best_checkpoint(config(BEST__METRIC=metric), lambda metric: {})
    losses = config(BEST__METRIC="town/validation/total_loss", VALIDATION_LOSS=True)
    assert build_best_checkpoint(losses, lambda metric: {})
