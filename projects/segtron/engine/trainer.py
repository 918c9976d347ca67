"""The training path: data, model, optimizer and hooks of a config, put together and run."""

from __future__ import annotations

import logging
import warnings
import weakref
from pathlib import Path
from typing import Any

import torch
import torch.utils.data
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, HookBase, SimpleTrainer, TrainerBase, hooks
from detectron2.engine.defaults import AMPTrainer
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.data import build_test_loader, build_train_loader
from segtron.engine.hooks import CurvePlotter
from segtron.engine.optimizer import build_optimizer
from segtron.engine.progress import ProgressWriter
from segtron.engine.scoring import evaluate, inference_dir
from segtron.errors import UserError
from segtron.evaluation import build_evaluators
from segtron.modeling.build import build_model
from segtron.modeling.checkpoint import Checkpointer, load_weights

logger = logging.getLogger(__name__)

# Iterations between two lines of metrics.json, and between two refreshes of the live line.
_METRICS_PERIOD = 20

# Backbones whose weights come from MODEL.WEIGHTS only.
RESNETS = ("build_resnet_backbone", "build_resnet_fpn_backbone")


class Trainer(DefaultTrainer):
    """Detectron2's trainer on Segtron's data, evaluators and checkpoints, on GPUs and on CPUs.

    Building one reads the data, builds the model and writes nothing, so that whatever is wrong with
    a config shows before an OUTPUT_DIR is touched. Then call `resume` or `load`, then `train`.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build everything that a training needs.

        Args:
            cfg: a frozen config, its device resolved.

        Raises:
            UserError: data is missing or unfit.
        """
        # Not DefaultTrainer's constructor: it can't wrap a model on a CPU for several processes.
        TrainerBase.__init__(self)
        cfg = self.auto_scale_workers(cfg, comm.get_world_size())
        data_loader = self.build_train_loader(cfg)
        # Now, so that a validation set that is missing, or that nothing can score, doesn't show
        # after hours of training.
        self.test_loaders = {name: build_test_loader(cfg, name) for name in cfg.DATASETS.TEST}
        for name in cfg.DATASETS.TEST:
            self.build_evaluator(cfg, name)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        self._trainer = _step_of(cfg)(_distribute(model), data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = Checkpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def load(self) -> None:
        """Start from MODEL.WEIGHTS, if there are any; layers that do not fit start anew, by name.

        Raises:
            UserError: the weights can't be loaded.
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

    def resume(self) -> None:
        """Go on from OUTPUT_DIR's last checkpoint: weights, optimizer, schedule, iteration.

        Raises:
            UserError: there is none, it can't be loaded, or it holds weights only.
        """
        if not self.checkpointer.has_checkpoint():
            raise UserError(
                f"nothing to resume: {self.cfg.OUTPUT_DIR} holds no last_checkpoint; "
                "leave --resume out to start a training there"
            )
        checkpoint = self.checkpointer.get_checkpoint_file()
        self.iter = -1
        self.checkpointer.load(checkpoint)
        if self.iter < 0:
            raise UserError(
                f"nothing to resume: {checkpoint} holds weights, but not how far a training was; "
                f"start a new one from it with MODEL.WEIGHTS {checkpoint}"
            )
        self.start_iter = self.iter + 1

    def train(self) -> None:
        """Train to SOLVER.MAX_ITER; write metrics, checkpoints, predictions and curves."""
        if comm.is_main_process():
            output_dir = Path(self.cfg.OUTPUT_DIR)
            writers = [
                ProgressWriter(self.max_iter, self.cfg.SOLVER.IMS_PER_BATCH),
                JSONWriter(str(output_dir / "metrics.json")),
            ]
            # The last of all hooks, so that they see what the evaluation found. Not before now,
            # since a writer opens its file at once.
            self.register_hooks(
                [hooks.PeriodicWriter(writers, period=_METRICS_PERIOD), CurvePlotter(output_dir)]
            )
        super().train()

    def run_step(self) -> None:
        """Train on one batch.

        Raises:
            UserError: the loss is no longer finite; or, with several processes, a part of the model
                has no part in it.
        """
        try:
            super().run_step()
        except RuntimeError as error:
            # What DistributedDataParallel says of parameters that it waits for in vain.
            if "did not receive grad" not in str(error):
                raise
            idle = [
                name
                for name, parameter in self.model.named_parameters()
                if parameter.requires_grad and parameter.grad is None
            ]
            raise UserError(
                f"{len(idle)} of the model's tensors have no part in the loss, first of them "
                f"{idle[0].removeprefix('module.')}, which several processes can't train; let the "
                "backbone end with the coarsest feature that is used (OUT_FEATURES, "
                "UNET_ENCODER.CHANNELS)"
            ) from error
        except FloatingPointError as error:
            raise UserError(
                f"the loss became infinite or NaN at iteration {self.iter}; lower SOLVER.BASE_LR "
                f"(now {self.cfg.SOLVER.BASE_LR}), lengthen SOLVER.WARMUP_ITERS or set "
                "SOLVER.CLIP_GRADIENTS.ENABLED True"
            ) from error

    def build_hooks(self) -> list[HookBase | None]:
        """Timing, schedule, checkpoints and evaluation, in the order in which they run."""
        cfg = self.cfg
        built: list[HookBase | None] = [hooks.IterationTimer(), hooks.LRScheduler()]
        if comm.is_main_process():
            built.append(
                hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD)
            )
        if cfg.DATASETS.TEST:
            # After the checkpoint, so that one is there if the evaluation fails.
            built.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._evaluate))
        return built

    def _evaluate(self) -> dict[str, Any]:
        _share_buffers(self.model)
        # Under the name by which DefaultTrainer looks for it, to hold it to TEST.EXPECTED_RESULTS.
        self._last_eval_results = evaluate(self.cfg, self.model, self.test_loaders)
        return self._last_eval_results

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
    def build_train_loader(cls, cfg: CfgNode) -> torch.utils.data.DataLoader:
        """See `segtron.data.build_train_loader`."""
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> torch.utils.data.DataLoader:
        """See `segtron.data.build_test_loader`."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """See `segtron.evaluation.build_evaluators`."""
        return build_evaluators(cfg, dataset_name, inference_dir(cfg, dataset_name))


def _step_of(cfg: CfgNode) -> type[SimpleTrainer]:
    if not cfg.SOLVER.AMP.ENABLED:
        return SimpleTrainer
    if cfg.MODEL.DEVICE.startswith("cuda"):
        return AMPTrainer
    logger.warning("SOLVER.AMP.ENABLED has no effect on the CPU: training in float32.")
    return SimpleTrainer


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
