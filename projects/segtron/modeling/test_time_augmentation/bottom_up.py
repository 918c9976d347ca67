"""Bottom-up panoptic segmentation from several views of an image."""

from __future__ import annotations

from typing import Any

import torch

from segtron.modeling.test_time_augmentation.averaging import AveragingModel
from segtron.modeling.test_time_augmentation.views import View


class AveragingBottomUp(AveragingModel):
    """A `BottomUpPanoptic` that predicts several views of an image and averages, pixel by pixel.

    Averaged are the probabilities of classes, the centres' heatmap and the offsets; pixels are
    grouped once, after that. "sem_seg" has probabilities, as that of `AveragingSegmentor`.
    """

    def _predict_image(self, image: torch.Tensor, height: int, width: int) -> dict[str, Any]:
        total: list[torch.Tensor] = []
        number = 0
        for view in self._views(image):
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
