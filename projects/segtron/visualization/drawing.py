"""Instances drawn on images: Detectron2's `Visualizer` in Segtron's style."""

from __future__ import annotations

import colorsys
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from detectron2.structures import BitMasks, BoxMode, Instances, PolygonMasks
from detectron2.utils.visualizer import ColorMode, GenericMask, VisImage, Visualizer
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.text import Text

Color = tuple[float, float, float]

# Small images are enlarged to this many pixels on their short side, or labels can't be read...
SMALLEST_SIDE = 512
# ... but never beyond this many on their long side.
LONGEST_ENLARGED_SIDE = 2048
# With more instances than this, a legend with counts takes the place of the labels.
MOST_LABELS = 30

MASK_OPACITY = 0.42
CROWD_COLOR: Color = (0.75, 0.75, 0.75)
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def enlargement(height: int, width: int) -> float:
    """How many times its size an image is drawn: 1 unless it is too small for readable labels."""
    wanted = min(SMALLEST_SIDE / min(height, width), LONGEST_ENLARGED_SIDE / max(height, width))
    return max(1.0, wanted)


def class_color(index: int, colors: Sequence[Sequence[int]] | None = None) -> Color:
    """The colour of a class: the data set's own, or one of an endless series of distinct hues.

    Args:
        index: contiguous class id.
        colors: the data set's `thing_colors`, RGB in 0..255.

    Returns:
        RGB in 0..1.
    """
    if colors is not None and index < len(colors):
        red, green, blue = (channel / 255 for channel in colors[index])
        return red, green, blue
    return colorsys.hls_to_rgb((0.57 + index * _GOLDEN_RATIO) % 1, 0.55, 0.85)


