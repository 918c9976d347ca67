#!/usr/bin/env python
"""Run a model that Segtron's tools/export_model.py wrote, with neither Segtron nor Detectron2.

Copy this file to wherever the model goes. It needs numpy and Pillow, and onnxruntime for `.onnx`
files, or torch for `.pt2` files (and torchvision, if the model has instances).

    python run_exported.py model.onnx street.png --output results

From Python:

    from run_exported import ExportedModel, read_image
    model = ExportedModel("model.onnx")
    output = model(read_image("street.png"))
    output["instances"].masks      # (N, height, width) bool
    output["sem_seg"].argmax(0)    # (height, width), the class of each pixel
    ids, segments = output["panoptic_seg"]

What comes before the network and after it is what Segtron's `Predictor` does, written in NumPy.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

METADATA_KEY = "segtron"  # in an ONNX file's metadata
METADATA_FILE = "segtron.json"  # in a .pt2 file, a zip archive
VERSION = 1  # of the metadata
# What Pillow raises for a file that is no image, ends too early or claims an absurd size.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class Instances(NamedTuple):
    """The objects found in one image."""

    boxes: np.ndarray  # (N, 4) float32, x0, y0, x1, y1 in pixels
    scores: np.ndarray  # (N,) float32, 0 to 1
    classes: np.ndarray  # (N,) int64, places in `thing_classes`
    masks: np.ndarray  # (N, height, width) bool


class ExportedModel:
    """A model in a file.

    Attributes:
        info: what the file says of the model: `task`, `classes`, `input`, ...
    """

    def __init__(self, path: str | Path, *, threads: int = 0) -> None:
        """
        Args:
            path: an `.onnx` or a `.pt2` file. As with any model, only from those whom you trust.
            threads: of onnxruntime on a CPU; 0 for one a core. torch has `torch.set_num_threads`.

        Raises:
            OSError: there is no such file.
            ImportError: onnxruntime or torch is not installed.
            ValueError: the file is broken, or no model that export_model.py wrote.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no file {path}")
        load = _load_onnx if Path(path).suffix == ".onnx" else _load_torch
        try:
            metadata, self._run = load(str(path), threads)
        except ImportError as error:
            raise ImportError(f"to run {path}, install what is missing ({error})") from error
        except Exception as error:  # what the two libraries raise has nothing in common
            raise ValueError(
                f"{path} can't be read as a model ({_reason(error)}); export it again"
            ) from error
        self.info: dict[str, Any] = json.loads(metadata or "{}")
        if self.info.get("version") != VERSION:
            raise ValueError(f"{path} was not written by an export_model.py that this file knows")

    def __call__(self, image: np.ndarray) -> dict[str, Any]:
        """Predict one image.

        Args:
            image: (H, W, 3) uint8, RGB.

        Returns:
            As the model has them: `instances`; `sem_seg`, (K, H, W) float32 scores of all classes;
            `panoptic_seg`, see `merge_panoptic` and `merge_bottom_up`.
        """
        inputs = self.info["input"]
        if inputs["format"] == "BGR":
            image = image[:, :, ::-1]
        height, width = image.shape[:2]
        resized = resize_image(image, inputs)
        found = dict(zip(self.info["outputs"], self._run(*pad_image(resized, inputs)), strict=True))
        output: dict[str, Any] = {}
        if "boxes" in found:
            masks = found.pop("masks")
            output["instances"] = to_image_size(
                Instances(found["boxes"], found["scores"], found["classes"], masks),
                resized.shape[:2],
                (height, width),
            )
        maps = {
            name: interpolate(
                found[name][0, :, : resized.shape[0], : resized.shape[1]], height, width
            )
            for name in ("sem_seg", "heatmap", "offsets")
            if name in found
        }
        if "sem_seg" in maps:
            output["sem_seg"] = maps["sem_seg"]
        if "panoptic" in self.info:
            classes = output["sem_seg"].argmax(axis=0)
            output["panoptic_seg"] = merge_panoptic(
                output["instances"], classes, **self.info["panoptic"]
            )
        if "bottom_up" in self.info:
            # Pixels of the image have another size than those of the network's input.
            scale = np.array([height / resized.shape[0], width / resized.shape[1]], np.float32)
            offsets = maps["offsets"] * scale[:, None, None]
            output["instances"], output["panoptic_seg"] = merge_bottom_up(
                maps["sem_seg"], maps["heatmap"][0], offsets, **self.info["bottom_up"]
            )
        return output


