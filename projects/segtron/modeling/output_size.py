"""From predictions for each pixel of the model's input to those for each pixel of the output."""

from __future__ import annotations

import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess


def to_output_size(
    prediction: torch.Tensor, image_size: tuple[int, int], height: int, width: int
) -> torch.Tensor:
    """Cut off what was added to an image, and interpolate to the output's size, bilinearly.

    As Detectron2's `sem_seg_postprocess`, which also interpolates where the size stays as it is:
    the values are the same then, but hundreds of megabytes are written once more.

    Args:
        prediction: (C, H, W), at least of the image's size.
        image_size: of the image that the model was given, height and width.
        height: of the output.
        width: of the output.

    Returns:
        (C, height, width); a view of `prediction` where it only has to be cut.
    """
    if tuple(image_size) == (height, width):
        return prediction[:, :height, :width]
    # contiguous: PyTorch resizes one image with channels last several times as slowly.
    return sem_seg_postprocess(prediction.contiguous(), image_size, height, width)
