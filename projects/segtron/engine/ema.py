"""An exponential moving average of a model's weights, which often scores better than the weights
themselves (Polyak & Juditsky 1992; Tarvainen & Valpola 2017)."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.engine import HookBase
from torch import nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(HookBase):
    """Averages weights, and buffers such as those of batch norms, after each step.

    The weights after the first step are the average; after step n (from 0) it moves to the weights
    by 1 - min(`decay`, (1 + n) / (10 + n)), so that it forgets the first weights quickly, as
    TensorFlow's ExponentialMovingAverage does. Its state is in checkpoints.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """
        Args:
            model: not distributed, on its device.
            decay: from 0 to 1; the average reaches back about 1 / (1 - decay) steps.
        """
        self._decay = decay
        self._source = model
        self._averaged = AveragedModel(model, multi_avg_fn=self._average, use_buffers=True)
        self._averaged.requires_grad_(False)

    def before_train(self) -> None:
        """Take over what was loaded into the model, if there is no average yet."""
        if not self._averaged.n_averaged:
            self._averaged.module.load_state_dict(self._source.state_dict())

    @property
    def model(self) -> nn.Module:
        """The model with averaged weights."""
        return self._averaged.module

    def after_step(self) -> None:
        """Take the weights of this step in."""
        self._averaged.update_parameters(self._source)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights, and how many steps are in them."""
        return {
            "num_averaged": int(self._averaged.n_averaged),
            "weights": self._averaged.module.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._averaged.n_averaged.fill_(state_dict["num_averaged"])
        self._averaged.module.load_state_dict(state_dict["weights"])

    @torch.no_grad()
    def _average(
        self,
        averages: list[torch.Tensor],
        values: list[torch.Tensor],
        num_averaged: torch.Tensor | int,
    ) -> None:
        number = int(num_averaged)
        decay = min(self._decay, (1 + number) / (10 + number))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - decay)
        else:
            # Counts of batches and the like.
            torch._foreach_copy_(averages, values)
