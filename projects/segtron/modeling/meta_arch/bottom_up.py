"""A bottom-up panoptic model: pixels first, which are then grouped into instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, SemanticSegmentor
from detectron2.structures import Boxes, ImageList, Instances

from segtron.data.id_map import measure_segments
from segtron.errors import UserError
from segtron.modeling.best_classes import best_classes
from segtron.modeling.center_head import CenterHead
from segtron.modeling.grouping import (
    Centers,
    GroupedSegments,
    find_centers,
    group_pixels,
    mean_probabilities,
    merge_bottom_up,
)
from segtron.modeling.meta_arch.panoptic import check_targets, thing_classes_of
from segtron.modeling.output_size import to_output_size


@META_ARCH_REGISTRY.register()
class BottomUpPanoptic(SemanticSegmentor):
    """A semantic head and a centre head on one backbone.

    After Panoptic-DeepLab (Cheng et al. 2020), but with any backbone and any semantic head of the
    registry SEM_SEG_HEADS. That head gives each pixel one of K classes, things and stuff. The
    centre head says where instances have their centres and, in each pixel, which way it is to that
    of its instance; so pixels of things are grouped (`segtron.modeling.grouping`).

    It has no boxes and no proposals, and its instances never overlap.
    """

    @configurable
    def __init__(
        self,
        *,
        center_head: CenterHead,
        thing_classes: Sequence[int],
        center_threshold: float = 0.1,
        nms_kernel: int = 7,
        top_k: int = 200,
        stuff_area_limit: int = 256,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            center_head: the instance branch.
            thing_classes: at i the semantic class of thing class i.
            center_threshold, nms_kernel, top_k: see `find_centers`.
            stuff_area_limit: see `merge_bottom_up`.
            **kwargs: as for `SemanticSegmentor`.
        """
        super().__init__(**kwargs)
        self.center_head = center_head
        self.thing_classes = list(thing_classes)
        self.center_threshold = center_threshold
        self.nms_kernel = nms_kernel
        self.top_k = top_k
        self.stuff_area_limit = stuff_area_limit

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        options = cfg.MODEL.BOTTOM_UP
        _check_options(options)
        thing_classes = thing_classes_of(cfg)
        arguments = super().from_config(cfg)
        return arguments | {
            "center_head": CenterHead(cfg, arguments["backbone"].output_shape()),
            "thing_classes": thing_classes,
            "center_threshold": options.CENTER_THRESHOLD,
            "nms_kernel": options.NMS_KERNEL,
            "top_k": options.TOP_K,
            "stuff_area_limit": options.STUFF_AREA_LIMIT,
        }

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, torch.Tensor] | list[dict[str, Any]]:
        """
        Args:
            batched_inputs: each with "image", (C, H, W); in training with "sem_seg" and "pan_seg",
                (H, W) int64, and "segments_info", as `SegmentationMapper` gives them; at inference
                perhaps with "height" and "width", the size of the output.

        Returns:
            The losses in training. Else for each image a dict with "sem_seg", (K, height, width)
            logits; "panoptic_seg": segment ids, (height, width) int32, and segments as in
            `merge_bottom_up`, things with a "score"; and "instances", the things: `pred_classes` (0
            to T - 1), `pred_masks`, tight `pred_boxes`, and as `scores` the centre's value times
            the mean probability of the class.

        Raises:
            UserError: an image to train on lacks one of its targets.
        """
        if self.training:
            check_targets(
                batched_inputs,
                ("sem_seg", "pan_seg", "segments_info"),
                "BottomUpPanoptic learns from semantic and panoptic labels",
            )
            _, features = self._features(batched_inputs)
            return self._losses(features, batched_inputs)
        return [self.output(*maps) for maps in self.dense_predictions(batched_inputs)]

    def dense_predictions(
        self, batched_inputs: list[dict[str, Any]]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """What the heads say of each image, at the output's size.

        Args:
            batched_inputs: as in `forward`, at inference.

        Yields:
            Logits, (K, height, width); the centres' heatmap, (height, width); and from each pixel
            the offset to the centre of its instance, (2, height, width), y and x in pixels of the
            output.
        """
        images, features = self._features(batched_inputs)
        logits, _ = self.sem_seg_head(features, None)
        (heatmaps, offsets), _ = self.center_head(features)
        for *predictions, size, inputs in zip(
            logits, heatmaps, offsets, images.image_sizes, batched_inputs, strict=True
        ):
            height, width = inputs.get("height", size[0]), inputs.get("width", size[1])
            sem_seg, heatmap, offset = (
                to_output_size(prediction, size, height, width) for prediction in predictions
            )
            # Pixels of the output have another size than those of the image.
            offset *= offset.new_tensor([height / size[0], width / size[1]])[:, None, None]
            yield sem_seg, heatmap[0], offset

    def _features(
        self, batched_inputs: list[dict[str, Any]]
    ) -> tuple[ImageList, dict[str, torch.Tensor]]:
        images = self._batch(
            [
                (inputs["image"].to(self.device) - self.pixel_mean) / self.pixel_std
                for inputs in batched_inputs
            ]
        )
        return images, self.backbone(images.tensor)

    def _batch(self, tensors: list[torch.Tensor], padding: int = 0) -> ImageList:
        """Pad what has one entry a pixel to one size, on the right and at the bottom."""
        return ImageList.from_tensors(
            tensors, self.backbone.size_divisibility, padding, self.backbone.padding_constraints
        )

    def _losses(
        self, features: dict[str, torch.Tensor], batched_inputs: list[dict[str, Any]]
    ) -> dict[str, torch.Tensor]:
        sem_seg, pan_seg = (
            self._batch([inputs[key].to(self.device) for inputs in batched_inputs], padding).tensor
            for key, padding in (("sem_seg", self.sem_seg_head.ignore_value), ("pan_seg", 0))
        )
        segments_info = [inputs["segments_info"] for inputs in batched_inputs]
        _, semantic_losses = self.sem_seg_head(features, sem_seg)
        _, center_losses = self.center_head(features, pan_seg, segments_info)
        return semantic_losses | center_losses

    def output(
        self, logits: torch.Tensor, heatmap: torch.Tensor, offsets: torch.Tensor
    ) -> dict[str, Any]:
        """The output for one image, see `forward`, made of what `dense_predictions` gives."""
        num_classes = len(logits)
        sem_seg = best_classes(logits).long()
        is_thing = torch.zeros(num_classes, dtype=torch.bool, device=sem_seg.device)
        is_thing[self.thing_classes] = True
        centers = find_centers(
            heatmap,
            threshold=self.center_threshold,
            nms_kernel=self.nms_kernel,
            top_k=self.top_k,
        )
        merged = merge_bottom_up(
            sem_seg,
            group_pixels(centers.points, offsets, is_thing[sem_seg]),
            num_classes=num_classes,
            thing_classes=self.thing_classes,
            stuff_area_limit=self.stuff_area_limit,
        )
        instances = self._instances(logits, centers, merged)
        things = merged.segments_info[: len(instances)]
        for segment, score in zip(things, instances.scores.tolist(), strict=True):
            segment["score"] = score
        return {
            "sem_seg": logits,
            "panoptic_seg": (merged.ids, merged.segments_info),
            "instances": instances,
        }

    def _instances(
        self, logits: torch.Tensor, centers: Centers, merged: GroupedSegments
    ) -> Instances:
        """The things among the segments, in their order."""
        ids, segments, groups = merged
        classes = [segment["category_id"] for segment in segments[: len(groups)]]
        probabilities = mean_probabilities(logits, ids, groups.new_tensor(classes))
        measures = measure_segments(ids.cpu().numpy())
        boxes = measures.boxes[(measures.ids > 0) & (measures.ids <= len(groups))]
        numbers = torch.arange(1, len(groups) + 1, device=ids.device)
        instances = Instances(tuple(ids.shape))
        instances.pred_boxes = Boxes(torch.from_numpy(boxes).float().to(ids.device))
        # The heatmap has no limit; a score has.
        instances.scores = centers.scores[groups - 1].clamp(max=1) * probabilities
        instances.pred_classes = groups.new_tensor([self.thing_classes.index(c) for c in classes])
        instances.pred_masks = ids == numbers[:, None, None]
        return instances


def _check_options(options: CfgNode) -> None:
    """
    Raises:
        UserError: a number in MODEL.BOTTOM_UP is none that grouping could use.
    """
    # The heatmap's targets end at 1.
    if not 0 <= options.CENTER_THRESHOLD <= 1:
        raise UserError(
            f"MODEL.BOTTOM_UP.CENTER_THRESHOLD is {options.CENTER_THRESHOLD}; it must be from 0 "
            "to 1"
        )
    if options.NMS_KERNEL < 3 or options.NMS_KERNEL % 2 == 0:
        raise UserError(
            f"MODEL.BOTTOM_UP.NMS_KERNEL is {options.NMS_KERNEL}; it must be odd, and 3 or more"
        )
    for key, smallest in (("TOP_K", 1), ("STUFF_AREA_LIMIT", 0)):
        if options[key] < smallest:
            raise UserError(
                f"MODEL.BOTTOM_UP.{key} is {options[key]}; it must be {smallest} or more"
            )
