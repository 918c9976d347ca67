"""Engine: training and evaluation jobs."""

from segtron.engine.job import run_job
from segtron.engine.launch import launch
from segtron.engine.scoring import evaluate
from segtron.engine.trainer import Trainer

__all__ = ["Trainer", "evaluate", "launch", "run_job"]
