"""The training path: data, model, optimizer and hooks of a config, put together and run."""

from __future__ import annotations

import copy
import itertools
import logging
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.utils.data
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, hooks, train_loop
from detectron2.evaluation import DatasetEvaluator, verify_results
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.data import build_test_loader, build_train_loader
from segtron.data.validation import build_validation_loader
from segtron.engine.averaging import AVERAGE_CHECKPOINT, write_average
from segtron.engine.best import build_best_checkpoint, build_early_stopping
from segtron.engine.checkpoints import FINAL, Checkpoints
from segtron.engine.ema import WeightAverage
from segtron.engine.hooks import CurvePlotter, Evaluation, LeaveOnNotice, RecentScalars
from segtron.engine.optimizer import build_optimizer
from segtron.engine.prediction_pictures import build_prediction_pictures
from segtron.engine.schedule import build_lr_scheduler, log_scaled_rate
from segtron.engine.scoring import evaluate, inference_dir
from segtron.engine.signals import Interrupted, StopNotice
from segtron.engine.step import TrainingStep
from segtron.engine.validation_loss import validation_results
from segtron.engine.writers import WriteEvents, build_writers, check_writers
from segtron.errors import UserError
from segtron.evaluation.build import build_evaluators
from segtron.modeling.build import build_model, compile_parts
from segtron.modeling.checkpoint import (
    Checkpointer,
    DamagedCheckpointError,
    load_weights,
    write_checkpoint,
)
from segtron.modeling.precision import training_precision
from segtron.run_files import INFERENCE_FOLDER
from segtron.wording import count_of

logger = logging.getLogger(__name__)

# Iterations between two lines of metrics.json, and between two refreshes of the live line.
_METRICS_PERIOD = 20

# Where, in OUTPUT_DIR, the predictions of averaged weights go.
AVERAGE_DIR = "inference_ema"

# Backbones whose weights come from MODEL.WEIGHTS only.
RESNETS = ("build_resnet_backbone", "build_resnet_fpn_backbone")


