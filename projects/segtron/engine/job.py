"""One process of a training or evaluation job, from the config to the results."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from logging.handlers import MemoryHandler
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import train_loop
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from segtron.config import load_config
from segtron.config.checks import idle_settings
from segtron.data import build_test_loader
from segtron.engine.checkpoints import resumable_checkpoints
from segtron.engine.class_weights import fill_class_weights
from segtron.engine.output_dir import check_writable, holds_run, set_earlier_run_aside
from segtron.engine.randomness import choose_seed, use_deterministic_algorithms
from segtron.engine.run_description import describe_run, read_code, write_run_description
from segtron.engine.scoring import append_metrics, evaluate
from segtron.engine.signals import leaving_on_notice
from segtron.engine.trainer import Trainer
from segtron.errors import UserError
from segtron.files import remove_leftovers, replacing
from segtron.memory import keep_freed_memory
from segtron.modeling.checkpoint import (
    choose_weights,
    load_weights,
    with_weights,
)
from segtron.modeling.device import resolve_device
from segtron.parts import load_parts
from segtron.run_files import CONFIG_FILE, METRICS_FILE

logger = logging.getLogger(__name__)

_LOGGERS = ("fvcore", "detectron2", "segtron")


def run_job(
    config_file: str,
    opts: Sequence[str],
    *,
    resume: bool = False,
    eval_only: bool = False,
    parts: Sequence[Path] = (),
) -> None:
    """Train and evaluate, or evaluate only, in this process of the job.

    Args:
        config_file: the config.
        opts: alternating config keys and values.
        resume: go on from OUTPUT_DIR's last checkpoint.
        eval_only: score, don't train.
        parts: see `load_parts`; each process of a job has to import them.

    Raises:
        UserError: config, data, weights or OUTPUT_DIR are unfit. OUTPUT_DIR is then as it was.
    """
    if resume and eval_only:
        raise UserError("--resume goes on training and --eval-only does not train; choose one")
    load_parts(parts)
    keep_freed_memory()
    _log_to_terminal()
    with leaving_on_notice(), _kept_log() as first_lines:
        cfg = _with_seed(load_config(config_file, opts), resume)
        seed_all_rng(cfg.SEED + comm.get_rank())
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
        if cfg.DETERMINISTIC:
            use_deterministic_algorithms()
        if eval_only:
            _evaluate(cfg, opts)
        else:
            _train(cfg, resume, first_lines)


def _with_seed(cfg: CfgNode, resume: bool) -> CfgNode:
    """A frozen copy of a config with a SEED of 0 or more, the same in all processes: its own, that
    of the run that is resumed, or one that is drawn."""
    seed = cfg.SEED
    written = Path(cfg.OUTPUT_DIR) / CONFIG_FILE
    if resume and seed < 0 and written.is_file():
        seed = load_config(written).SEED
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = choose_seed(seed)
    cfg.freeze()
    return cfg


def _train(cfg: CfgNode, resume: bool, first_lines: MemoryHandler) -> None:
    output_dir = Path(cfg.OUTPUT_DIR)
    checkpoints = resumable_checkpoints(output_dir) if resume else []
    if resume and not checkpoints:
        if not holds_run(output_dir):
            raise UserError(
                f"nothing to resume: {output_dir} holds no run; leave --resume out to start a "
                "training there"
            )
        logger.warning(
            "The run in %s ended before its first checkpoint: it starts from the beginning.",
            output_dir,
        )
    # The config that is written keeps the device that was asked for, since it may be used on
    # another machine.
    cfg = fill_class_weights(cfg)
    for sentence in idle_settings(cfg):
        logger.warning("%s.", sentence)
    here = resolve_device(cfg)
    trainer = Trainer(with_weights(here, str(checkpoints[0])) if checkpoints else here, cfg.SEED)
    trainer.resume(checkpoints) if checkpoints else trainer.load()
    # MODEL.WEIGHTS may lie in OUTPUT_DIR: nothing is moved before all have read it.
    comm.synchronize()
    with contextlib.ExitStack() as stack:
        if comm.is_main_process():
            check_writable(output_dir)
            remove_leftovers(output_dir)
            if not checkpoints:
                stack.enter_context(set_earlier_run_aside(output_dir))
            write_config(cfg)
            write_run_description(
                output_dir,
                describe_run(
                    sys.argv,
                    seed=cfg.SEED,
                    precision=str(trainer.precision).removeprefix("torch."),
                    num_processes=comm.get_world_size(),
                    first_iteration=trainer.start_iter,
                ),
                read_code(),
            )
        comm.synchronize()
        _log_to_file(output_dir, first_lines)
        trainer.train()
    logger.info("Results are in %s", output_dir)


def _evaluate(cfg: CfgNode, opts: Sequence[str]) -> None:
    output_dir = Path(cfg.OUTPUT_DIR)
    loaders = {name: build_test_loader(cfg, name) for name in cfg.DATASETS.TEST}
    if not loaders:
        raise UserError("nothing to score: DATASETS.TEST is empty")
    weights = choose_weights(cfg, opts)
    model = Trainer.build_model(with_weights(resolve_device(cfg), weights))
    load_weights(model, weights, strict=True)
    if comm.is_main_process():
        check_writable(output_dir)
        if not (output_dir / CONFIG_FILE).exists():
            write_config(cfg)
    comm.synchronize()
    results = evaluate(cfg, model, loaders)
    if comm.is_main_process():
        append_metrics(results, output_dir / METRICS_FILE)


def write_config(cfg: CfgNode) -> None:
    """Write the whole config to OUTPUT_DIR/config.yaml, from which the run can be repeated."""
    with replacing(Path(cfg.OUTPUT_DIR) / CONFIG_FILE) as temporary:
        temporary.write_text(cfg.dump(), encoding="utf-8")


def _log_to_terminal() -> None:
    for name in _LOGGERS:
        setup_logger(distributed_rank=comm.get_rank(), name=name)
    logging.getLogger(train_loop.__name__).addFilter(_shorten_user_error)


def _shorten_user_error(record: logging.LogRecord) -> bool:
    """Detectron2 logs whatever ends a training with its traceback; a user's mistake has none.

    Nor has a loss that is no number, of which the trainer makes one.
    """
    if record.exc_info and isinstance(record.exc_info[1], FloatingPointError):
        return False
    if record.exc_info and isinstance(record.exc_info[1], UserError):
        record.msg, record.args = "The training ends: %s", (record.exc_info[1].sentence,)
        record.exc_info = record.exc_text = None
    return True


@contextlib.contextmanager
def _kept_log() -> Iterator[MemoryHandler]:
    """Keep what is logged before OUTPUT_DIR may be touched, for the log file there."""
    keeper = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(keeper)
    try:
        yield keeper
    finally:
        _stop_keeping(keeper)


def _stop_keeping(keeper: MemoryHandler) -> None:
    for name in _LOGGERS:
        logging.getLogger(name).removeHandler(keeper)
    # Or what is kept would be written when the program ends, to a file that is closed by then.
    keeper.setTarget(None)


def _log_to_file(output_dir: Path, first_lines: MemoryHandler) -> None:
    for name in _LOGGERS:
        log = setup_logger(
            str(output_dir),
            distributed_rank=comm.get_rank(),
            name=name,
            configure_stdout=False,
        )
    # The newest handler is the file's.
    first_lines.setTarget([h for h in log.handlers if h is not first_lines][-1])
    first_lines.flush()
    _stop_keeping(first_lines)
