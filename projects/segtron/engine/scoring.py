"""A model run over data sets and scored, during a training or on its own."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.utils.data
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from torch import nn

from segtron.evaluation.build import build_evaluators
from segtron.modeling.inference import prepare_for_inference
from segtron.run_files import INFERENCE_FOLDER
from segtron.visualization.score_pictures import draw_scores
from segtron.wording import count_of

logger = logging.getLogger(__name__)


def inference_dir(cfg: CfgNode, dataset_name: str, folder: str = INFERENCE_FOLDER) -> Path:
    """The folder of a data set's predictions in OUTPUT_DIR."""
    return Path(cfg.OUTPUT_DIR) / folder / dataset_name


def evaluate(
    cfg: CfgNode,
    model: nn.Module,
    test_loaders: dict[str, torch.utils.data.DataLoader],
    *,
    folder: str = INFERENCE_FOLDER,
    before_batch: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Score a model on data sets, save its predictions, and log what time the model took, and what
    time the scoring.

    Args:
        cfg: the config.
        model: left in the mode that it was in.
        test_loaders: a loader for each data set's name.
        folder: of the predictions, in OUTPUT_DIR.
        before_batch: called before each batch; what it raises ends the evaluation.

    Returns:
        On the main process, metrics in percent by task and name, `{"segm": {"AP": …}}`; with
        several data sets, one such dict for each name. Elsewhere an empty dict.
    """
    model = prepare_for_inference(cfg, model)
    results = {}
    for name, loader in test_loaders.items():
        predictions_dir = inference_dir(cfg, name, folder)
        timed = TimedEvaluator(build_evaluators(cfg, name, predictions_dir), before_batch)
        results[name] = inference_on_dataset(model, loader, timed, callbacks=timed.callbacks)
        if comm.is_main_process():
            draw_scores(predictions_dir)
        timed.stop()
        logger.info("%s: %s", name, timed)
    if not comm.is_main_process():
        return {}
    return next(iter(results.values())) if len(results) == 1 else results


class TimedEvaluator(DatasetEvaluator):
    """Passes all on to an evaluator, and measures what an evaluation's time goes into.

    Attributes:
        seconds: of this process, by "loading", "inference" and "scoring".
        num_images: that this process has seen.
    """

    def __init__(
        self, evaluator: DatasetEvaluator, before_batch: Callable[[], None] = lambda: None
    ) -> None:
        """
        Args:
            evaluator: what scores.
            before_batch: called before each batch.
        """
        self._evaluator = evaluator
        self._before_batch = before_batch
        self.reset()

    @property
    def callbacks(self) -> dict[str, Callable[[], None]]:
        """For Detectron2's `inference_on_dataset`."""
        return {"before_inference": self._starts_inference}

    def reset(self) -> None:
        self._evaluator.reset()
        self.seconds = dict.fromkeys(("loading", "inference", "scoring"), 0.0)
        self.num_images = 0
        self._since = time.perf_counter()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        # Only here has a GPU finished, too.
        self._ends("inference")
        self._evaluator.process(inputs, outputs)
        self._ends("scoring")
        self.num_images += len(inputs)

    def evaluate(self) -> dict[str, Any] | None:
        self._ends("loading")
        results = self._evaluator.evaluate()
        self._ends("scoring")
        return results

    def stop(self) -> None:
        """Count what came after `evaluate` as scoring."""
        self._ends("scoring")

    def _starts_inference(self) -> None:
        self._ends("loading")
        self._before_batch()

    def _ends(self, what: str) -> None:
        now = time.perf_counter()
        self.seconds[what] += now - self._since
        self._since = now

    def __str__(self) -> str:
        parts = ", ".join(f"{what} {seconds:.1f}" for what, seconds in self.seconds.items())
        each = 1000 * self.seconds["inference"] / max(self.num_images, 1)
        return (
            f"{count_of(self.num_images, 'image')} in {sum(self.seconds.values()):.1f} s: "
            f"{parts} s; inference took {each:.0f} ms an image"
        )


def append_metrics(results: dict[str, Any], metrics_file: Path) -> None:
    """Add the results of an evaluation without training as a line to metrics.json."""
    with metrics_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(flatten_results_dict(results)) + "\n")