class Trainer(DefaultTrainer):
    """Detectron2's trainer on Segtron's data, evaluators and checkpoints, on GPUs and on CPUs.

    Building one builds the model, reads the validation data and writes nothing. Call `resume` or
    `load`, which also read the training data, then `train`: so whatever is wrong with a config
    shows before an OUTPUT_DIR is touched.

    A training that is resumed goes on as if it had not been interrupted, to the last bit where
    arithmetic is repeatable (one process on a CPU): what it draws at random follows from the seed
    and the iteration alone, and a checkpoint holds the rest.

    Attributes:
        precision: what matrix products and convolutions are computed in.
    """

    def __init__(self, cfg: CfgNode, seed: int) -> None:
        """Build everything that a training needs but its data.

        Args:
            cfg: a frozen config, its device resolved.
            seed: of the job, the same in all processes, 0 or more.

        Raises:
            UserError: data is missing or unfit.
        """
        # Not DefaultTrainer's constructor: it can't wrap a model on a CPU for several processes.
        TrainerBase.__init__(self)
        cfg = self.auto_scale_workers(cfg, comm.get_world_size())
        _check_parts(cfg)
        # Now, so that a validation set that is missing, or that nothing can score, doesn't show
        # after hours of training.
        self.test_loaders = {name: self.build_test_loader(cfg, name) for name in cfg.DATASETS.TEST}
        for name in cfg.DATASETS.TEST:
            self.build_evaluator(cfg, name)
        check_writers(cfg.LOG.WRITERS)
        self.validation_loaders = (
            {name: build_validation_loader(cfg, name) for name in cfg.DATASETS.TEST}
            if cfg.TEST.VALIDATION_LOSS
            else {}
        )
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        if cfg.MODEL.COMPILE:
            compile_parts(model)
        self.precision = training_precision(cfg, torch.device(cfg.MODEL.DEVICE))
        self._notice = StopNotice()
        self._trainer = TrainingStep(
            _distribute(model),
            (),  # the data comes when it is known with which batch it starts
            optimizer,
            seed=seed,
            precision=self.precision,
            num_parts=cfg.SOLVER.ACCUMULATE,
            notice=self._notice,
        )
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = Checkpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self._seed = seed
        self._stop_reason: str | None = None
        # Whether a training that had ended is made longer. Then nothing of its last iteration is
        # left to do.
        self._is_extended = False
        self.average = (
            WeightAverage(model, cfg.SOLVER.EMA.DECAY) if cfg.SOLVER.EMA.ENABLED else None
        )
        self.checkpoints = Checkpoints(
            self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.SOLVER.CHECKPOINTS_KEPT
        )
        self.evaluation = (
            Evaluation(cfg.TEST.EVAL_PERIOD, self._evaluate) if cfg.DATASETS.TEST else None
        )
        self.register_hooks(self.build_hooks())

    def load(self) -> None:
        """Start from MODEL.WEIGHTS, if there are any; layers that do not fit start anew, by name.

        Raises:
            UserError: the weights can't be loaded, or the training data is missing or unfit.
        """
        if self.cfg.MODEL.WEIGHTS:
            load_weights(
                self.checkpointer.model,
                self.cfg.MODEL.WEIGHTS,
                strict=False,
                input_format=self.cfg.INPUT.FORMAT,
            )
        elif self.cfg.MODEL.BACKBONE.NAME in RESNETS and (
            self.cfg.MODEL.RESNETS.NORM == "FrozenBN" or self.cfg.MODEL.BACKBONE.FREEZE_AT > 0
        ):
            logger.warning(
                "The ResNet starts from random weights, of which a part is frozen, and will hardly "
                "learn; give MODEL.WEIGHTS, or set MODEL.RESNETS.NORM BN MODEL.BACKBONE.FREEZE_AT 0"
            )
        log_scaled_rate(self.cfg)
        self._read_data()

    def resume(self, checkpoints: Sequence[Path]) -> None:
        """Go on from a checkpoint: weights, optimizer, schedule, iteration, and all else.

        Args:
            checkpoints: the first of them that is whole is taken.

        Raises:
            UserError: none is whole, it doesn't fit the model, or it holds weights only; or the
                training data is missing or unfit.
        """
        self.iter = -1
        checkpoint = self._load_first_whole(checkpoints)
        if self.iter < 0:
            raise UserError(
                f"nothing to resume: {checkpoint} holds weights, but not how far a training was; "
                f"start a new one from it with MODEL.WEIGHTS {checkpoint}"
            )
        self.start_iter = self.iter + 1
        if self.start_iter > self.max_iter:
            raise UserError(
                f"{checkpoint} is of iteration {self.iter}, and SOLVER.MAX_ITER is "
                f"{self.max_iter}: there is nothing left to train; raise it"
            )
        self._is_extended = checkpoint.stem == FINAL and self.start_iter < self.max_iter
        self._read_data()

    def _load_first_whole(self, checkpoints: Sequence[Path]) -> Path:
        for checkpoint, before in itertools.zip_longest(checkpoints, checkpoints[1:]):
            try:
                self.checkpointer.load(str(checkpoint))
                return checkpoint
            except DamagedCheckpointError as error:
                if before is None:
                    raise
                logger.warning("%s. Going on from %s instead.", error.sentence, before)
        raise ValueError("no checkpoints")

    def _read_data(self) -> None:
        self._trainer.data_loader = build_train_loader(
            self.cfg, seed=self._seed, first_batch=self.start_iter
        )

    @property
    def is_interrupted(self) -> bool:
        """Whether a process of the job got a notice to stop, known to all since the last step."""
        return self._trainer.is_interrupted

    def latest_results(self) -> tuple[int, dict[str, float]] | None:
        """The last evaluation's iteration and flat results, in every process; None before."""
        return None if self.evaluation is None else self.evaluation.latest

    def stop_training(self, reason: str) -> None:
        """End the training after this iteration, in good order. Every process has to call this."""
        self._stop_reason = reason

    def train(self) -> None:
        """Train to SOLVER.MAX_ITER; write metrics, checkpoints, predictions and curves.

        Raises:
            Interrupted: a cluster's notice came; there is a checkpoint to go on from.
        """
        with self._notice.listening():
            if comm.is_main_process():
                self._register_writers()
            self._run()
        if self.cfg.TEST.EXPECTED_RESULTS and self.test_loaders and comm.is_main_process():
            verify_results(self.cfg, self._last_eval_results)

    def _register_writers(self) -> None:
        """The last of all hooks, so that they see what the evaluation found. Not before a training
        starts, since a writer opens its file at once."""
        output_dir = Path(self.cfg.OUTPUT_DIR)
        last_iteration = None
        if self.start_iter:
            # What came after the checkpoint in its iteration is done, and written, again. The last
            # evaluation of a training that had ended stands one iteration after its last.
            last_iteration = self.start_iter - (0 if self._is_extended else 2)
        writers = build_writers(self.cfg, output_dir, last_iteration=last_iteration)
        self.register_hooks([WriteEvents(writers, _METRICS_PERIOD), CurvePlotter(output_dir)])

    def _run(self) -> None:
        self.iter = self.start_iter
        if self.start_iter < self.max_iter:
            logger.info("Training from iteration %d to %d", self.start_iter, self.max_iter)
        else:
            logger.info("All %d iterations of the training are done already", self.max_iter)
        with EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                self._finish_last_iteration()
                while self.iter < self.max_iter and self._stop_reason is None:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += 1
                if self._stop_reason is not None:
                    self._stop_early()
                self._save_averages()
            except Exception:
                logging.getLogger(train_loop.__name__).exception("Exception during training:")
                raise
            finally:
                self.after_train()

    def _finish_last_iteration(self) -> None:
        """Do what came after the checkpoint that the training goes on from, in its iteration."""
        if self.start_iter == 0 or self._is_extended:
            return
        self.iter = self.storage.iter = self.start_iter - 1
        for hook in self._hooks[self._hooks.index(self.checkpoints) + 1 :]:
            hook.after_step()
        self.iter = self.storage.iter = self.start_iter

    def _stop_early(self) -> None:
        logger.info("The training ends at iteration %d: %s", self.iter, self._stop_reason)
        self.iter -= 1  # the last that was trained
        self.checkpoints.write_final()
        self.iter += 1

    def _save_averages(self) -> None:
        """Save what SOLVER.EMA and SOLVER.AVERAGE_LAST average, and score the latter."""
        output_dir = Path(self.cfg.OUTPUT_DIR)
        if self.average is not None and comm.is_main_process():
            path = output_dir / f"{FINAL}_ema.pth"
            write_checkpoint(path, {"model": self.average.model.state_dict()})
            logger.info("The averaged weights are in %s", path)
        if self.cfg.SOLVER.AVERAGE_LAST:
            if comm.is_main_process():
                write_average(
                    output_dir, self.cfg.SOLVER.AVERAGE_LAST, self.cfg.SOLVER.CHECKPOINT_PERIOD
                )
            comm.synchronize()
            self._score_average_of_checkpoints(output_dir / AVERAGE_CHECKPOINT)

    def _score_average_of_checkpoints(self, path: Path) -> None:
        if not self.test_loaders:
            return
        # A copy, for the model has the weights of the last iteration.
        model = copy.deepcopy(self.checkpointer.model)
        load_weights(model, str(path), strict=True)
        results = evaluate(self.cfg, model, self.test_loaders, folder="inference_average")
        if comm.is_main_process():
            self.storage.put_scalars(
                **flatten_results_dict({"average": results}),
                smoothing_hint=False,
                cur_iter=self.iter,
            )

    def run_step(self) -> None:
        """Train on one batch.

        Raises:
            UserError: the loss is no longer finite; or memory is used up; or, with several
                processes, a part of the model has no part in the loss.
        """
        try:
            super().run_step()
        except FloatingPointError as error:
            raise UserError(f"{error}; {self._remedy_of_divergence()}") from error
        except RuntimeError as error:
            sentence = self._explain(error)
            if sentence is None:
                raise
            raise UserError(sentence) from error

    def _explain(self, error: RuntimeError) -> str | None:
        """What the user can do about an error of PyTorch's, None where that isn't known."""
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
            return (
                f"memory is used up at iteration {self.iter} ({text.splitlines()[0]}); lower "
                f"SOLVER.IMS_PER_BATCH (now {self.cfg.SOLVER.IMS_PER_BATCH}) or raise "
                f"SOLVER.ACCUMULATE (now {self.cfg.SOLVER.ACCUMULATE}), make images smaller "
                "(INPUT.MIN_SIZE_TRAIN, INPUT.MAX_SIZE_TRAIN, INPUT.CROP), or set "
                "MODEL.ACTIVATION_CHECKPOINTING or SOLVER.AMP.ENABLED True"
            )
        # What DistributedDataParallel says of parameters that it waits for in vain.
        if "did not receive grad" in text:
            idle = [
                name
                for name, parameter in self.model.named_parameters()
                if parameter.requires_grad and parameter.grad is None
            ]
            return (
                f"{len(idle)} of the model's tensors have no part in the loss, first of them "
                f"{idle[0].removeprefix('module.')}, which several processes can't train; let the "
                "backbone end with the coarsest feature that is used (OUT_FEATURES, "
                "UNET_ENCODER.CHANNELS)"
            )
        return None

    def build_hooks(self) -> list[HookBase | None]:
        """Timing, schedule, averages, checkpoints and evaluation, in the order in which they run.

        What comes after the checkpoints is done again when a training is resumed.
        """
        return [
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            RecentScalars(),
            self.average,
            self.checkpoints,
            LeaveOnNotice(),
            self.evaluation,
            build_best_checkpoint(self.cfg, self._scored_weights),
            build_early_stopping(self.cfg),
            build_prediction_pictures(self.cfg) if comm.is_main_process() else None,
        ]

    def _scored_weights(self, metric: str) -> dict[str, torch.Tensor]:
        """The weights that a result is about."""
        is_average = self.average is not None and metric.startswith("ema/")
        model = self.average.model if is_average else self.checkpointer.model
        return model.state_dict()

    def _evaluate(self) -> dict[str, Any]:
        _share_buffers(self.model)
        try:
            results = self._score(self.model, INFERENCE_FOLDER)
            if self.average is not None:
                _share_buffers(self.average.model)
                averaged = self._score(self.average.model, AVERAGE_DIR)
                results |= {"ema": averaged} if averaged else {}
        except FloatingPointError as error:
            raise UserError(
                f"{str(error).strip().rstrip('.')}, in the evaluation after iteration {self.iter}; "
                + self._remedy_of_divergence()
            ) from error
        # Under the name by which DefaultTrainer looks for it, to hold it to TEST.EXPECTED_RESULTS.
        self._last_eval_results = results
        return results

    def _score(self, model: nn.Module, folder: str) -> dict[str, Any]:
        results = evaluate(
            self.cfg, model, self.test_loaders, folder=folder, before_batch=self._leave_if_alone
        )
        if self.validation_loaders:
            results |= validation_results(model, self.validation_loaders)
        return results

    def _remedy_of_divergence(self) -> str:
        return (
            f"lower SOLVER.BASE_LR (now {self.cfg.SOLVER.BASE_LR}), lengthen SOLVER.WARMUP_ITERS "
            "or set SOLVER.CLIP_GRADIENTS.ENABLED True"
        )

    def _leave_if_alone(self) -> None:
        """In an evaluation a process can leave at once, if no other one waits for it."""
        if self._notice.signal_name is not None and comm.get_world_size() == 1:
            self.checkpoints.write()
            logger.warning(
                "The job was asked to stop in the evaluation after iteration %d: go on with "
                "--resume.",
                self.iter,
            )
            raise Interrupted

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Build the config's model and log its size, not its hundreds of lines."""
        model = build_model(cfg)
        parameters = list(model.parameters())
        logger.info(
            "%s: %.1f million parameters, %.1f million of them trained, on %s.",
            cfg.MODEL.META_ARCHITECTURE,
            sum(p.numel() for p in parameters) / 1e6,
            sum(p.numel() for p in parameters if p.requires_grad) / 1e6,
            cfg.MODEL.DEVICE,
        )
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See `segtron.engine.optimizer.build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(
        cls, cfg: CfgNode, optimizer: torch.optim.Optimizer
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """See `segtron.engine.schedule.build_lr_scheduler`."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> torch.utils.data.DataLoader:
        """See `segtron.data.build_train_loader`."""
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> torch.utils.data.DataLoader:
        """See `segtron.data.build_test_loader`."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """See `segtron.evaluation.build.build_evaluators`."""
        return build_evaluators(cfg, dataset_name, inference_dir(cfg, dataset_name))


def _check_parts(cfg: CfgNode) -> None:
    each = cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size()
    if each % cfg.SOLVER.ACCUMULATE:
        raise UserError(
            f"SOLVER.ACCUMULATE is {cfg.SOLVER.ACCUMULATE}, but the {count_of(each, 'image')} of a "
            f"process (SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} over "
            f"{comm.get_world_size()}) can't be run in so many equal parts"
        )


def _distribute(model: nn.Module) -> nn.Module:
    if comm.get_world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    if not on_gpu and any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        raise UserError(
            "this model has synchronized batch norms (SyncBN), which need GPUs, and several "
            "processes share the CPUs here; set the NORM keys to BN, or start one process"
        )
    with warnings.catch_warnings():
        # Newer PyTorch has another name for broadcast_buffers, which older ones do not know.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        # As Detectron2: where batch norms are neither frozen nor synchronized, each process keeps
        # statistics of its own until they are shared for an evaluation.
        return DistributedDataParallel(
            model, device_ids=[comm.get_local_rank()] if on_gpu else None, broadcast_buffers=False
        )


def _share_buffers(model: nn.Module) -> None:
    """Give all processes the main one's statistics of batch norms, which its checkpoints hold."""
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
