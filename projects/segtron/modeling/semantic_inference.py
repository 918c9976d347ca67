"""Semantic inference in windows, at several scales and on mirror images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.modeling.output_size import to_output_size
from segtron.modeling.test_time_augmentation.views import views_of


class AveragingSegmentor(nn.Module):
    """A semantic model that predicts each pixel several times and averages.

    An image is resized to several lengths of its shortest edge, each with or without its mirror
    image, and each of those is predicted in windows that overlap. All of it is optional; what is
    asked for is averaged with equal weights.

    Averaged are probabilities (softmax), as PSPNet (Zhao et al. 2017) and DeepLab (Chen et al.
    2018) do, not logits: so each prediction has one vote. Logits have no bound, and one prediction
    with large ones, perhaps of a window that cuts an object in half, would decide alone.

    Where a window covers a whole image the result is the softmax of what the model says, at the
    same output size. Otherwise windows are put together first and brought to the output size then.

    The class has the interface of `detectron2.modeling.SemanticSegmentor` in evaluation mode.
    However many scales and windows there are, it holds the sum so far and what one pass adds to it
    at the output size, one sum at the size of that pass, and the outputs of `windows_per_batch`
    windows.
    """

    @configurable
    def __init__(
        self,
        model: nn.Module,
        *,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        min_sizes: Sequence[int] = (0,),
        max_size: int = 0,
        flip: bool = False,
        windows_per_batch: int = 4,
    ) -> None:
        """
        Args:
            model: has `device`, and gives logits as `sem_seg`. Of a `DistributedDataParallel` the
                model inside is used: processes have different numbers of windows to predict, so
                they must not wait for each other.
            window: height and width of the windows in pixels of the resized image; None for no
                windows. A smaller image is one window, in each direction.
            stride: from one window to the next, at most `window`. The last window of each direction
                is moved back to the image's border, so that all have the same size.
            min_sizes: lengths of the shortest edge to which an image is resized; 0 leaves it as it
                is.
            max_size: largest length of the longest edge, which takes precedence over `min_sizes`.
            flip: predict the mirror image (left to right), too.
            windows_per_batch: how many windows to predict at once.
        """
        super().__init__()
        self.model = model.module if isinstance(model, DistributedDataParallel) else model
        # A wrapper that is made for one evaluation leaves the model in the mode that it was in.
        self.training = self.model.training
        self.window = window
        self.stride = stride
        self.min_sizes = tuple(min_sizes)
        self.max_size = max_size
        self.flip = flip
        self.windows_per_batch = windows_per_batch

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        arguments: dict[str, Any] = {"model": model}
        if cfg.TEST.SLIDING_WINDOW.ENABLED:
            arguments["window"] = tuple(cfg.TEST.SLIDING_WINDOW.SIZE)
            arguments["stride"] = tuple(cfg.TEST.SLIDING_WINDOW.STRIDE)
        if cfg.TEST.AUG.ENABLED:
            arguments["min_sizes"] = cfg.TEST.AUG.MIN_SIZES
            arguments["max_size"] = cfg.TEST.AUG.MAX_SIZE
            arguments["flip"] = cfg.TEST.AUG.FLIP
        return arguments

    @property
    def device(self) -> torch.device:
        return self.model.device

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, torch.Tensor]]:
        """Predict a batch.

        Args:
            batched_inputs: each with "image", (C, H, W) of uint8 or float, as the model takes it,
                and perhaps "height" and "width", the size of the output.

        Returns:
            For each image a dict with "sem_seg", (K, height, width) float32: probabilities of the K
            classes, which sum to 1.

        Raises:
            RuntimeError: in training mode.
        """
        if self.training or self.model.training:
            raise RuntimeError("AveragingSegmentor only predicts; call eval() before")
        return [{"sem_seg": self._average(inputs)} for inputs in batched_inputs]

    def _average(self, inputs: dict[str, Any]) -> torch.Tensor:
        image = inputs["image"].to(self.device)
        height = inputs.get("height", image.shape[-2])
        width = inputs.get("width", image.shape[-1])
        total: torch.Tensor | None = None
        number = 0
        for view in views_of(image, self.min_sizes, self.max_size, self.flip):
            probabilities = view.pixels_in_output(self._predict(view.image, height, width))
            total = probabilities if total is None else total.add_(probabilities)
            number += 1
        return total.div_(number)

    def _predict(self, image: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Probabilities at the output size, (K, height, width), from one pass over the windows."""
        image_size = tuple(image.shape[-2:])
        if self.window is None or all(
            length <= side for length, side in zip(image_size, self.window, strict=True)
        ):
            [probabilities] = self._probabilities([image], height, width)
            return probabilities
        size = [min(length, side) for length, side in zip(image_size, self.window, strict=True)]
        starts = (
            _window_starts(length, side, step)
            for length, side, step in zip(image_size, size, self.stride, strict=True)
        )
        windows = [
            (slice(top, top + size[0]), slice(left, left + size[1]))
            for top, left in itertools.product(*starts)
        ]
        total: torch.Tensor | None = None
        counts = torch.zeros(image_size, device=image.device)
        for first in range(0, len(windows), self.windows_per_batch):
            batch = windows[first : first + self.windows_per_batch]
            crops = [image[:, rows, columns] for rows, columns in batch]
            for (rows, columns), probabilities in zip(
                batch, self._probabilities(crops, *size), strict=True
            ):
                if total is None:
                    total = probabilities.new_zeros(len(probabilities), *image_size)
                total[:, rows, columns] += probabilities
                counts[rows, columns] += 1
        return to_output_size(total.div_(counts), image_size, height, width)

    def _probabilities(
        self, images: list[torch.Tensor], height: int, width: int
    ) -> Iterator[torch.Tensor]:
        """The model's probabilities for each image, (K, height, width), one at a time."""
        inputs = [{"image": image, "height": height, "width": width} for image in images]
        for output in self.model(inputs):
            yield output["sem_seg"].float().softmax(dim=0)


def _window_starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows of `size` begin on `length` pixels; the last one ends with the last pixel."""
    return [*range(0, length - size, stride), length - size]
