"""What a model is fed, and what the annotations say, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.utils.env import seed_all_rng
from tqdm import tqdm

from segtron.data import SegmentationMapper, build_augmentations, load_dataset_dicts
from segtron.data.classes import class_metadata
from segtron.data.image_io import read_image
from segtron.data.loaders import leaves_out_empty
from segtron.data.mapper import check_image_size
from segtron.data.mixing import build_mixer
from segtron.data.mixing.partners import Partners
from segtron.data.panoptic import read_pan_seg
from segtron.data.sem_seg import read_sem_seg
from segtron.files import refuse_overwriting
from segtron.visualization.drawing import MOST_LABELS, SegmentationVisualizer
from segtron.visualization.layout import contact_sheet, shrink, side_by_side, write_picture

LONGEST_SIDE = 2048
ON_OVERVIEW = 24


def visualize_data(
    cfg: CfgNode, output_dir: Path, *, split: str, source: str, number: int
) -> list[Path]:
    """Draw images of a config's data sets.

    Args:
        cfg: names the data sets and the augmentation.
        output_dir: gets a picture an image, and `overview.png`.
        split: "train" (DATASETS.TRAIN, augmented as in training) or "test" (DATASETS.TEST, resized
            as for scoring).
        source: "model" draws what the model is fed: after augmentation, without crowds and what the
            augmentation cut off; "annotation" draws images and annotations as they are stored.
        number: how many images, taken evenly from all.

    Returns:
        The pictures written, the overview first.

    Raises:
        UserError: data is missing or unreadable, or a picture would be overwritten.
    """
    is_train = split == "train"
    names = cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST
    records = load_dataset_dicts(
        names,
        filter_empty=is_train and source == "model" and leaves_out_empty(cfg),
    )
    chosen = np.unique(
        np.linspace(0, len(records) - 1, min(number, len(records))).round().astype(int)
    )
    paths = [
        output_dir / f"{rank:03d}_{Path(records[i]['file_name']).stem[:150]}.png"
        for rank, i in enumerate(chosen, start=1)
    ]
    overview = output_dir / "overview.png"
    refuse_overwriting([overview, *paths])
    fed = _what_is_fed(cfg, is_train, records) if source == "model" else None
    # The same pictures at each call.
    seed_all_rng(max(cfg.SEED, 0))
    metadata = class_metadata(names[0])
    tiles, titles = [], []
    for i, path in zip(tqdm(chosen, unit=" pictures", desc="draw"), paths, strict=True):
        if fed is None:
            picture = draw_annotations(records[i], metadata)
        else:
            picture = draw_model_input(fed(int(i)), metadata, cfg.INPUT.FORMAT)
        write_picture(path, picture)
        if len(tiles) < ON_OVERVIEW:
            tiles.append(shrink(picture, 640))
            titles.append(Path(records[i]["file_name"]).name)
    write_picture(overview, contact_sheet(tiles, titles))
    return [overview, *paths]


def draw_model_input(record: Mapping[str, Any], metadata: Any, input_format: str) -> np.ndarray:
    """Draw what a mapper returns: image, classes of pixels, boxes, masks and class names.

    Args:
        record: `image` (C, H, W); `instances` with `gt_boxes`, `gt_classes` and `gt_masks`;
            `sem_seg` (H, W). What is missing is not drawn.
        metadata: names of the classes, and colours if there are any.
        input_format: INPUT.FORMAT of the config.

    Returns:
        (H', W', 3) RGB uint8, larger than the image if that is small. With `sem_seg`, the image
        stands beside its overlay.
    """
    image = record["image"].permute(1, 2, 0).numpy()
    image = detection_utils.convert_image_to_rgb(image, input_format)
    visualizer = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    if "sem_seg" in record:
        visualizer.draw_sem_seg(record["sem_seg"])
        visualizer.draw_class_shares(record["sem_seg"])
    instances = record.get("instances")
    if instances is not None and len(instances):
        classes = instances.gt_classes.tolist()
        colors = visualizer.instance_colors(classes)
        boxes = instances.gt_boxes
        if instances.has("gt_masks"):
            visualizer.draw_boxes(boxes.tensor.numpy(), colors)
        if len(classes) > MOST_LABELS:
            visualizer.draw_class_counts(classes)
        visualizer.overlay_instances(
            boxes=boxes,
            masks=instances.gt_masks if instances.has("gt_masks") else None,
            labels=visualizer.instance_labels(classes),
            assigned_colors=colors,
        )
    overlay = visualizer.output.get_image()
    return _beside_image(image, overlay, "classes") if "sem_seg" in record else overlay


def draw_annotations(record: Mapping[str, Any], metadata: Any) -> np.ndarray:
    """Draw a standard dict as it is stored; what is ignored in training is hatched.

    Returns:
        (H', W', 3) RGB uint8, larger than the image if that is small. With semantic or panoptic
        labels, the image stands beside its overlay.
    """
    image = read_image(record["file_name"], "RGB")
    check_image_size(dict(record), image)
    visualizer = SegmentationVisualizer(image, metadata, longest_side=LONGEST_SIDE)
    if "pan_seg_file_name" in record:
        segments = read_pan_seg(record), record["segments_info"]
        visualizer.draw_panoptic_shares(*segments)
        visualizer.draw_panoptic_seg(*segments)
        return _beside_image(image, visualizer.output.get_image(), "segments")
    if record.get("sem_seg_file_name") is not None:
        record = {**record, "sem_seg": read_sem_seg(record)}
        visualizer.draw_class_shares(record["sem_seg"])
    classes = [a["category_id"] for a in record.get("annotations", []) if not a.get("iscrowd", 0)]
    if len(classes) > MOST_LABELS:
        visualizer.draw_class_counts(classes)
    visualizer.draw_dataset_dict(record)
    overlay = visualizer.output.get_image()
    return _beside_image(image, overlay, "classes") if "sem_seg" in record else overlay


def _beside_image(image: np.ndarray, overlay: np.ndarray, title: str) -> np.ndarray:
    plain = SegmentationVisualizer(image, longest_side=LONGEST_SIDE).output.get_image()
    return side_by_side([plain, overlay], ["image", title])


def _what_is_fed(
    cfg: CfgNode, is_train: bool, records: Sequence[dict[str, Any]]
) -> Callable[[int], dict[str, Any]]:
    """From the index of a record to what a model is fed."""
    # A mapper for testing would leave the annotations out.
    arguments = SegmentationMapper.from_config(cfg, is_train=True)
    arguments["augmentations"] = build_augmentations(cfg, is_train)
    mapper = SegmentationMapper(**arguments)
    mixer = build_mixer(cfg) if is_train else None
    if mixer is None:
        return lambda i: mapper(records[i])
    partners = Partners(records, np.ones(len(records)))

    def mix(i: int) -> dict[str, Any]:
        return mixer.mix(
            lambda size: mapper.map(records[i], size),
            lambda size: mapper.map(records[partners.draw(i)], size),
        )

    return mix
