"""Bottom-up panoptic segmentation from several views of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.modeling.test_time_augmentation.views import View, views_of


class AveragingBottomUp(nn.Module):
    """A `BottomUpPanoptic` that predicts several views of an image and averages, pixel by pixel.

    Averaged are the probabilities of classes, the centres' heatmap and the offsets; pixels are
    grouped once, after that. "sem_seg" has probabilities, as that of `AveragingSegmentor`.

    The class has the interface of the model in evaluation mode.
    """

    @configurable
    def __init__(
        self, model: nn.Module, *, min_sizes: Sequence[int], max_size: int, flip: bool
    ) -> None:
        """
        Args:
            model: a `BottomUpPanoptic`, perhaps distributed.
            min_sizes: see `views_of`.
            max_size: likewise.
            flip: likewise.
        """
        super().__init__()
        self.model = model.module if isinstance(model, DistributedDataParallel) else model
        self.training = self.model.training
        self.min_sizes = tuple(min_sizes)
        self.max_size = max_size
        self.flip = flip

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        return {
            "model": model,
            "min_sizes": cfg.TEST.AUG.MIN_SIZES,
            "max_size": cfg.TEST.AUG.MAX_SIZE,
            "flip": cfg.TEST.AUG.FLIP,
        }

    @property
    def device(self) -> torch.device:
        return self.model.device

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Predict a batch, one image after the other.

        Args:
            batched_inputs: each with "image", (C, H, W), as the model takes it, and perhaps
                "height" and "width", the size of the output.

        Returns:
            The outputs of the model; see the class.

        Raises:
            RuntimeError: in training mode.
        """
        if self.training or self.model.training:
            raise RuntimeError("AveragingBottomUp only predicts; call eval() before")
        return [self._predict(inputs) for inputs in batched_inputs]

    def _predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        image = inputs["image"].to(self.device)
        height = inputs.get("height", image.shape[-2])
        width = inputs.get("width", image.shape[-1])
        total: list[torch.Tensor] = []
        number = 0
        for view in views_of(image, self.min_sizes, self.max_size, self.flip):
            maps = self._maps(view, height, width)
            total = [t.add_(m) for t, m in zip(total, maps, strict=True)] if total else maps
            number += 1
        probabilities, heatmap, offsets = (t.div_(number) for t in total)
        # The softmax of their logarithms is the probabilities.
        smallest = torch.finfo(probabilities.dtype).tiny
        output = self.model.output(probabilities.clamp(min=smallest).log(), heatmap, offsets)
        return output | {"sem_seg": probabilities}

    def _maps(self, view: View, height: int, width: int) -> list[torch.Tensor]:
        """Of the output's size and the right way round: probabilities, (K, height, width); the
        heatmap, (height, width); offsets in pixels of the output, (2, height, width)."""
        inputs = {"image": view.image, "height": height, "width": width}
        [maps] = self.model.dense_predictions([inputs])
        logits, heatmap, offsets = (view.pixels_in_output(found) for found in maps)
        if view.is_mirrored:
            offsets = offsets * offsets.new_tensor([1.0, -1.0])[:, None, None]
        return [logits.float().softmax(dim=0), heatmap, offsets]
