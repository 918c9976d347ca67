"""A model's inference as one graph, from pixels to what its heads say."""

from __future__ import annotations

import copy

import torch
from torch import nn

from segtron.inference.export.any_size import AnySizeTimmBackbone, CropByIndex, fix_padding
from segtron.inference.export.detector import Detector
from segtron.inference.export.support import Task
from segtron.modeling.backbones import TimmBackbone
from segtron.modeling.batch_norm_folding import fold_batch_norm

# What a graph gives, in this order.
OUTPUTS = {
    Task.INSTANCE: ("boxes", "scores", "classes", "masks"),
    Task.SEMANTIC: ("sem_seg",),
    Task.PANOPTIC: ("boxes", "scores", "classes", "masks", "sem_seg"),
    Task.BOTTOM_UP: ("sem_seg", "heatmap", "offsets"),
}


class _Graph(nn.Module):
    """Base of all: pixels, normalized, through the backbone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.register_buffer("pixel_mean", model.pixel_mean)
        self.register_buffer("pixel_std", model.pixel_std)

    def features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.backbone((image - self.pixel_mean) / self.pixel_std)


class SemanticGraph(_Graph):
    """A `SemanticSegmentor`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.sem_seg_head = model.sem_seg_head

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Args:
            image: (1, 3, H, W) float32, 0 to 255, in the order of INPUT.FORMAT.

        Returns:
            (1, K, H, W) logits.
        """
        with CropByIndex():
            return (self.sem_seg_head(self.features(image), None)[0],)


class InstanceGraph(_Graph):
    """A Mask R-CNN."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.detector = Detector(model)

    def forward(self, image: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Args:
            image: as in `SemanticGraph`.
            size: see `Detector`.

        Returns:
            The parts of `Detections`.
        """
        return tuple(self.detector(self.features(image), size))


class PanopticGraph(_Graph):
    """A panoptic FPN, without the merging."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.detector = Detector(model)
        self.sem_seg_head = model.sem_seg_head

    def forward(self, image: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Args:
            image: as in `SemanticGraph`.
            size: see `Detector`.

        Returns:
            The parts of `Detections`, and (1, K, H, W) logits.
        """
        features = self.features(image)
        return (*self.detector(features, size), self.sem_seg_head(features, None)[0])


class BottomUpGraph(_Graph):
    """A `BottomUpPanoptic`, without the grouping.

    The model groups pixels of the output, whose size is the original image's, not the graph's.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.sem_seg_head = model.sem_seg_head
        self.center_head = model.center_head

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Args:
            image: as in `SemanticGraph`.

        Returns:
            (1, K, H, W) logits, and the two parts of `CenterPredictions`.
        """
        with CropByIndex():
            features = self.features(image)
            return (self.sem_seg_head(features, None)[0], *self.center_head(features)[0])


_GRAPHS = {
    Task.INSTANCE: InstanceGraph,
    Task.SEMANTIC: SemanticGraph,
    Task.PANOPTIC: PanopticGraph,
    Task.BOTTOM_UP: BottomUpGraph,
}


def build_graph(model: nn.Module, task: Task) -> nn.Module:
    """A copy of a model that can be exported: batch norm folded, paddings fixed.

    Args:
        model: on the CPU, its weights loaded; it stays as it is.
        task: as `task_of` says.

    Returns:
        The graph of this task, in evaluation mode.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    if getattr(model, "sem_seg_head", None) is not None:
        # In training only; the file would hold its weights.
        model.sem_seg_head.auxiliary_head = None
    fold_batch_norm(model)
    fix_padding(model.backbone)
    if isinstance(model.backbone, TimmBackbone):
        model.backbone = AnySizeTimmBackbone(model.backbone)
    return _GRAPHS[task](model.to(memory_format=torch.contiguous_format)).eval()