Run = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


def _load_onnx(path: str, threads: int) -> tuple[str, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    providers = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    names = [given.name for given in session.get_inputs()]

    def run(image: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
        return session.run(None, dict(zip(names, (image, size), strict=False)))

    return session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, ""), run


def _load_torch(path: str, threads: int) -> tuple[str, Run]:
    import torch

    with contextlib.suppress(ImportError):
        import torchvision  # noqa: F401  brings the operators that models with instances use
    logging.getLogger("torch.export").setLevel(logging.ERROR)  # else a traceback for a bad file
    files = {METADATA_FILE: ""}
    program = torch.export.load(path, extra_files=files)
    number_of_inputs = len(program.graph_signature.user_inputs)
    # Some of them would refuse sizes that the graph is right for.
    module = program.module(check_guards=False)

    @torch.inference_mode()
    def run(*inputs: np.ndarray) -> list[np.ndarray]:
        given = [torch.from_numpy(value) for value in inputs[:number_of_inputs]]
        return [value.numpy() for value in module(*given)]

    return files[METADATA_FILE], run


def read_image(path: str | Path) -> np.ndarray:
    """An image file as (H, W, 3) uint8, RGB, upright as its EXIF orientation says.

    Raises:
        ValueError: the file is missing, broken, no image, too large for Pillow, or has more than 8
            bits a channel.
    """
    try:
        with Image.open(path) as image:
            if not image.mode.startswith(("I", "F")):
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except _UNREADABLE as error:
        raise ValueError(
            f"image {path} can't be read ({_reason(error)}); restore or remove it"
        ) from error
    raise ValueError(f"image {path} has more than 8 bits a channel; convert it first")


def _reason(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def resize_image(image: np.ndarray, inputs: dict[str, Any]) -> np.ndarray:
    """Resize by the model's rule: the shorter edge to a length, but the longer one not above one.

    A pixel is the least that is left of a side, however long the image is.

    Args:
        image: (H, W, 3) uint8.
        inputs: `min_size`, the length (0: as it is), `max_size`, and `size`, height and width that
            the image must fit into, or None.
    """
    height, width = image.shape[:2]
    new_height, new_width = float(height), float(width)
    if inputs["min_size"] > 0:
        scale = inputs["min_size"] / min(height, width)
        new_height, new_width = (
            (float(inputs["min_size"]), scale * width)
            if height < width
            else (scale * height, float(inputs["min_size"]))
        )
        if max(new_height, new_width) > inputs["max_size"]:
            scale = inputs["max_size"] / max(new_height, new_width)
            new_height, new_width = new_height * scale, new_width * scale
    size = max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))
    limits = inputs["size"]
    if limits and (size[0] > limits[0] or size[1] > limits[1]):
        scale = min(limits[0] / height, limits[1] / width)
        size = max(1, int(height * scale)), max(1, int(width * scale))
    if size == (height, width):
        return image
    resized = Image.fromarray(np.ascontiguousarray(image)).resize(
        size[::-1], Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def pad_image(image: np.ndarray, inputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Add mean colour on the right and at the bottom, up to a size that the network takes.

    The network subtracts the mean first, so that it sees zeros there.

    Returns:
        (1, 3, H', W') float32, and the height and width of `image` as int64.
    """
    height, width = image.shape[:2]
    stride = inputs["stride"]
    size = inputs["size"] or [
        max(-(-length // stride) * stride, inputs["smallest"]) for length in (height, width)
    ]
    padded = np.empty((1, 3, *size), np.float32)
    padded[0] = np.asarray(inputs["pixel_mean"], np.float32)[:, None, None]
    padded[0, :, :height, :width] = image.transpose(2, 0, 1)
    return padded, np.array([height, width], np.int64)


def interpolate(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (C, H, W) bilinearly, pixels being areas: torch's `align_corners=False`."""
    for axis, length in ((1, height), (2, width)):
        old = values.shape[axis]
        if old == length:
            continue
        places = ((np.arange(length, dtype=np.float32) + 0.5) * np.float32(old / length)) - 0.5
        places = np.maximum(places, 0)
        low = np.minimum(places.astype(np.int64), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (places - low).astype(np.float32).reshape((-1, 1) if axis == 1 else (-1,))
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def to_image_size(
    found: Instances, size: tuple[int, int], image_size: tuple[int, int]
) -> Instances:
    """Bring instances from the network's input to the image.

    Args:
        found: `masks` are (N, M, M), from 0 to 1, each for the area of its box.
        size: of the network's input, height and width, without what was added to it.
        image_size: of the image.
    """
    height, width = image_size
    scale = np.array([width / size[1], height / size[0]] * 2, np.float32)
    boxes = np.clip(found.boxes * scale, 0, np.array([width, height] * 2, np.float32))
    kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    boxes, masks = boxes[kept], found.masks[kept]
    pasted = paste_masks(masks, boxes, height, width)
    return Instances(boxes, found.scores[kept], found.classes[kept], pasted)


def paste_masks(masks: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch each mask over its box, bilinearly; pixels of 0.5 and more belong to it.

    Args:
        masks: (N, M, M), from 0 to 1.
        boxes: (N, 4).
        height: of the image.
        width: of the image.

    Returns:
        (N, height, width) bool.
    """
    pasted = np.zeros((len(masks), height, width), bool)
    for mask, (left, top, right, bottom), image in zip(masks, boxes, pasted, strict=True):
        rows, row_weights = _weights(top, bottom, height, len(mask))
        columns, column_weights = _weights(left, right, width, len(mask))
        image[rows, columns] = row_weights @ mask @ column_weights.T >= 0.5
    return pasted


def _weights(start: float, end: float, length: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels that a mask reaches along one axis, and what each takes of the mask's cells."""
    margin = (end - start) / cells / 2 + 1  # half a cell beyond the box, and rounding
    first = int(np.clip(np.floor(start - margin), 0, length))
    last = max(int(np.clip(np.ceil(end + margin), 0, length)), first)
    pixels = np.arange(first, last, dtype=np.float32) + np.float32(0.5)
    places = (pixels - start) / (end - start) * cells - np.float32(0.5)
    weights = 1 - np.abs(places[:, None] - np.arange(cells, dtype=np.float32))
    return slice(first, last), np.maximum(weights, 0)


def merge_panoptic(
    instances: Instances,
    classes: np.ndarray,
    *,
    overlap_threshold: float,
    stuff_area_limit: int,
    confidence_threshold: float,
    thing_classes: list[int],
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Merge instances and stuff by the rules of Panoptic FPN (Kirillov et al. 2019).

    Args:
        instances: of the image.
        classes: (H, W), the semantic class of each pixel.
        overlap_threshold: the largest share of a mask that may be taken by instances before it.
        stuff_area_limit: the least number of pixels of a stuff segment.
        confidence_threshold: the lowest score of an instance.
        thing_classes: at i the semantic class of the instances' class i.

    Returns:
        (H, W) int32, segment ids from 1, 0 in void; and for each segment `id`, `isthing`,
        `category_id` (a semantic class), and `score` and `instance_id`, or `area`.
    """
    ids = np.zeros(classes.shape, np.int32)
    segments: list[dict[str, Any]] = []
    for i in np.argsort(-instances.scores, kind="stable").tolist():
        score = float(instances.scores[i])
        if score < confidence_threshold:
            break
        mask = instances.masks[i]
        left = mask & (ids == 0)
        area, free = np.count_nonzero(mask), np.count_nonzero(left)
        if free == 0 or (area - free) / area > overlap_threshold:
            continue
        segment = {"id": len(segments) + 1, "isthing": True, "score": score, "instance_id": i}
        segments.append(segment | {"category_id": thing_classes[int(instances.classes[i])]})
        ids[left] = len(segments)
    _add_stuff(ids, segments, classes, thing_classes, stuff_area_limit)
    return ids, segments


def _add_stuff(
    ids: np.ndarray,
    segments: list[dict[str, Any]],
    classes: np.ndarray,
    thing_classes: list[int],
    area_limit: int,
) -> None:
    """Make a segment of the pixels of each class of stuff that belong to none, if they suffice."""
    is_free = ids == 0
    areas = np.bincount(classes[is_free])
    for label in np.flatnonzero(areas >= max(area_limit, 1)).tolist():
        if label in thing_classes:
            continue
        segment = {"id": len(segments) + 1, "isthing": False, "category_id": label}
        segments.append(segment | {"area": int(areas[label])})
        ids[is_free & (classes == label)] = len(segments)


def merge_bottom_up(
    sem_seg: np.ndarray,
    heatmap: np.ndarray,
    offsets: np.ndarray,
    *,
    center_threshold: float,
    nms_kernel: int,
    top_k: int,
    stuff_area_limit: int,
    thing_classes: list[int],
) -> tuple[Instances, tuple[np.ndarray, list[dict[str, Any]]]]:
    """Group pixels into segments by the rules of Panoptic-DeepLab (Cheng et al. 2020).

    Args:
        sem_seg: (K, H, W), scores of the classes.
        heatmap: (H, W), how much a pixel looks like the centre of an instance.
        offsets: (2, H, W), from each pixel to the centre of its instance, y and x.
        center_threshold, nms_kernel, top_k: see `find_centers`.
        stuff_area_limit: the least number of pixels of a stuff segment.
        thing_classes: at i the semantic class of the instances' class i.

    Returns:
        The things, with tight boxes; and ids and segments as in `merge_panoptic`.
    """
    classes = sem_seg.argmax(axis=0)
    centers, center_scores = find_centers(
        heatmap, threshold=center_threshold, nms_kernel=nms_kernel, top_k=top_k
    )
    groups = group_pixels(centers, offsets, np.isin(classes, thing_classes))
    present = np.unique(groups[groups > 0])
    ids = np.zeros(classes.shape, np.int32)
    boxes, scores, labels, masks, segments = [], [], [], [], []
    for i, group in enumerate(present):
        mask = groups == group
        label = int(np.bincount(classes[mask]).argmax())
        logits = sem_seg[:, mask]
        logits = logits - logits.max(axis=0)
        probabilities = np.exp(logits[label]) / np.exp(logits).sum(axis=0)
        # The heatmap has no limit; a score has.
        score = float(min(center_scores[group - 1], 1) * probabilities.mean())
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        scores.append(score)
        labels.append(thing_classes.index(label))
        masks.append(mask)
        segment = {"id": i + 1, "isthing": True, "category_id": label}
        segments.append(segment | {"instance_id": i, "score": score})
        ids[mask] = i + 1
    _add_stuff(ids, segments, classes, thing_classes, stuff_area_limit)
    instances = Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
        np.array(masks, bool).reshape(-1, *classes.shape),
    )
    return instances, (ids, segments)


def find_centers(
    heatmap: np.ndarray, *, threshold: float, nms_kernel: int, top_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The local maxima of a heatmap; of equal values side by side the first in reading order.

    Args:
        heatmap: (H, W).
        threshold: a centre's value is above it.
        nms_kernel: side in pixels, odd, of the square of which a centre is the largest value.
        top_k: the most centres; those of the largest values are kept.

    Returns:
        (C, 2) int64, y and x, in reading order; and the values there, (C,).
    """
    reach = nms_kernel // 2
    padded = np.pad(heatmap, reach, constant_values=-np.inf)
    rows, columns = np.nonzero(heatmap > threshold)
    for y, x in itertools.product(range(nms_kernel), repeat=2):
        values, others = heatmap[rows, columns], padded[rows + y, columns + x]
        is_before = (y, x) < (reach, reach)
        kept = values > others if is_before else values >= others
        rows, columns = rows[kept], columns[kept]
    values = heatmap[rows, columns]
    best = np.sort(np.argsort(-values, kind="stable")[:top_k])
    return np.stack([rows, columns], axis=1)[best], values[best]


def group_pixels(centers: np.ndarray, offsets: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give each pixel of a mask to the centre that is nearest to where it points.

    Args:
        centers: (C, 2), y and x.
        offsets: (2, H, W).
        mask: (H, W) bool.

    Returns:
        (H, W) int64, places of centres counted from 1; 0 outside the mask, or if there is none.
    """
    rows, columns = np.nonzero(mask)
    y, x = offsets[:, rows, columns] + np.stack([rows, columns]).astype(np.float32)
    nearest = np.zeros(len(rows), np.int64)
    least = np.full(len(rows), np.inf, np.float32)
    for number, (center_y, center_x) in enumerate(centers.astype(np.float32), start=1):
        distances = (y - center_y) ** 2 + (x - center_x) ** 2
        closer = distances < least
        nearest[closer], least[closer] = number, distances[closer]
    groups = np.zeros(mask.shape, np.int64)
    groups[rows, columns] = nearest
    return groups


def save(output: dict[str, Any], info: dict[str, Any], stem: Path) -> list[Path]:
    """Write what a model says of one image.

    A semantic model's classes go to STEM.png, its values being places in `stuff_classes`; a
    panoptic model's segments to STEM.png (COCO's colours: id = R + 256 G + 65536 B) and STEM.json;
    instances to STEM.json, with masks as COCO's run lengths. There `class_index` is a place in
    `thing_classes`, of a panoptic model in `stuff_classes`.

    Returns:
        The files, none of which existed.
    """
    classes = info["classes"]
    pixels, entries = None, None
    if "panoptic_seg" in output:
        ids, segments = output["panoptic_seg"]
        pixels = np.stack([ids >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
        entries = [_named(segment, classes["stuff"]) for segment in segments]
    elif "sem_seg" in output:
        labels = output["sem_seg"].argmax(axis=0)
        pixels = labels.astype(np.uint8 if len(output["sem_seg"]) <= 256 else np.uint16)
    else:
        found = output["instances"]
        entries = [
            {
                "class": _name(classes["thing"], int(label)),
                "class_index": int(label),
                "score": float(score),
                "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
                "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
            }
            for (x0, y0, x1, y1), score, label, mask in zip(*found, strict=True)
        ]
    written = []
    if pixels is not None:
        written.append(stem.with_name(f"{stem.name}.png"))
        with open(written[-1], "xb") as file:
            Image.fromarray(pixels).save(file, format="PNG")
    if entries is not None:
        written.append(stem.with_name(f"{stem.name}.json"))
        with open(written[-1], "x", encoding="utf-8") as file:
            json.dump(entries, file, ensure_ascii=False)
    return written


def run_lengths(mask: np.ndarray) -> list[int]:
    """A mask as COCO's uncompressed run lengths: column by column, beginning with zeros."""
    values = mask.T.ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    lengths = np.diff([0, *changes, values.size]).tolist()
    return [0, *lengths] if values[0] else lengths


def _named(segment: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """A segment for a file, where a category's id would be taken for that of a data set."""
    segment = dict(segment)
    label = segment.pop("category_id")
    return segment | {"class": _name(names, label), "class_index": label}


def _name(names: list[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)


def result_names(images: Sequence[Path]) -> list[str]:
    """What the results of each image are called, without a suffix: as the image is.

    Where several have the same name, such as a.jpg and a.png, later ones get a number: a, a-2, a-3.
    """
    # Some file systems take A.png and a.png for the same.
    stems = {path.stem.casefold() for path in images}
    numbers: Counter[str] = Counter()
    names = []
    for path in images:
        stem = path.stem.casefold()
        numbers[stem] += 1
        while numbers[stem] > 1 and f"{stem}-{numbers[stem]}" in stems:
            numbers[stem] += 1
        names.append(path.stem if numbers[stem] == 1 else f"{path.stem}-{numbers[stem]}")
    return names


def _refuse_existing(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        for path in (folder / f"{name}.png", folder / f"{name}.json"):
            if path.exists():
                raise FileExistsError(f"{path} would be overwritten; choose a new --output")


def main() -> int:
    """Predict the images that the command line names.

    One that can't be read is left out and named at the end.
    """
    parser = argparse.ArgumentParser(description="Run a model that export_model.py wrote.")
    parser.add_argument("model", type=Path, help="an .onnx or a .pt2 file")
    parser.add_argument("images", nargs="+", type=Path, help="image files")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    args = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8
    names = result_names(args.images)
    _refuse_existing(args.output, names)
    model = ExportedModel(args.model)
    args.output.mkdir(parents=True, exist_ok=True)
    unreadable = []
    for path, name in zip(args.images, names, strict=True):
        try:
            image = read_image(path)
        except ValueError as error:
            unreadable.append(str(error))
            continue
        written = save(model(image), model.info, args.output / name)
        print(f"{path}: {', '.join(map(str, written))}")
    predicted = len(args.images) - len(unreadable)
    if predicted == 0:
        others = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        raise ValueError(unreadable[0] + others)
    for sentence in unreadable:
        print(f"left out: {sentence}", file=sys.stderr)
    print(f"{predicted} of {len(args.images)} images predicted; results are in {args.output}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
