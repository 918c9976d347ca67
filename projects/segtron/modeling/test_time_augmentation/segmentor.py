"""Semantic inference in windows, at several scales and on mirror images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import nn

from segtron.modeling.output_size import to_output_size
from segtron.modeling.test_time_augmentation.averaging import AveragingModel

_WINDOWS_AT_ONCE = 4


class AveragingSegmentor(AveragingModel):
    """A semantic model that predicts each pixel several times and averages.

    An image is resized to several lengths of its shortest edge, each with or without its mirror
    image, and each of those is predicted in windows that overlap. All of it is optional; what is
    asked for is averaged with equal weights.

    Averaged are probabilities (softmax), as PSPNet (Zhao et al. 2017) and DeepLab (Chen et al.
    2018) do, not logits: so each prediction has one vote. Logits have no bound, and one prediction
    with large ones, perhaps of a window that cuts an object in half, would decide alone.

    Where a window covers a whole image the result is the softmax of what the model says, at the
    same output size. Otherwise windows are put together first and brought to the output size then.

    It gives "sem_seg", (K, height, width) float32: probabilities, which sum to 1. However many
    scales and windows there are, it holds the sum so far and what one pass adds to it at the output
    size, one sum at the size of that pass, and the outputs of four windows.
    """

    @configurable
    def __init__(
        self,
        model: nn.Module,
        *,
        window: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            model: gives logits as `sem_seg`, perhaps distributed.
            window: height and width of the windows in pixels of the resized image; None for no
                windows. A smaller image is one window, in each direction.
            stride: from one window to the next, at most `window`. The last window of each direction
                is moved back to the image's border, so that all have the same size.
            **kwargs: see `AveragingModel`.
        """
        super().__init__(model, **kwargs)
        self.window = window
        self.stride = stride

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        arguments = super().from_config(cfg, model)
        if cfg.TEST.SLIDING_WINDOW.ENABLED:
            arguments["window"] = tuple(cfg.TEST.SLIDING_WINDOW.SIZE)
            arguments["stride"] = tuple(cfg.TEST.SLIDING_WINDOW.STRIDE)
        return arguments

    def _predict_image(
        self, image: torch.Tensor, height: int, width: int
    ) -> dict[str, torch.Tensor]:
        total: torch.Tensor | None = None
        number = 0
        for view in self._views(image):
            probabilities = view.pixels_in_output(self._predict(view.image, height, width))
            total = probabilities if total is None else total.add_(probabilities)
            number += 1
        return {"sem_seg": total.div_(number)}

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
        for first in range(0, len(windows), _WINDOWS_AT_ONCE):
            batch = windows[first : first + _WINDOWS_AT_ONCE]
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