def vary_color(color: Color, index: int, num_classes: int) -> Color:
    """A variant of a class's colour for one of its instances, so that neighbours can be told apart.

    Hue and lightness move along low-discrepancy sequences: the same index gives the same colour,
    and indices that follow each other give colours far apart. The fewer classes, the freer the hue.
    Colours too dark or too pale for an overlay are brought into a middle range.

    Args:
        color: RGB in 0..1.
        index: number of the instance in its image.
        num_classes: number of classes that have to share the circle of hues.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*color)
    hue_range = 0.3 / num_classes if num_classes > 1 else 0.5
    hue += hue_range / 2 * (2 * ((index * _GOLDEN_RATIO) % 1) - 1)
    lightness = min(max(lightness, 0.5), 0.62) + 0.1 * (2 * ((index * 0.7548777) % 1) - 1)
    return colorsys.hls_to_rgb(hue % 1, lightness, max(saturation, 0.55) if saturation else 0.0)


def mask_outline(mask: np.ndarray, smoothness: float = 1.0) -> Outline | None:
    """The outline of a binary mask, holes included, as a matplotlib path.

    Args:
        mask: (H, W), bool or uint8.
        smoothness: how many times larger than the mask it will be drawn; the outline has no visible
            steps at that size.

    Returns:
        A closed path in pixel coordinates, in which the top left pixel covers 0..1; holes run
        against the sense of the outer contours, so that filling leaves them free. None for an
        empty mask.
    """
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    left, top = int(columns[0]), int(rows[0])
    crop = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8) * 255
    # OpenCV follows pixel centres, which would shrink the mask by half a pixel on each side:
    # enlarging makes that small. The frame keeps the border from being clipped by the
    # interpolation.
    factor = max(2, math.ceil(smoothness))
    crop = cv2.copyMakeBorder(crop, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    large = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours(
        (large >= 128).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    points, codes = [], []
    for contour in contours:
        ring = (contour[:, 0].astype(np.float64) + 0.5) / factor - 1 + (left, top)
        if len(ring) < 3:
            continue
        points += [ring, ring[:1]]
        codes += [Outline.MOVETO, *[Outline.LINETO] * (len(ring) - 1), Outline.CLOSEPOLY]
    return Outline(np.concatenate(points), codes) if points else None


class InstanceVisualizer(Visualizer):
    """Detectron2's `Visualizer` with clear outlines, labels that don't cover each other, and holes.

    Small images are enlarged (`enlargement`), so the picture may be larger than the image; all
    coordinates are the image's.

    Example:
        >>> visualizer = InstanceVisualizer(image_bgr[:, :, ::-1], predictor.metadata)
        >>> visualizer.draw_instance_predictions(output["instances"].to("cpu")).get_image()
    """

    def __init__(
        self, img_rgb: np.ndarray, metadata: Any = None, *, longest_side: int | None = None
    ) -> None:
        """
        Args:
            img_rgb: (H, W, 3), RGB in 0..255.
            metadata: names (`thing_classes`) and, if it has them, colours (`thing_colors`).
            longest_side: larger images are drawn so small that they keep within it.
        """
        height, width = img_rgb.shape[:2]
        scale = enlargement(height, width)
        if longest_side is not None:
            scale = min(scale, longest_side / max(height, width))
        super().__init__(img_rgb, metadata, scale, ColorMode.SEGMENTATION)
        if scale != 1:
            self.output.ax.images[-1].set_interpolation("bicubic" if scale > 1 else "hanning")
        # In pixels of the picture, from its size in pixels.
        extent = math.sqrt(height * width) * scale
        self._text_height = min(max(extent / 55, 11.0), 32.0)
        self._line_width = min(max(extent / 600, 1.1), 3.0)
        self._taken: list[tuple[float, float, float, float]] = []

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
        """Draw the annotations of one image in Detectron2's standard format; crowds are hatched."""
        annotations = dic.get("annotations") or []
        crowds = [a for a in annotations if a.get("iscrowd", 0)]
        self.draw_crowds([a["segmentation"] for a in crowds if "segmentation" in a])
        instances = [a for a in annotations if not a.get("iscrowd", 0)]
        rest = {key: value for key, value in dic.items() if key != "annotations"}
        super().draw_dataset_dict(rest)
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
        """The name of a class in the metadata, or its number."""
        names = self.metadata.get("thing_classes") or []
        return names[index] if index < len(names) else str(index)

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
            self._write_labels([(labels[i], shapes[i], assigned_colors[i]) for i in order])
        if keypoints is not None:
            for points in self._convert_keypoints(keypoints):
                self.draw_and_connect_keypoints(points)
        return self.output

    def draw_mask(self, mask: Any, color: Color, **style: Any) -> VisImage:
        """Draw one mask (array, RLE or polygons) as `draw_outline` does."""
        shape = next(self._shapes([mask]))
        if shape is not None:
            self.draw_outline(shape, color, **style)
        return self.output

    def draw_boxes(self, boxes: np.ndarray, colors: Sequence[Color]) -> VisImage:
        """Draw the frames of (N, 4) boxes in XYXY, thin."""
        for (x0, y0, x1, y1), color in zip(boxes, colors, strict=True):
            frame = Outline([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], closed=True)
            self.draw_outline(frame, color, opacity=0, line_width=0.7)
        return self.output

    def draw_labels(self, masks: Any, labels: Sequence[str], colors: Sequence[Color]) -> VisImage:
        """Write labels of masks that are drawn already, where they find room."""
        shapes = self._shapes(masks)
        self._write_labels([t for t in zip(labels, shapes, colors, strict=True) if t[1]])
        return self.output

    def draw_crowds(self, masks: Sequence[Any]) -> VisImage:
        """Hatch regions that are ignored in training and scoring."""
        for mask in masks:
            self.draw_mask(mask, CROWD_COLOR, opacity=0.25, hatch="////")
        return self.output

    def draw_outline(
        self,
        outline: Outline,
        color: Color,
        *,
        opacity: float = MASK_OPACITY,
        line_width: float = 1.0,
        hatch: str | None = None,
    ) -> VisImage:
        """Fill and stroke a path.

        Args:
            outline: in coordinates of the image.
            color: RGB in 0..1.
            opacity: of the filling, 0..1; the stroke is opaque.
            line_width: in multiples of the width that suits the picture's size.
            hatch: matplotlib's hatch pattern.
        """
        # Not add_patch, which walks along every outline to update the limits of axes that are
        # fixed.
        self.output.ax.add_artist(
            PathPatch(
                outline,
                facecolor=(*color, opacity),
                edgecolor=tuple(0.65 * channel + 0.35 for channel in color),
                linewidth=_points(self._line_width * line_width, self.output),
                joinstyle="round",
                hatch=hatch,
            )
        )
        return self.output

    def draw_text(self, text: str, position: Any, **style: Any) -> VisImage:
        """As Detectron2's, but dollar signs in a name are no formula."""
        super().draw_text(text, position, **style)
        self.output.ax.texts[-1].set_parse_math(False)
        return self.output

    def draw_legend(self, entries: Sequence[tuple[str, Color]]) -> VisImage:
        """Write a line for each entry into the top left corner, and keep labels away from it."""
        unit = self._text_height / self.output.scale
        y = 0.4 * unit
        for text, color in entries:
            artist = self._write(text, (0.5 * unit, y), color, size=1.2)
            width, height = self._extent(artist)
            self._taken.append((0, y, 0.5 * unit + width, y + height))
            y += 1.7 * unit
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

    def _write_labels(self, labelled: Iterable[tuple[str, Outline, Color]]) -> None:
        for text, outline, color in labelled:
            self._label(text, outline, color)

    def _write(
        self, text: str, position: tuple[float, float], color: Color, *, size: float = 1.0
    ) -> Text:
        """Write text in a light variant of a colour, right of and below a position."""
        self.draw_text(
            text,
            position,
            font_size=_points(self._text_height * size, self.output) / self.output.scale,
            color=tuple(0.6 * channel + 0.4 for channel in color),
            horizontal_alignment="left",
        )
        return self.output.ax.texts[-1]

    def _extent(self, text: Text) -> tuple[float, float]:
        """Width and height of a text in pixels of the image."""
        extent = text.get_window_extent(self.output.canvas.get_renderer())
        return extent.width / self.output.scale, extent.height / self.output.scale

    def _label(self, text: str, outline: Outline, color: Color) -> None:
        """Write a label at the first place near the outline where it covers no other label."""
        artist = self._write(text, (0, 0), color)
        width, height = self._extent(artist)
        frame = 0.15 * height
        top, bottom = (
            outline.vertices[pick(outline.vertices[:, 1])] for pick in (np.argmin, np.argmax)
        )
        middle = np.median(outline.vertices, axis=0)
        for x, y in (
            (top[0] - width / 2, top[1] - height - frame),
            (middle[0] - width / 2, middle[1] - height / 2),
            (bottom[0] - width / 2, bottom[1] + frame),
        ):
            x = min(max(x, frame), max(self.output.width - width - frame, frame))
            y = min(max(y, frame), max(self.output.height - height - frame, frame))
            place = (x - frame, y - frame, x + width + frame, y + height + frame)
            if not any(_overlap(place, taken) for taken in self._taken):
                self._taken.append(place)
                artist.set_position((x, y))
                return
        artist.remove()


def _boxes_of(annotations: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array(
        [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    )


def _points(pixels: float, picture: VisImage) -> float:
    return pixels * 72 / picture.dpi


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
