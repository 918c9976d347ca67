"""Instances, classes and segments on images: Detectron2's `Visualizer` in Segtron's style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.structures import BitMasks, BoxMode, Instances, PolygonMasks
from detectron2.utils.visualizer import GenericMask, VisImage
from matplotlib.path import Path as Outline

from segtron.data.panoptic import VOID, read_pan_seg
from segtron.data.sem_seg import IGNORED, read_sem_seg
from segtron.visualization.canvas import Canvas
from segtron.visualization.class_maps import (
    as_class_map,
    class_areas,
    paint_classes,
    without_small_regions,
)
from segtron.visualization.colors import IGNORED_COLOR, Color, class_color, vary_color
from segtron.visualization.layout import percent
from segtron.visualization.outlines import mask_outline
from segtron.visualization.panoptic_map import (
    PanopticMap,
    panoptic_colors,
    panoptic_map,
    panoptic_name,
)

# With more instances than this, a legend with counts takes the place of the labels.
MOST_LABELS = 30

MASK_OPACITY = 0.42
CLASS_OPACITY = 0.55


class SegmentationVisualizer(Canvas):
    """Draws instances, maps of classes, both, or panoptic segments; see `Canvas`.

    Example:
        >>> visualizer = SegmentationVisualizer(image_bgr[:, :, ::-1], predictor.metadata)
        >>> visualizer.draw_instance_predictions(output["instances"].to("cpu")).get_image()
    """

    def draw_instance_predictions(self, predictions: Instances, jittering: bool = True) -> VisImage:
        """Draw a model's instances, with class and score.

        Args:
            predictions: on the CPU; `pred_classes`, `scores`, and `pred_masks` or `pred_boxes`.
            jittering: vary the colour of a class from instance to instance.
        """
        classes = predictions.pred_classes.tolist()
        scores = predictions.scores.tolist() if predictions.has("scores") else None
        return self.overlay_instances(
            boxes=predictions.pred_boxes if predictions.has("pred_boxes") else None,
            labels=self.instance_labels(classes, scores),
            masks=predictions.pred_masks if predictions.has("pred_masks") else None,
            assigned_colors=self.instance_colors(classes, jittering),
            alpha=MASK_OPACITY,
        )

    def draw_dataset_dict(self, dic: Mapping[str, Any]) -> VisImage:
        """Draw one image's ground truth in Detectron2's standard format, classes below instances.

        What is ignored in training and scoring (crowds, pixels without a class) is hatched.
        Panoptic ground truth is drawn as such.
        """
        if "pan_seg_file_name" in dic:
            return self.draw_panoptic_seg(read_pan_seg(dic), dic["segments_info"])
        if "sem_seg" in dic:
            self.draw_sem_seg(dic["sem_seg"])
        elif dic.get("sem_seg_file_name") is not None:
            self.draw_sem_seg(read_sem_seg(dic))
        annotations = dic.get("annotations") or []
        crowds = [a for a in annotations if a.get("iscrowd", 0)]
        self.draw_ignored([a["segmentation"] for a in crowds if "segmentation" in a])
        instances = [a for a in annotations if not a.get("iscrowd", 0)]
        if not instances:
            return self.output
        classes = [a["category_id"] for a in instances]
        has_masks = all("segmentation" in a for a in instances)
        return self.overlay_instances(
            boxes=None if has_masks else _boxes_of(instances),
            labels=self.instance_labels(classes),
            masks=[a["segmentation"] for a in instances] if has_masks else None,
            assigned_colors=self.instance_colors(classes),
            alpha=MASK_OPACITY,
        )

    def instance_labels(
        self, classes: Sequence[int], scores: Sequence[float] | None = None
    ) -> list[str]:
        """Class names, with the score behind them where there are scores."""
        names = [self.class_name(index) for index in classes]
        if scores is None:
            return names
        return [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]

    def class_name(self, index: int) -> str:
        """The name of a class of instances in the metadata, or its number."""
        return self._name("thing_classes", index)

    def instance_colors(self, classes: Sequence[int], vary: bool = True) -> list[Color]:
        """A colour for each instance, from the colour of its class."""
        colors = self.metadata.get("thing_colors")
        plain = [class_color(index, colors) for index in classes]
        if not vary:
            return plain
        num_classes = max(
            [1, len(self.metadata.get("thing_classes") or []), *(c + 1 for c in classes)]
        )
        return [vary_color(color, i, num_classes) for i, color in enumerate(plain)]

    def overlay_instances(
        self,
        *,
        boxes: Any = None,
        labels: Sequence[str] | None = None,
        masks: Any = None,
        keypoints: Any = None,
        assigned_colors: Sequence[Color] | None = None,
        alpha: float = MASK_OPACITY,
    ) -> VisImage:
        """Draw instances from the largest to the smallest; see `Visualizer.overlay_instances`.

        Boxes are drawn only where there are no masks. Labels are left out when there are more than
        `MOST_LABELS` instances, or where they find no room; a legend with counts stands in for
        them.
        """
        if masks is None:
            return super().overlay_instances(
                boxes=boxes,
                labels=labels,
                keypoints=keypoints,
                assigned_colors=assigned_colors,
                alpha=alpha,
            )
        shapes = list(self._shapes(masks))
        if assigned_colors is None:
            assigned_colors = self.instance_colors([0] * len(shapes))
        # Largest first, so that nothing small is hidden below something large.
        order = sorted(
            (i for i, shape in enumerate(shapes) if shape is not None),
            key=lambda i: -shapes[i].get_extents().width * shapes[i].get_extents().height,
        )
        for i in order:
            self.draw_outline(shapes[i], assigned_colors[i], opacity=alpha)
        if labels is not None and len(order) <= MOST_LABELS:
            for i in order:
                self.draw_label(labels[i], shapes[i], assigned_colors[i])
        if keypoints is not None:
            for points in self._convert_keypoints(keypoints):
                self.draw_and_connect_keypoints(points)
        return self.output

    def draw_class_counts(self, classes: Iterable[int]) -> VisImage:
        """Write how many instances of each class there are, the most frequent first."""
        colors = self.metadata.get("thing_colors")
        counts = Counter(classes).most_common()
        return self.draw_legend(
            [
                (f"{self.class_name(c)}: {n}", vary_color(class_color(c, colors), 0, 100))
                for c, n in counts
            ]
        )

    def draw_mask(
        self, mask: Any, color: Color, *, opacity: float = MASK_OPACITY, **style: Any
    ) -> VisImage:
        """Draw one mask (array, RLE or polygons) as `draw_outline` does."""
        shape = next(self._shapes([mask]))
        if shape is not None:
            self.draw_outline(shape, color, opacity=opacity, **style)
        return self.output

    def draw_boxes(self, boxes: np.ndarray, colors: Sequence[Color]) -> VisImage:
        """Draw the frames of (N, 4) boxes in XYXY, thin."""
        for (x0, y0, x1, y1), color in zip(boxes, colors, strict=True):
            frame = Outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], closed=True)
            self.draw_outline(frame, color, opacity=0, line_width=0.7)
        return self.output

    def draw_labels(self, masks: Any, labels: Sequence[str], colors: Sequence[Color]) -> VisImage:
        """Write labels of masks that are drawn already, where they find room."""
        for label, shape, color in zip(labels, self._shapes(masks), colors, strict=True):
            if shape is not None:
                self.draw_label(label, shape, color)
        return self.output

    def draw_ignored(self, masks: Sequence[Any]) -> VisImage:
        """Hatch regions that are ignored in training and scoring."""
        # matplotlib draws its hatches at one size, in pictures of any.
        hatch = "/" * round(52 / self._text_height)
        for mask in masks:
            self.draw_mask(mask, IGNORED_COLOR, opacity=0.25, hatch=hatch)
        return self.output

    def draw_sem_seg(
        self, sem_seg: Any, area_threshold: int | None = None, alpha: float = CLASS_OPACITY
    ) -> VisImage:
        """Draw a map of classes, with borders between regions; ignored pixels are hatched.

        Args:
            sem_seg: (H, W) array or tensor on the CPU, of any integer dtype: classes, 0 to 254;
                what is no class is ignored.
            area_threshold: regions of fewer pixels are not drawn.
            alpha: opacity of the classes, 0..1.
        """
        classes = as_class_map(np.asarray(sem_seg))
        ignored = classes == IGNORED
        if area_threshold:
            classes = without_small_regions(classes, area_threshold)
        colors = {index: self.semantic_color(index) for index in class_areas(classes)}
        self.overlay_classes(classes, colors, opacity=alpha)
        return self.draw_ignored([ignored] if ignored.any() else [])

    def overlay_classes(
        self,
        classes: np.ndarray,
        colors: Mapping[int, Color],
        *,
        opacity: float = CLASS_OPACITY,
    ) -> VisImage:
        """Lay classes in given colours over the image; see `paint_classes`.

        Args:
            classes: (H, W) uint8 or uint16: classes, or numbers of segments.
            colors: class -> colour; other classes are not drawn.
            opacity: of the classes, 0..1.
        """
        width, height = self.output.canvas.get_width_height()
        self.output.ax.imshow(
            paint_classes(
                classes,
                (height, width),
                colors,
                opacity=opacity,
                border_width=self._line_width,
            ),
            extent=(0, self.output.width, self.output.height, 0),
            interpolation="nearest",
        )
        return self.output

    def semantic_name(self, index: int) -> str:
        """The name of a class of pixels in the metadata, or its number."""
        return self._name("stuff_classes", index)

    def semantic_color(self, index: int) -> Color:
        """The colour of a class of pixels."""
        return class_color(index, self.metadata.get("stuff_colors"))

    def draw_class_shares(self, sem_seg: Any) -> VisImage:
        """Write which classes there are and how many of the pixels each has, the largest first.

        Args:
            sem_seg: as for `draw_sem_seg`.
        """
        classes = as_class_map(np.asarray(sem_seg))
        areas = class_areas(classes)
        entries = [(n, self.semantic_name(i), self.semantic_color(i)) for i, n in areas.items()]
        ignored = classes.size - sum(areas.values())
        if ignored:
            entries.append((ignored, "ignored", IGNORED_COLOR))
        entries.sort(key=lambda entry: -entry[0])
        return self.draw_legend(
            [(f"{name}  {percent(n / classes.size)}", color) for n, name, color in entries]
        )

    def draw_panoptic_seg(
        self,
        panoptic_seg: Any,
        segments_info: Sequence[Mapping[str, Any]] | None,
        area_threshold: int | None = None,
        alpha: float = CLASS_OPACITY,
    ) -> VisImage:
        """Draw panoptic segments: stuff in the colour of its class, things each in a variant of it.

        Things have their class and, where it is known, their score written on them, unless there
        are more than `MOST_LABELS`. Void and crowds are hatched.

        Args:
            panoptic_seg: (H, W) array or tensor on the CPU, ids of segments.
            segments_info: what they are, see `panoptic_map`.
            area_threshold: segments of fewer pixels are not drawn.
            alpha: opacity of the segments, 0..1.
        """
        panoptic = panoptic_map(panoptic_seg, segments_info, self.metadata)
        ignored = np.array([bool(s.get("iscrowd", 0)) for s in panoptic.segments], bool)
        numbers = panoptic.without(ignored | (panoptic.areas[1:] < (area_threshold or 0)))
        colors = self._panoptic_colors(panoptic)
        self.overlay_classes(numbers, dict(enumerate(colors, start=1)), opacity=alpha)
        hatched = panoptic.without(ignored) == VOID
        self.draw_ignored([hatched] if hatched.any() else [])
        drawn = set(np.unique(numbers).tolist())
        things = [i for i, s in enumerate(panoptic.segments) if s["isthing"] and i + 1 in drawn]
        if len(things) <= MOST_LABELS:
            things.sort(key=lambda i: -panoptic.areas[i + 1])
            self.draw_labels(
                (numbers == i + 1 for i in things),
                [self.panoptic_label(panoptic.segments[i]) for i in things],
                [colors[i] for i in things],
            )
        return self.output

    draw_panoptic_seg_predictions = draw_panoptic_seg

    def draw_panoptic_shares(
        self, panoptic_seg: Any, segments_info: Sequence[Mapping[str, Any]] | None
    ) -> VisImage:
        """Write how many of the pixels each class has, the largest first, and how many things.

        Args:
            panoptic_seg: as for `draw_panoptic_seg`.
            segments_info: likewise.
        """
        panoptic = panoptic_map(panoptic_seg, segments_info, self.metadata)
        pixels, things, colors = Counter(), Counter(), {}
        for segment, area in zip(panoptic.segments, panoptic.areas[1:].tolist(), strict=True):
            if segment.get("iscrowd", 0):
                name, color = "crowd", IGNORED_COLOR
            else:
                name, color = self.panoptic_name(segment), self.panoptic_color(segment)
                things[name] += segment["isthing"]
            pixels[name] += area
            colors.setdefault(name, color)
        if panoptic.areas[VOID]:
            pixels["void"], colors["void"] = int(panoptic.areas[VOID]), IGNORED_COLOR
        return self.draw_legend(
            [
                (
                    f"{f'{name}: {things[name]}' if things[name] else name}  "
                    f"{percent(n / panoptic.numbers.size)}",
                    colors[name],
                )
                for name, n in pixels.most_common()
            ]
        )

    def panoptic_name(self, segment: Mapping[str, Any]) -> str:
        """The name of a segment's class in the metadata, or its number."""
        return panoptic_name(segment, self.metadata)

    def panoptic_color(self, segment: Mapping[str, Any]) -> Color:
        """The colour of a segment's class."""
        return class_color(segment["category_id"], panoptic_colors(segment, self.metadata))

    def panoptic_label(self, segment: Mapping[str, Any]) -> str:
        """The name of a segment's class, with its score where it has one."""
        name, score = self.panoptic_name(segment), segment.get("score")
        return name if score is None else f"{name} {score:.2f}"

    def _panoptic_colors(self, panoptic: PanopticMap) -> list[Color]:
        """A colour for each segment; those of things vary."""
        # Stuff has its part in the circle of hues, too.
        keys = ("thing_classes", "stuff_classes")
        if self.metadata.get("panoptic_classes") is not None:
            keys = ("panoptic_classes",)
        num_classes = max(2, sum(len(self.metadata.get(key) or []) for key in keys))
        return [
            vary_color(self.panoptic_color(segment), i, num_classes)
            if segment["isthing"]
            else self.panoptic_color(segment)
            for i, segment in enumerate(panoptic.segments)
        ]

    def _name(self, kind: str, index: int) -> str:
        names = self.metadata.get(kind) or []
        return names[index] if index < len(names) else str(index)

    def _shapes(self, masks: Any) -> Iterable[Outline | None]:
        """Outlines of masks in any form that Detectron2's `Visualizer` takes, one by one."""
        if isinstance(masks, PolygonMasks):
            masks = masks.polygons
        if isinstance(masks, BitMasks):
            masks = masks.tensor
        for mask in masks:
            if not isinstance(mask, GenericMask):
                mask = GenericMask(
                    mask if isinstance(mask, (dict, list)) else np.asarray(mask),
                    self.output.height,
                    self.output.width,
                )
            yield mask_outline(mask.mask, self.output.scale)


def _boxes_of(annotations: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array(
        [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    )
