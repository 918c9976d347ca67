"""Frames for a benchmark on disk, in Cityscapes' layout, and a model's outputs for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from segtron.benchmarks.scenes import draw_scene
from segtron.data.category_ids import panoptic_categories
from segtron.data.cityscapes import (
    IMAGE_SUFFIX,
    INSTANCE_IDS_SUFFIX,
    LABEL_IDS_SUFFIX,
    SEM_SEG_LABELS,
    THING_ID_TO_CONTIGUOUS,
    THING_LABELS,
    label_ids_of,
    load_instances,
    load_panoptic,
    load_sem_seg,
)
from segtron.data.cityscapes_panoptic_files import write_panoptic_files
from segtron.evaluation.model_output import predicted_panoptic
from segtron.evaluation.panoptic_files import SavedSegments

Record = dict[str, Any]
Output = dict[str, Any]

# The names that Segtron registers, whose classes these frames have. Their files are never read.
INSTANCE_SET = "cityscapes_fine_instance_seg_val"
SEM_SEG_SET = "cityscapes_fine_sem_seg_val"
PANOPTIC_SET = "cityscapes_fine_panoptic_val"

_LABEL_IDS = np.array([label.id for label in SEM_SEG_LABELS], dtype=np.uint8)
_SPLIT, _CITY = "val", "benchburg"


class Frames:
    """Frames whose ground truth lies in files, and what a model would give for each of them.

    Outputs are full frames, as models give them, and made when they are asked for: 50 masks of
    1024 x 2048 are 100 MB.

    Attributes:
        gt_folder: `gtFine/val` of the ground truth.
        panoptic_json: the ground truth in COCO's panoptic format; PNGs in the folder beside it.
        instance_records, sem_seg_records, panoptic_records: standard dicts, one a frame, as the
            readers of such data give them.
    """

    def __init__(
        self, root: Path, number: int, *, size: tuple[int, int], most_instances: int, seed: int
    ) -> None:
        """Draw frames and write their ground truth.

        Args:
            root: an empty folder.
            number: of frames.
            size: height and width in pixels.
            most_instances: how many predicted instances there are to take from in each frame.
            seed: the same seed gives the same frames.
        """
        self._scenes = [draw_scene(seed, i, size, most_instances) for i in range(number)]
        self._noise = torch.rand(
            (len(SEM_SEG_LABELS), *size), generator=torch.Generator().manual_seed(seed)
        )
        for i, scene in enumerate(self._scenes):
            _write_frame(root, f"{_CITY}_{i:06d}_000019", scene.instance_ids)
        self.gt_folder = root / "gtFine" / _SPLIT
        self.instance_records = load_instances(root, _SPLIT)
        self.sem_seg_records = load_sem_seg(root, _SPLIT)
        self.panoptic_records = load_panoptic(root, _SPLIT)
        # Afterwards: Segtron reads the instance ids, and needs no such files.
        self.panoptic_json = write_panoptic_files(root, _SPLIT)

    def __len__(self) -> int:
        """The number of frames."""
        return len(self._scenes)

    def instances(self, number: int, num_instances: int) -> Output:
        """What an instance model gives for a frame, the best score first.

        Args:
            number: of the frame.
            num_instances: how many of the predicted instances.
        """
        scene = self._scenes[number]
        predicted = sorted(scene.instances[:num_instances], key=lambda guess: -guess.score)
        masks = torch.zeros((len(predicted), *scene.instance_ids.shape), dtype=torch.bool)
        boxes = np.zeros((len(predicted), 4), dtype=np.float32)
        for i, (rows, columns, mask, _, _) in enumerate(predicted):
            masks[i, rows, columns] = torch.from_numpy(mask)
            x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
            x, y = x + columns.start, y + rows.start
            boxes[i] = (x, y, x + width, y + height)
        instances = Instances(scene.instance_ids.shape)
        instances.pred_boxes = Boxes(torch.from_numpy(boxes))
        instances.scores = torch.tensor([guess.score for guess in predicted])
        instances.pred_classes = torch.tensor(
            [THING_ID_TO_CONTIGUOUS[guess.label_id] for guess in predicted]
        )
        instances.pred_masks = masks
        return {"instances": instances}

    def boxes(self, number: int, num_instances: int) -> Output:
        """What a model that gives boxes alone gives for a frame; see `instances`."""
        output = self.instances(number, num_instances)
        output["instances"].remove("pred_masks")
        return output

    def sem_seg(self, number: int) -> Output:
        """What a semantic model gives for a frame: (19, H, W) float32 scores."""
        classes = torch.from_numpy(self._scenes[number].classes.astype(np.int64))
        return {"sem_seg": self._noise.scatter(0, classes[None], 2.0)}

    def label_ids(self, number: int) -> np.ndarray:
        """(H, W) uint8, the label ids of the classes that score best in `sem_seg`."""
        return _LABEL_IDS[self._scenes[number].classes]

    def panoptic(self, number: int) -> Output:
        """What a panoptic model gives for a frame."""
        scene = self._scenes[number]
        segments = [dict(segment) for segment in scene.segments]
        return {"panoptic_seg": (torch.from_numpy(scene.segment_ids.copy()), segments)}

    def save_panoptic(self, folder: Path) -> Path:
        """Write what the panoptic model gives in COCO's panoptic format; returns the JSON."""
        saved = SavedSegments(folder, panoptic_categories(PANOPTIC_SET))
        for number, record in enumerate(self.panoptic_records):
            saved.add(record, *predicted_panoptic(self.panoptic(number), PANOPTIC_SET))
        return saved.write_json()

    def num_segments(self, number: int) -> int:
        """How many segments the panoptic model gives for a frame."""
        return len(self._scenes[number].segments)

    def write_coco_json(self, path: Path, repeats: int) -> list[Record]:
        """Write the things of all frames as a COCO JSON.

        Args:
            path: the file.
            repeats: how often each frame is in it, as an image of its own: scoring many small
                results needs more images than there have to be frames for it.

        Returns:
            The images as standard dicts, repeat by repeat, with ids from 1.
        """
        records: list[Record] = []
        annotations: list[dict[str, Any]] = []
        for frame in self.instance_records * repeats:
            size = {"height": frame["height"], "width": frame["width"]}
            records.append({"file_name": frame["file_name"], "image_id": len(records) + 1, **size})
            for instance in frame["annotations"]:
                rle = instance["segmentation"]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(records),
                        "category_id": THING_LABELS[instance["category_id"]].id,
                        "bbox": BoxMode.convert(
                            instance["bbox"], instance["bbox_mode"], BoxMode.XYWH_ABS
                        ),
                        "area": instance["area"],
                        "iscrowd": instance["iscrowd"],
                        "segmentation": {**rle, "counts": rle["counts"].decode("ascii")},
                    }
                )
        content = {
            "images": [{**record, "id": record["image_id"]} for record in records],
            "annotations": annotations,
            "categories": [{"id": label.id, "name": label.name} for label in THING_LABELS],
        }
        path.write_text(json.dumps(content), encoding="utf-8")
        return records


def _write_frame(root: Path, name: str, instance_ids: np.ndarray) -> None:
    """Write the labels of a frame, and a black picture, for the readers look for one."""
    height, width = instance_ids.shape
    for tree, suffix, pixels in (
        ("leftImg8bit", IMAGE_SUFFIX, np.zeros((height, width, 3), np.uint8)),
        ("gtFine", INSTANCE_IDS_SUFFIX, instance_ids),
        ("gtFine", LABEL_IDS_SUFFIX, label_ids_of(instance_ids).astype(np.uint8)),
    ):
        folder = root / tree / _SPLIT / _CITY
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{name}{suffix}")
