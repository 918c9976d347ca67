"""What models have in common that predict an image several times and average."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.modeling.test_time_augmentation.views import View, views_of


class AveragingModel(nn.Module, ABC):
    """A model around another one, with its interface in evaluation mode.

    A subclass says what becomes of one image.
    """

    @configurable
    def __init__(
        self,
        model: nn.Module,
        *,
        min_sizes: Sequence[int] = (0,),
        max_size: int = 0,
        flip: bool = False,
    ) -> None:
        """
        Args:
            model: has `device`. Of a `DistributedDataParallel` the model inside is used: processes
                have different numbers of predictions to make, so they must not wait for each other.
            min_sizes: see `views_of`.
            max_size: likewise.
            flip: likewise.
        """
        super().__init__()
        self.model = model.module if isinstance(model, DistributedDataParallel) else model
        # A wrapper that is made for one evaluation leaves the model in the mode that it was in.
        self.training = self.model.training
        self.min_sizes = tuple(min_sizes)
        self.max_size = max_size
        self.flip = flip

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        arguments: dict[str, Any] = {"model": model}
        if cfg.TEST.AUG.ENABLED:
            arguments["min_sizes"] = cfg.TEST.AUG.MIN_SIZES
            arguments["max_size"] = cfg.TEST.AUG.MAX_SIZE
            arguments["flip"] = cfg.TEST.AUG.FLIP
        return arguments

    @property
    def device(self) -> torch.device:
        return self.model.device

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Predict a batch, one image after the other.

        Args:
            batched_inputs: each with "image", (C, H, W) of uint8 or float, as the model takes it,
                and perhaps "height" and "width", the size of the output.

        Returns:
            The outputs; see the class.

        Raises:
            RuntimeError: in training mode.
        """
        if self.training or self.model.training:
            raise RuntimeError(f"{type(self).__name__} only predicts; call eval() before")
        outputs = []
        for inputs in batched_inputs:
            image = inputs["image"].to(self.device)
            height, width = image.shape[-2:]
            size = inputs.get("height", height), inputs.get("width", width)
            outputs.append(self._predict_image(image, *size))
        return outputs

    @abstractmethod
    def _predict_image(self, image: torch.Tensor, height: int, width: int) -> dict[str, Any]:
        """The output for an image (C, H, W), at the size that is given."""

    def _views(self, image: torch.Tensor) -> Iterator[View]:
        return views_of(image, self.min_sizes, self.max_size, self.flip)
